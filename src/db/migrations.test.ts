import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { databases, DIALECTS, silentLog, type Dialect, type TestDatabase } from '../../test/support/stores.ts';
import { anAccount, PROBE_START, probeSchema, probeStatements, type ProbeMigration } from './fixtures/probe-schema.ts';
import { openStoreOf, type OpenStoreRequest } from './open-store.ts';
import { systemClock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { sqliteKit } from './columns.ts';
import { berthSchema, type Schema } from './schema.ts';
import * as postgresSchema from './schema.postgres.ts';
import * as sqliteSchema from './schema.sqlite.ts';

const start = probeSchema(PROBE_START);

describe.each(DIALECTS)('migrations (%s)', (dialect: Dialect) => {
  const create = databases(dialect, start);

  /** The database of a test, opened by another build. */
  async function openBy<Defined extends object>(
    build: Schema<Defined>,
    { path, url }: Pick<TestDatabase<never>, 'path' | 'url'>,
  ) {
    const request: OpenStoreRequest = {
      path,
      url,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      onFatal: () => {},
    };
    return openStoreOf(build, request);
  }

  const later = (text: string | ((dialect: Dialect) => string[]), tag = '0001_later'): ProbeMigration => ({
    tag,
    statements: (of) => (typeof text === 'string' ? [text] : text(of)),
  });

  it("makes Berth's own tables, from the first to the last migration", async () => {
    const database = await create();

    const store = await openBy(berthSchema, database);

    expect(Object.keys(store.tables)).toContain('sessions');
    await store.close();
    await (await openBy(berthSchema, database)).close();
  });

  it('adds what a newer build brings, and keeps the rows', async () => {
    const database = await create();
    const old = await database.open();
    await old.write(() => probeStatements(old).insert(anAccount()));
    await old.close();

    const store = await openBy(probeSchema(PROBE_START, later('ALTER TABLE accounts ADD COLUMN note text')), database);

    expect(await store.read(probeStatements(store).find({ id: 'a' }))).toEqual([anAccount()]);
    await store.close();
  });

  it('REL-E12: refuses a database that a newer build has migrated', async () => {
    const database = await create();
    await (await openBy(probeSchema(PROBE_START, later('ALTER TABLE accounts ADD COLUMN note text')), database)).close();

    await expect(database.open()).rejects.toThrow(/newer than this Berth: it has had migration 0001_later/);
  });

  it('REL-E12: refuses a database whose migrations are not those of this build', async () => {
    const database = await create();
    await (await database.open()).close();
    const changed = probeSchema({ ...PROBE_START, statements: (of) => [...PROBE_START.statements(of), 'SELECT 1'] });

    await expect(openBy(changed, database)).rejects.toThrow(/has had another migration 0000_start/);
  });

  it('REL-E12: leaves nothing of a migration that fails half-way', async () => {
    const database = await create();
    await (await database.open()).close();
    const broken = probeSchema(
      PROBE_START,
      later(() => ['ALTER TABLE accounts ADD COLUMN note text', 'ALTER TABLE nowhere ADD COLUMN note text']),
    );

    await expect(openBy(broken, database)).rejects.toThrow(/migration 0001_later failed/);

    const mended = probeSchema(PROBE_START, later('ALTER TABLE accounts ADD COLUMN note text'));
    await (await openBy(mended, database)).close();
  });

  it('REL-E12: refuses a database that lacks a unique index, and names it', async () => {
    const database = await create();
    const without = {
      ...PROBE_START,
      statements: (of: Dialect) => PROBE_START.statements(of).filter((text) => !/UNIQUE/.test(text)),
    };

    await expect(openBy(probeSchema(without), database)).rejects.toThrow(/lacks unique index accounts_one_debtor/);
  });

  it('REL-E12: refuses a database that lacks a table or a column, and names both', async () => {
    const database = await create();
    const without: ProbeMigration = { tag: '0000_start', statements: () => ['CREATE TABLE accounts (id text)'] };

    await expect(openBy(probeSchema(without), database)).rejects.toThrow(/column accounts\.owner.*table entries/s);
  });
});

describe('migrations of SQLite', () => {
  const create = databases('sqlite', start);
  const rebuild = later(['DROP TABLE accounts', 'ALTER TABLE rebuilt RENAME TO accounts']);

  /** What drizzle-kit writes to change a column: a new table, the rows copied, the old one dropped. */
  function later(ending: string[], copy = 'INSERT INTO rebuilt SELECT * FROM accounts'): ProbeMigration {
    return {
      tag: '0001_rebuild',
      statements: (dialect) => [
        'PRAGMA foreign_keys=OFF',
        PROBE_START.statements(dialect)[0]?.replace('TABLE accounts', 'TABLE rebuilt') ?? '',
        copy,
        ...ending,
        'CREATE UNIQUE INDEX accounts_one_debtor ON accounts (owner) WHERE balance < 0',
        'PRAGMA foreign_keys=ON',
      ],
    };
  }

  async function withAChild() {
    const database = await create();
    const store = await database.open();
    const { insert, insertEntry } = probeStatements(store);
    await store.write(function* () {
      yield* insert(anAccount());
      yield* insertEntry({ accountId: 'a', version: 1 });
    });
    await store.close();
    return database;
  }
  const request = (path: string) => ({ path, clock: systemClock, random: systemRandom, log: silentLog, onFatal: () => {} });

  it('keep the children of a table that is rebuilt', async () => {
    const { path } = await withAChild();

    const store = await openStoreOf(probeSchema(PROBE_START, rebuild), request(path));

    expect(await store.read(probeStatements(store).countEntries({ accountId: 'a' }))).toEqual([{ count: 1 }]);
    expect(store.settings['foreign_keys']).toBe(1);
    await store.close();
  });

  it('are undone when they would leave rows that point at nothing', async () => {
    const database = await withAChild();
    const losesRows = later(['DROP TABLE accounts', 'ALTER TABLE rebuilt RENAME TO accounts'], 'SELECT 1');

    await expect(openStoreOf(probeSchema(PROBE_START, losesRows), request(database.path))).rejects.toThrow(/point at nothing/);

    const store = await database.open();
    expect(await store.read(probeStatements(store).find({ id: 'a' }))).toHaveLength(1);
  });
});

describe('migrations of PostgreSQL', () => {
  const create = databases('postgres', start);

  it('are done once when four replicas start at the same time', async () => {
    const database = await create();

    const stores = await Promise.all(Array.from({ length: 4 }, () => database.open()));

    expect(stores).toHaveLength(4);
  });

  it('refuse a database that has tables of the same names and is not ours', async () => {
    const { url, path } = await create();
    const pool = new pg.Pool({ connectionString: url?.reveal() });
    await pool.query('CREATE TABLE accounts (id text)');
    await pool.end();

    const opening = openStoreOf(start, {
      path,
      url,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      onFatal: () => {},
    });

    await expect(opening).rejects.toThrow(/is not Berth's: it holds the tables accounts/);
  });
});

describe('the schema files of drizzle-kit', () => {
  it.each([
    ['sqlite', sqliteSchema],
    ['postgres', postgresSchema],
  ])('export every table (%s): one that is left out would have no migration', (_, exported) => {
    const defined = berthSchema.defineTables(sqliteKit);

    expect(Object.keys(exported).toSorted()).toEqual(Object.keys(defined).toSorted());
  });
});
