import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import type { Clock, EpochMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Secret } from '../core/secret.ts';
import { postgresKit } from './columns.ts';
import { driveAsync } from './drive.ts';
import { migratePostgres } from './postgres-migrate.ts';
import { prepareOnce } from './prepare-once.ts';
import { retry } from './retry.ts';
import type { Schema } from './schema.ts';
import type { Call, QueryBuilder, Step } from './statement.ts';
import { StoreError } from './store-error.ts';
import { assertSettings, type Isolation, type Store } from './store.ts';

interface PostgresRequest<Defined> {
  schema: Schema<Defined>;
  url: Secret<string>;
  clock: Clock;
  random: Pick<Random, 'next'>;
  log: Log;
}

type Execute = (call: Call) => Promise<unknown[]>;

const OLDEST_SERVER = 130_000;
const LIMITS = {
  max: 10,
  connectionTimeoutMillis: 2_000, // also the longest wait for a free connection
  lock_timeout: 2_000,
  statement_timeout: 7_000,
  query_timeout: 9_000, // counted here: a connection that a firewall has forgotten answers nothing, not even that (REL-E9)
  idle_in_transaction_session_timeout: 15_000,
};

/** Opens a database that several replicas may share, migrated and checked. Throws, with the reason, when it is not fit. */
export async function openPostgres<Defined extends object>(request: PostgresRequest<Defined>): Promise<Store<Defined>> {
  const connection = { connectionString: request.url.reveal(), keepAlive: true, application_name: 'berth' };
  const tables = request.schema.defineTables(postgresKit);
  await migratePostgres({ ...connection, connectionTimeoutMillis: 10_000 }, request.schema, tables);

  const pool = new pg.Pool({ ...connection, ...LIMITS });
  const lost = (error: Error) =>
    request.log.warn({ code: new StoreError('connection', error).code }, 'database connection lost');
  pool.on('error', lost); // an idle one broke: the pool has dropped it
  pool.on('connect', (client) => client.on('error', () => {})); // one in use broke: its query tells, the event would end the process
  try {
    const settings = await readSettings(pool);
    return createPostgresStore({ pool, tables, settings, patience: request });
  } catch (error) {
    await pool.end();
    throw error;
  }
}

interface PostgresStoreParts<Defined> {
  pool: pg.Pool;
  tables: Defined;
  settings: Store['settings'];
  patience: Pick<PostgresRequest<Defined>, 'clock' | 'random'>;
}

function createPostgresStore<Defined>({ pool, tables, settings, patience }: PostgresStoreParts<Defined>): Store<Defined> {
  const executors = new WeakMap<pg.Pool | pg.PoolClient, Execute>();
  const underWay = new Set<Promise<unknown>>();
  let closing: Promise<void> | undefined;

  /** The pool forgets who waits for a connection when it ends: so the store remembers, and refuses what comes later. */
  function track<Result>(act: () => Promise<Result>): Promise<Result> {
    if (closing) return Promise.reject(new Error('the store is closed'));
    const acting = act();
    underWay.add(acting);
    const forget = () => underWay.delete(acting);
    acting.then(forget, forget);
    return acting;
  }

  async function finish(): Promise<void> {
    await Promise.allSettled(underWay);
    await pool.end();
  }

  /** A statement prepared on the pool would escape the transaction; so each connection keeps its own, for its whole life. */
  function executorOf(connection: pg.Pool | pg.PoolClient): Execute {
    const known = executors.get(connection);
    if (known) return known;
    const made = createExecutor(connection);
    executors.set(connection, made);
    return made;
  }

  async function attempt<Result>(body: () => Step<Result>, isolation: Isolation): Promise<Result> {
    const client = await connect(pool);
    let broken = false;
    try {
      await ask(client, `BEGIN ISOLATION LEVEL ${isolation}`);
      const result = await driveAsync(body(), executorOf(client));
      const end = await ask(client, 'COMMIT');
      if (end !== 'COMMIT') throw new Error(`a transaction was answered ${end}`); // it had failed, and a body went on
      return result;
    } catch (error) {
      broken = error instanceof StoreError && error.kind === 'io';
      if (!broken) await ask(client, 'ROLLBACK').catch(() => (broken = true));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  return {
    dialect: 'postgres',
    tables,
    settings,
    leaseNow: sql<number>`(extract(epoch from now()) * 1000)::bigint`,
    skipLocked: (select) => (select as Lockable<typeof select>).for('no key update', { skipLocked: true }),
    clockWitness: {
      now: () => track(() => readClock(pool)),
    },
    // holds because the rows are those of this call's statement
    read: <Row>(call: Call<Row>) => track(async () => (await executorOf(pool)(call)) as Row[]),
    write: (body, isolation = 'read committed') => track(() => retry(patience, () => attempt(body, isolation))),
    scrub: async () => true,
    close: () => (closing ??= finish()),
  };
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw new StoreError('connect', error);
  }
}

/** A command of the transaction itself; answers what the server says it did. */
async function ask(client: pg.PoolClient, command: string): Promise<string> {
  try {
    return (await client.query(command)).command;
  } catch (error) {
    throw new StoreError(command.toLowerCase(), error, { atCommit: command === 'COMMIT' });
  }
}

/** Executes statements on a connection, each prepared at its first use. */
export function createExecutor(connection: pg.Pool | pg.PoolClient | pg.Client): Execute {
  // holds because tables and queries come from one definition whose types are SQLite's
  const query = drizzle(connection) as unknown as QueryBuilder;
  const prepared = prepareOnce(query, (built, name) => (built as unknown as PostgresPreparable).prepare(name));

  return async ({ definition, values }) => {
    const ready = prepared(definition);
    try {
      return await ready.execute(values);
    } catch (error) {
      throw new StoreError(definition.name, error);
    }
  };
}

/** What a query and a select really are here, behind SQLite's types. */
interface PostgresPreparable {
  prepare(name: string): { execute(values: Record<string, unknown>): Promise<unknown[]> };
}
interface Lockable<Select> {
  for(strength: 'no key update', config: { skipLocked: true }): Select;
}

async function readClock(pool: pg.Pool): Promise<EpochMs> {
  try {
    const { rows } = await pool.query<{ now: string }>(
      'SELECT floor(extract(epoch from clock_timestamp()) * 1000)::text AS now',
    );
    return Number(rows[0]?.now);
  } catch (error) {
    throw new StoreError('read clock', error);
  }
}

async function readSettings(pool: pg.Pool): Promise<Store['settings']> {
  const [found] = await settingsOf(pool);
  if (!found) throw new Error('PostgreSQL reports no settings');
  const { server_version_num: version, ...settings } = found;
  if (Number(version) < OLDEST_SERVER) throw new Error(`PostgreSQL is ${version}, must be 13 or newer`);
  return assertSettings(settings, { fsync: ['on'], full_page_writes: ['on'], synchronous_commit: ['on', 'remote_apply'] });
}

type Setting = 'server_version_num' | 'fsync' | 'full_page_writes' | 'synchronous_commit';

async function settingsOf(pool: pg.Pool): Promise<Record<Setting, string>[]> {
  try {
    const { rows } = await pool.query<Record<Setting, string>>(`
      SELECT current_setting('server_version_num') AS server_version_num, current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes, current_setting('synchronous_commit') AS synchronous_commit`);
    return rows;
  } catch (error) {
    throw new StoreError('read settings', error);
  }
}
