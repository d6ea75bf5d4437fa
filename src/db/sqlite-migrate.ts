import type Sqlite from 'better-sqlite3';
import { MIGRATIONS_TABLE, pendingMigrations, type AppliedMigration, type Migration } from './migrations.ts';
import { assertShapes, shapesOf, type TableShape } from './schema-check.ts';
import type { Schema } from './schema.ts';
import { StoreError } from './store-error.ts';

/** Brings the file to this build's schema, each migration whole or not at all, and proves that it is there. */
export function migrateSqlite(database: Sqlite.Database, schema: Schema<object>, tables: object): void {
  const pending = pendingMigrations(schema.migrations('sqlite'), appliedTo(database));
  // drizzle-kit rebuilds a table by dropping it, and with foreign keys on that deletes its children; inside a transaction the pragma
  // that its SQL brings along does nothing, so it is here.
  database.pragma('foreign_keys = OFF');
  try {
    for (const migration of pending) apply(database, migration);
  } finally {
    database.pragma('foreign_keys = ON');
  }
  assertShapes(shapesOf(tables), foundIn(database));
}

function appliedTo(database: Sqlite.Database): AppliedMigration[] {
  const exists = database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(MIGRATIONS_TABLE);
  if (!exists) return [];
  const rows = database.prepare<[], AppliedMigration>(`SELECT tag, hash FROM ${MIGRATIONS_TABLE} ORDER BY ordinal`);
  return rows.all();
}

function apply(database: Sqlite.Database, { tag, hash, statements }: Migration): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    database.exec(
      `CREATE TABLE IF NOT EXISTS ${MIGRATIONS_TABLE} (ordinal INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, hash TEXT NOT NULL)`,
    );
    for (const text of statements) database.exec(text);
    const dangling: unknown = database.pragma('foreign_key_check');
    if (Array.isArray(dangling) && dangling.length > 0)
      throw new Error(`migration ${tag} would leave ${dangling.length} rows that point at nothing: it was undone`);
    database.prepare(`INSERT INTO ${MIGRATIONS_TABLE} (tag, hash) VALUES (?, ?)`).run(tag, hash);
    database.exec('COMMIT');
  } catch (thrown) {
    if (database.inTransaction) database.exec('ROLLBACK');
    throw thrown instanceof Error && 'code' in thrown ? new StoreError(`migration ${tag}`, thrown) : thrown;
  }
}

function foundIn(database: Sqlite.Database): TableShape[] {
  const list = (text: string, ...values: string[]) =>
    database
      .prepare(text)
      .pluck()
      .all(...values)
      .map(String);
  return list("SELECT name FROM sqlite_schema WHERE type = 'table'").map((name) => ({
    name,
    columns: list('SELECT name FROM pragma_table_info(?)', name),
    uniqueIndexes: list('SELECT name FROM pragma_index_list(?) WHERE "unique"', name),
  }));
}
