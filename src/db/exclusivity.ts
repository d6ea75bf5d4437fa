import { chmodSync, existsSync, rmSync } from 'node:fs';
import type Sqlite from 'better-sqlite3';
import { SqliteDatabase } from './sqlite-driver.ts';
import { StoreError } from './store-error.ts';

/** A database file that no other process has open; held until released or until the process ends, however it ends. */
export interface Exclusivity {
  release(): void;
}

/**
 * Takes `<path>.lock`, a side file that SQLite holds locked: two brokers on one file would each act on every session. The kernel
 * frees the lock of a killed process, so there is nothing stale to clean up; the file itself stays. Never open it with `fs`: closing
 * any descriptor of it drops this process's locks. Throws when somebody else holds it.
 */
export function takeExclusively(path: string): Exclusivity & { forget(): void } {
  const lockPath = `${path}.lock`;
  const isNew = !existsSync(lockPath);
  let database: Sqlite.Database | undefined;
  try {
    database = new SqliteDatabase(lockPath, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
    chmodSync(lockPath, 0o600);
  } catch (thrown) {
    database?.close();
    const error = new StoreError(`lock ${lockPath}`, thrown);
    if (error.kind !== 'try-again') throw error;
    throw new Error(
      `the database ${path} is in use by another Berth, which holds ${lockPath}. Stop that one first, or give this one another DATABASE_PATH`,
      { cause: error },
    );
  }
  const held = database;
  const release = () => void held.close();
  return {
    release,
    /** Releases it and leaves no file behind that was not there before. */
    forget: () => {
      release();
      if (isNew) rmSync(lockPath, { force: true });
    },
  };
}
