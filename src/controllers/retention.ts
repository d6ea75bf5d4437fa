import type { Clock } from '../core/clock.ts';
import { DAY_MS, HOUR_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { Controller } from './controller.ts';

interface RetentionDeps {
  readonly sessions: Pick<SessionRepository, 'findRetired' | 'purge' | 'purgeIdempotency' | 'shredExpired'>;
  readonly sightings: Pick<SightingRepository, 'pruneObservations' | 'pruneStrays'>;
  readonly offers: { pruneFailures(before: number): Promise<number> };
  readonly store: { scrub(): Promise<boolean> };
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  readonly settings: { readonly periodMs: number; readonly sessionRetentionMs: number };
}

const PAGE = 200;
const OBSERVATIONS_KEPT_MS = 2 * DAY_MS;
const FAILURES_KEPT_MS = 2 * HOUR_MS;

/**
 * Deletes what is no longer needed: private keys past their replay time (and their bytes from the file), idempotency keys, old observations,
 * and settled sessions past their retention whose tombstones have ended.
 */
export function createRetentionController(deps: RetentionDeps): Controller {
  const { sessions, sightings, offers, store, clock, log, settings } = deps;
  return {
    name: 'session.retention',
    periodMs: settings.periodMs,
    async reconcile() {
      const now = clock.now();
      const shredded = await sessions.shredExpired(now);
      await store.scrub(); // also for the probe keys that ends of sessions deleted; held up by a reader, the next pass does it
      const keys = await sessions.purgeIdempotency(now);
      const observations = await sightings.pruneObservations(now - OBSERVATIONS_KEPT_MS);
      const strays = await sightings.pruneStrays(now - settings.sessionRetentionMs);
      const failures = await offers.pruneFailures(now - FAILURES_KEPT_MS);
      const retired = await sessions.findRetired({ before: now - settings.sessionRetentionMs, now, limit: PAGE });
      let failed = 0;
      for (const id of retired) {
        try {
          await sessions.purge(id);
        } catch (error) {
          failed += 1;
          log.error({ sessionId: id, error: describeError(error) }, 'session past its retention could not be deleted');
        }
      }
      const changed = shredded + keys + observations + strays + failures + (retired.length - failed);
      return {
        examined: changed + failed,
        changed,
        failed,
        details: { shredded, keys, observations, failures, sessions: retired.length - failed },
      };
    },
  };
}
