import { sql } from 'drizzle-orm';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { recordingLog } from '../../test/support/log.ts';
import { databases, silentLog } from '../../test/support/stores.ts';
import { systemClock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { Secret } from '../core/secret.ts';
import { anAccount, PROBE_START, probeSchema, probeStatements, type ProbeTables } from './fixtures/probe-schema.ts';
import { openStoreOf } from './open-store.ts';
import { statement } from './statement.ts';
import { StoreError } from './store-error.ts';
import type { Isolation, Store } from './store.ts';

const schema = probeSchema(PROBE_START);

const oneRow = sql`(select 1) as one`;

describe('PostgreSQL store', () => {
  const create = databases('postgres', schema);

  async function twoReplicas() {
    const database = await create();
    const stores: [Store<ProbeTables>, Store<ProbeTables>] = [await database.open(), await database.open()];
    return { database, stores };
  }

  /** Somebody else on the server, outside any store. */
  async function visit<Result>(url: Secret<string> | undefined, act: (client: pg.Client) => Promise<Result>): Promise<Result> {
    const client = new pg.Client(url?.reveal());
    await client.connect();
    try {
      return await act(client);
    } finally {
      await client.end();
    }
  }

  /** Holds two transactions at `passGate` until both are there, so that they truly overlap. */
  function withGate<Result>(url: Secret<string> | undefined, act: () => Promise<Result>): Promise<Result> {
    return visit(url, async (client) => {
      await client.query('SELECT pg_advisory_lock(1)');
      const acting = act();
      await expect
        .poll(async () => {
          const { rows } = await client.query<{ waiting: string }>(`SELECT count(*) AS waiting FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`);
          return Number(rows[0]?.waiting);
        })
        .toBe(2);
      await client.query('SELECT pg_advisory_unlock(1)');
      return acting;
    });
  }

  it('reports that commits are synced', async () => {
    const store = await (await create()).open();

    expect(store.settings).toEqual({ fsync: 'on', full_page_writes: 'on', synchronous_commit: 'on' });
  });

  it('refuses a server that would lose commits', async () => {
    const database = await create();
    await visit(database.url, async (client) => {
      const name = new URL(database.url?.reveal() ?? '').pathname.slice(1);
      await client.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    });

    await expect(database.open()).rejects.toThrow('database setting synchronous_commit is off, must be on or remote_apply');
  });

  it('REL-D1: of two replicas that read one version, one wins', async () => {
    const { stores } = await twoReplicas();
    const [first, second] = stores;
    await first.write(() => probeStatements(first).insert(anAccount()));

    for (let version = 1; version <= 20; version += 1) {
      const outcomes = await Promise.all(
        stores.map((store, balance) => store.write(() => probeStatements(store).setBalance({ id: 'a', version, balance }))),
      );
      expect(outcomes.flat()).toHaveLength(1);
    }

    expect(await second.read(probeStatements(second).find({ id: 'a' }))).toMatchObject([{ version: 21 }]);
  });

  /** Each of the two may spend while the total stays under the limit; together they would go over it. */
  async function spendTogether(isolation: Isolation) {
    const { database, stores } = await twoReplicas();
    let runs = 0;
    const spend = (store: Store<ProbeTables>, id: string) => {
      const { countByOwner, insertIfNew } = probeStatements(store);
      return store.write(function* () {
        runs += 1; // a body must be pure; the counter is the experiment
        const [spent] = yield* countByOwner({ owner: 'ann' });
        if ((spent?.count ?? 0) >= 1) return false;
        yield* passGate({});
        yield* insertIfNew(anAccount({ id }));
        return true;
      }, isolation);
    };
    const allowed = await withGate(database.url, () => Promise.all(stores.map((store, index) => spend(store, `a${index}`))));
    return { allowed: allowed.filter(Boolean).length, runs };
  }

  it('REL-D6: a serialization failure runs the whole body again, and the limit holds', async () => {
    const { allowed, runs } = await spendTogether('serializable');

    expect(allowed).toBe(1);
    expect(runs).toBeGreaterThan(2);
  });

  it('lets the same two through at read committed, which is why the other exists', async () => {
    expect(await spendTogether('read committed')).toEqual({ allowed: 2, runs: 2 });
  });

  it('REL-D6: the loser of a deadlock runs again, and both commit', async () => {
    const { database, stores } = await twoReplicas();
    const [first] = stores;
    for (const id of ['a', 'b']) await first.write(() => probeStatements(first).insert(anAccount({ id })));
    let runs = 0;

    const touchInTurn = (store: Store<ProbeTables>, ids: readonly [string, string]) => {
      const { touch } = probeStatements(store);
      return store.write(function* () {
        runs += 1;
        yield* touch({ id: ids[0] });
        yield* passGate({});
        yield* touch({ id: ids[1] });
      });
    };
    await withGate(database.url, () => Promise.all([touchInTurn(stores[0], ['a', 'b']), touchInTurn(stores[1], ['b', 'a'])]));

    expect(runs).toBeGreaterThan(2);
    expect(await first.read(probeStatements(first).list({}))).toMatchObject([{ version: 3 }, { version: 3 }]);
  });

  it('passes over rows that another replica has locked, instead of waiting for it', async () => {
    const { database, stores } = await twoReplicas();
    const [store] = stores;
    const { insert, lease } = probeStatements(store);
    for (const id of ['a', 'b', 'c']) await store.write(() => insert(anAccount({ id })));

    const leased = await visit(database.url, async (client) => {
      await client.query('BEGIN');
      await client.query("SELECT * FROM accounts WHERE id = 'a' FOR NO KEY UPDATE");
      return store.write(() => lease({ owner: 'me', ttlMs: 1_000, limit: 2 }));
    });

    expect(leased.map(({ id }) => id).toSorted()).toEqual(['b', 'c']);
  });

  it('REL-D4: leases go by the clock of the database', async () => {
    const database = await create();
    const store = await database.open({ clock: { ...systemClock, now: () => 0 } });
    const { insert, lease } = probeStatements(store);
    await store.write(() => insert(anAccount()));

    const [leased] = await store.write(() => lease({ owner: 'me', ttlMs: 60_000, limit: 1 }));

    const witnessed = (await store.clockWitness?.now()) ?? 0;
    expect(leased?.leaseExpiresAt).toBeGreaterThan(witnessed);
    expect(leased?.leaseExpiresAt).toBeLessThanOrEqual(witnessed + 60_000);
  });

  it('executes a statement of the pool inside the transaction that asks for it', async () => {
    const store = await (await create()).open();
    const { insert, countByOwner, list } = probeStatements(store);
    await store.read(countByOwner({ owner: 'ann' })); // prepared on the pool

    const undone = store.write(function* () {
      yield* insert(anAccount());
      const [seen] = yield* countByOwner({ owner: 'ann' });
      throw new Error(`saw ${seen?.count}`);
    });

    await expect(undone).rejects.toThrow('saw 1');
    expect(await store.read(list({}))).toEqual([]);
  });

  it('REL-E8: a connection lost in mid-transaction is a StoreError, and the next write works', async () => {
    const store = await (await create()).open();
    const { insert, list } = probeStatements(store);

    const cut = store.write(function* () {
      yield* insert(anAccount());
      yield* killOwnConnection({});
    });

    await expect(cut).rejects.toSatisfy((error) => error instanceof StoreError && error.kind === 'io');
    await store.write(() => insert(anAccount({ id: 'next' })));
    expect(await store.read(list({}))).toMatchObject([{ id: 'next' }]);
  });

  it('REL-E8: a connection lost while idle ends nothing, and is logged', async () => {
    const log = recordingLog();
    const database = await create();
    const store = await database.open({ log });
    await store.read(probeStatements(store).list({}));

    const { rowCount } = await visit(database.url, (client) =>
      client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'berth' AND datname = current_database()`,
      ),
    );

    await expect.poll(() => log.messages('warn')).toHaveLength(rowCount ?? 0);
    expect(rowCount).toBeGreaterThan(0);
    expect(new Set(log.messages('warn'))).toEqual(new Set(['database connection lost']));
    expect(await store.read(probeStatements(store).list({}))).toEqual([]);
  });

  it('REL-E8: a connection lost at COMMIT leaves the outcome unknown, and is not tried again', async () => {
    const database = await create();
    // A deferred trigger runs inside COMMIT, and cuts the connection there.
    await (await database.open()).close();
    await visit(database.url, async (client) => {
      await client.query(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
      );
      await client.query(
        'CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON accounts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()',
      );
    });
    const store = await database.open();
    let runs = 0;

    const cut = store.write(function* () {
      runs += 1;
      yield* probeStatements(store).insert(anAccount());
    });

    await expect(cut).rejects.toMatchObject({ kind: 'io', outcomeUnknown: true });
    expect(runs).toBe(1);
  });

  it('gives up waiting for a free connection, instead of piling up', async () => {
    const database = await create();
    const store = await database.open();
    const reads = Array.from({ length: 12 }, () => store.read(longPause({})));

    const outcomes = await Promise.allSettled(reads);

    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThanOrEqual(2);
    for (const outcome of refused) expect(outcome).toMatchObject({ reason: { kind: 'io', code: 'CONNECTION_TIMEOUT' } });
  });

  it('says that nobody answers, without the password', async () => {
    const url = new Secret('postgres://berth:hunter2@127.0.0.1:1/berth');

    const error: unknown = await openStoreOf(schema, request(url)).catch((thrown: unknown) => thrown);

    expect(error).toMatchObject({ name: 'StoreError', kind: 'io', code: 'ECONNREFUSED' });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hunter2');
  });

  it.each(['mysql://berth:hunter2@localhost/berth', 'postgres://berth:hunter2@:port/berth', 'berth'])(
    'refuses an address that is none, without repeating it (%#)',
    async (text) => {
      const error: unknown = await openStoreOf(schema, request(new Secret(text))).catch((thrown: unknown) => thrown);

      expect(String(error)).toMatch(/DATABASE_URL is no PostgreSQL address/);
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hunter2');
    },
  );

  const request = (url: Secret<string>) => ({
    url,
    path: '',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    onFatal: () => {},
  });
});

const passGate = statement('probe.pass-gate', (query) =>
  query.select({ passed: sql`pg_advisory_xact_lock_shared(1)::text` }).from(oneRow),
);

const longPause = statement('probe.long-pause', (query) => query.select({ slept: sql`pg_sleep(3)::text` }).from(oneRow));

const killOwnConnection = statement('probe.kill-own-connection', (query) =>
  query.select({ done: sql`pg_terminate_backend(pg_backend_pid())` }).from(oneRow),
);
