import { closeSync, existsSync, mkdirSync, openSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type Sqlite from 'better-sqlite3';
import { plainLine } from '../core/text.ts';
import { releaseToOpen } from './ballast.ts';
import { APPLICATION_ID, assertNotForeign, RESTORE } from './foreign-database.ts';
import { takeExclusively, type Exclusivity } from './exclusivity.ts';
import { SqliteDatabase } from './sqlite-driver.ts';
import { StoreError } from './store-error.ts';
import { assertSettings } from './store.ts';

/** Older ones can lose committed data when the log is reset (3.7.0 to 3.51.2). */
const OLDEST_SQLITE = '3.51.3';
const BUSY_TIMEOUT_MS = 250;

export interface SqliteFile {
  readonly database: Sqlite.Database;
  readonly exclusivity: Exclusivity;
}

/**
 * Opens the file as the only process that does, makes it and its folder (readable by nobody else) where they are missing, and
 * sets what durability takes. Throws before anything was changed when the file is in use, not ours, or damaged.
 */
export function openSqliteFile(path: string): SqliteFile {
  const real = prepareFolder(path);
  const exclusivity = takeExclusively(real);
  let database: Sqlite.Database | undefined;
  try {
    assertNotForeign(real);
    releaseToOpen(real);
    if (existsSync(real)) assertIntact(real);
    else closeSync(openSync(real, 'a', 0o600)); // its log inherits the mode
    database = new SqliteDatabase(real, { timeout: BUSY_TIMEOUT_MS });
    assertVersion(database);
    configure(database);
    return { database, exclusivity };
  } catch (thrown) {
    database?.close();
    exclusivity.forget();
    throw thrown instanceof SqliteDatabase.SqliteError ? new StoreError(`open ${real}`, thrown) : thrown;
  }
}

/** The settings of a connection as it reports them, refused when weaker than asked. */
export function readSettings(database: Sqlite.Database) {
  const read = (name: string) => {
    const value: unknown = database.pragma(name, { simple: true });
    return typeof value === 'number' ? value : String(value);
  };
  const found = {
    journal_mode: read('journal_mode'),
    synchronous: read('synchronous'),
    foreign_keys: read('foreign_keys'),
    busy_timeout: read('busy_timeout'),
    secure_delete: read('secure_delete'),
  };
  return assertSettings(found, {
    journal_mode: ['wal'],
    synchronous: [2],
    foreign_keys: [1],
    busy_timeout: [BUSY_TIMEOUT_MS],
    secure_delete: [1],
  });
}

/** One file has one name, or two processes would lock different ones: links are followed. */
function prepareFolder(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    return existsSync(path) ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  } catch (cause) {
    throw new Error(`the folder of the database ${path} cannot be made or read: check DATABASE_PATH and its permissions`, {
      cause,
    });
  }
}

function assertVersion(database: Sqlite.Database): void {
  const version = String(database.prepare('SELECT sqlite_version()').pluck().get());
  if (isOlder(version, OLDEST_SQLITE))
    throw new Error(`SQLite is ${version}, must be ${OLDEST_SQLITE} or newer: install better-sqlite3 again`);
}

/** Whether one dotted version comes before another, number by number. */
export function isOlder(version: string, than: string): boolean {
  const [left, right] = [version, than].map((text) => text.split('.').map(Number));
  const place = right?.findIndex((part, index) => part !== (left?.[index] ?? 0)) ?? -1;
  return place >= 0 && (left?.[place] ?? 0) < (right?.[place] ?? 0);
}

/** By a connection that cannot write: one that can would move the log into what is damaged when it is closed. */
function assertIntact(path: string): void {
  const database = new SqliteDatabase(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
  let verdict: string;
  try {
    verdict = String(database.pragma('quick_check(1)', { simple: true }));
  } catch (thrown) {
    verdict = new StoreError('quick_check', thrown).message;
  } finally {
    database.close();
  }
  if (verdict !== 'ok') throw new Error(`the database ${path} is damaged (${plainLine(verdict)}): ${RESTORE}`);
}

function configure(database: Sqlite.Database): void {
  if (database.pragma('application_id', { simple: true }) !== APPLICATION_ID)
    database.pragma(`application_id = ${APPLICATION_ID}`); // before there is a log, so that the file's own header has it
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL'); // a file that is opened again comes up as NORMAL
  database.pragma('foreign_keys = ON');
  database.pragma('secure_delete = ON'); // a shredded key is overwritten, not only unlinked
  database.pragma('trusted_schema = OFF');
  database.pragma('cell_size_check = ON');
}
