import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';

interface DrainDeps {
  readonly sessions: Pick<SessionRepository, 'list'>;
  readonly writer: SessionWriter;
  readonly clock: Clock;
  readonly log: Log;
}

const PAGE = 1_000;

/** Ends every open session and waits until the provider has said gone of each, for as long as it takes or until aborted. */
export async function drain({ sessions, writer, clock, log }: DrainDeps, signal: AbortSignal): Promise<void> {
  for (;;) {
    const open = await sessions.list({ statuses: ['pending', 'provisioning', 'running', 'stopping'], limit: PAGE });
    if (open.length === 0) return;
    for (const { id, desired } of open) {
      if (desired === 'gone') continue;
      try {
        await writer.apply(id, { kind: 'stop_requested', reason: 'drained' });
      } catch (error) {
        log.error({ sessionId: id, error: describeError(error) }, 'session could not be drained');
      }
    }
    log.info({ open: open.length }, 'draining: waiting for sessions to end');
    await clock.sleep(SECOND_MS, signal);
  }
}
