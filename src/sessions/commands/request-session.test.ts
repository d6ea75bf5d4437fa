import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { countedId, countedIds } from '../../../test/support/counted-ids.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { describeEachStore } from '../../../test/support/stores.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/duration.ts';
import { createEnvelope } from '../../core/envelope.ts';
import { BrokerError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import type { Store } from '../../db/store.ts';
import { createOfferRepository } from '../../offers/offer-repository.ts';
import { offerId } from '../../provider/ids.ts';
import type { Offer } from '../../provider/offer.ts';
import { START, aMarketOffer, aSession } from '../fixtures/session-records.ts';
import type { OfferDesk } from '../offer-desk.ts';
import { createSessionChanges, type SessionChange } from '../session-changes.ts';
import { createSessionRepository } from '../session-repository.ts';
import { bodyHashOf, createRequestSession } from './request-session.ts';
import type { SessionOrder } from './session-order.ts';

/** The offer desk over real claims; what it lists is the test's. */
function aDesk(store: Store, listed: readonly Offer[]) {
  const claims = createOfferRepository(store);
  const changed: string[] = [];
  const desk: OfferDesk = {
    find: (id) => listed.find((offer) => offer.id === id),
    beyond: () => [],
    candidates: () => listed,
    *claim({ offer, sessionId, consumerId, at }) {
      return (yield* claims.claim({ offerId: offer.id, units: offer.units, sessionId, consumerId, at })) !== undefined;
    },
    consumerHolds: (consumerId, id) => store.write(() => claims.consumerHolds(consumerId, id)),
    claimsChanged: (id) => changed.push(id),
  };
  return { desk, claims, changed };
}

const { offerId: named, ...picked } = aSession().request;
const PUBLIC_KEY = 'ssh-ed25519 AAAAconsumer';

function anOrder(overrides: Partial<SessionOrder> = {}): SessionOrder {
  return {
    consumerId: 'alice',
    workloadType: 'ssh',
    request: aSession().request,
    reservationMinutes: 120,
    idleThresholdMinutes: 0,
    sshPublicKey: PUBLIC_KEY,
    metadata: {},
    warnings: [],
    maxAttempts: 3,
    ...overrides,
  };
}

/** Without a key of the consumer's: the broker makes a pair. */
function withoutKey(overrides: Partial<SessionOrder> = {}): SessionOrder {
  const { sshPublicKey: _, ...order } = anOrder(overrides);
  return order;
}

async function refusal(promise: Promise<unknown>): Promise<BrokerError> {
  const error: unknown = await promise.then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof BrokerError)) throw error;
  return error;
}

describeEachStore('request a session', (open) => {
  async function aBroker(...listed: Offer[]) {
    const store = await open();
    const clock = new FakeClock(START);
    const sessions = createSessionRepository(store);
    const { desk, claims, changed } = aDesk(store, listed);
    const changes = createSessionChanges();
    const heard: SessionChange[] = [];
    changes.onAny((change) => heard.push(change));
    const deps = {
      sessions,
      offers: desk,
      templates: { providers: [], find: async () => undefined },
      envelope: createEnvelope(new Secret(randomBytes(32))),
      changes,
      clock,
      ids: countedIds(),
      settings: { hardMaxMs: 12 * HOUR_MS, keyReplayMs: 15 * MINUTE_MS, idempotencyMs: DAY_MS },
    };
    return { request: createRequestSession(deps), deps, sessions, claims, changed, heard, clock };
  }

  it('stores the session as pending, with a claim on its offer, and asks nobody', async () => {
    const { request, sessions, claims, changed, heard } = await aBroker(aMarketOffer());

    const { record, repeated, privateKey } = await request(anOrder({ name: 'mine', metadata: { a: 'b' } }));

    expect(record.session).toMatchObject({
      id: countedId('ses', 1),
      status: 'pending',
      phase: 'queued',
      desired: 'run',
      version: 1,
      sshPublicKey: PUBLIC_KEY,
      keySecretId: null,
      createdAt: START,
      expiresAt: START + 2 * HOUR_MS,
      hardDeadlineAt: START + 12 * HOUR_MS,
      diskGb: 50,
      priceMicrosPerHour: 340_000,
    });
    expect(await sessions.find(record.session.id)).toEqual(record);
    expect({ repeated, privateKey }).toEqual({ repeated: false, privateKey: undefined });
    expect(await claims.takenUnits()).toEqual(new Map([[offerId('cloud-a'), 1]]));
    expect(changed).toEqual(['cloud-a']);
    expect(heard).toMatchObject([{ events: [{ kind: 'session.requested' }] }]);
  });

  it('prices the disk that was asked, and never expires after the hard maximum', async () => {
    const { request } = await aBroker(aMarketOffer());

    const order = anOrder({ request: { ...aSession().request, diskGb: 150 }, reservationMinutes: 24 * 60 });
    const { session } = (await request(order)).record;

    expect(session).toMatchObject({ diskGb: 150, priceMicrosPerHour: 360_000, expiresAt: START + 12 * HOUR_MS });
  });

  it('REL-E3: makes nothing new on a full disk, and answers again what was made before', async () => {
    const { deps, sessions } = await aBroker(aMarketOffer(), aMarketOffer('b'));
    let hasRoom = true;
    const request = createRequestSession({ ...deps, hasRoom: () => hasRoom });
    const order = anOrder({ idempotency: { key: 'once', bodyHash: 'same' } });
    const made = await request(order);
    hasRoom = false;

    expect(await refusal(request(anOrder({ consumerId: 'bob' })))).toMatchObject({
      code: 'disk_full',
      details: { retry_suggested: true },
    });
    expect((await request(order)).record.session.id).toBe(made.record.session.id);
    expect(await sessions.list({ limit: 10 })).toHaveLength(1);
  });

  it('refuses an offer that is not listed', async () => {
    const { request } = await aBroker(aMarketOffer('b'));

    expect(await refusal(request(anOrder()))).toMatchObject({ code: 'offer_not_found', details: { offer_id: 'cloud-a' } });
  });

  it.each([9, 501])('refuses a disk of %i GB, and says what there is', async (diskGb) => {
    const { request } = await aBroker(aMarketOffer());

    const error = await refusal(request(anOrder({ request: { ...aSession().request, diskGb } })));

    expect(error).toMatchObject({
      code: 'insufficient_disk',
      details: { requested_gb: diskGb, minimum_gb: 10, maximum_gb: 500 },
    });
  });

  it('refuses a price above the maximum, disk included, but not the maximum itself', async () => {
    const { request } = await aBroker(aMarketOffer());
    const order = (maxPriceMicrosPerHour: number) =>
      anOrder({ request: { ...aSession().request, diskGb: 150, maxPriceMicrosPerHour } });

    expect(await refusal(request(order(359_999)))).toMatchObject({ code: 'price_changed', details: { price_per_hour: 0.36 } });
    expect((await request(order(360_000))).record.session.status).toBe('pending');
  });

  it('PEER-11.2.9: says duplicate_session to the consumer who has the offer, stale_inventory to any other; nothing is left behind', async () => {
    const { request, sessions, claims } = await aBroker(aMarketOffer());
    await request(anOrder());

    expect(await refusal(request(anOrder()))).toMatchObject({ code: 'duplicate_session', details: { offer_id: 'cloud-a' } });
    expect(await refusal(request(anOrder({ consumerId: 'bob' })))).toMatchObject({
      code: 'stale_inventory',
      details: { offer_id: 'cloud-a', provider: 'cloud', retry_suggested: true },
    });
    expect(await sessions.list({ limit: 10 })).toHaveLength(1);
    expect(await claims.takenUnits()).toEqual(new Map([[offerId('cloud-a'), 1]]));
  });

  it('lets a counted offer be taken as often as there are units, also by one consumer', async () => {
    const { request } = await aBroker(aMarketOffer('a', { units: 2 }));

    await request(anOrder());
    await request(anOrder());

    expect(await refusal(request(anOrder()))).toMatchObject({ code: 'stale_inventory' });
  });

  it('REL-D11: twenty want the one offer at once: one has it', async () => {
    const { request, sessions } = await aBroker(aMarketOffer());

    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => request(anOrder({ consumerId: `consumer-${index}` }))),
    );

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await sessions.list({ limit: 50 })).toHaveLength(1);
  });

  describe('by requirements', () => {
    it('takes the first that fits, and the next when somebody was faster', async () => {
      const { request } = await aBroker(aMarketOffer('a'), aMarketOffer('b'));
      await request(anOrder({ consumerId: 'bob' }));

      const { session } = (await request(anOrder({ request: picked }))).record;

      expect(session).toMatchObject({ offerId: 'cloud-b', request: picked });
    });

    it('passes over an offer whose disk is too small', async () => {
      const { request } = await aBroker(aMarketOffer('a', { maxDiskGb: 60 }), aMarketOffer('b'));

      const { session } = (await request(anOrder({ request: { ...picked, diskGb: 100 } }))).record;

      expect(session).toMatchObject({ offerId: 'cloud-b', diskGb: 100 });
    });

    it('says no_capacity when nothing fits or all of it is taken', async () => {
      expect(await refusal((await aBroker()).request(anOrder({ request: picked })))).toMatchObject({ code: 'no_capacity' });
      const { request } = await aBroker(aMarketOffer());
      await request(anOrder());
      expect(await refusal(request(anOrder({ request: picked })))).toMatchObject({ code: 'no_capacity' });
    });
  });

  describe('the key pair that the broker makes', () => {
    it('REL-H8: is told once, and sealed at rest', async () => {
      const { request, sessions } = await aBroker(aMarketOffer());

      const { record, privateKey } = await request(withoutKey());

      expect(privateKey?.reveal()).toContain('BEGIN OPENSSH PRIVATE KEY');
      expect(record.session.sshPublicKey).toMatch(/^ssh-ed25519 [A-Za-z0-9+/=]+$/);
      const row = await sessions.findSecret(record.session.keySecretId ?? 'sec_none');
      expect(row).toMatchObject({ purpose: 'consumer_key', expiresAt: START + 15 * MINUTE_MS });
      expect(JSON.stringify([row, record])).not.toContain('PRIVATE KEY');
    });

    it('REL-G7: is told again to who repeats the Idempotency-Key, for fifteen minutes and not a moment longer', async () => {
      const { request, clock } = await aBroker(aMarketOffer());
      const order = withoutKey({ idempotency: { key: 'k', bodyHash: 'h' } });
      const first = await request(order);

      await clock.advance(15 * MINUTE_MS - 1);
      const again = await request(order);
      expect(again).toMatchObject({ repeated: true, record: first.record });
      expect(again.privateKey?.reveal()).toBe(first.privateKey?.reveal());

      await clock.advance(1);
      const late = await request(order);
      expect(late.record).toEqual(first.record);
      expect(late.privateKey).toBeUndefined();
    });

    it('is not told any more once it is shredded', async () => {
      const { request, sessions, clock } = await aBroker(aMarketOffer());
      const order = withoutKey({ idempotency: { key: 'k', bodyHash: 'h' } });
      await request(order);

      await sessions.shredExpired(clock.now() + HOUR_MS);

      expect((await request(order)).privateKey).toBeUndefined();
    });

    it('is never told to who did not send the key', async () => {
      const { request } = await aBroker(aMarketOffer('a', { units: 2 }));
      const first = await request(withoutKey());
      const second = await request(withoutKey());

      expect(second.record.session.id).not.toBe(first.record.session.id);
      expect(second.privateKey?.reveal()).not.toBe(first.privateKey?.reveal());
    });
  });

  describe('an Idempotency-Key', () => {
    const order = (bodyHash = 'h', consumerId = 'alice') => anOrder({ consumerId, idempotency: { key: 'k', bodyHash } });

    it('REL-G1: joins the session that it began, as it is now', async () => {
      const { request, sessions } = await aBroker(aMarketOffer());
      const { record } = await request(order());

      expect(await request(order())).toEqual({ record, repeated: true });
      expect(await sessions.list({ limit: 10 })).toHaveLength(1);
    });

    it('is refused with another body, and names the session', async () => {
      const { request } = await aBroker(aMarketOffer());
      const { record } = await request(order());

      expect(await refusal(request(order('other')))).toMatchObject({
        code: 'idempotency_mismatch',
        details: { session_id: record.session.id },
      });
    });

    it('belongs to its consumer', async () => {
      const { request } = await aBroker(aMarketOffer('a', { units: 2 }));
      const { record } = await request(order());

      expect((await request(order('other', 'bob'))).record.session.id).not.toBe(record.session.id);
    });

    it('is new again when its time is over', async () => {
      const { request, clock } = await aBroker(aMarketOffer('a', { units: 2 }));
      const { record } = await request(order());

      await clock.advance(DAY_MS);

      expect((await request(order('other'))).record.session.id).not.toBe(record.session.id);
    });

    it('is not used up by a request that was refused', async () => {
      const { request } = await aBroker(aMarketOffer());
      await request(anOrder({ consumerId: 'bob' }));
      expect(await refusal(request(order()))).toMatchObject({ code: 'stale_inventory' });

      expect(await refusal(request(order('another body')))).toMatchObject({ code: 'stale_inventory' });
    });

    it('REL-D10, REL-G1: twenty requests at once with one key are one session, and all of them get its key', async () => {
      const { request, sessions } = await aBroker(aMarketOffer());

      const answers = await Promise.all(
        Array.from({ length: 20 }, () => request(withoutKey({ idempotency: { key: 'k', bodyHash: 'h' } }))),
      );

      expect(new Set(answers.map(({ record }) => record.session.id)).size).toBe(1);
      expect(new Set(answers.map(({ privateKey }) => privateKey?.reveal())).size).toBe(1);
      expect(answers.filter(({ repeated }) => !repeated)).toHaveLength(1);
      expect(await sessions.list({ limit: 50 })).toHaveLength(1);
    });

    it('REL-D10: twenty at once with one key, picked by requirements, claim one offer', async () => {
      const { request, claims } = await aBroker(aMarketOffer('a'), aMarketOffer('b'), aMarketOffer('c'));

      await Promise.all(
        Array.from({ length: 20 }, () => request(anOrder({ request: picked, idempotency: { key: 'k', bodyHash: 'h' } }))),
      );

      expect(await claims.takenUnits()).toEqual(new Map([[named, 1]]));
    });
  });
});

describe('bodyHashOf', () => {
  it('is the same whatever the order of fields, and without those that are undefined', () => {
    expect(bodyHashOf({ a: 1, b: { c: [1, 2], d: 'x' } })).toBe(bodyHashOf({ b: { d: 'x', c: [1, 2] }, a: 1, e: undefined }));
  });

  it.each([
    [{ a: 1 }, { a: '1' }],
    [{ a: null }, {}],
    [
      [1, 2],
      [2, 1],
    ],
    [{ a: { b: 1 } }, { a: 1, b: 1 }],
    [{ a: '","b":"' }, { a: '', b: '' }],
  ])('tells %j from %j', (one, other) => {
    expect(bodyHashOf(one)).not.toBe(bodyHashOf(other));
  });
});
