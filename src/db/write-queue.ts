import { setImmediate } from 'node:timers/promises';
import { retry, type Patience } from './retry.ts';
import { StoreError } from './store-error.ts';

/** What the queue needs of a better-sqlite3 connection. */
export interface WriteConnection {
  prepare(text: string): { run(): unknown };
  readonly inTransaction: boolean;
}

interface WriteQueueDeps {
  connection: WriteConnection;
  patience: Patience;
  /** Called when the disk is full, at most so often for one write: first what costs nothing, then what is held back for that day. */
  makeRoom?(tried: number): void;
  /** Told once when the disk failed: what is on it nobody knows. The process has to end and read it again. */
  onFatal(error: StoreError): void;
}

interface Waiting {
  /** Does the work and hands back what to do once it is on disk. */
  attempt(): () => void;
  reject(error: unknown): void;
}

// A create is some 250 µs of statements: a full group holds the event loop for about 4 ms, and has saved 15 of 16 fsyncs.
const LARGEST_GROUP = 16;
const MOST_TRIES_FOR_ROOM = 2;

/**
 * Group commit. Writes that wait at the same time share one transaction and its one fsync, each in a savepoint of its own, so that
 * one that fails takes nobody with it. Nobody hears of success before the COMMIT.
 * - A full disk rolls the whole group back, and SQLite leaves no savepoint to return to: the writes then go one by one, so that a
 *   small one (the wish to destroy) is not refused for the sake of a large one. What still does not fit is tried again after room was made.
 * - A disk that fails (SQLITE_IOERR…) is final. After a failed COMMIT the outcome is unknown, and to repeat it would be a lie, because
 *   the kernel reports a lost page once: every write from then on is refused with that error.
 */
export function createWriteQueue({ connection, patience, makeRoom, onFatal }: WriteQueueDeps) {
  const begin = connection.prepare('BEGIN IMMEDIATE'); // takes the write lock at once: an upgrade in mid-transaction fails without waiting
  const savepoint = connection.prepare('SAVEPOINT one');
  const rollbackTo = connection.prepare('ROLLBACK TO one');
  const release = connection.prepare('RELEASE one');
  const commit = connection.prepare('COMMIT');
  const rollback = connection.prepare('ROLLBACK');

  const waiting: Waiting[] = [];
  let draining: Promise<void> | undefined;
  let broken: StoreError | undefined;
  let closed: Error | undefined;

  /** Resolves with what the work returned once that is durable. The work may run again: whatever it did was rolled back. */
  function enqueue<Result>(work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (closed ?? broken) return reject(closed ?? broken);
      waiting.push({
        attempt: () => {
          const result = work();
          return () => resolve(result);
        },
        reject,
      });
      draining ??= drain();
    });
  }

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      await setImmediate(); // whoever arrives in this turn of the event loop joins
      await settle(waiting.splice(0, LARGEST_GROUP));
    }
    draining = undefined; // in the same turn as the last look at the queue, or a write that comes in between is forgotten
  }

  /** Never throws: every write of the group hears its own outcome. */
  async function settle(group: readonly Waiting[]): Promise<void> {
    try {
      if (broken) throw broken;
      await withRoom(group, () => retry(patience, () => commitGroup(group)));
    } catch (error) {
      if (isKind(error, 'disk-full') && group.length > 1) {
        for (const write of group) await settle([write]);
        return;
      }
      if (isKind(error, 'io') && !broken) {
        broken = error;
        onFatal(error);
      }
      for (const write of group) write.reject(error);
    }
  }

  async function withRoom(group: readonly Waiting[], commitAll: () => Promise<void>): Promise<void> {
    for (let tried = 0; ; tried += 1) {
      try {
        return await commitAll();
      } catch (error) {
        const isLast = group.length > 1 || !makeRoom || tried >= MOST_TRIES_FOR_ROOM;
        if (isLast || !isKind(error, 'disk-full')) throw error;
        makeRoom(tried);
      }
    }
  }

  function commitGroup(group: readonly Waiting[]): void {
    const settlements: (() => void)[] = [];
    let atCommit = false;
    try {
      begin.run();
      for (const write of group) settlements.push(attemptAlone(write));
      atCommit = true;
      commit.run();
    } catch (thrown) {
      const error = thrown instanceof StoreError ? thrown : new StoreError('commit', thrown, { atCommit });
      if (connection.inTransaction) undo(error);
      throw error;
    }
    for (const done of settlements) done();
  }

  /** One write in its savepoint. Throws only what ends the whole group. */
  function attemptAlone(write: Waiting): () => void {
    savepoint.run();
    try {
      const done = write.attempt();
      release.run();
      return done;
    } catch (error) {
      if (!connection.inTransaction || isKind(error, 'io') || isKind(error, 'disk-full')) throw error;
      rollbackTo.run();
      release.run();
      return () => write.reject(error);
    }
  }

  function undo(error: StoreError): void {
    try {
      rollback.run();
    } catch (thrown) {
      throw error.kind === 'io' ? error : new StoreError('rollback', thrown);
    }
  }

  return {
    enqueue,
    /** Refuses every further write with this error, and resolves when those that already wait are done. */
    async close(error: Error): Promise<void> {
      closed = error;
      await draining;
    },
  };
}

function isKind(error: unknown, kind: StoreError['kind']): error is StoreError {
  return error instanceof StoreError && error.kind === kind;
}
