import { describe, expect, it } from 'vitest';
import { describeEachDatabase } from '../../test/support/stores.ts';
import { anAccount, PROBE_START, probeSchema, probeStatements, type ProbeTables } from './fixtures/probe-schema.ts';
import { statement } from './statement.ts';
import { StoreError } from './store-error.ts';
import { assertSettings } from './store.ts';

const schema = probeSchema(PROBE_START);

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describeEachDatabase<ProbeTables>(
  'store',
  (create, dialect) => {
    async function aStore() {
      const store = await (await create()).open();
      return { store, ...probeStatements(store) };
    }

    it('reads what was written, each value with its type', async () => {
      const { store, insert, find } = await aStore();
      const account = anAccount({ balance: Number.MAX_SAFE_INTEGER, open: false, labels: { ä: "it's" } });

      await store.write(() => insert(account));

      expect(await store.read(find({ id: account.id }))).toEqual([account]);
    });

    it('answers a duplicate with no row where the statement says ON CONFLICT DO NOTHING', async () => {
      const { store, insertIfNew } = await aStore();

      const rows = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.write(() => insertIfNew(anAccount({ owner: `owner-${i}` })))),
      );

      expect(rows.filter(([row]) => row !== undefined)).toHaveLength(1);
    });

    it('REL-D3: of twenty writes that read one version, one wins', async () => {
      const { store, insert, find, setBalance } = await aStore();
      await store.write(() => insert(anAccount()));

      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.write(() => setBalance({ id: 'a', version: 1, balance: i }))),
      );

      const winners = outcomes.flat();
      expect(winners).toHaveLength(1);
      expect(await store.read(find({ id: 'a' }))).toEqual(winners);
    });

    it('hands each call of a transaction its own rows, and returns what the body returns', async () => {
      const { store, insert, countByOwner } = await aStore();

      const seen = await store.write(function* () {
        const [first] = yield* insert(anAccount({ id: 'a' }));
        const [counted] = yield* countByOwner({ owner: 'ann' });
        return { id: first?.id, count: counted?.count };
      });

      expect(seen).toEqual({ id: 'a', count: 1 });
    });

    it('leaves nothing of a transaction whose body throws, and hands its error on', async () => {
      const { store, insert, list } = await aStore();
      const changedMyMind = new Error('changed my mind');

      const error = await failureOf(
        store.write(function* () {
          yield* insert(anAccount());
          throw changedMyMind;
        }),
      );

      expect(error).toBe(changedMyMind);
      expect(await store.read(list({}))).toEqual([]);
    });

    it('takes nobody else with it when one of many waiting writes fails', async () => {
      const { store, insert, list } = await aStore();

      const outcomes = await Promise.allSettled(
        Array.from({ length: 40 }, (_, i) =>
          store.write(function* () {
            yield* insert(anAccount({ id: `a${String(i).padStart(2, '0')}` }));
            if (i % 10 === 3) throw new Error('not me');
            return i;
          }),
        ),
      );

      expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(4);
      const kept = (await store.read(list({}))).map(({ id }) => id);
      expect(kept).toHaveLength(36);
      expect(kept).not.toContain('a13');
    });

    it('ends a transaction with its failed statement, which the body cannot catch', async () => {
      const { store, insert, list } = await aStore();

      const error = await failureOf(
        store.write(function* () {
          yield* insert(anAccount());
          try {
            yield* insert(anAccount());
          } catch {
            return 'never reached';
          }
          return 'nor this';
        }),
      );

      expect(error).toMatchObject({ name: 'StoreError', kind: 'unique', outcomeUnknown: false });
      expect(await store.read(list({}))).toEqual([]);
    });

    it('keeps a partial unique index, and lets pass what is outside it', async () => {
      const { store, insert } = await aStore();
      await store.write(() => insert(anAccount({ id: 'a', balance: -1 })));

      await store.write(() => insert(anAccount({ id: 'b', balance: 1 })));
      const error = await failureOf(store.write(() => insert(anAccount({ id: 'c', balance: -2 }))));

      expect(error).toMatchObject({ kind: 'unique' });
    });

    it('keeps foreign keys', async () => {
      const { store, insertEntry } = await aStore();

      const error = await failureOf(store.write(() => insertEntry({ accountId: 'nobody', version: 1 })));

      expect(error).toMatchObject({ kind: 'foreign-key' });
    });

    it('names no value in an error, however deep one looks', async () => {
      const { store, insert } = await aStore();
      const account = anAccount({ id: 'ses_sensitive', labels: { token: 'hunter2' } });
      await store.write(() => insert(account));

      const error = await failureOf(store.write(() => insert(account)));

      expect(error).toBeInstanceOf(StoreError);
      const everything = [error, (error as StoreError).cause].map((each) => [
        JSON.stringify(each, Object.getOwnPropertyNames(each)),
        String(each),
      ]);
      expect(everything.flat().join()).not.toMatch(/hunter2|ses_sensitive/);
    });

    it('leases rows to one owner each, until the lease has run out', async () => {
      const database = await create();
      const store = await database.open();
      const { insert, lease } = probeStatements(store);
      for (let i = 0; i < 40; i += 1) await store.write(() => insert(anAccount({ id: `a${i}` })));

      const leased = (
        await Promise.all(
          Array.from({ length: 8 }, (_, i) => store.write(() => lease({ owner: `replica-${i}`, ttlMs: 60_000, limit: 5 }))),
        )
      ).flat();

      expect(new Set(leased.map(({ id }) => id)).size).toBe(leased.length);
      const left = await store.write(() => lease({ owner: 'late', ttlMs: -1, limit: 100 }));
      expect(leased.length + left.length).toBe(40);
      expect(await store.write(() => lease({ owner: 'next', ttlMs: 60_000, limit: 100 }))).toHaveLength(left.length);
    });

    it('refuses what is no query builder, and says why', async () => {
      const { store } = await aStore();
      // @ts-expect-error `$count` is not among the builders; neither are run, all, get, execute
      const rawCount = statement('probe.raw-count', (query) => query.$count(store.tables.accounts));

      const error = await failureOf(store.read(rawCount({})));

      expect(error).toBeInstanceOf(TypeError);
      expect(String(error)).toMatch(/cannot be prepared|not a function/);
    });

    it('finishes the writes under way when it closes, and refuses later ones', async () => {
      const database = await create();
      const store = await database.open();
      const { insert } = probeStatements(store);
      const writes = Array.from({ length: 30 }, (_, i) => store.write(() => insert(anAccount({ id: `a${i}` }))));

      await Promise.all([...writes, store.close()]);

      await expect(store.write(() => insert(anAccount({ id: 'late' })))).rejects.toThrow('the store is closed');
      const again = await database.open();
      expect(await again.read(probeStatements(again).countByOwner({ owner: 'ann' }))).toEqual([{ count: 30 }]);
    });

    it('closes twice without complaint', async () => {
      const { store } = await aStore();

      await store.close();

      await expect(store.close()).resolves.toBeUndefined();
    });

    it('has a second opinion on the time only where the database has a clock of its own', async () => {
      const { store } = await aStore();

      const witnessed = await store.clockWitness?.now();

      expect(typeof witnessed).toBe(dialect === 'postgres' ? 'number' : 'undefined');
      expect(Number.isSafeInteger(witnessed ?? 0)).toBe(true);
    });
  },
  schema,
);

describe('statement', () => {
  it('refuses a name that PostgreSQL would cut off', () => {
    expect(() => statement('x'.repeat(64), (query) => query.select().from({} as never))).toThrow(/longer than 63/);
  });
});

describe('assertSettings', () => {
  it('names the setting, what it is and what it must be', () => {
    expect(() => assertSettings({ synchronous: 1 }, { synchronous: [2] })).toThrow(
      'database setting synchronous is 1, must be 2',
    );
  });
});
