import type { AccountSpendController } from '../controllers/account-spend.ts';
import type { Clock } from '../core/clock.ts';
import type { LeakSources } from '../observability/leak-gauges.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';

interface LeakSourcesDeps {
  readonly sessions: Pick<SessionRepository, 'unconfirmedAttempts' | 'countClosedAttempts'>;
  readonly sightings: Pick<SightingRepository, 'countAlive'>;
  readonly accountSpend: Pick<AccountSpendController, 'spend'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** What the gauges read that say "something may be leaking". */
export function leakSources({ sessions, sightings, accountSpend, clock }: LeakSourcesDeps): Required<LeakSources> {
  const ageMs = (since: number) => Math.max(0, clock.now() - since);
  return {
    unconfirmedInstances: async () =>
      (await sessions.unconfirmedAttempts()).map(({ oldestAt, ...row }) => ({ ...row, oldestAgeMs: ageMs(oldestAt) })),
    orphansAlive: async () =>
      (await sightings.countAlive()).map(({ firstSeenAt, ...row }) => ({ ...row, oldestAgeMs: ageMs(firstSeenAt) })),
    tombstones: () => sessions.countClosedAttempts(),
    accountSpend: () => accountSpend.spend(),
  };
}
