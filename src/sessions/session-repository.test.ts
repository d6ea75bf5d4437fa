import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { databases, describeEachStore, silentLog } from '../../test/support/stores.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { berthSchema } from '../db/schema.ts';
import { SqliteDatabase } from '../db/sqlite-driver.ts';
import { statement, type Call } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { IdempotencyRow, SecretRow, Session } from '../db/tables.ts';
import { createOfferRepository } from '../offers/offer-repository.ts';
import { providerId } from '../provider/ids.ts';
import type { Fact } from './fact.ts';
import {
  PROOF,
  RULES,
  SESSION_ID,
  START,
  aMarketOffer,
  aSession,
  anInstance,
  anIntent,
  nothingBeside,
  declinedBeside,
} from './fixtures/session-records.ts';
import { createSessionChanges } from './session-changes.ts';
import type { SessionRecord } from './session-record.ts';
import { createSessionRepository, type Beside, type SessionRepository } from './session-repository.ts';
import { createSessionWriter } from './session-writer.ts';
import { step, type Transition } from './step.ts';

function requested(id: SessionId = SESSION_ID) {
  return { sessionId: id, version: 1, kind: 'session.requested', at: START, data: {} };
}

function aSecret(id: string, sessionId: SessionId, expiresAt: number | null): SecretRow {
  return {
    id: `sec_${id}`,
    sessionId,
    purpose: 'consumer_key',
    kekId: 'kek',
    wrappedDek: 'dek',
    sealed: `sealed-${id}`,
    createdAt: START,
    expiresAt,
  };
}

function aKey(sessionId: SessionId = SESSION_ID, overrides: Partial<IdempotencyRow> = {}): IdempotencyRow {
  return {
    consumerId: 'alice',
    key: 'k',
    bodyHash: 'hash',
    sessionId,
    createdAt: START,
    expiresAt: START + DAY_MS,
    ...overrides,
  };
}

async function insert(sessions: SessionRepository, overrides: Partial<Session> = {}): Promise<SessionRecord> {
  const session = aSession(overrides);
  await sessions.insert({ session, event: requested(session.id), secrets: [], beside: nothingBeside });
  return { session, attempts: [] };
}

function decide(record: SessionRecord, fact: Fact, now = START + SECOND_MS): Transition {
  const transition = step(record, fact, now, RULES);
  if (!transition) throw new Error(`${fact.kind} changes nothing`);
  return transition;
}

/** The session's way through these facts, each written by compare-and-set; hands back the last row. */
async function live(
  sessions: SessionRepository,
  id: SessionId,
  facts: readonly Fact[],
  clock = new FakeClock(START),
): Promise<SessionRecord> {
  const writer = createSessionWriter({ sessions, clock, changes: createSessionChanges(), rules: RULES, log: silentLog });
  for (const fact of facts) await writer.apply(id, fact);
  const record = await sessions.find(id);
  if (!record) throw new Error('the session is gone');
  return record;
}

const begun = (id: SessionId = SESSION_ID, offer = aMarketOffer()): Fact => ({
  kind: 'attempt_begun',
  attempt: anIntent(1, { sessionId: id, offer, probeSecretId: `sec_probe_${id}` }),
});
const acceptedOf = (record: SessionRecord): Fact => ({
  kind: 'create_accepted',
  ordinal: 1,
  instance: { ...anInstance('running'), tag: record.attempts[0]?.tag ?? '' },
});

async function rowsOf(store: Store, table: keyof Store['tables']): Promise<unknown[]> {
  const count = statement(`test.rows-of-${table}`, (query) => query.select({ one: sql<number>`1` }).from(store.tables[table]));
  return store.read(count({}));
}

describeEachStore('session repository', (open) => {
  const repository = async () => createSessionRepository(await open());

  describe('insert', () => {
    it('stores a session as it is, with its event, its secret and its idempotency key', async () => {
      const sessions = await repository();
      const session = aSession({ keySecretId: 'sec_a', metadata: { a: 'ü' }, warnings: ['w'], name: 'n' });

      const outcome = await sessions.insert({
        session,
        event: requested(),
        idempotency: aKey(),
        secrets: [aSecret('a', session.id, START)],
        beside: nothingBeside,
      });

      expect(outcome).toEqual({ outcome: 'created' });
      expect(await sessions.find(session.id)).toEqual({ session, attempts: [] });
      expect(await sessions.listEvents({ id: session.id, after: 0, limit: 10 })).toEqual([requested()]);
      expect(await sessions.findSecret('sec_a')).toEqual(aSecret('a', session.id, START));
      expect(await sessions.findIdempotent({ consumerId: 'alice', key: 'k' })).toEqual(aKey());
      expect(await sessions.find(countedId('ses', 9))).toBeUndefined();
    });

    it('hands back the earlier key, and writes nothing, when the consumer has used it already, whatever the body', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);
      await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [],
        beside: nothingBeside,
      });
      const second = countedId('ses', 2);

      const again = {
        session: aSession({ id: second }),
        event: requested(second),
        idempotency: aKey(second, { bodyHash: 'other' }),
        secrets: [],
        beside: nothingBeside,
      };

      expect(await sessions.insert(again)).toEqual({ outcome: 'repeated', earlier: aKey() });
      expect(await sessions.find(second)).toBeUndefined();
      expect(await rowsOf(store, 'events')).toHaveLength(1);
    });

    it('takes a key whose time is over as new, and another consumer’s as another', async () => {
      const sessions = await repository();
      await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [],
        beside: nothingBeside,
      });
      const [second, third] = [countedId('ses', 2), countedId('ses', 3)];
      const bobs = {
        session: aSession({ id: third, consumerId: 'bob' }),
        event: requested(third),
        idempotency: aKey(third, { consumerId: 'bob' }),
      };
      const later = {
        session: aSession({ id: second, createdAt: START + DAY_MS }),
        event: requested(second),
        idempotency: aKey(second),
      };

      expect(await sessions.insert({ ...bobs, secrets: [], beside: nothingBeside })).toEqual({ outcome: 'created' });
      expect(await sessions.insert({ ...later, secrets: [], beside: nothingBeside })).toEqual({ outcome: 'created' });
      expect((await sessions.findIdempotent({ consumerId: 'alice', key: 'k' }))?.sessionId).toBe(second);
    });

    it('writes nothing at all when what stands beside it declines', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);

      const outcome = await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [aSecret('a', SESSION_ID, null)],
        beside: declinedBeside,
      });

      expect(outcome).toEqual({ outcome: 'declined' });
      for (const table of ['sessions', 'events', 'idempotency', 'secrets'] as const)
        expect(await rowsOf(store, table)).toEqual([]);
    });

    it('REL-D10: of twenty inserts at once with one key, on the one offer there is, one creates and all others join it', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);
      const offers = createOfferRepository(store);
      const offer = aMarketOffer();

      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, index) => {
          const id = countedId('ses', index + 1);
          const claim: Beside = function* () {
            return (
              (yield* offers.claim({ offerId: offer.id, units: 1, sessionId: id, consumerId: 'alice', at: START })) !==
              undefined
            );
          };
          return sessions.insert({
            session: aSession({ id }),
            event: requested(id),
            idempotency: aKey(id),
            secrets: [],
            beside: claim,
          });
        }),
      );

      expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual([
        'created',
        ...Array.from({ length: 19 }, () => 'repeated'),
      ]);
      expect(await rowsOf(store, 'sessions')).toHaveLength(1);
      expect(await offers.takenUnits()).toEqual(new Map([[offer.id, 1]]));
    });
  });

  describe('save', () => {
    it('REL-D1: of two decisions on one version the second is stale, and nothing of it is written, beside or otherwise', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);
      const offers = createOfferRepository(store);
      const record = await insert(sessions);
      const offer = aMarketOffer('b');
      const beside: Beside = function* () {
        return (
          (yield* offers.claim({ offerId: offer.id, units: 1, sessionId: SESSION_ID, consumerId: 'alice', at: START })) !==
          undefined
        );
      };

      expect(await sessions.save(record, decide(record, { kind: 'stop_requested', reason: 'idle' }))).toBe('saved');
      expect(await sessions.save(record, decide(record, begun(SESSION_ID, offer)), beside)).toBe('stale');

      expect((await sessions.find(SESSION_ID))?.session).toMatchObject({ status: 'stopped', reason: 'idle', attemptCount: 0 });
      expect(await rowsOf(store, 'attempts')).toEqual([]);
      expect(await offers.takenUnits()).toEqual(new Map());
    });

    it('writes nothing when what stands beside it declines', async () => {
      const sessions = await repository();
      const record = await insert(sessions);

      expect(await sessions.save(record, decide(record, begun()), declinedBeside)).toBe('declined');
      expect(await sessions.find(SESSION_ID)).toEqual(record);
    });

    it('REL-D3: of twenty writers at once one wins each version, and through the writer nobody’s fact is lost', async () => {
      const sessions = await repository();
      await insert(sessions);
      const writers = Array.from({ length: 20 }, () =>
        createSessionWriter({
          sessions,
          clock: new FakeClock(START),
          changes: createSessionChanges(),
          rules: RULES,
          log: silentLog,
        }),
      );

      const applied = await Promise.all(
        writers.slice(0, 10).map((writer) => writer.apply(SESSION_ID, { kind: 'extended', addedMinutes: 60 })),
      );

      expect(applied.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 10 }, () => 'changed'));
      expect((await sessions.find(SESSION_ID))?.session).toMatchObject({ expiresAt: START + 12 * HOUR_MS, version: 11 });
      const events = await sessions.listEvents({ id: SESSION_ID, after: 0, limit: 100 });
      expect(events.map(({ version }) => version)).toEqual(Array.from({ length: 11 }, (_, index) => index + 1));
    });

    it('REL-D3: opposite facts at once: the wish to end and the proof both count, whoever is first', async () => {
      const sessions = await repository();
      const { session } = await insert(sessions);
      const record = await live(sessions, session.id, [begun()]);
      await live(sessions, session.id, [acceptedOf(record)]);

      await Promise.all([
        live(sessions, session.id, [{ kind: 'stop_requested', reason: 'user_requested' }]),
        live(sessions, session.id, [{ kind: 'proven', ordinal: 1, proof: PROOF }]),
      ]);

      expect((await sessions.find(session.id))?.session).toMatchObject({ desired: 'gone', status: 'stopping' });
    });

    it('gives each event the version of its own, the last of them the session’s; a change without one raises it too', async () => {
      const sessions = await repository();
      await insert(sessions);

      const record = await live(sessions, SESSION_ID, [begun(), { kind: 'postponed', untilAt: START + HOUR_MS }]);
      expect(record.session.version).toBe(3);
      const { session } = await live(sessions, SESSION_ID, [
        { kind: 'create_refused', ordinal: 1, refusal: { kind: 'capacity', message: 'gone' } },
      ]);

      const events = await sessions.listEvents({ id: SESSION_ID, after: 1, limit: 10 });
      expect(events.map(({ version, kind }) => [version, kind])).toEqual([
        [2, 'attempt.begun'],
        [4, 'attempt.refused'],
        [5, 'session.stopping'],
        [6, 'session.failed'],
      ]);
      expect(session.version).toBe(6);
      expect(await sessions.listEvents({ id: SESSION_ID, after: 4, limit: 1 })).toMatchObject([{ version: 5 }]);
    });

    it('writes attempts, segments, failures, released claims and shredded keys with it', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);
      const offers = createOfferRepository(store);
      const offer = aMarketOffer();
      await sessions.insert({
        session: aSession(),
        event: requested(),
        secrets: [aSecret(`probe_${SESSION_ID}`, SESSION_ID, null)],
        beside: function* () {
          return (
            (yield* offers.claim({ offerId: offer.id, units: 1, sessionId: SESSION_ID, consumerId: 'alice', at: START })) !==
            undefined
          );
        },
      });
      const clock = new FakeClock(START);
      const record = await live(sessions, SESSION_ID, [begun()], clock);
      await live(sessions, SESSION_ID, [acceptedOf(record)], clock);
      expect(await offers.takenUnits()).toEqual(new Map([[offer.id, 1]]));
      expect((await sessions.find(SESSION_ID))?.attempts[0]).toMatchObject({
        state: 'live',
        ssh: { user: 'root' },
        absences: [],
      });

      await clock.advance(HOUR_MS);
      await live(
        sessions,
        SESSION_ID,
        [
          { kind: 'attempt_failed', ordinal: 1, reason: 'gpu_mismatch', message: 'no GPU' },
          { kind: 'destroy_answered', ordinal: 1, result: 'gone' },
        ],
        clock,
      );

      expect(await offers.takenUnits()).toEqual(new Map());
      expect(await offers.failuresSince(0)).toMatchObject([{ kind: 'gpu_mismatch', ordinal: 1, offerId: offer.id }]);
      expect(await sessions.findSecret(`sec_probe_${SESSION_ID}`)).toBeUndefined();
      const segments = statement('test.segments', (query) => query.select().from(store.tables.costSegments));
      expect(await store.read(segments({}))).toMatchObject([{ fromAt: START, toAt: START + HOUR_MS, payer: 'attempt' }]);
    });

    it('a row that comes back from the database is what was decided: another sight of the same changes nothing', async () => {
      const sessions = await repository();
      await insert(sessions);
      const ssh = { user: 'root', hostKey: 'ssh-ed25519 AAAA', routes: [{ port: 22, host: 'h' }] };
      const record = await live(sessions, SESSION_ID, [begun()]);
      const instance = { ...anInstance('running', { ssh }), tag: record.attempts[0]?.tag ?? '' };
      const { session } = await live(sessions, SESSION_ID, [{ kind: 'create_accepted', ordinal: 1, instance }]);

      const again = await live(sessions, SESSION_ID, [{ kind: 'seen', ordinal: 1, by: 'list', instance }]);

      expect(again.session.version).toBe(session.version);
    });
  });

  describe('what is due', () => {
    it('finds sessions that wait for an attempt when it is time, and when the next one will be due', async () => {
      const sessions = await repository();
      const [a, b, c, d] = [1, 2, 3, 4].map((count) => countedId('ses', count));
      if (!a || !b || !c || !d) throw new Error('four ids');
      await insert(sessions, { id: a, dueAt: START + 2 });
      await insert(sessions, { id: b, dueAt: START + 1 });
      await insert(sessions, { id: c, dueAt: START + HOUR_MS });
      await insert(sessions, { id: d });
      await live(sessions, d, [begun(d)]);

      expect((await sessions.findAwaitingAttempt({ now: START + 2, limit: 10 })).map(({ id }) => id)).toEqual([b, a]);
      expect(await sessions.findAwaitingAttempt({ now: START + 2, limit: 1 })).toHaveLength(1);
      expect(await sessions.nextAwaitingAttemptAt(START + 2)).toBe(START + HOUR_MS);
      expect(await sessions.nextAwaitingAttemptAt(START + HOUR_MS)).toBeUndefined();
    });

    it('RULE-R4: a session whose former attempt is not accepted as gone is not due for the next', async () => {
      const sessions = await repository();
      await insert(sessions, { request: { ...aSession().request, autoRetry: true } });
      const record = await live(sessions, SESSION_ID, [begun()]);
      const failed: Fact = { kind: 'attempt_failed', ordinal: 1, reason: 'gpu_mismatch', message: 'x' };
      await live(sessions, SESSION_ID, [acceptedOf(record), failed]);
      expect(await sessions.findAwaitingAttempt({ now: START + DAY_MS, limit: 10 })).toEqual([]);

      await live(sessions, SESSION_ID, [{ kind: 'destroy_answered', ordinal: 1, result: 'gone' }]);
      expect(await sessions.findAwaitingAttempt({ now: START + DAY_MS, limit: 10 })).toHaveLength(1);
    });

    it('finds attempts by state and time, by tag, by provider, and those that are alive and wanted', async () => {
      const sessions = await repository();
      await insert(sessions);
      const intent = await live(sessions, SESSION_ID, [begun()]);
      const dueAt = START + 90 * SECOND_MS;
      expect(await sessions.findDueAttempts({ state: 'intent', now: dueAt - 1, limit: 9 })).toEqual([]);
      expect(await sessions.findDueAttempts({ state: 'intent', now: dueAt, limit: 9 })).toEqual(intent.attempts);
      expect(await sessions.nextDueAttemptAt('intent', START)).toBe(dueAt);
      expect(await sessions.nextDueAttemptAt('intent', dueAt)).toBeUndefined();
      expect(await sessions.findHeld(providerId('cloud'))).toEqual([]);

      const { attempts } = await live(sessions, SESSION_ID, [acceptedOf(intent)]);
      const [attempt] = attempts;
      if (!attempt) throw new Error('an attempt');
      expect(await sessions.findByTag(attempt.tag)).toEqual(attempt);
      expect(await sessions.findHeld(providerId('cloud'))).toEqual([attempt]);
      expect(await sessions.findHeld(providerId('other'))).toEqual([]);
      expect(await sessions.findLive({ status: 'provisioning', limit: 9 })).toEqual([attempt]);
      expect(await sessions.findLive({ status: 'running', limit: 9 })).toEqual([]);

      await live(sessions, SESSION_ID, [{ kind: 'stop_requested', reason: 'idle' }]);
      expect(await sessions.findLive({ status: 'provisioning', limit: 9 })).toEqual([]);
      expect(await sessions.unconfirmedDestroys()).toEqual({ count: 1, oldestAt: START });
      expect(await sessions.countReappeared()).toEqual([]);
    });

    it('counts what came back after its session had ended, until it is gone again', async () => {
      const sessions = await repository();
      await insert(sessions);
      const accepted = acceptedOf(await live(sessions, SESSION_ID, [begun()]));
      const gone: Fact = { kind: 'destroy_answered', ordinal: 1, result: 'gone' };
      await live(sessions, SESSION_ID, [accepted, { kind: 'stop_requested', reason: 'idle' }, gone]);
      expect(await sessions.countReappeared()).toEqual([]);

      if (accepted.kind !== 'create_accepted') throw new Error('it was accepted');
      await live(sessions, SESSION_ID, [{ kind: 'seen', ordinal: 1, by: 'get', instance: accepted.instance }]);
      expect(await sessions.countReappeared()).toEqual([{ provider: 'cloud', count: 1 }]);

      await live(sessions, SESSION_ID, [gone]);
      expect(await sessions.countReappeared()).toEqual([]);
    });

    it('finds what has expired and is still wanted, and when the next will', async () => {
      const sessions = await repository();
      const [a, b] = [countedId('ses', 1), countedId('ses', 2)];
      await insert(sessions, { id: a, expiresAt: START + 10, hardDeadlineAt: START + 20 });
      await insert(sessions, { id: b, expiresAt: START + 30, hardDeadlineAt: START + 40 });

      expect(await sessions.findExpired({ now: START + 9, limit: 9 })).toEqual([]);
      expect((await sessions.findExpired({ now: START + 10, limit: 9 })).map(({ id }) => id)).toEqual([a]);
      expect((await sessions.findPastHardDeadline({ now: START + 40, limit: 9 })).map(({ id }) => id)).toEqual([a, b]);
      expect(await sessions.nextExpiryAt(START + 10)).toBe(START + 30);
      await live(sessions, a, [{ kind: 'stop_requested', reason: 'expired' }]);
      expect(await sessions.findExpired({ now: START + 29, limit: 9 })).toEqual([]);
      expect(await sessions.nextExpiryAt(START + 30)).toBeUndefined();
    });

    it('finds the ended whose cost is not fixed, but only once their bill is closed', async () => {
      const sessions = await repository();
      await insert(sessions);
      const record = await live(sessions, SESSION_ID, [begun()]);
      await live(sessions, SESSION_ID, [acceptedOf(record), { kind: 'stop_requested', reason: 'idle' }]);
      expect(await sessions.findUnsettled({ limit: 9 })).toEqual([]);

      await live(sessions, SESSION_ID, [{ kind: 'destroy_answered', ordinal: 1, result: 'gone' }]);
      expect(await sessions.findUnsettled({ limit: 9 })).toHaveLength(1);
      await live(sessions, SESSION_ID, [{ kind: 'settled', costMicros: 1 }]);
      expect(await sessions.findUnsettled({ limit: 9 })).toEqual([]);
    });

    it('finds running sessions whose idleness is watched', async () => {
      const sessions = await repository();
      for (const [count, idleThresholdMinutes] of [30, 0].entries()) {
        const id = countedId('ses', count + 1);
        await insert(sessions, { id, idleThresholdMinutes, status: 'running', phase: 'running' });
      }

      expect((await sessions.findIdleWatched({ limit: 9 })).map(({ id }) => id)).toEqual([countedId('ses', 1)]);
      expect(await sessions.countLive()).toEqual([{ provider: 'cloud', status: 'running', count: 2 }]);
    });
  });

  describe('list', () => {
    it('is newest first, by consumer, status and provider, page by page', async () => {
      const sessions = await repository();
      const statuses = ['pending', 'running', 'stopped', 'failed', 'running'] as const;
      for (const [index, status] of statuses.entries())
        await insert(sessions, {
          id: countedId('ses', index + 1),
          status,
          consumerId: index === 4 ? 'bob' : 'alice',
          provider: providerId(index === 3 ? 'pool' : 'cloud'),
        });
      const numbers = async (filter: Parameters<SessionRepository['list']>[0]) =>
        (await sessions.list(filter)).map(({ id }) => Number(id.slice(4)));

      expect(await numbers({ limit: 10 })).toEqual([5, 4, 3, 2, 1]);
      expect(await numbers({ limit: 2 })).toEqual([5, 4]);
      expect(await numbers({ limit: 2, beforeId: countedId('ses', 4) })).toEqual([3, 2]);
      expect(await numbers({ limit: 10, consumerId: 'alice' })).toEqual([4, 3, 2, 1]);
      expect(await numbers({ limit: 10, statuses: ['running'] })).toEqual([5, 2]);
      expect(await numbers({ limit: 10, statuses: ['running', 'failed'], consumerId: 'alice' })).toEqual([4, 2]);
      expect(await numbers({ limit: 10, provider: 'pool' })).toEqual([4]);
      expect(await numbers({ limit: 10, consumerId: '%' })).toEqual([]);
    });
  });

  describe('what is kept, and for how long', () => {
    it('shreds keys whose time is over, and no others', async () => {
      const sessions = await repository();
      const secrets = [
        aSecret('over', SESSION_ID, START),
        aSecret('later', SESSION_ID, START + 1),
        aSecret('probe', SESSION_ID, null),
      ];
      await sessions.insert({ session: aSession(), event: requested(), secrets, beside: nothingBeside });

      expect(await sessions.shredExpired(START)).toBe(1);

      expect(await sessions.findSecret('sec_over')).toBeUndefined();
      expect(await sessions.findSecret('sec_later')).toBeDefined();
      expect(await sessions.findSecret('sec_probe')).toBeDefined();
      expect(await sessions.shredExpired(START)).toBe(0);
    });

    it('retires what is settled and past both its retention and its tombstone, with everything that refers to it', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);
      await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [aSecret('a', SESSION_ID, null)],
        beside: nothingBeside,
      });
      const clock = new FakeClock(START);
      const record = await live(sessions, SESSION_ID, [begun()], clock);
      await live(
        sessions,
        SESSION_ID,
        [
          acceptedOf(record),
          { kind: 'stop_requested', reason: 'idle' },
          { kind: 'destroy_answered', ordinal: 1, result: 'gone' },
        ],
        clock,
      );
      for (let minute = 0; minute < 17; minute += 1) {
        await clock.advance(MINUTE_MS);
        await live(
          sessions,
          SESSION_ID,
          [
            { kind: 'missing', ordinal: 1, by: 'get' },
            { kind: 'missing', ordinal: 1, by: 'list' },
          ],
          clock,
        );
      }
      const retired = (days: number) =>
        sessions.findRetired({ before: clock.now() + days * DAY_MS - 30 * DAY_MS, now: clock.now() + days * DAY_MS, limit: 9 });
      expect(await retired(91)).toEqual([]); // its cost is not fixed
      await live(sessions, SESSION_ID, [{ kind: 'settled', costMicros: 1 }], clock);
      expect(await retired(20)).toEqual([]);
      expect(await retired(89)).toEqual([]); // its tombstone stands
      expect(await retired(91)).toEqual([SESSION_ID]);

      await sessions.purge(SESSION_ID);

      for (const table of ['sessions', 'attempts', 'events', 'idempotency', 'secrets', 'costSegments', 'claims'] as const)
        expect(await rowsOf(store, table), table).toEqual([]);
    });

    it('forgets idempotency keys whose time is over', async () => {
      const sessions = await repository();
      await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [],
        beside: nothingBeside,
      });

      expect(await sessions.purgeIdempotency(START + DAY_MS - 1)).toBe(0);
      expect(await sessions.purgeIdempotency(START + DAY_MS)).toBe(1);
    });
  });
});

describe('session repository on a SQLite file', () => {
  const create = databases('sqlite', berthSchema);

  it('REL-H8: a shredded key is not in the file any more', async () => {
    const database = await create();
    const store = await database.open();
    const sessions = createSessionRepository(store);
    const canary = { ...aSecret('a', SESSION_ID, START), sealed: 'CANARY-OF-A-SEALED-KEY' };
    await sessions.insert({ session: aSession(), event: requested(), secrets: [canary], beside: nothingBeside });
    await store.scrub();
    const bytes = () => [database.path, `${database.path}-wal`].map((path) => readFileSync(path, 'latin1')).join('');
    expect(bytes()).toContain(canary.sealed);

    await sessions.shredExpired(START);
    expect(await store.scrub()).toBe(true);

    expect(bytes()).not.toContain(canary.sealed);
  });

  it('looks for what is due by an index, not through every row', async () => {
    const database = await create();
    const store = await database.open();
    const asked: Call[] = [];
    const sessions = createSessionRepository({
      ...store,
      read: async (call) => {
        asked.push(call);
        return [];
      },
    });
    const page = { now: START, limit: 9 };
    await sessions.findDueAttempts({ ...page, state: 'intent' });
    await sessions.nextDueAttemptAt('intent', START);
    await sessions.findAwaitingAttempt(page);
    await sessions.nextAwaitingAttemptAt(START);
    await sessions.findLive({ status: 'running', limit: 9 });
    await sessions.findHeld(providerId('cloud'));
    await sessions.findByTag(anIntent().tag);
    await sessions.findIdleWatched(page);
    await sessions.findUnsettled(page);
    await sessions.findExpired(page);
    await sessions.findPastHardDeadline(page);
    await sessions.findRetired({ ...page, before: START });
    await sessions.countLive();
    await sessions.countReappeared();
    await sessions.unconfirmedDestroys();
    await sessions.listEvents({ id: SESSION_ID, after: 0, limit: 9 });

    const file = new SqliteDatabase(database.path, { readonly: true });
    try {
      const plans = asked.map(({ definition }) => {
        // holds because what is built on a connection of Drizzle's is one of its queries
        const query = definition.build(drizzle(file)) as unknown as { toSQL(): { sql: string; params: unknown[] } };
        const { sql: text, params } = query.toSQL();
        const steps = file.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...params.map(() => 1)) as { detail: string }[]; // SQLite's own columns
        return [definition.name, steps.map(({ detail }) => detail)] as const;
      });

      expect(plans).toHaveLength(16);
      for (const [name, details] of plans)
        expect(
          details.filter((detail) => detail.startsWith('SCAN')),
          name,
        ).toEqual([]);
      expect(Object.fromEntries(plans)['attempt.find-due']?.[0]).toContain('attempts_state_due (state=? AND due_at<?)');
      expect(Object.fromEntries(plans)['session.find-awaiting-attempt']?.[0]).toContain(
        'sessions_status_due (status=? AND due_at<?)',
      );
    } finally {
      file.close();
    }
  });
});
