import { and, asc, eq, gt, inArray, isNull, lte, notExists, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { MicroUsd } from '../core/money.ts';
import { limitTo, statement } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { Attempt, AttemptState, Session, SessionStatus } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';

export interface UnconfirmedAttempts {
  readonly provider: ProviderId;
  readonly state: 'destroying' | 'unknown';
  readonly count: number;
  /** By the open segment; without one, as offered. */
  readonly microsPerHour: MicroUsd;
  /** When the oldest was told to end, or was about to be made. */
  readonly oldestAt: EpochMs;
}

const LIVE_STATUSES: SessionStatus[] = ['pending', 'provisioning', 'running', 'stopping'];

/** What there is to do: the questions that controllers and gauges ask again and again. Part of the session repository; writes nothing. */
export function createSessionWorkRepository(store: Store) {
  const { sessions, attempts, costSegments } = store.tables;

  const findAwaiting = statement('session.find-awaiting-attempt', (query, values: { now: EpochMs; limit: number }) =>
    query
      .select({ id: sessions.id, provider: sessions.provider })
      .from(sessions)
      .where(
        and(
          inArray(sessions.status, ['pending', 'provisioning']),
          inArray(sessions.phase, ['queued', 'retrying']),
          lte(sessions.dueAt, values.now),
          notExists(
            query
              .select({ one: sql`1` })
              .from(attempts)
              .where(
                and(eq(attempts.sessionId, sessions.id), inArray(attempts.state, ['intent', 'unknown', 'live', 'destroying'])),
              ),
          ),
        ),
      )
      .orderBy(asc(sessions.dueAt), asc(sessions.id))
      .limit(limitTo(values.limit)),
  );
  const nextAwaiting = statement('session.next-awaiting-due', (query, values: { now: EpochMs }) =>
    query
      .select({ at: sql`min(${sessions.dueAt})`.mapWith(Number) })
      .from(sessions)
      .where(
        and(
          inArray(sessions.status, ['pending', 'provisioning']),
          inArray(sessions.phase, ['queued', 'retrying']),
          gt(sessions.dueAt, values.now),
        ),
      ),
  );
  const findDueAttempts = statement('attempt.find-due', (query, values: { state: AttemptState; now: EpochMs; limit: number }) =>
    query
      .select()
      .from(attempts)
      .where(and(eq(attempts.state, values.state), lte(attempts.dueAt, values.now)))
      .orderBy(asc(attempts.dueAt), asc(attempts.sessionId))
      .limit(limitTo(values.limit)),
  );
  const nextDueAttempt = statement('attempt.next-due', (query, values: { state: AttemptState; now: EpochMs }) =>
    query
      .select({ at: sql`min(${attempts.dueAt})`.mapWith(Number) })
      .from(attempts)
      .where(and(eq(attempts.state, values.state), gt(attempts.dueAt, values.now))),
  );
  const findLive = statement('attempt.find-live', (query, values: { status: SessionStatus; limit: number }) =>
    query
      .select({ attempt: attempts })
      .from(attempts)
      .innerJoin(sessions, eq(sessions.id, attempts.sessionId))
      .where(and(eq(attempts.state, 'live'), eq(sessions.status, values.status), eq(sessions.desired, 'run')))
      .orderBy(asc(attempts.dueAt), asc(attempts.sessionId))
      .limit(limitTo(values.limit)),
  );
  const findDueKeys = statement(
    'attempt.find-due-keys',
    (query, values: { state: AttemptState; now: EpochMs; limit: number }) =>
      query
        .select({ sessionId: attempts.sessionId, ordinal: attempts.ordinal })
        .from(attempts)
        .where(and(eq(attempts.state, values.state), lte(attempts.dueAt, values.now)))
        .orderBy(asc(attempts.dueAt), asc(attempts.sessionId))
        .limit(limitTo(values.limit)),
  );
  const findLiveKeys = statement('attempt.find-live-keys', (query, values: { status: SessionStatus; limit: number }) =>
    query
      .select({ sessionId: attempts.sessionId, ordinal: attempts.ordinal })
      .from(attempts)
      .innerJoin(sessions, eq(sessions.id, attempts.sessionId))
      .where(and(eq(attempts.state, 'live'), eq(sessions.status, values.status), eq(sessions.desired, 'run')))
      .orderBy(asc(attempts.dueAt), asc(attempts.sessionId))
      .limit(limitTo(values.limit)),
  );
  const findHeld = statement('attempt.find-held', (query, values: { provider: ProviderId }) =>
    query
      .select()
      .from(attempts)
      .where(
        and(eq(attempts.provider, values.provider), inArray(attempts.state, ['live', 'unknown', 'verifying', 'destroying'])),
      ),
  );
  const findExpired = statement('session.find-expired', (query, values: { now: EpochMs; limit: number }) =>
    query
      .select()
      .from(sessions)
      .where(and(eq(sessions.desired, 'run'), lte(sessions.expiresAt, values.now)))
      .orderBy(asc(sessions.expiresAt))
      .limit(limitTo(values.limit)),
  );
  const findPastHardDeadline = statement('session.find-past-hard-deadline', (query, values: { now: EpochMs; limit: number }) =>
    query
      .select()
      .from(sessions)
      .where(and(eq(sessions.desired, 'run'), lte(sessions.hardDeadlineAt, values.now)))
      .orderBy(asc(sessions.hardDeadlineAt))
      .limit(limitTo(values.limit)),
  );
  const nextExpiry = statement('session.next-expiry', (query, values: { now: EpochMs }) =>
    query
      .select({ at: sql`min(${sessions.expiresAt})`.mapWith(Number) })
      .from(sessions)
      .where(and(eq(sessions.desired, 'run'), gt(sessions.expiresAt, values.now))),
  );
  const findIdleWatched = statement('session.find-idle-watched', (query, values: { limit: number }) =>
    query
      .select()
      .from(sessions)
      .where(and(eq(sessions.status, 'running'), eq(sessions.desired, 'run'), gt(sessions.idleThresholdMinutes, 0)))
      .orderBy(asc(sessions.id))
      .limit(limitTo(values.limit)),
  );
  const findUnsettled = statement('session.find-unsettled', (query, values: { limit: number }) =>
    query
      .select()
      .from(sessions)
      .where(
        and(
          inArray(sessions.status, ['stopped', 'failed']),
          isNull(sessions.settledCostMicros),
          notExists(
            query
              .select({ one: sql`1` })
              .from(costSegments)
              .where(
                and(eq(costSegments.sessionId, sessions.id), isNull(costSegments.toAt), eq(costSegments.payer, 'attempt')),
              ),
          ),
        ),
      )
      .orderBy(asc(sessions.id))
      .limit(limitTo(values.limit)),
  );
  const countLive = statement('session.count-live', (query) =>
    query
      .select({ provider: sessions.provider, status: sessions.status, count: sql`count(*)`.mapWith(Number) })
      .from(sessions)
      .where(inArray(sessions.status, LIVE_STATUSES))
      .groupBy(sessions.provider, sessions.status),
  );
  /** Of ended sessions too: what came back after it was gone is to be destroyed again. */
  const countDestroying = statement('attempt.count-destroying', (query) =>
    query
      .select({ provider: attempts.provider, count: sql`count(*)`.mapWith(Number) })
      .from(attempts)
      .innerJoin(sessions, eq(sessions.id, attempts.sessionId))
      .where(and(eq(attempts.state, 'destroying'), inArray(sessions.status, ['stopped', 'failed'])))
      .groupBy(attempts.provider),
  );
  const unconfirmedDestroys = statement('attempt.unconfirmed-destroys', (query) =>
    query
      .select({ count: sql`count(*)`.mapWith(Number), oldestAt: sql`min(${attempts.destroyRequestedAt})`.mapWith(Number) })
      .from(attempts)
      .where(eq(attempts.state, 'destroying')),
  );

  const unconfirmedAttempts = statement('attempt.unconfirmed', (query) =>
    query
      .select({
        provider: attempts.provider,
        state: attempts.state,
        count: sql`count(*)`.mapWith(Number),
        microsPerHour: sql`sum(coalesce(${attempts.billingRate}, ${attempts.priceMicrosPerHour}))`.mapWith(Number),
        oldestAt: sql`min(coalesce(${attempts.destroyRequestedAt}, ${attempts.intentAt}))`.mapWith(Number),
      })
      .from(attempts)
      .where(inArray(attempts.state, ['destroying', 'unknown']))
      .groupBy(attempts.provider, attempts.state),
  );
  const countClosed = statement('attempt.count-closed', (query) =>
    query
      .select({ count: sql`count(*)`.mapWith(Number) })
      .from(attempts)
      .where(eq(attempts.state, 'gone')),
  );

  return {
    /** Sessions that wait for an attempt to be begun, the longest due first. */
    findAwaitingAttempt: (request: { now: EpochMs; limit: number }): Promise<Pick<Session, 'id' | 'provider'>[]> =>
      store.read(findAwaiting(request)),
    async nextAwaitingAttemptAt(now: EpochMs): Promise<EpochMs | undefined> {
      return instant((await store.read(nextAwaiting({ now }))).at(0)?.at);
    },
    findDueAttempts: (request: { state: AttemptState; now: EpochMs; limit: number }): Promise<Attempt[]> =>
      store.read(findDueAttempts(request)),
    /** The same by their keys alone, for who looks often. */
    findDueKeys: (request: {
      state: AttemptState;
      now: EpochMs;
      limit: number;
    }): Promise<Pick<Attempt, 'sessionId' | 'ordinal'>[]> => store.read(findDueKeys(request)),
    async nextDueAttemptAt(state: AttemptState, now: EpochMs): Promise<EpochMs | undefined> {
      return instant((await store.read(nextDueAttempt({ state, now }))).at(0)?.at);
    },
    /** The same by their keys alone, for who looks often. */
    findLiveKeys: (request: { status: SessionStatus; limit: number }): Promise<Pick<Attempt, 'sessionId' | 'ordinal'>[]> =>
      store.read(findLiveKeys(request)),
    /** Live attempts of sessions in a status, whose consumers still want them. */
    async findLive(request: { status: SessionStatus; limit: number }): Promise<Attempt[]> {
      return (await store.read(findLive(request))).map(({ attempt }) => attempt);
    },
    /** Every attempt of a provider of which something may be seen: the rows that a listing is compared with. */
    findHeld: (provider: ProviderId): Promise<Attempt[]> => store.read(findHeld({ provider })),
    findExpired: (request: { now: EpochMs; limit: number }): Promise<Session[]> => store.read(findExpired(request)),
    findPastHardDeadline: (request: { now: EpochMs; limit: number }): Promise<Session[]> =>
      store.read(findPastHardDeadline(request)),
    async nextExpiryAt(now: EpochMs): Promise<EpochMs | undefined> {
      return instant((await store.read(nextExpiry({ now }))).at(0)?.at);
    },
    findIdleWatched: (request: { limit: number }): Promise<Session[]> => store.read(findIdleWatched(request)),
    /** Ended sessions whose last segment is closed and whose cost is not fixed yet. */
    findUnsettled: (request: { limit: number }): Promise<Session[]> => store.read(findUnsettled(request)),
    /** Open sessions by provider and status: what the gauge shows. */
    countLive: (): Promise<{ provider: ProviderId; status: SessionStatus; count: number }[]> => store.read(countLive({})),
    /** Instances by provider that came back after their session had ended, and are not gone again. */
    countReappeared: (): Promise<{ provider: ProviderId; count: number }[]> => store.read(countDestroying({})),
    async unconfirmedDestroys(): Promise<{ count: number; oldestAt: EpochMs | undefined }> {
      const [row] = await store.read(unconfirmedDestroys({}));
      return { count: row?.count ?? 0, oldestAt: instant(row?.oldestAt) };
    },
    /** What may exist although nobody wants it or knows it, by provider: since when the oldest is so, and what they cost an hour. */
    async unconfirmedAttempts(): Promise<UnconfirmedAttempts[]> {
      const rows = await store.read(unconfirmedAttempts({}));
      return rows.map(({ state, ...row }) => ({ ...row, state: state === 'unknown' ? state : 'destroying' }));
    },
    /** Attempts that are over and whose tag, if it is seen again, is known by its row. */
    async countClosedAttempts(): Promise<number> {
      return (await store.read(countClosed({})))[0]?.count ?? 0;
    },
  };
}

/** An aggregate over no rows is null, whatever its type says. */
function instant(at: EpochMs | null | undefined): EpochMs | undefined {
  return at === null || at === undefined || at === 0 ? undefined : at;
}
