import { existsSync, statSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { defaultSecretKeyPath } from '../config/data-folder.ts';
import { RESTORE } from '../db/foreign-database.ts';
import { StartRefused } from './start-refused.ts';

/**
 * An empty file beside a secret key was a database once, since the key is made after it (REL-E7): begun anew it would get another deployment
 * id, and what was rented would be nobody's.
 */
export function refuseEmptiedDatabase(config: Pick<Config, 'database'>): void {
  const { url, path } = config.database;
  const keyPath = defaultSecretKeyPath(config);
  if (url !== undefined || statSync(path, { throwIfNoEntry: false })?.size !== 0 || !existsSync(keyPath)) return;
  throw new StartRefused(
    `the database ${path} is empty, but ${keyPath} says that there was one: ${RESTORE}. To begin anew, with nothing left at the providers, take both files away`,
  );
}
