import { describe, expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { describeEachStore, silentLog } from '../../test/support/stores.ts';
import { DAY_MS, HOUR_MS } from '../core/duration.ts';
import { statement } from '../db/statement.ts';
import { createOfferRepository } from '../offers/offer-repository.ts';
import { providerId } from '../provider/ids.ts';
import {
  PROOF,
  RULES,
  SESSION_ID,
  START,
  aMarketOffer,
  aSession,
  anInstance,
  nothingBeside,
  declinedBeside,
} from './fixtures/session-records.ts';
import { createSessionChanges } from './session-changes.ts';
import { createSessionRepository, type Beside, type SessionRepository } from './session-repository.ts';
import { createSessionWriter } from './session-writer.ts';
import { requested, aSecret, aKey, insert, decide, live, begun, acceptedOf, rowsOf } from './fixtures/stored-sessions.ts';

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
});
