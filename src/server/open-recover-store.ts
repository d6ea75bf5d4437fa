import type { Config } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { DatabaseLook } from '../db/database-look.ts';
import { createInstallationRepository, type InstallationRepository } from '../db/installation-repository.ts';
import { openStore } from '../db/open-store.ts';
import type { Store } from '../db/store.ts';
import { parseDeploymentId, type DeploymentId } from '../provider/ownership-tag.ts';

export interface RecoverStore {
  readonly store: Store;
  readonly installation: InstallationRepository;
  readonly deployment: DeploymentId;
}

interface RecoverStoreDeps {
  readonly config: Config;
  readonly look: DatabaseLook;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** The database of this installation, for what cannot be done without it. Throws an Error fit for the operator; a missing one is never made. */
export async function openRecoverStore({ config, look, clock, random, log }: RecoverStoreDeps): Promise<RecoverStore> {
  const { url, path } = config.database;
  if (look.outcome === 'absent')
    throw new Error(`there is no database at ${path}: restore a backup, or point DATABASE_PATH at it`);
  const onFatal = (error: Error) => log.error({ error: error.message }, 'the disk failed under the database');
  const store = await openStore({ url, path, clock, random, log, onFatal });
  try {
    const installation = createInstallationRepository(store);
    const deployment = parseDeploymentId((await installation.read('deployment_id')) ?? '');
    if (deployment === undefined) throw new Error('the database belongs to no installation yet: start the broker first');
    return { store, installation, deployment };
  } catch (error) {
    await store.close();
    throw error;
  }
}
