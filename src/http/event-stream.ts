import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import type { SessionEvent } from '../db/tables.ts';
import type { SessionChanges } from '../sessions/session-changes.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';

interface EventStreamDeps {
  readonly sessions: Pick<SessionRepository, 'listEvents'>;
  readonly changes: Pick<SessionChanges, 'on'>;
  readonly clock: Pick<Clock, 'sleep'>;
}

const PAGE = 100;
/** Another replica may have written an event: it is looked for without being told. */
const LOOK_AGAIN_MS = SECOND_MS;

/**
 * The events of a session behind a version, as they come, until the signal. Every round reads the database from the last version on, so
 * none is missed and none is kept for a reader that is slow: while it is, nothing is read.
 */
export async function* eventsAfter(
  { sessions, changes, clock }: EventStreamDeps,
  { id, after, signal }: { readonly id: SessionId; readonly after: number; readonly signal: AbortSignal },
): AsyncGenerator<SessionEvent, void, void> {
  let last = after;
  while (!signal.aborted) {
    const changed = new AbortController();
    const unsubscribe = changes.on(id, () => changed.abort());
    try {
      const events = await sessions.listEvents({ id, after: last, limit: PAGE });
      for (const event of events) {
        yield event;
        last = event.version;
      }
      if (events.length > 0) continue;
      const wake = AbortSignal.any([changed.signal, signal]);
      await clock.sleep(LOOK_AGAIN_MS, wake).catch((error: unknown) => {
        if (!wake.aborted) throw error;
      });
    } finally {
      unsubscribe();
    }
  }
}
