import type Sqlite from 'better-sqlite3';
import type { Clock } from '../../src/core/clock.ts';
import type { Random } from '../../src/core/random.ts';
import { sqliteKit } from '../../src/db/columns.ts';
import { berthSchema } from '../../src/db/schema.ts';
import { SqliteDatabase } from '../../src/db/sqlite-driver.ts';
import { migrateSqlite } from '../../src/db/sqlite-migrate.ts';
import { createSqliteStore } from '../../src/db/sqlite-store.ts';
import type { Store } from '../../src/db/store.ts';

let empty: Buffer | undefined;
const tables = berthSchema.defineTables(sqliteKit);

interface MemoryStore {
  readonly store: Store;
  /** For the eyes of the invariants. */
  readonly database: Sqlite.Database;
}

/** The product's store over a real SQLite in memory. The schema is made once a process and copied. */
export function openMemoryStore(deps: { readonly clock: Clock; readonly random: Random }): MemoryStore {
  const database = new SqliteDatabase((empty ??= migrated()));
  database.pragma('foreign_keys = ON');
  const store = createSqliteStore({
    database,
    tables,
    settings: {},
    ...deps,
    onFatal: (error) => {
      throw error;
    },
    close: () => void database.close(),
  });
  return { store, database };
}

function migrated(): Buffer {
  const database = new SqliteDatabase(':memory:');
  migrateSqlite(database, berthSchema, tables);
  const image = database.serialize();
  database.close();
  return image;
}
