import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { SqliteDatabase } from './sqlite-driver.ts';
import { StoreError } from './store-error.ts';
import { createWriteQueue, type WriteConnection } from './write-queue.ts';

const patience = { clock: systemClock, random: systemRandom };

describe('write queue', () => {
  let folder: string;
  let database: InstanceType<typeof SqliteDatabase>;
  let fatal: StoreError[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-queue-'));
    database = new SqliteDatabase(join(folder, 'queue.db'));
    database.pragma('journal_mode = WAL');
    database.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, payload BLOB)');
    fatal = [];
  });

  afterEach(() => {
    database.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The real connection, except for what a test does to one of its commands. */
  function connection(changes: Record<string, () => void> = {}, commands: string[] = []): WriteConnection {
    return {
      get inTransaction() {
        return database.inTransaction;
      },
      prepare(text) {
        const real = database.prepare(text);
        return {
          run: () => {
            commands.push(text);
            changes[text]?.();
            return real.run();
          },
        };
      },
    };
  }

  const queueOn = (on: WriteConnection) =>
    createWriteQueue({ connection: on, patience, onFatal: (error) => fatal.push(error) });

  function insert(id: number, bytes = 1) {
    try {
      database.prepare('INSERT INTO t VALUES (?, zeroblob(?))').run(id, bytes);
    } catch (error) {
      throw new StoreError('insert', error);
    }
    return id;
  }
  const ids = () => database.prepare('SELECT id FROM t ORDER BY id').pluck().all();
  const diskError = (code: string) => () => {
    throw new SqliteDatabase.SqliteError('disk I/O error', code);
  };

  it('gives writes that wait together one commit, at most sixteen at a time', async () => {
    const commands: string[] = [];
    const queue = queueOn(connection({}, commands));

    await Promise.all(Array.from({ length: 40 }, (_, i) => queue.enqueue(() => insert(i))));

    expect(commands.filter((text) => text === 'COMMIT')).toHaveLength(3);
    expect(ids()).toHaveLength(40);
  });

  it('tells nobody of success before the commit', async () => {
    const heard: string[] = [];
    const queue = queueOn(connection({ COMMIT: () => heard.push('commit') }));

    await queue.enqueue(() => insert(1)).then(() => heard.push('success'));

    expect(heard).toEqual(['commit', 'success']);
  });

  it('undoes a failed write alone, and does the others of its group', async () => {
    const queue = queueOn(connection());

    const outcomes = await Promise.allSettled([
      queue.enqueue(() => insert(1)),
      queue.enqueue(() => {
        insert(2);
        throw new Error('not me');
      }),
      queue.enqueue(() => insert(3)),
    ]);

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(ids()).toEqual([1, 3]);
  });

  it('runs a group again whose start lost against another process', async () => {
    let busy = 2;
    const begin = () => {
      if (busy-- > 0) throw new SqliteDatabase.SqliteError('database is locked', 'SQLITE_BUSY');
    };
    const queue = queueOn(connection({ 'BEGIN IMMEDIATE': begin }));

    await expect(queue.enqueue(() => insert(1))).resolves.toBe(1);
  });

  it('refuses on a full disk only what does not fit', async () => {
    database.pragma(`max_page_count = ${Number(database.pragma('page_count', { simple: true })) + 4}`);
    const queue = queueOn(connection());

    const outcomes = await Promise.allSettled([
      queue.enqueue(() => insert(1)),
      queue.enqueue(() => insert(2, 1_000_000)),
      queue.enqueue(() => insert(3)),
    ]);

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(outcomes[1]).toMatchObject({ reason: { kind: 'disk-full', outcomeUnknown: false } });
    expect(ids()).toEqual([1, 3]);
    expect(fatal).toEqual([]);
  });

  it('REL-E3: makes room on a full disk, first without giving anything up, and then writes what did not fit', async () => {
    database.pragma(`max_page_count = ${Number(database.pragma('page_count', { simple: true })) + 4}`);
    const tries: number[] = [];
    const makeRoom = (tried: number) => {
      tries.push(tried);
      if (tried === 1) database.pragma('max_page_count = 1000000');
    };
    const queue = createWriteQueue({ connection: connection(), patience, makeRoom, onFatal: (error) => fatal.push(error) });

    const outcomes = await Promise.allSettled([queue.enqueue(() => insert(1, 1_000_000)), queue.enqueue(() => insert(2))]);

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(tries).toEqual([0, 1]);
    expect(ids()).toEqual([1, 2]);
  });

  it('REL-E3: gives up what does not fit in the room that was made either', async () => {
    database.pragma(`max_page_count = ${Number(database.pragma('page_count', { simple: true })) + 4}`);
    const tries: number[] = [];
    const makeRoom = (tried: number) => void tries.push(tried);
    const queue = createWriteQueue({ connection: connection(), patience, makeRoom, onFatal: (error) => fatal.push(error) });

    await expect(queue.enqueue(() => insert(1, 1_000_000))).rejects.toMatchObject({ kind: 'disk-full' });

    expect(tries).toEqual([0, 1]);
    expect(fatal).toEqual([]);
  });

  it('REL-E4: after a failed fsync calls the outcome unknown, says so once, and writes no more', async () => {
    const queue = queueOn(connection({ COMMIT: diskError('SQLITE_IOERR_FSYNC') }));

    const outcomes = await Promise.allSettled([queue.enqueue(() => insert(1)), queue.enqueue(() => insert(2))]);
    const late = queue.enqueue(() => insert(3));

    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { kind: 'io', outcomeUnknown: true } });
    await expect(late).rejects.toMatchObject({ kind: 'io', code: 'SQLITE_IOERR_FSYNC' });
    expect(fatal).toHaveLength(1);
    expect(fatal[0]?.outcomeUnknown).toBe(true);
  });

  it('refuses the writes that waited behind a failed disk', async () => {
    const queue = queueOn(connection({ COMMIT: diskError('SQLITE_IOERR') }));

    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => queue.enqueue(() => insert(i))));

    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    expect(fatal).toHaveLength(1);
    expect(ids()).toEqual([]);
  });

  it('calls a disk error in mid-transaction fatal, but its outcome known', async () => {
    const queue = queueOn(connection());

    const failed = queue.enqueue(() => {
      insert(1);
      throw new StoreError('read', new SqliteDatabase.SqliteError('disk I/O error', 'SQLITE_IOERR_READ'));
    });

    await expect(failed).rejects.toMatchObject({ kind: 'io', outcomeUnknown: false });
    expect(fatal).toHaveLength(1);
    expect(ids()).toEqual([]);
  });

  it('does what waits when it closes, and refuses what comes later', async () => {
    const queue = queueOn(connection());
    const waiting = queue.enqueue(() => insert(1));

    await queue.close(new Error('closed'));

    await expect(waiting).resolves.toBe(1);
    await expect(queue.enqueue(() => insert(2))).rejects.toThrow('closed');
  });
});
