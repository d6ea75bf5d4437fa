import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIGRATIONS_TABLE } from './migrations.ts';
import { SqliteDatabase } from './sqlite-driver.ts';

/** In the header of every database that Berth makes (`PRAGMA application_id`), so that a look at it opens nothing: "Brth". */
export const APPLICATION_ID = 0x42727468;

/** What to do about a file that is broken. */
export const RESTORE =
  'restore a backup (docs/recovery.md says how); until then `berth recover` lists what runs at the providers, without the database';

const HEADER_BYTES = 100;
const APPLICATION_ID_AT = 68;
const MAGIC = 'SQLite format 3\0';

/**
 * Throws unless the file is missing, empty or Berth's own database; reads only, so that what it refuses stays as it was, its log and
 * its folder included. Call it while holding the file exclusively.
 */
export function assertNotForeign(path: string): void {
  const size = sizeOf(path);
  if (size === 0) {
    if (sizeOf(`${path}-wal`) > 0)
      throw new Error(
        `${path} is missing or empty, but its log ${path}-wal is there: the database was moved or deleted. Put it back, or ${RESTORE}`,
      );
    return;
  }
  const header = readHeader(path);
  if (header.toString('latin1', 0, MAGIC.length) !== MAGIC)
    throw refusal(path, 'it is no SQLite database', `. If it once was, it is damaged: ${RESTORE}`);
  if (header.readUInt32BE(APPLICATION_ID_AT) === APPLICATION_ID) return;

  const tables = tablesOf(path);
  if (tables.length === 0 || tables.includes(MIGRATIONS_TABLE)) return;
  throw refusal(path, `it holds the tables ${tables.slice(0, 8).join(', ')}${tables.length > 8 ? ', …' : ''}`);
}

function refusal(path: string, evidence: string, more = ''): Error {
  return new Error(
    `${path} is not Berth's: ${evidence}. Nothing in it was touched; point DATABASE_PATH at another file${more}`,
  );
}

function sizeOf(path: string): number {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status && !status.isFile()) throw refusal(path, 'it is no file');
  return status?.size ?? 0;
}

function readHeader(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    readSync(file, header, 0, HEADER_BYTES, 0);
    return header;
  } finally {
    closeSync(file);
  }
}

/** Looks at a copy: even a reader writes beside a database that has a log. */
function tablesOf(path: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'berth-look-'));
  try {
    const copy = join(folder, 'copy.db');
    for (const suffix of ['', '-wal']) if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
    const database = new SqliteDatabase(copy);
    try {
      const names = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").pluck().all();
      return names.map(String);
    } finally {
      database.close();
    }
  } catch (cause) {
    throw new Error(
      `${path} cannot be read as a database. Nothing in it was touched; point DATABASE_PATH at another file, or, if it was Berth's, ${RESTORE}`,
      {
        cause,
      },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
