import { describe, expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import type { SessionId } from '../../core/ids.ts';
import { instanceId, offerId } from '../../provider/ids.ts';
import { httpWorlds, MEMORY, someOffers } from '../fixtures/http-world.ts';

// Interruptible offers and the sessions on them, as clients see them.

const aWorld = httpWorlds();

const BID = 'memory-ask-1-bid';
/** 0.15 and 0.007 for the disk of 50 GB: cheaper than anything else of its kind. */
const bid = anOffer({
  id: offerId(BID),
  provider: MEMORY,
  providerOfferId: 'ask-1',
  interruptible: true,
  minBidMicrosPerHour: 150_000,
  priceMicrosPerHour: 157_000,
});

type Body = Record<string, unknown>;

async function aMarket(settings = {}) {
  const world = await aWorld({ offers: [...someOffers(), bid], settings });
  const get = async (url: string) => (await world.app.inject({ method: 'GET', url })).json<Body & { offers: Body[] }>();
  const post = async (payload: Body) => {
    const answer = await world.app.inject({ method: 'POST', url: '/api/v1/sessions?wait=0', payload });
    return { status: answer.statusCode, body: answer.json<Body & { session: Body; fields: Body[] }>() };
  };
  const stored = async ({ session }: { session: Body }) => {
    const record = await world.sessions.find(session['id'] as SessionId); // the wire's session always has its id
    if (!record) throw new Error('it was not stored');
    return record.session;
  };
  return { ...world, get, post, stored };
}

describe('GET /api/v1/inventory with interruptible offers', () => {
  it('shows them only when asked: who takes the cheapest of the list gets one that stays', async () => {
    const { get } = await aMarket();
    const idsAt = async (query: string) => (await get(`/api/v1/inventory${query}`)).offers.map(({ id }) => id);

    expect(await idsAt('')).not.toContain(BID);
    expect(await idsAt('?interruptible=false')).not.toContain(BID);
    expect(await idsAt('?interruptible=true')).toEqual([BID]);
    expect(await idsAt('?interruptible=true&max_price=0.15')).toEqual([]);
  });

  it('says what they are, and what may be bid', async () => {
    const { get } = await aMarket();

    expect(await get(`/api/v1/inventory/${BID}`)).toMatchObject({
      id: BID,
      interruptible: true,
      min_bid: 0.15,
      price_per_hour: 0.157,
    });
    expect(await get('/api/v1/inventory/memory-ask-1')).not.toHaveProperty('interruptible');
  });
});

describe('POST /api/v1/sessions for an interruptible offer', () => {
  it('bids the floor and the margin when nothing is said, and costs that and the disk', async () => {
    const { post } = await aMarket();

    const { status, body } = await post({ offer_id: BID });

    expect(status).toBe(201);
    expect(body.session).toMatchObject({ offer_id: BID, interruptible: true, bid_price: 0.165, price_per_hour: 0.172 });
  });

  it('bids by the margin of the configuration, and goes on with it when that changes', async () => {
    const { post, stored } = await aMarket({ bidMarginPercent: 20 });

    const { body } = await post({ offer_id: BID });

    expect(body.session).toMatchObject({ bid_price: 0.18 });
    expect((await stored(body)).request).toMatchObject({ bidMarginPercent: 20 });
  });

  it('bids what was asked', async () => {
    const { post, stored } = await aMarket();

    const { body } = await post({ offer_id: BID, bid_price: 0.2, max_price: 0.25 });

    expect(body.session).toMatchObject({ bid_price: 0.2, price_per_hour: 0.207 });
    expect((await stored(body)).request).toMatchObject({ bidMicrosPerHour: 200_000 });
  });

  it('bids no more than max_price leaves beside the disk', async () => {
    const { post } = await aMarket();

    const { body } = await post({ gpu_type: 'RTX 4090', interruptible: true, max_price: 0.16 });

    expect(body.session).toMatchObject({ offer_id: BID, bid_price: 0.153, price_per_hour: 0.16 });
  });

  it('picks one by requirements only when they say so', async () => {
    const { post } = await aMarket();

    const either = await post({ gpu_type: 'RTX 4090' });
    const interruptible = await post({ gpu_type: 'RTX 4090', interruptible: true, bid_price: 0.16 });

    expect(either.body.session).toMatchObject({ offer_id: 'memory-ask-1', price_per_hour: 0.34 });
    expect(either.body.session).not.toHaveProperty('interruptible');
    expect(interruptible.body.session).toMatchObject({ offer_id: BID, bid_price: 0.16 });
  });

  it('has no capacity for a bid that every floor exceeds, or for a limit under it', async () => {
    const { post } = await aMarket();

    expect(await post({ gpu_type: 'RTX 4090', interruptible: true, bid_price: 0.1 })).toMatchObject({
      status: 503,
      body: { error_type: 'no_capacity' },
    });
    expect(await post({ gpu_type: 'RTX 4090', interruptible: true, max_price: 0.15 })).toMatchObject({
      status: 503,
      body: { error_type: 'no_capacity' },
    });
  });

  it.each([
    ['under the floor', { offer_id: BID, bid_price: 0.1 }, 'bid_price must be at least 0.15, the min_bid of offer'],
    ['that exceeds the limit with the disk', { offer_id: BID, bid_price: 0.2, max_price: 0.205 }, 'must be at most 0.198'],
    ['for an offer that takes none', { offer_id: 'memory-ask-1', bid_price: 0.5 }, 'is none; leave it out'],
    ['over the limit', { offer_id: BID, bid_price: 0.3, max_price: 0.25 }, 'bid_price must be at most max_price (0.25)'],
    ['without a wish for such an offer', { gpu_type: 'RTX 4090', bid_price: 0.2 }, 'bid_price needs interruptible: true'],
    ['of nothing', { offer_id: BID, bid_price: 0 }, 'bid_price must be more than 0'],
  ])('answers 400 to a bid %s, with the field and the fix', async (_, payload, words) => {
    const { post } = await aMarket();

    const { status, body } = await post(payload);

    expect(status).toBe(400);
    expect(body['error']).toContain(words);
    expect(body.fields).toMatchObject([{ field: 'bid_price' }]);
  });

  it('answers 409 when even the floor exceeds max_price', async () => {
    const { post } = await aMarket();

    expect(await post({ offer_id: BID, max_price: 0.15 })).toMatchObject({
      status: 409,
      body: { error_type: 'price_changed' },
    });
  });

  it('CONF-C14: tells that it was preempted, and ends', async () => {
    const world = await aMarket();
    const { body } = await world.post({ offer_id: BID });
    const id = body.session['id'] as SessionId; // the wire's session always has its id
    const { tag } = await world.run(id);
    const made = (await world.sessions.find(id))?.attempts[0]?.instanceId ?? instanceId('none');
    await world.apply(id, { kind: 'seen', ordinal: 1, by: 'list', instance: { id: made, tag, state: 'paused' } });

    expect(await world.get(`/api/v1/sessions/${id}`)).toMatchObject({ status: 'stopping', reason: 'preempted' });
    await world.vanish(id);
    expect(await world.get(`/api/v1/sessions/${id}`)).toMatchObject({
      status: 'stopped',
      reason: 'preempted',
      error: expect.stringContaining('higher bid'),
    });
  });
});
