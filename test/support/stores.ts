import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, describe, inject } from 'vitest';
import type {} from './postgres-server.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Log } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { Secret } from '../../src/core/secret.ts';
import { openStoreOf, type OpenStoreRequest } from '../../src/db/open-store.ts';
import { berthSchema, type Schema } from '../../src/db/schema.ts';
import type { Store } from '../../src/db/store.ts';
import type { Tables } from '../../src/db/tables.ts';

export type Dialect = Store['dialect'];
export const DIALECTS = ['sqlite', 'postgres'] as const satisfies readonly Dialect[];

/** What a test may want otherwise: its own clock, say. */
export type StoreOverrides = Partial<Omit<OpenStoreRequest, 'url' | 'path'>>;
export type OpenStore<Defined = Tables> = (overrides?: StoreOverrides) => Promise<Store<Defined>>;

/** One database of its own, which can be opened again, or twice where the dialect allows it; gone after the test. */
export interface TestDatabase<Defined = Tables> {
  readonly dialect: Dialect;
  /** SQLite's file, in a folder of its own. */
  readonly path: string;
  readonly url: Secret<string> | undefined;
  readonly open: OpenStore<Defined>;
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/**
 * Runs the same tests on both dialects: on a SQLite file and on a real PostgreSQL. Every call of `open` is a new, empty, migrated
 * database; all are closed and deleted after each test. Berth's tables, unless a schema says otherwise.
 */
export function describeEachStore(name: string, define: (open: OpenStore, dialect: Dialect) => void): void {
  describeEachDatabase(name, (create, dialect) => define(async (overrides) => (await create()).open(overrides), dialect));
}

/** The same for tests that open one database more than once: a restart, two replicas. */
export function describeEachDatabase<Defined extends object = Tables>(
  name: string,
  define: (create: () => Promise<TestDatabase<Defined>>, dialect: Dialect) => void,
  // holds because Defined is only something else where a schema is given
  schema: Schema<Defined> = berthSchema as unknown as Schema<Defined>,
): void {
  describe.each(DIALECTS)(`${name} (%s)`, (dialect) => {
    define(databases(dialect, schema), dialect);
  });
}

/** Makes databases of one dialect and, after each test of the enclosing describe, deletes them. */
export function databases<Defined extends object>(
  dialect: Dialect,
  schema: Schema<Defined>,
): () => Promise<TestDatabase<Defined>> {
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  return async () => {
    const folder = await mkdtemp(join(tmpdir(), 'berth-store-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const url = dialect === 'postgres' ? await createDatabase(cleanups) : undefined;
    const path = join(folder, 'berth.db');
    return {
      dialect,
      path,
      url,
      open: async (overrides = {}) => {
        const store = await openStoreOf(schema, {
          path,
          url,
          clock: systemClock,
          random: systemRandom,
          log: silentLog,
          onFatal: (error) => {
            throw error;
          },
          ...overrides,
        });
        cleanups.push(() => store.close());
        return store;
      },
    };
  };
}

/** The run's server; throws when the run has none. */
export function postgresUrl(): string {
  const url = inject('postgresUrl');
  if (!url) throw new Error('no PostgreSQL in this run: vitest needs test/support/postgres-server.ts as a globalSetup');
  return url;
}

async function createDatabase(cleanups: (() => Promise<void>)[]): Promise<Secret<string>> {
  const server = postgresUrl();
  const name = `test_${randomBytes(8).toString('hex')}`;
  await asSuperuser(server, `CREATE DATABASE ${name}`);
  cleanups.push(() => asSuperuser(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  return new Secret(url.href);
}

async function asSuperuser(url: string, text: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
