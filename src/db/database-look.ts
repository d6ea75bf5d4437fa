import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Sqlite from 'better-sqlite3';
import pg from 'pg';
import { SECOND_MS } from '../core/duration.ts';
import { plainLine } from '../core/text.ts';
import type { Secret } from '../core/secret.ts';
import { SqliteDatabase } from './sqlite-driver.ts';
import type { SessionStatus } from './tables.ts';

/** What a database says of the instances that Berth may own, without being opened as Berth's own. */
export type DatabaseLook =
  | {
      readonly outcome: 'read';
      /** Facts of the installation by name: the deployment id, the recovery mode. */
      readonly installation: ReadonlyMap<string, string>;
      /** The status of the session behind each tag that has a row. */
      readonly statusByTag: ReadonlyMap<string, SessionStatus>;
    }
  | { readonly outcome: 'absent' }
  /** `reason`: one line, no secret. What of the installation can be read all the same stands there. */
  | { readonly outcome: 'unreadable'; readonly reason: string; readonly installation?: ReadonlyMap<string, string> };

const INSTALLATION = 'SELECT name, value FROM installation';
const TAGS =
  'SELECT attempts.tag AS tag, sessions.status AS status FROM attempts JOIN sessions ON sessions.id = attempts.session_id';
const PATIENCE_MS = 5 * SECOND_MS;

/**
 * Reads what helps a person to tell instances apart, and changes nothing: no lock, no migration, not a byte beside the file. Whatever is wrong
 * with the database is an answer, never thrown: this is for the day on which it is broken.
 */
export async function lookIntoDatabase({
  url,
  path,
}: {
  readonly url?: Secret<string> | undefined;
  readonly path: string;
}): Promise<DatabaseLook> {
  try {
    if (url) return await lookIntoPostgres(url);
    return existsSync(path) ? lookIntoCopy(path) : { outcome: 'absent' };
  } catch (error) {
    return { outcome: 'unreadable', reason: plainLine(error instanceof Error ? error.message : String(error)) };
  }
}

/** Even a reader writes beside a database that has a log. A copy that is taken while the broker writes may be torn: then it cannot be read. */
function lookIntoCopy(path: string): DatabaseLook {
  const folder = mkdtempSync(join(tmpdir(), 'berth-look-'));
  try {
    const copy = join(folder, 'copy.db');
    for (const suffix of ['', '-wal']) if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
    const database = new SqliteDatabase(copy);
    try {
      const fault = faultOf(database);
      if (fault === undefined) return readFrom(database.prepare(INSTALLATION).all(), database.prepare(TAGS).all());
      return { outcome: 'unreadable', reason: `it is damaged (${fault})`, installation: whatIsLeft(database) };
    } finally {
      database.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function faultOf(database: Sqlite.Database): string | undefined {
  try {
    const verdict = String(database.pragma('quick_check(1)', { simple: true }));
    return verdict === 'ok' ? undefined : plainLine(verdict);
  } catch (error) {
    return plainLine(error instanceof Error ? error.message : String(error));
  }
}

/** The table is small and old: it may well have survived what befell the rest. */
function whatIsLeft(database: Sqlite.Database): ReadonlyMap<string, string> {
  try {
    return factsIn(database.prepare(INSTALLATION).all());
  } catch {
    return new Map();
  }
}

async function lookIntoPostgres(url: Secret<string>): Promise<DatabaseLook> {
  const client = new pg.Client({
    connectionString: url.reveal(),
    application_name: 'berth recover',
    connectionTimeoutMillis: PATIENCE_MS,
    query_timeout: PATIENCE_MS,
  });
  client.on('error', () => {}); // the query under way tells; the event would end the process
  await client.connect();
  try {
    await client.query('BEGIN READ ONLY');
    return readFrom((await client.query(INSTALLATION)).rows, (await client.query(TAGS)).rows);
  } finally {
    await client.end();
  }
}

function readFrom(facts: readonly unknown[], tags: readonly unknown[]): DatabaseLook {
  const statusByTag = new Map(
    (tags as { tag: string; status: SessionStatus }[]).map(({ tag, status }) => [tag, status]), // the query names these columns
  );
  return { outcome: 'read', installation: factsIn(facts), statusByTag };
}

function factsIn(rows: readonly unknown[]): ReadonlyMap<string, string> {
  return new Map((rows as { name: string; value: string }[]).map(({ name, value }) => [name, value])); // the query names these columns
}
