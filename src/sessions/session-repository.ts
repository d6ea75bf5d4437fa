import { and, asc, desc, eq, gt, lte, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { SecretId, SessionId } from '../core/ids.ts';
import { createAuditAppender } from '../db/audit-repository.ts';
import { everyColumn, limitTo, statement, type Call } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { Attempt, CostSegment, IdempotencyRow, SecretRow, Session, SessionEvent, SessionStatus } from '../db/tables.ts';
import type { OfferId } from '../provider/ids.ts';
import type { AdoptedSession } from './adoption.ts';
import { requestedEntry } from './audit-entries.ts';
import type { SessionRecord } from './session-record.ts';
import { createSessionRetentionRepository } from './session-retention-repository.ts';
import { createSessionWorkRepository } from './session-work-repository.ts';
import type { Transition } from './step.ts';

/** Somebody else has written since the row was read: what was to be written is dropped whole. */
class StaleWrite extends Error {}
/** What should have been written beside it turned out impossible: nothing is written. */
class Declined extends Error {}

/** Writes of other rooms that belong into the same transaction; false means that nothing shall be written at all. */
export type Beside = () => Iterable<Call, boolean, unknown[]>;

export type SaveOutcome = 'saved' | 'stale' | 'declined';

export interface SessionFilter {
  readonly consumerId?: string;
  readonly statuses?: readonly SessionStatus[];
  readonly provider?: string;
  /** Only older ones than this. */
  readonly beforeId?: SessionId;
  readonly limit: number;
}

export interface NewSession {
  readonly session: Session;
  readonly event: SessionEvent;
  readonly idempotency?: IdempotencyRow;
  readonly secrets: readonly SecretRow[];
  /** Claims of the offer; when it declines, nothing is written. */
  readonly beside: Beside;
}

export type InsertOutcome = { outcome: 'created' } | { outcome: 'declined' } | { outcome: 'repeated'; earlier: IdempotencyRow };

/** Sessions, their attempts, events, secrets, cost segments and audit chains: written together, by compare-and-set on the session's version. */
export function createSessionRepository(store: Store) {
  const { sessions, attempts, events, secrets, idempotency, costSegments, claims, offerFailures } = store.tables;

  const appendAudit = createAuditAppender(store);

  const findSession = statement('session.find', (query, values: { id: SessionId }) =>
    query.select().from(sessions).where(eq(sessions.id, values.id)),
  );
  const findAttempts = statement('attempt.find-by-session', (query, values: { id: SessionId }) =>
    query.select().from(attempts).where(eq(attempts.sessionId, values.id)).orderBy(asc(attempts.ordinal)),
  );
  const insertSession = statement('session.insert', (query, values: Session) =>
    query.insert(sessions).values(everyColumn(sessions, values)).returning({ id: sessions.id }),
  );
  const updateSession = statement('session.update', (query, values: Session & { expectedVersion: number }) =>
    query
      .update(sessions)
      .set(everyColumn(sessions, values))
      .where(and(eq(sessions.id, values.id), eq(sessions.version, values.expectedVersion)))
      .returning({ id: sessions.id }),
  );
  const upsertAttempt = statement('attempt.upsert', (query, values: Attempt) =>
    query
      .insert(attempts)
      .values(everyColumn(attempts, values))
      .onConflictDoUpdate({ target: [attempts.sessionId, attempts.ordinal], set: everyColumn(attempts, values) })
      .returning({ ordinal: attempts.ordinal }),
  );
  const insertEvent = statement('event.insert', (query, values: SessionEvent) =>
    query.insert(events).values(everyColumn(events, values)).returning({ version: events.version }),
  );
  const upsertSegment = statement('cost-segment.upsert', (query, values: CostSegment) =>
    query
      .insert(costSegments)
      .values(everyColumn(costSegments, values))
      .onConflictDoUpdate({
        target: [costSegments.sessionId, costSegments.ordinal, costSegments.sequence],
        set: { toAt: values.toAt },
      })
      .returning({ sequence: costSegments.sequence }),
  );
  const insertFailure = statement('offer-failure.insert-once', (query, values: Transition['failures'][number]) =>
    query
      .insert(offerFailures)
      .values(everyColumn(offerFailures, values))
      .onConflictDoNothing({ target: [offerFailures.sessionId, offerFailures.ordinal] })
      .returning({ ordinal: offerFailures.ordinal }),
  );
  const releaseClaim = statement('claim.release', (query, values: { sessionId: SessionId; offerId: OfferId }) =>
    query
      .delete(claims)
      .where(and(eq(claims.sessionId, values.sessionId), eq(claims.offerId, values.offerId)))
      .returning({ unit: claims.unit }),
  );
  const insertSecret = statement('secret.insert', (query, values: SecretRow) =>
    query.insert(secrets).values(everyColumn(secrets, values)).returning({ id: secrets.id }),
  );
  const deleteSecret = statement('secret.delete', (query, values: { id: SecretId }) =>
    query.delete(secrets).where(eq(secrets.id, values.id)).returning({ id: secrets.id }),
  );
  const findSecret = statement('secret.find', (query, values: { id: SecretId }) =>
    query.select().from(secrets).where(eq(secrets.id, values.id)),
  );
  const insertKey = statement('idempotency.insert-if-new', (query, values: IdempotencyRow) =>
    query
      .insert(idempotency)
      .values(everyColumn(idempotency, values))
      .onConflictDoNothing({ target: [idempotency.consumerId, idempotency.key] })
      .returning({ key: idempotency.key }),
  );
  const findKey = statement('idempotency.find', (query, values: { consumerId: string; key: string }) =>
    query
      .select()
      .from(idempotency)
      .where(and(eq(idempotency.consumerId, values.consumerId), eq(idempotency.key, values.key))),
  );
  const deleteKey = statement(
    'idempotency.delete-expired-one',
    (query, values: { consumerId: string; key: string; now: EpochMs }) =>
      query
        .delete(idempotency)
        .where(
          and(
            eq(idempotency.consumerId, values.consumerId),
            eq(idempotency.key, values.key),
            lte(idempotency.expiresAt, values.now),
          ),
        )
        .returning({ key: idempotency.key }),
  );
  const listEvents = statement('event.list', (query, values: { id: SessionId; after: number; limit: number }) =>
    query
      .select()
      .from(events)
      .where(and(eq(events.sessionId, values.id), gt(events.version, values.after)))
      .orderBy(asc(events.version))
      .limit(limitTo(values.limit)),
  );
  /** An empty text means no filter. Ids sort by time. */
  const list = statement(
    'session.list',
    (query, values: { consumerId: string; statuses: string; provider: string; beforeId: string; limit: number }) =>
      query
        .select()
        .from(sessions)
        .where(
          and(
            sql`(${values.consumerId} = '' or ${sessions.consumerId} = ${values.consumerId})`,
            sql`(${values.provider} = '' or ${sessions.provider} = ${values.provider})`,
            sql`(${values.beforeId} = '' or ${sessions.id} < ${values.beforeId})`,
            sql`(${values.statuses} = '' or ${values.statuses} like '%,' || ${sessions.status} || ',%')`,
          ),
        )
        .orderBy(desc(sessions.id))
        .limit(limitTo(values.limit)),
  );
  const findByTag = statement('attempt.find-by-tag', (query, values: { tag: Attempt['tag'] }) =>
    query.select().from(attempts).where(eq(attempts.tag, values.tag)),
  );

  async function find(id: SessionId): Promise<SessionRecord | undefined> {
    const [session] = await store.read(findSession({ id }));
    return session && { session, attempts: await store.read(findAttempts({ id })) };
  }

  return {
    find,

    async findByTag(tag: Attempt['tag']): Promise<Attempt | undefined> {
      const [attempt] = await store.read(findByTag({ tag }));
      return attempt;
    },

    /** Stores a new session with everything that belongs to it, or says why not. Nothing of it is written unless all of it is. */
    async insert({ session, event, idempotency: key, secrets: sealed, beside }: NewSession): Promise<InsertOutcome> {
      try {
        return await store.write(function* (): Iterable<Call, InsertOutcome, unknown[]> {
          if (key !== undefined) {
            yield* deleteKey({ consumerId: key.consumerId, key: key.key, now: session.createdAt });
            const [earlier] = yield* findKey({ consumerId: key.consumerId, key: key.key });
            if (earlier) return { outcome: 'repeated', earlier };
          }
          yield* insertSession(session);
          // before the claims: of two that race with one key, the loser joins the winner instead of finding its offer taken (REL-D10)
          if (key !== undefined && (yield* insertKey(key)).length === 0) throw new StaleWrite();
          if (!(yield* beside())) throw new Declined();
          yield* insertEvent(event);
          yield* appendAudit(session.id, session.createdAt, [requestedEntry(session)]);
          for (const secret of sealed) yield* insertSecret(secret);
          return { outcome: 'created' };
        });
      } catch (error) {
        if (error instanceof Declined) return { outcome: 'declined' };
        if (!(error instanceof StaleWrite) || key === undefined) throw error;
        const [earlier] = await store.read(findKey({ consumerId: key.consumerId, key: key.key }));
        if (!earlier) throw error;
        return { outcome: 'repeated', earlier };
      }
    },

    /** Stores a session whole, of which nothing is known yet, as an adoption makes it; false when there is one of that id. */
    async insertWhole({ session, attempts: made, events: told, segments, audit }: AdoptedSession): Promise<boolean> {
      return store.write(function* () {
        const [earlier] = yield* findSession({ id: session.id });
        if (earlier) return false;
        yield* insertSession(session);
        for (const attempt of made) yield* upsertAttempt(attempt);
        for (const event of told) yield* insertEvent(event);
        for (const segment of segments) yield* upsertSegment(segment);
        yield* appendAudit(session.id, session.createdAt, audit);
        return true;
      });
    },

    async findIdempotent(key: { consumerId: string; key: string }): Promise<IdempotencyRow | undefined> {
      const [row] = await store.read(findKey(key));
      return row;
    },

    /** Writes what a decision made of `before`, unless the row has moved on. */
    async save(before: SessionRecord, transition: Transition, beside?: Beside): Promise<SaveOutcome> {
      const { session, events: drafts } = transition;
      const version = before.session.version + Math.max(1, drafts.length);
      const known = new Map(before.attempts.map((attempt) => [attempt.ordinal, JSON.stringify(attempt)]));
      const touched = transition.attempts.filter((attempt) => known.get(attempt.ordinal) !== JSON.stringify(attempt));
      try {
        await store.write(function* () {
          if (beside && !(yield* beside())) throw new Declined();
          const [written] = yield* updateSession({ ...session, version, expectedVersion: before.session.version });
          if (!written) throw new StaleWrite();
          for (const attempt of touched) yield* upsertAttempt(attempt);
          for (const [index, { kind, data }] of drafts.entries())
            yield* insertEvent({
              sessionId: session.id,
              version: version - drafts.length + 1 + index,
              kind,
              at: session.updatedAt,
              data,
            });
          yield* appendAudit(session.id, session.updatedAt, transition.audit);
          for (const segment of transition.segments) yield* upsertSegment(segment);
          for (const failure of transition.failures) yield* insertFailure(failure);
          for (const offerId of transition.releasedOffers) yield* releaseClaim({ sessionId: session.id, offerId });
          for (const id of transition.shredded) yield* deleteSecret({ id });
        });
        return 'saved';
      } catch (error) {
        if (error instanceof StaleWrite) return 'stale';
        if (error instanceof Declined) return 'declined';
        throw error;
      }
    },

    insertSecretStep: insertSecret,
    async findSecret(id: SecretId): Promise<SecretRow | undefined> {
      const [row] = await store.read(findSecret({ id }));
      return row;
    },

    /** Newest first. */
    list: ({ consumerId = '', statuses = [], provider = '', beforeId, limit }: SessionFilter): Promise<Session[]> =>
      store.read(
        list({
          consumerId,
          provider,
          beforeId: beforeId ?? '',
          statuses: statuses.length === 0 ? '' : `,${statuses.join(',')},`,
          limit,
        }),
      ),
    listEvents: (request: { id: SessionId; after: number; limit: number }): Promise<SessionEvent[]> =>
      store.read(listEvents(request)),

    ...createSessionWorkRepository(store),
    ...createSessionRetentionRepository(store),
  };
}

export type SessionRepository = ReturnType<typeof createSessionRepository>;
