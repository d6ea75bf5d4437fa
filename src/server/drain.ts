import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Session } from '../db/tables.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';

interface DrainDeps {
  readonly sessions: Pick<SessionRepository, 'list'>;
  readonly writer: SessionWriter;
  readonly clock: Clock;
  readonly log: Log;
}

const PAGE = 1_000;
const OPEN = { statuses: ['pending', 'provisioning', 'running', 'stopping'], limit: PAGE } as const;

/** Ends every open session and waits until the provider has said gone of each, for as long as it takes or until aborted. */
export async function drain(deps: DrainDeps, signal: AbortSignal): Promise<void> {
  const { sessions, clock, log } = deps;
  for (;;) {
    let open = 0;
    let beforeId: Session['id'] | undefined;
    do {
      const page = await sessions.list({ ...OPEN, ...(beforeId === undefined ? {} : { beforeId }) });
      open += page.length;
      await stopAll(deps, page);
      beforeId = page.length < PAGE ? undefined : page.at(-1)?.id;
    } while (beforeId !== undefined);
    if (open === 0) return;
    log.info({ open }, 'draining: waiting for sessions to end');
    await clock.sleep(SECOND_MS, signal);
  }
}

async function stopAll({ writer, log }: DrainDeps, sessions: readonly Session[]): Promise<void> {
  for (const { id, desired } of sessions) {
    if (desired === 'gone') continue;
    try {
      await writer.apply(id, { kind: 'stop_requested', reason: 'drained' });
    } catch (error) {
      log.error({ sessionId: id, error: describeError(error) }, 'session could not be drained');
    }
  }
}
