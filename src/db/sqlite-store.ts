import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import type Sqlite from 'better-sqlite3';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { createBallast, type Ballast } from './ballast.ts';
import { sqliteKit } from './columns.ts';
import { drive } from './drive.ts';
import { prepareOnce } from './prepare-once.ts';
import type { Schema } from './schema.ts';
import { openSqliteFile, readSettings } from './sqlite-file.ts';
import { migrateSqlite } from './sqlite-migrate.ts';
import type { Call } from './statement.ts';
import { StoreError } from './store-error.ts';
import type { Store } from './store.ts';
import { createWriteQueue } from './write-queue.ts';

interface SqliteRequest<Defined> {
  schema: Schema<Defined>;
  path: string;
  clock: Clock;
  random: Pick<Random, 'next'>;
  log: Log;
  /** Whether room is held back beside the file. */
  withBallast: boolean;
  onFatal(error: StoreError): void;
}

/**
 * Pages of the log after which it is folded into the file: SQLite's own default, and while the disk is full. A log that had eaten the last
 * room could not be folded any more, since the file has to grow for it.
 */
const LOG_PAGES = { usual: 1_000, onFullDisk: 32 };
const NO_ROOM = 'the disk of the database is full: no session is made until there is room again; ends go on';

/** The name of the placeholder behind `leaseNow`; no repository's value can be called so. */
const LEASE_NOW = 'store.leaseNow';

/**
 * Opens a file, migrated and checked. It is the only connection of the only process: a second writer's busy wait would block the
 * very thread that has to let it in. Throws, with the reason, when the file cannot be trusted or is somebody else's.
 */
export function openSqlite<Defined extends object>({
  schema,
  path,
  clock,
  random,
  log,
  withBallast,
  onFatal,
}: SqliteRequest<Defined>): Store<Defined> {
  const { database, exclusivity } = openSqliteFile(path);
  const close = () => {
    database.close();
    exclusivity.release();
  };
  try {
    const tables = schema.defineTables(sqliteKit);
    migrateSqlite(database, schema, tables);
    const settings = readSettings(database);
    const ballast = withBallast ? createBallast({ databasePath: database.name, clock }) : undefined;
    return createSqliteStore({ database, tables, settings, clock, random, log, ballast, onFatal, close });
  } catch (error) {
    close();
    throw error;
  }
}

interface SqliteStoreParts<Defined> extends Omit<SqliteRequest<Defined>, 'schema' | 'path' | 'withBallast'> {
  database: Sqlite.Database;
  tables: Defined;
  settings: Store['settings'];
  ballast: Ballast | undefined;
  close(): void;
}

/** The store over a connection that is open, migrated and configured; what `openSqlite` adds is the file. */
export function createSqliteStore<Defined>(parts: SqliteStoreParts<Defined>): Store<Defined> {
  const { database, tables, settings, clock, random, log, ballast, onFatal } = parts;
  const prepared = prepareOnce(drizzle(database), (built) => built.prepare());
  const queue = createWriteQueue({ connection: database, patience: { clock, random }, makeRoom, onFatal });
  let closing: Promise<void> | undefined;
  let hadRoom = true;
  hasRoom();

  /** A log that was folded into the file has often been the larger part of what was written. */
  function makeRoom(tried: number): void {
    if (tried > 0 && ballast?.release()) hasRoom();
    try {
      database.pragma('wal_checkpoint(TRUNCATE)');
    } catch (thrown) {
      const error = new StoreError('checkpoint', thrown);
      if (error.kind === 'io') throw error; // else the next try tells
    }
  }

  function hasRoom(): boolean {
    const had = hadRoom;
    hadRoom = ballast?.holds() ?? true;
    if (hadRoom === had) return hadRoom;
    database.pragma(`wal_autocheckpoint = ${hadRoom ? LOG_PAGES.usual : LOG_PAGES.onFullDisk}`);
    if (hadRoom) log.warn({ path: database.name }, 'there is room again on the disk of the database');
    else log.error({ path: database.name }, NO_ROOM);
    return hadRoom;
  }

  function execute({ definition, values }: Call): unknown[] {
    try {
      return prepared(definition)
        .execute({ ...values, [LEASE_NOW]: clock.now() })
        .sync();
    } catch (error) {
      throw isDriverError(error) ? new StoreError(definition.name, error) : error;
    }
  }

  function assertOpen(): void {
    if (closing) throw closedError();
  }

  return {
    dialect: 'sqlite',
    tables,
    settings,
    leaseNow: sql<number>`${sql.placeholder(LEASE_NOW)}`,
    skipLocked: (select) => select,
    hasRoom,
    read: async <Row>(call: Call<Row>) => {
      assertOpen();
      return execute(call) as Row[]; // holds because the rows are those of this call's statement
    },
    write: (body) => queue.enqueue(() => drive(body(), execute)),
    scrub: async () => {
      assertOpen();
      try {
        return database.pragma('wal_checkpoint(TRUNCATE)', { simple: true }) === 0; // its first column says busy
      } catch (error) {
        throw new StoreError('scrub', error);
      }
    },
    close: () => (closing ??= queue.close(closedError()).then(parts.close)),
  };
}

const closedError = () => new Error('the store is closed');

/** What SQLite refused, as opposed to a mistake in a statement or a body, which must stay what it is. */
function isDriverError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_');
}
