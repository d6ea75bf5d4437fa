import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import type { SessionId } from '../core/ids.ts';
import type { Session } from '../db/tables.ts';
import type { SessionFilter } from '../sessions/session-repository.ts';
import { drain } from './drain.ts';

/** Sessions that are told to end and do it only when a test says so. */
function openSessions(count: number) {
  const wished: SessionId[] = [];
  const rows = Array.from({ length: count }, (_, index) => ({
    id: `ses_${String(count - index).padStart(26, '0')}` as SessionId, // holds: the prefix and 26 characters
    desired: 'run' as Session['desired'],
    status: 'running' as Session['status'],
  }));
  return {
    rows,
    wished,
    sessions: {
      list: async ({ beforeId, limit }: SessionFilter) =>
        rows
          .filter(({ id, status }) => status !== 'stopped' && (beforeId === undefined || id < beforeId))
          .slice(0, limit) as Session[], // the drain reads no more of them
    },
    writer: {
      apply: async (id: SessionId) => {
        const row = rows.find((each) => each.id === id);
        if (row) Object.assign(row, { desired: 'gone', status: 'stopping' });
        wished.push(id);
      },
    } as never, // the drain needs no answer
  };
}

describe('drain', () => {
  it('REL-C13: tells every session to end, however many there are and however long the newest of them take', async () => {
    const { rows, wished, sessions, writer } = openSessions(2_500);
    const clock = new FakeClock();
    const draining = drain({ sessions, writer, clock, log: recordingLog() }, new AbortController().signal);

    await clock.advance(2_000);

    expect(new Set(wished)).toEqual(new Set(rows.map(({ id }) => id)));
    expect(wished).toHaveLength(2_500);
    for (const row of rows) row.status = 'stopped';
    await clock.advance(2_000);
    await draining;
  });
});
