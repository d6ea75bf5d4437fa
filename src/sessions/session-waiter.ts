import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import type { SessionChanges } from './session-changes.ts';
import type { SessionRecord } from './session-record.ts';
import type { SessionRepository } from './session-repository.ts';

interface WaitRequest {
  readonly id: SessionId;
  readonly until: (record: SessionRecord) => boolean;
  readonly timeoutMs: number;
  /** Aborted when nobody listens any more or the broker shuts down: the wait ends early, with the state so far. */
  readonly signal?: AbortSignal;
}

export type SessionWaiter = ReturnType<typeof createSessionWaiter>;

/** Holds a caller until a session is as it wants it, or time is up: the state so far then, never an error. */
export function createSessionWaiter({
  sessions,
  changes,
  clock,
}: {
  readonly sessions: Pick<SessionRepository, 'find'>;
  readonly changes: SessionChanges;
  readonly clock: Clock;
}) {
  return {
    /** Undefined when there is no such session. */
    async wait({ id, until, timeoutMs, signal }: WaitRequest): Promise<SessionRecord | undefined> {
      const endsAt = clock.monotonicMs() + timeoutMs;
      for (;;) {
        const changed = new AbortController();
        const unsubscribe = changes.on(id, () => changed.abort());
        try {
          const record = await sessions.find(id);
          const leftMs = endsAt - clock.monotonicMs();
          if (!record || until(record) || leftMs <= 0 || signal?.aborted) return record;
          // another replica may have written it: look again by ourselves
          const wake = signal ? AbortSignal.any([changed.signal, signal]) : changed.signal;
          await clock.sleep(Math.min(leftMs, SECOND_MS), wake).catch((error: unknown) => {
            if (!wake.aborted) throw error;
          });
        } finally {
          unsubscribe();
        }
      }
    },
  };
}
