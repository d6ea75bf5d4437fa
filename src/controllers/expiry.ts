import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Session } from '../db/tables.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { StopReason } from '../sessions/session-state.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { Controller, Report } from './controller.ts';

interface ExpiryDeps {
  readonly sessions: Pick<SessionRepository, 'findExpired' | 'findPastHardDeadline' | 'nextExpiryAt'>;
  readonly writer: SessionWriter;
  /** Steady: a jump of the machine's clock expires nobody. */
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  readonly settings: { readonly periodMs: number };
}

const PAGE = 500;

/** Ends sessions whose reservation is over. It only stores the wish; the termination destroys. */
export function createExpiryController(deps: ExpiryDeps): Controller {
  const { sessions, clock, settings } = deps;
  return {
    name: 'session.expiry',
    periodMs: settings.periodMs,
    async reconcile() {
      const now = clock.now();
      const report = await stopAll(deps, await sessions.findExpired({ now, limit: PAGE }));
      const wakeAt = report.wakeAt ?? (await sessions.nextExpiryAt(now));
      return { ...report, ...(wakeAt === undefined ? {} : { wakeAt }) };
    },
  };
}

/** The backstop: ends sessions that have reached the maximum that no extension lifts, whatever their expiry says. */
export function createHardMaximumController(deps: ExpiryDeps): Controller {
  const { sessions, clock, settings } = deps;
  return {
    name: 'session.hard-maximum',
    periodMs: settings.periodMs,
    reconcile: async () => stopAll(deps, await sessions.findPastHardDeadline({ now: clock.now(), limit: PAGE })),
  };
}

async function stopAll({ writer, clock, log }: ExpiryDeps, due: readonly Session[]): Promise<Report> {
  let changed = 0;
  let failed = 0;
  for (const { id, expiresAt, hardDeadlineAt } of due) {
    // whose reservation reaches to the maximum could not have been extended: it is the maximum that ends it
    const reason: StopReason = expiresAt >= hardDeadlineAt ? 'hard_max' : 'expired';
    try {
      if ((await writer.apply(id, { kind: 'stop_requested', reason })).outcome === 'changed') changed += 1;
    } catch (error) {
      failed += 1;
      log.error({ sessionId: id, reason, error: describeError(error) }, 'session could not be stopped');
    }
  }
  const isMoreToDo = due.length === PAGE && changed > 0;
  return { examined: due.length, changed, failed, ...(isMoreToDo ? { wakeAt: clock.now() } : {}) };
}
