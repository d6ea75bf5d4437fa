import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { countedId } from '../../test/support/counted-ids.ts';
import type { SessionEvent } from '../db/tables.ts';
import { createSessionChanges } from '../sessions/session-changes.ts';
import { eventsAfter } from './event-stream.ts';

const id = countedId('ses', 1);

function aHistory(count: number): SessionEvent[] {
  return Array.from({ length: count }, (_, at) => ({
    sessionId: id,
    version: at + 1,
    kind: 'session.extended',
    at: 0,
    data: {},
  }));
}

describe('eventsAfter', () => {
  it('REL-G11: reads no further for a reader that is slow', async () => {
    const history = aHistory(1_000);
    let read = 0;
    const sessions = {
      listEvents: async ({ after, limit }: { after: number; limit: number }) => {
        const page = history.filter(({ version }) => version > after).slice(0, limit);
        read += page.length;
        return page;
      },
    };
    const stream = eventsAfter(
      { sessions, changes: createSessionChanges(), clock: new FakeClock() },
      { id, after: 0, signal: new AbortController().signal },
    );

    const seen: number[] = [];
    for await (const { version } of stream) {
      seen.push(version);
      if (seen.length === 150) break;
    }

    expect(seen).toEqual(history.slice(0, 150).map(({ version }) => version));
    expect(read).toBe(200);
  });

  it('finds what another process wrote, though nobody told it', async () => {
    const clock = new FakeClock();
    const history = aHistory(1);
    const sessions = { listEvents: async ({ after }: { after: number }) => history.filter(({ version }) => version > after) };
    const stream = eventsAfter(
      { sessions, changes: createSessionChanges(), clock },
      { id, after: 1, signal: new AbortController().signal },
    );
    const next = stream.next();
    await clock.settle();

    history.push(...aHistory(2).slice(1));
    await clock.advance(1_000);

    expect((await next).value).toMatchObject({ version: 2 });
    await stream.return();
  });

  it('ends with its signal', async () => {
    const clock = new FakeClock();
    const end = new AbortController();
    const sessions = { listEvents: async () => [] };
    const stream = eventsAfter({ sessions, changes: createSessionChanges(), clock }, { id, after: 0, signal: end.signal });
    const next = stream.next();
    await clock.settle();

    end.abort(new Error('enough'));

    expect(await next).toMatchObject({ done: true });
  });
});
