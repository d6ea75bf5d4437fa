import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { SESSION_ID, START, aSession } from './fixtures/session-records.ts';
import { createSessionChanges } from './session-changes.ts';
import type { SessionRecord } from './session-record.ts';
import { isEnded } from './session-state.ts';
import { createSessionWaiter } from './session-waiter.ts';

/** A table of one row, which another replica may change without a word. */
function aWaiter() {
  const clock = new FakeClock(START);
  const changes = createSessionChanges();
  const table = { record: { session: aSession(), attempts: [] } as SessionRecord | undefined, reads: 0 };
  const sessions = {
    find: async () => {
      table.reads += 1;
      return table.record;
    },
  };
  const end = () => (table.record = { session: aSession({ status: 'stopped' }), attempts: [] });
  const waiter = createSessionWaiter({ sessions, changes, clock });
  const wait = (timeoutMs: number, signal?: AbortSignal) =>
    waiter.wait({ id: SESSION_ID, until: ({ session }) => isEnded(session), timeoutMs, ...(signal ? { signal } : {}) });
  const tell = () => changes.publish({ session: aSession(), events: [], failures: [], releasedOffers: [] });
  return { clock, table, end, wait, tell };
}

/** What a promise has come to so far. */
function outcomeOf<Value>(promise: Promise<Value>): { settled: boolean } {
  const outcome = { settled: false };
  promise.finally(() => (outcome.settled = true)).catch(() => undefined); // looked at by the test itself
  return outcome;
}

describe('the session waiter', () => {
  it('answers at once when the session is as it is wanted, or when no time is given', async () => {
    const { wait, end } = aWaiter();
    expect((await wait(0))?.session.status).toBe('pending');

    end();
    expect((await wait(MINUTE_MS))?.session.status).toBe('stopped');
  });

  it('wakes with the change, not with the next look', async () => {
    const { wait, end, tell, clock } = aWaiter();
    const waiting = wait(MINUTE_MS);
    await clock.settle();

    end();
    tell();

    expect((await waiting)?.session.status).toBe('stopped');
    expect(clock.monotonicMs()).toBe(0);
    expect(clock.sleeping).toBe(0);
  });

  it('looks again by itself, since another replica may have written the row', async () => {
    const { wait, end, clock } = aWaiter();
    const waiting = wait(MINUTE_MS);
    await clock.settle();

    end();
    await clock.advance(SECOND_MS);

    expect((await waiting)?.session.status).toBe('stopped');
  });

  it('hands back the state so far when time is up', async () => {
    const { wait, clock } = aWaiter();
    const waiting = wait(10 * SECOND_MS);
    const outcome = outcomeOf(waiting);

    await clock.advance(10 * SECOND_MS - 1);
    expect(outcome.settled).toBe(false);
    await clock.advance(1);

    expect((await waiting)?.session.status).toBe('pending');
  });

  it('hands back the state so far when nobody listens any more', async () => {
    const { wait, clock } = aWaiter();
    const gone = new AbortController();
    const waiting = wait(MINUTE_MS, gone.signal);
    await clock.settle();

    gone.abort(new Error('the client has gone'));

    expect((await waiting)?.session.status).toBe('pending');
    expect(clock.sleeping).toBe(0);
  });

  it('says that there is no such session, also when it is deleted in between', async () => {
    const { wait, table, tell, clock } = aWaiter();
    const waiting = wait(MINUTE_MS);
    await clock.settle();

    table.record = undefined;
    tell();

    expect(await waiting).toBeUndefined();
  });

  it('a change between the look and the wait is not missed', async () => {
    const { table, end, tell, clock } = aWaiter();
    const changes = createSessionChanges();
    const waiter = createSessionWaiter({
      changes,
      clock,
      sessions: {
        find: async () => {
          const before = table.record;
          if (table.reads === 0) {
            end();
            changes.publish({ session: aSession(), events: [], failures: [], releasedOffers: [] });
          }
          table.reads += 1;
          return before;
        },
      },
    });

    const record = await waiter.wait({ id: SESSION_ID, until: ({ session }) => isEnded(session), timeoutMs: MINUTE_MS });

    expect(record?.session.status).toBe('stopped');
    expect(clock.monotonicMs()).toBe(0);
    tell();
  });
});
