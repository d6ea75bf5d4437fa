import { existsSync } from 'node:fs';
import { SqliteDatabase } from './sqlite-driver.ts';

/**
 * Copies a SQLite database, with everything that is committed, into a new file, while the broker may be running.
 * Throws an Error fit for the operator when there is nothing to copy, or the target exists.
 */
export function backupSqlite(from: string, to: string): void {
  if (!existsSync(from)) throw new Error(`there is no database at ${from}`);
  if (existsSync(to)) throw new Error(`${to} exists; a backup never replaces a file`);
  const database = new SqliteDatabase(from, { readonly: true, fileMustExist: true });
  try {
    database.prepare('VACUUM INTO ?').run(to);
  } finally {
    database.close();
  }
}
