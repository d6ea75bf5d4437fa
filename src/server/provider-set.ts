import type { ConfiguredProvider } from '../config/provider-blocks.ts';
import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { decorate } from '../provider/decorators/decorate.ts';
import type { ProviderMetrics } from '../provider/decorators/instrumented.ts';
import { DEFAULT_CALL_TIMEOUTS } from '../provider/decorators/guarded.ts';
import { DEFAULT_LANES } from '../provider/decorators/rate-limited.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { MachinePool } from '../provider/machine-pool.ts';
import type { Provider } from '../provider/provider.ts';
import { StartRefused } from './start-refused.ts';

interface ProviderSetDeps {
  readonly configured: readonly ConfiguredProvider[];
  readonly machinePool: MachinePool;
  readonly dataFolder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: ProviderMetrics;
  readonly callTimeoutMs: number;
}

/** A market in this process has no rate to limit. */
const SIMULATED_CONCURRENCY = 64;

/** Makes every provider that is on, each in its decorators, once. Throws StartRefused when one cannot be made. */
export async function createProviderSet(deps: ProviderSetDeps): Promise<ReadonlyMap<ProviderId, Provider>> {
  const { configured, dataFolder, machinePool, clock, random, log, metrics, callTimeoutMs } = deps;
  const providers = new Map<ProviderId, Provider>();
  for (const module of configured) {
    const provider = await make(module, { clock, random, log, machinePool, dataFolder: `${dataFolder}/${module.id}` });
    const concurrency = provider.capabilities.simulated ? SIMULATED_CONCURRENCY : DEFAULT_LANES.concurrency;
    const { callTimeoutMs: ownTimeMs = 0 } = provider.capabilities;
    const readMs = Math.max(callTimeoutMs, ownTimeMs);
    const decorated = decorate(provider, {
      clock,
      random,
      log,
      metrics,
      timeouts: {
        ...DEFAULT_CALL_TIMEOUTS,
        readMs,
        listMs: Math.max(4 * callTimeoutMs, readMs),
        destroyMs: Math.max(DEFAULT_CALL_TIMEOUTS.destroyMs, ownTimeMs),
      },
      lanes: { ...DEFAULT_LANES, concurrency, destroyConcurrency: concurrency },
    });
    providers.set(provider.id, decorated);
  }
  return providers;
}

async function make(module: ConfiguredProvider, deps: Parameters<ConfiguredProvider['create']>[0]): Promise<Provider> {
  try {
    return await module.create(deps);
  } catch (error) {
    throw new StartRefused(`provider ${module.id} cannot be started: ${describeError(error)}`, error);
  }
}
