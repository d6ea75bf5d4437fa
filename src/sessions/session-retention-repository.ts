import { and, asc, eq, gt, isNotNull, lt, lte, notExists, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import { limitTo, statement } from '../db/statement.ts';
import type { Store } from '../db/store.ts';

/** What is kept no longer: keys past their time, and sessions that nobody will ask for again. Part of the session repository. */
export function createSessionRetentionRepository(store: Store) {
  const { sessions, attempts, events, secrets, idempotency, costSegments, claims } = store.tables;

  const deleteExpiredSecrets = statement('secret.delete-expired', (query, values: { now: EpochMs }) =>
    query
      .delete(secrets)
      .where(and(isNotNull(secrets.expiresAt), lte(secrets.expiresAt, values.now)))
      .returning({ id: secrets.id }),
  );
  const findRetired = statement('session.find-retired', (query, values: { before: EpochMs; now: EpochMs; limit: number }) =>
    query
      .select({ id: sessions.id })
      .from(sessions)
      .where(
        and(
          eq(sessions.phase, 'settled'),
          isNotNull(sessions.settledCostMicros),
          lt(sessions.stoppedAt, values.before),
          notExists(
            query
              .select({ one: sql`1` })
              .from(attempts)
              .where(and(eq(attempts.sessionId, sessions.id), gt(attempts.tombstoneUntil, values.now))),
          ),
        ),
      )
      .orderBy(asc(sessions.id))
      .limit(limitTo(values.limit)),
  );
  const deleteKeys = statement('idempotency.delete-expired', (query, values: { now: EpochMs }) =>
    query.delete(idempotency).where(lte(idempotency.expiresAt, values.now)).returning({ key: idempotency.key }),
  );
  const purge = [
    statement('idempotency.purge', (query, values: { id: SessionId }) =>
      query
        .delete(idempotency)
        .where(eq(idempotency.sessionId, values.id))
        .returning({ one: sql`1` }),
    ),
    statement('event.purge', (query, values: { id: SessionId }) =>
      query
        .delete(events)
        .where(eq(events.sessionId, values.id))
        .returning({ one: sql`1` }),
    ),
    statement('secret.purge', (query, values: { id: SessionId }) =>
      query
        .delete(secrets)
        .where(eq(secrets.sessionId, values.id))
        .returning({ one: sql`1` }),
    ),
    statement('cost-segment.purge', (query, values: { id: SessionId }) =>
      query
        .delete(costSegments)
        .where(eq(costSegments.sessionId, values.id))
        .returning({ one: sql`1` }),
    ),
    statement('attempt.purge', (query, values: { id: SessionId }) =>
      query
        .delete(attempts)
        .where(eq(attempts.sessionId, values.id))
        .returning({ one: sql`1` }),
    ),
    statement('claim.purge', (query, values: { id: SessionId }) =>
      query
        .delete(claims)
        .where(eq(claims.sessionId, values.id))
        .returning({ one: sql`1` }),
    ),
    statement('session.purge', (query, values: { id: SessionId }) =>
      query
        .delete(sessions)
        .where(eq(sessions.id, values.id))
        .returning({ one: sql`1` }),
    ),
  ];

  return {
    /** How many were deleted. */
    async shredExpired(now: EpochMs): Promise<number> {
      return (await store.write(() => deleteExpiredSecrets({ now }))).length;
    },
    async findRetired(request: { before: EpochMs; now: EpochMs; limit: number }): Promise<SessionId[]> {
      return (await store.read(findRetired(request))).map(({ id }) => id);
    },
    /** Deletes a settled session and all that belongs to it. */
    async purge(id: SessionId): Promise<void> {
      await store.write(function* () {
        for (const remove of purge) yield* remove({ id });
      });
    },
    async purgeIdempotency(now: EpochMs): Promise<number> {
      return (await store.write(() => deleteKeys({ now }))).length;
    },
  };
}
