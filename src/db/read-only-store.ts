import { existsSync } from 'node:fs';
import type Sqlite from 'better-sqlite3';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import pg from 'pg';
import { SECOND_MS } from '../core/duration.ts';
import type { Secret } from '../core/secret.ts';
import { postgresKit, sqliteKit } from './columns.ts';
import { createExecutor } from './postgres-store.ts';
import { prepareOnce } from './prepare-once.ts';
import { SqliteDatabase } from './sqlite-driver.ts';
import type { Call } from './statement.ts';
import type { Store } from './store.ts';
import { defineTables } from './tables.ts';

export type ReadOnlyStore = Pick<Store, 'dialect' | 'tables' | 'read' | 'close'>;

const PATIENCE_MS = 5 * SECOND_MS;

/**
 * Opens Berth's database to read it as it is at one instant, also while a broker works with it: no lock that anybody waits for, no migration,
 * and nothing can be written. Throws an Error fit for the operator when it is not there or holds no audit log.
 */
export async function openReadOnly({
  url,
  path,
}: {
  readonly url?: Secret<string> | undefined;
  readonly path: string;
}): Promise<ReadOnlyStore> {
  return url ? openPostgresReadOnly(url) : openSqliteReadOnly(path);
}

function openSqliteReadOnly(path: string): ReadOnlyStore {
  if (!existsSync(path)) throw new Error(`there is no database at ${path}`);
  const database = new SqliteDatabase(path, { readonly: true, fileMustExist: true, timeout: PATIENCE_MS });
  try {
    assertKnown(
      database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'audit'").all().length > 0,
      path,
    );
    database.exec('BEGIN'); // all that is read is of one instant
    return readerOf(database);
  } catch (error) {
    database.close();
    throw error;
  }
}

function readerOf(database: Sqlite.Database): ReadOnlyStore {
  const prepared = prepareOnce(drizzle(database), (built) => built.prepare());
  return {
    dialect: 'sqlite',
    tables: defineTables(sqliteKit),
    // holds because the rows are those of this call's statement
    read: async <Row>({ definition, values }: Call<Row>) => prepared(definition).execute(values).sync() as Row[],
    close: async () => void database.close(),
  };
}

async function openPostgresReadOnly(url: Secret<string>): Promise<ReadOnlyStore> {
  const client = new pg.Client({
    connectionString: url.reveal(),
    application_name: 'berth audit',
    connectionTimeoutMillis: PATIENCE_MS,
  });
  client.on('error', () => {}); // the query under way tells; the event would end the process
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { rows } = await client.query("SELECT to_regclass('audit') IS NOT NULL AS known");
    assertKnown((rows as { known: boolean }[])[0]?.known === true, 'DATABASE_URL'); // the query names this column
    const execute = createExecutor(client);
    return {
      dialect: 'postgres',
      tables: defineTables(postgresKit),
      read: async <Row>(call: Call<Row>) => (await execute(call)) as Row[], // holds because the rows are those of this call's statement
      close: () => client.end(),
    };
  } catch (error) {
    await client.end();
    throw error;
  }
}

function assertKnown(isKnown: boolean, where: string): void {
  if (!isKnown)
    throw new Error(
      `the database of ${where} has no audit log: it is not Berth's, or of an older version; start this one once`,
    );
}
