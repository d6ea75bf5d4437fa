import type { Config } from '../config/config.ts';
import { dataFolder } from '../config/data-folder.ts';
import type { ConfiguredProvider } from '../config/provider-blocks.ts';
import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { providerId } from '../provider/ids.ts';
import type { Surveyed } from './instance-survey.ts';
import { createLocalPool } from './local-pool.ts';
import { createProviderSet } from './provider-set.ts';

interface RecoverProvidersDeps {
  readonly config: Config;
  readonly configured: readonly ConfiguredProvider[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * The market that lives in the broker's own process and folder: a second process would rewrite its memory under a broker that runs, and
 * nothing of it costs anything.
 */
const IN_THE_BROKER = 'simulated';

/** The providers as the broker uses them, in their decorators; one that cannot even be made is told with its reason and hides no other. */
export async function createRecoverProviders(deps: RecoverProvidersDeps): Promise<readonly Surveyed[]> {
  const { config, clock, random, log } = deps;
  const folder = dataFolder(config);
  const configured = deps.configured.filter(({ id }) => id !== IN_THE_BROKER);
  const made: Surveyed[] = [];
  for (const module of configured) {
    try {
      const set = await createProviderSet({
        configured: [module],
        machinePool: createLocalPool({ configured, dataFolder: folder, clock, log }),
        dataFolder: folder,
        clock,
        random,
        log,
        metrics: { call: () => {} },
        callTimeoutMs: config.sessions.providerCallTimeoutMs,
      });
      made.push(...set.values());
    } catch (error) {
      made.push({ id: providerId(module.id), fault: describeError(error) });
    }
  }
  return made;
}
