import pg from 'pg';
import { MIGRATIONS_TABLE, pendingMigrations, type AppliedMigration } from './migrations.ts';
import { assertShapes, shapesOf, type TableShape } from './schema-check.ts';
import type { Schema } from './schema.ts';
import { StoreError } from './store-error.ts';

/** Any number will do that no other user of the database takes: "Brth". */
const MIGRATION_LOCK = 0x42727468;

/**
 * Brings the database to this build's schema in one transaction, and proves that it is there. One replica migrates, the others wait
 * for it: on a connection of its own, because the pool's lock time-out would end their wait, and by a lock of the transaction,
 * because one of the session does not survive a pooler.
 */
export async function migratePostgres(connection: pg.ClientConfig, schema: Schema<object>, tables: object): Promise<void> {
  const known = schema.migrations('postgres');
  const client = new pg.Client(connection);
  client.on('error', () => {}); // its queries tell; the event would end the process
  let operation = 'connect';
  try {
    await client.connect();
    operation = 'migrate';
    await client.query('BEGIN');
    await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    const before = await foundIn(client);
    const isOurs = before.some(({ name }) => name === MIGRATIONS_TABLE);
    if (!isOurs) assertRoomFor(shapesOf(tables), before);
    await client.query(
      `CREATE TABLE IF NOT EXISTS ${MIGRATIONS_TABLE} (ordinal bigserial PRIMARY KEY, tag text NOT NULL UNIQUE, hash text NOT NULL)`,
    );
    const applied = await client.query<AppliedMigration>(`SELECT tag, hash FROM ${MIGRATIONS_TABLE} ORDER BY ordinal`);
    for (const { tag, hash, statements } of pendingMigrations(known, applied.rows)) {
      operation = `migration ${tag}`;
      for (const text of statements) await client.query(text);
      await client.query(`INSERT INTO ${MIGRATIONS_TABLE} (tag, hash) VALUES ($1, $2)`, [tag, hash]);
    }
    assertShapes(shapesOf(tables), await foundIn(client));
    await client.query('COMMIT');
  } catch (error) {
    throw error instanceof Error && ('code' in error || operation === 'connect') ? new StoreError(operation, error) : error;
  } finally {
    await client.end().catch(() => {}); // an open transaction ends with its connection; the error above is the one that tells
  }
}

/** A database of somebody else's may be shared, unless it has tables of the same names. */
function assertRoomFor(wanted: readonly TableShape[], found: readonly TableShape[]): void {
  const taken = wanted.filter(({ name }) => found.some((table) => table.name === name)).map(({ name }) => name);
  if (taken.length > 0)
    throw new Error(
      `the database of DATABASE_URL is not Berth's: it holds the tables ${taken.join(', ')}. Nothing in it was touched; name another`,
    );
}

async function foundIn(client: pg.Client): Promise<TableShape[]> {
  const { rows } = await client.query<TableShape>(`
    SELECT c.relname AS name,
      (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
      (SELECT coalesce(json_agg(i.relname), '[]') FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid) AS "uniqueIndexes"
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname = current_schema()`);
  return rows;
}
