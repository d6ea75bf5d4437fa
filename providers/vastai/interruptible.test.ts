import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { aCreateRequest, uncancelled } from '../../test/support/provider-calls.ts';
import { systemRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { account, offerRow, quotaUsedUp, runningRecord } from './fixtures/bodies.ts';
import { vastai } from './index.ts';

// What Vast.ai calls interruptible: one ask, had for a bid and until somebody bids more.

const API = 'https://console.vast.ai';
const ROWS = { 'on-demand': 64, bid: 32 } as const;
/** As a search for bids shows it: the GPU part is the floor. */
const bidRow = { ...offerRow, is_bid: true, dph_base: 0.2134, dph_total: 0.2259 };

class SwiftClock extends FakeClock {
  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.advance(ms);
  }
}

async function aProvider(environment: Record<string, string> = {}, clock: FakeClock = new SwiftClock()) {
  const unused = null as never; // the pool is for those that own machines
  const settings = vastai.environment.parse({ VASTAI_API_KEY: 's3cret-key-of-the-account', ...environment });
  const deps = { clock, random: { ...systemRandom, next: () => 0 }, log: recordingLog(), dataFolder: '/nonexistent' };
  return vastai.create(settings, { ...deps, machinePool: unused });
}

type Search = { readonly type: string; readonly limit: number };

/** Answers searches by their kind, and notes them. */
function answerSearches(rows: { readonly 'on-demand'?: readonly unknown[]; readonly bid?: readonly unknown[] }, times = 2) {
  const searches: (Search & Record<string, unknown>)[] = [];
  nock(API)
    .post('/api/v0/bundles/')
    .times(times)
    .reply((_, body) => {
      const search = body as Search & Record<string, unknown>; // what our own adapter sent
      searches.push(search);
      return [200, { offers: (search.type === 'bid' ? rows.bid : rows['on-demand']) ?? [] }];
    });
  return searches;
}

const rowsOf = (searches: readonly Search[]) => searches.reduce((sum, { limit }) => sum + limit, 0);

beforeEach(() => nock.disableNetConnect());
afterEach(() => {
  nock.abortPendingRequests();
  nock.cleanAll();
  nock.enableNetConnect();
});

describe('vastai: interruptible offers', () => {
  it('V9, V10: stand beside those at a fixed price, with ids of their own, at the floor and the disk', async () => {
    const searches = answerSearches({ 'on-demand': [offerRow], bid: [bidRow] });

    const { offers } = await (await aProvider()).listOffers({}, uncancelled);

    expect(searches.map(({ type, limit }) => [type, limit])).toEqual(Object.entries(ROWS));
    expect(searches[1]).toMatchObject({
      allocated_storage: 50,
      order: [['dph_total', 'asc']],
      rentable: { eq: true },
      reliability2: { gte: 0.95 },
    });
    expect(offers).toMatchObject([
      { id: 'vastai-41827365', interruptible: false, priceMicrosPerHour: 359_200 },
      {
        id: 'vastai-41827365-bid',
        providerOfferId: '41827365',
        machineId: 'vastai-machine-58213',
        interruptible: true,
        minBidMicrosPerHour: 213_400,
        priceMicrosPerHour: 225_900,
        diskMicrosPerGbHour: 250,
      },
    ]);
  });

  it('V11: are priced for the disk that was asked', async () => {
    answerSearches({ bid: [bidRow] });

    const { offers } = await (await aProvider()).listOffers({ diskGb: 150 }, uncancelled);

    expect(offers).toMatchObject([{ diskGb: 150, priceMicrosPerHour: 213_400 + 37_500, minBidMicrosPerHour: 213_400 }]);
  });

  it('V10: take the floor from wherever it is told, and are left out when nothing tells one', async () => {
    const rows = [
      { ...bidRow, min_bid: null },
      { ...bidRow, id: 2, dph_base: null, dph_total: null },
      { ...bidRow, id: 3, min_bid: null, dph_base: null, dph_total: null },
      { ...bidRow, id: 4, min_bid: 0 },
      { ...bidRow, id: 5, min_bid: null, dph_base: null, dph_total: 0.2234, storage_total_cost: 0.01 },
    ];
    answerSearches({ bid: rows });

    const { offers, dropped } = await (await aProvider()).listOffers({}, uncancelled);

    expect(offers.map(({ minBidMicrosPerHour }) => minBidMicrosPerHour)).toEqual([213_400, 213_400, 213_400]);
    expect(dropped).toBe(2);
  });

  it('are less likely to be had than the same machine at a fixed price', async () => {
    answerSearches({ 'on-demand': [offerRow], bid: [bidRow] });

    const [onDemand, bid] = (await (await aProvider()).listOffers({}, uncancelled)).offers;

    expect(bid?.confidence).toBeLessThan(onDemand?.confidence ?? 0);
  });

  it('V28: are checked again, as all rows are', async () => {
    const odd = [{ rentable: false }, { rented: true }, { reliability2: 0.5 }, { verification: 'deverified' }, { duration: 0 }];
    answerSearches({ bid: odd.map((change, at) => ({ ...bidRow, id: 100 + at, ...change })) });

    expect((await (await aProvider()).listOffers({}, uncancelled)).offers).toEqual([]);
  });

  it('are not asked for, nor claimed as an ability, when the operator wants none', async () => {
    const searches = answerSearches({}, 1);
    const provider = await aProvider({ VASTAI_INTERRUPTIBLE_OFFERS: '0' });

    await provider.listOffers({}, uncancelled);

    expect(searches.map(({ type }) => type)).toEqual(['on-demand']);
    expect(provider.capabilities).toMatchObject({ interruptible: false, offerRefreshMs: 307_200 });
    expect((await aProvider()).capabilities.interruptible).toBe(true);
  });

  it('V7, CONF-C7: share the rows of the day with the others, both in the rhythm that the two of them leave', async () => {
    const searches = answerSearches({ 'on-demand': Array(64).fill(offerRow), bid: Array(32).fill(bidRow) }, 400);
    const clock = new SwiftClock();
    const provider = await aProvider({}, clock);

    for (const end = clock.monotonicMs() + 86_400_000; clock.monotonicMs() < end;) {
      await provider.listOffers({}, uncancelled);
      await clock.advance(provider.capabilities.offerRefreshMs);
    }

    expect(provider.capabilities.offerRefreshMs).toBe(460_800);
    expect(searches.filter(({ type }) => type === 'bid')).toHaveLength(searches.length / 2);
    expect(searches.every(({ type, limit }) => limit === (type === 'bid' ? 32 : 64))).toBe(true);
    expect(rowsOf(searches)).toBeGreaterThan(17_000);
    expect(rowsOf(searches)).toBeLessThanOrEqual(20_000);
  });

  it('V7: take their share of what is left when the rows run short, and nothing is spent twice', async () => {
    const searches = answerSearches({ 'on-demand': Array(64).fill(offerRow), bid: Array(32).fill(bidRow) }, 80);
    const clock = new SwiftClock();
    const provider = await aProvider({}, clock);
    const startedMs = clock.monotonicMs();

    let refused: unknown;
    while (refused === undefined)
      await provider.listOffers({}, uncancelled).catch((error: unknown) => {
        refused = error;
      });

    const inHand = 2_000;
    const cameIn = ((clock.monotonicMs() - startedMs) * 18_000) / 86_400_000;
    expect(refused).toMatchObject({ kind: 'rate_limited' });
    expect(rowsOf(searches)).toBeLessThanOrEqual(inHand + cameIn);
    const [onDemand, bids] = searches.slice(-2);
    expect(bids).toMatchObject({ type: 'bid', limit: Math.floor(((onDemand?.limit ?? 0) + (bids?.limit ?? 0)) / 3) });
  });

  it('V2: are searched for ten times a minute at most, the others counted', async () => {
    const clock = new SwiftClock();
    const at: number[] = [];
    nock(API)
      .post('/api/v0/bundles/')
      .times(20)
      .reply(() => {
        at.push(clock.monotonicMs());
        return [200, { offers: [] }];
      });
    const provider = await aProvider({}, clock);

    for (let listings = 0; listings < 10; listings += 1) await provider.listOffers({}, uncancelled);

    const busiest = Math.max(...at.map((from) => at.filter((each) => each >= from && each < from + 60_000).length));
    expect(at).toHaveLength(20);
    expect(busiest).toBeLessThanOrEqual(10);
  });

  it.each([
    ['all offers at a fixed price may not have come', { 'on-demand': Array(64).fill(offerRow) }, true],
    ['all interruptible ones may not have come', { bid: Array(32).fill(bidRow) }, true],
    ['everything came', { 'on-demand': Array(63).fill(offerRow), bid: Array(31).fill(bidRow) }, false],
  ])('tell with the others whether there may be more: %s', async (_, rows, truncated) => {
    answerSearches(rows);

    expect((await (await aProvider()).listOffers({}, uncancelled)).truncated).toBe(truncated);
  });

  it('fail the listing when they cannot be asked for: what is shown is all or none', async () => {
    nock(API)
      .post('/api/v0/bundles/', (body: Search) => body.type === 'bid')
      .reply(429, quotaUsedUp);
    nock(API)
      .post('/api/v0/bundles/')
      .reply(200, { offers: [offerRow] });

    await expect((await aProvider()).listOffers({}, uncancelled)).rejects.toMatchObject({
      kind: 'rate_limited',
      retryAfterMs: 18_340_000,
    });
  });
});

describe('vastai: bids', () => {
  async function offered(): Promise<Offer> {
    answerSearches({ bid: [bidRow] });
    const [offer] = (await (await aProvider()).listOffers({}, uncancelled)).offers;
    if (!offer) throw new Error('it was not offered');
    return offer;
  }
  async function create(overrides: Partial<CreateRequest>) {
    const request = aCreateRequest(await offered(), { maxPriceMicrosPerHour: 300_000, ...overrides });
    const provider = await aProvider();
    return provider.createInstance(request, uncancelled).catch((error: unknown) => error);
  }

  it('go with the create, which must not leave a contract that does not start', async () => {
    const bodies: unknown[] = [];
    nock(API)
      .put('/api/v0/asks/41827365/', (body) => bodies.push(body) > 0)
      .reply(200, { success: true, new_contract: 33918204 });

    expect(await create({ bidMicrosPerHour: 234_800 })).toMatchObject({ id: '33918204', state: 'starting' });
    expect(bodies).toMatchObject([{ price: 0.2348, cancel_unavail: true, target_state: 'running' }]);
  });

  it('may be the floor, and with the disk all that may be paid', async () => {
    nock(API).put('/api/v0/asks/41827365/').times(2).reply(200, { success: true, new_contract: 33918204 });

    expect(await create({ bidMicrosPerHour: 213_400 })).toMatchObject({ state: 'starting' });
    expect(await create({ bidMicrosPerHour: 287_500 })).toMatchObject({ state: 'starting' });
  });

  it.each([
    ['nothing', { bidMicrosPerHour: 0 }],
    ['one under the floor', { bidMicrosPerHour: 213_399 }],
    ['one that is too much with the disk', { bidMicrosPerHour: 287_501 }],
    ['one that is too much with a larger disk', { bidMicrosPerHour: 270_000, diskGb: 200 }],
  ])('are refused before anything is sent: %s', async (_, overrides) => {
    expect(await create(overrides)).toMatchObject({ kind: 'rejected', message: expect.stringMatching(/bid/) });
  });

  it.each([
    [
      'the floor has risen',
      400,
      { success: false, error: 'invalid_price', msg: 'Bid must be at least 0.25.', ask_id: 41827365 },
      'capacity',
    ],
    [
      'it is no price at all',
      400,
      { success: false, error: 'invalid_price', msg: 'Bid must be between 0.001 and 128.' },
      'rejected',
    ],
    [
      'somebody else bids more',
      410,
      {
        success: false,
        error: 'no_such_ask',
        msg: 'error 410/3907: no_such_ask Instance type 41827365 is no longer available.',
      },
      'capacity',
    ],
    // the words mean a contract, and its id is not told: only its label can find it
    ['V8: it lost and left nobody knows what', 400, { success: false, msg: 'Bid too low; contract is stopped.' }, 'ambiguous'],
    ['V8: the same with 200', 200, { success: false, error: 'invalid_args', msg: 'Bid too low' }, 'ambiguous'],
  ])('are refused because %s', async (_, status, body, kind) => {
    nock(API).put('/api/v0/asks/41827365/').reply(status, body);

    expect(await create({ bidMicrosPerHour: 234_800 })).toMatchObject({ kind, operation: 'CreateInstance' });
  });

  it('CONF-C5: that lost and left a stopped contract leave none', async () => {
    const body = { success: false, error: 'invalid_args', msg: 'Bid too low; contract is stopped.', new_contract: 33918204 };
    nock(API).put('/api/v0/asks/41827365/').reply(400, body);
    const destroyed = nock(API).delete('/api/v0/instances/33918204/').reply(200, { success: true });

    expect(await create({ bidMicrosPerHour: 234_800 })).toMatchObject({ kind: 'capacity' });
    expect(destroyed.isDone()).toBe(true);
  });
});

describe('vastai: interruptible instances', () => {
  const id = instanceId('33918204');
  const stopped = { intended_status: 'stopped', cur_state: 'stopped', next_state: 'stopped' };
  const outbid = { ...runningRecord, is_bid: true, ...stopped };

  it.each([
    ['C15, V24: that wait for their machine are starting', { actual_status: 'scheduling', next_state: 'running' }, 'starting'],
    ['that nobody has reported yet are starting', { actual_status: null }, 'starting'],
    ['CONF-C14: that exited while they should run are paused: picture (a)', { actual_status: 'exited' }, 'paused'],
    ['CONF-C14: that stopped while loading are paused: picture (b)', { actual_status: 'loading', ...stopped }, 'paused'],
    ['CONF-C14: that stopped before the first report are paused', { actual_status: null, ...stopped }, 'paused'],
    ['that have resumed by themselves run', { actual_status: 'running' }, 'running'],
  ])('%s', async (_, change, state) => {
    nock(API).get('/api/v0/users/current/').optionally().reply(200, account);
    nock(API)
      .get('/api/v0/instances/33918204/')
      .reply(200, { instances: { ...runningRecord, is_bid: true, ...change } });

    const instance = await (await aProvider()).getInstance(id, uncancelled);

    expect(instance?.state).toBe(state);
    if (state === 'paused') expect(instance?.priceMicrosPerHour).toBe(10_000);
  });

  it('V29: are not called outbid in a list either when the account is empty', async () => {
    const rows = [
      { ...outbid, id: 1 },
      { ...outbid, id: 2, is_bid: false },
      { ...runningRecord, id: 3 },
    ];
    nock(API)
      .get('/api/v1/instances/')
      .query(true)
      .times(2)
      .reply(200, { instances: rows, total_instances: 3, next_token: null });
    const credits = nock(API)
      .get('/api/v0/users/current/')
      .reply(200, { ...account, credit: 0 });
    const provider = await aProvider();

    const first = await provider.listInstances(uncancelled);
    const again = await provider.listInstances(uncancelled);

    const states = [
      { state: 'failed', reason: expect.stringContaining('run out of credit') as string },
      { state: 'failed', reason: expect.stringContaining('run out of credit') as string },
      { state: 'running' },
    ];
    expect(first).toMatchObject(states);
    expect(again).toMatchObject(states); // by what was read of the credit a moment ago
    expect(credits.isDone()).toBe(true);
  });

  it('are listed as what they look like when the credit cannot be read', async () => {
    nock(API)
      .get('/api/v1/instances/')
      .query(true)
      .reply(200, { instances: [outbid], total_instances: 1, next_token: null });
    nock(API).get('/api/v0/users/current/').reply(502);

    expect(await (await aProvider()).listInstances(uncancelled)).toMatchObject([{ state: 'paused' }]);
  });
});
