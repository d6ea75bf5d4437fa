import { dirname, join } from 'node:path';
import type { Config } from './config.ts';

const FOLDER_WITHOUT_SQLITE = './data';

/** Where the installation keeps its files: the folder of the SQLite database, or `./data` when the database is PostgreSQL. */
export function dataFolder({ database }: { readonly database: Pick<Config['database'], 'path' | 'url'> }): string {
  return database.url === undefined ? dirname(database.path) : FOLDER_WITHOUT_SQLITE;
}

/** Where the secret key lies unless SECRET_KEY_FILE names another place. */
export function defaultSecretKeyPath(config: { readonly database: Pick<Config['database'], 'path' | 'url'> }): string {
  return join(dataFolder(config), 'secret.key');
}
