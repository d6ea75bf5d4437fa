import type Sqlite from 'better-sqlite3';
import { systemClock, type Clock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { sqliteKit } from '../../src/db/columns.ts';
import { berthSchema } from '../../src/db/schema.ts';
import { SqliteDatabase } from '../../src/db/sqlite-driver.ts';
import { migrateSqlite } from '../../src/db/sqlite-migrate.ts';
import { createSqliteStore } from '../../src/db/sqlite-store.ts';
import { silentLog } from './stores.ts';
import type { Call, Definition, Step } from '../../src/db/statement.ts';
import type { Store } from '../../src/db/store.ts';

export interface MemoryStore {
  readonly store: Store;
  /** For the eyes of those who judge. */
  readonly database: Sqlite.Database;
  /** As after the first start: no row is left. */
  empty(): void;
  backup(): Backup;
  /** As when the file is replaced by a copy of former times. */
  restore(backup: Backup): void;
}

/** All rows of all tables. */
export type Backup = ReadonlyMap<string, readonly Readonly<Record<string, unknown>>[]>;

/**
 * The product's store over a real SQLite in memory, for thousands of short lives one after the other. Every broker that is started defines its
 * statements anew; here those of one name, which are the same query by their own rule, are prepared once.
 */
export function openMemoryStore({ clock = systemClock }: { readonly clock?: Clock } = {}): MemoryStore {
  const database = new SqliteDatabase(':memory:');
  const tables = berthSchema.defineTables(sqliteKit);
  migrateSqlite(database, berthSchema, tables);
  const store = createSqliteStore({
    database,
    tables,
    settings: {},
    clock,
    random: seededRandom(1),
    log: silentLog,
    ballast: undefined,
    onFatal: (error) => {
      throw error;
    },
    close: () => void database.close(),
  });
  const known = new Map<string, Definition>();
  const canonical = <Row>(call: Call<Row>): Call<Row> => {
    const definition = known.get(call.definition.name) ?? call.definition;
    known.set(definition.name, definition);
    return { definition, values: call.values, [Symbol.iterator]: call[Symbol.iterator] };
  };
  const names = database
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '%migrations%' AND name NOT LIKE 'sqlite_%'",
    )
    .pluck()
    .all()
    .map(String);
  const deletes = names.map((name) => database.prepare(`DELETE FROM "${name}"`));
  /** While nothing refers to anything. */
  const unbound = (change: () => void) => {
    database.pragma('foreign_keys = OFF');
    change();
    database.pragma('foreign_keys = ON');
  };
  const empty = () => unbound(() => deletes.forEach((each) => each.run()));
  return {
    database,
    store: {
      ...store,
      read: (call) => store.read(canonical(call)),
      write: (body, isolation) => store.write(() => mapped(body(), canonical), isolation),
    },
    empty,
    backup: () =>
      new Map(names.map((name) => [name, database.prepare<[], Record<string, unknown>>(`SELECT * FROM "${name}"`).all()])),
    restore(backup) {
      empty();
      unbound(() => {
        for (const [name, rows] of backup)
          for (const row of rows) {
            const columns = Object.keys(row);
            const places = columns.map(() => '?').join(', ');
            database
              .prepare(`INSERT INTO "${name}" (${columns.map((each) => `"${each}"`).join(', ')}) VALUES (${places})`)
              .run(...Object.values(row));
          }
      });
    },
  };
}

/** The same body with other calls in the place of its own. */
export function* mapped<Result>(body: Step<Result>, change: (call: Call) => Call): Generator<Call, Result, unknown[]> {
  const steps = body[Symbol.iterator]();
  let step = steps.next([]);
  while (!step.done) step = steps.next(yield change(step.value));
  return step.value;
}
