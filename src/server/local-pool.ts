import type { ConfiguredProvider } from '../config/provider-blocks.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { createMachinePool } from '../pool/machine-pool.ts';
import { PoolError, type MachinePool } from '../provider/machine-pool.ts';
import { createRunner } from '../runner/runner.ts';
import { createLocalRunnerLink } from '../runner-protocol/runner-link.ts';
import { Environment, poolSettings } from '../../providers/pool/environment.ts';

interface LocalPoolDeps {
  readonly configured: readonly ConfiguredProvider[];
  readonly dataFolder: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The machines of this installation: this one, through a runner in the same process, when the pool is on. */
export function createLocalPool({ configured, dataFolder, clock, log }: LocalPoolDeps): MachinePool {
  const pool = configured.find(({ id }) => id === 'pool');
  if (!pool) return NO_MACHINES;
  // the block was parsed by this very schema when the configuration was loaded
  const settings = poolSettings(pool.environment as Environment);
  const runner = createRunner({
    ...(settings.dockerHost === undefined ? {} : { dockerHost: settings.dockerHost }),
    clock,
    log,
    config: {
      publishHost: settings.publishHost,
      pidsLimit: settings.pidsLimit,
      packageCapabilities: settings.packageCapabilities,
    },
  });
  return createMachinePool({
    link: createLocalRunnerLink(runner),
    clock,
    log,
    config: {
      image: settings.image,
      priceMicrosPerHour: settings.priceMicrosPerHour,
      ...(settings.maxSessions === undefined ? {} : { maxSessions: settings.maxSessions }),
      dataFolder: `${dataFolder}/pool`,
    },
  });
}

const none = () => Promise.reject(new PoolError('refused', 'the pool is not configured: set PROVIDERS_POOL_ENABLED=true'));

const NO_MACHINES: MachinePool = {
  listSlots: none,
  start: none,
  get: none,
  list: none,
  stop: none,
  preflight: async () => 'the pool is not configured: set PROVIDERS_POOL_ENABLED=true',
};
