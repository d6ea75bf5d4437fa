import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import { badGateway, badKey, moved, offerRow, quotaUsedUp, retired, runningRecord } from './fixtures/bodies.ts';
import { API, KEY, aProvider, failureOf, replyToGet, id, closeNock } from './fixtures/a-provider.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

describe('vastai: offers', () => {
  async function offersOf(rows: readonly unknown[], query = {}, environment = {}) {
    const bodies: unknown[] = [];
    nock(API)
      .post('/api/v0/bundles/', (body) => bodies.push(body) > 0)
      .matchHeader('authorization', `Bearer ${KEY}`)
      .reply(200, { offers: rows });
    const { provider } = await aProvider(environment);
    return { ...(await provider.listOffers(query, uncancelled)), body: bodies[0] };
  }

  it('V11: prices what was asked for, from the rates and months of 720 hours', async () => {
    const { offers, body, dropped } = await offersOf([offerRow]);

    expect(body).toMatchObject({
      type: 'on-demand',
      allocated_storage: 50,
      limit: 64,
      order: [['dph_total', 'asc']],
      rentable: { eq: true },
      rented: { eq: false },
      reliability2: { gte: 0.95 },
      disk_space: { gte: 50 },
    });
    expect(dropped).toBe(0);
    expect(offers).toEqual([
      {
        id: 'vastai-41827365',
        provider: 'vastai',
        providerOfferId: '41827365',
        machineId: 'vastai-machine-58213',
        gpuType: 'RTX 4090',
        gpuCount: 1,
        vramMib: 24_564,
        cpuCores: 16,
        memoryMib: 64_413,
        diskGb: 50,
        minDiskGb: 8,
        maxDiskGb: 412,
        priceMicrosPerHour: 359_200,
        diskMicrosPerGbHour: 250,
        location: 'Utah, US',
        reliability: 0.9931,
        confidence: expect.closeTo(0.6 * 0.9931 + 0.4 * (0.2134 / 0.3592), 6) as number,
        cudaVersion: 12.8,
        interruptible: false,
        minBidMicrosPerHour: 213_400,
        units: 1,
        maxDurationMs: 8_000_000_000,
      },
    ]);
    const [offer] = offers;
    expect(offer && priceWithDisk(offer, 150)).toBe(384_200);
  });

  it('V11: is not fooled by a total for another disk than the asked one', async () => {
    const small = { ...offerRow, dph_total: 0.3487, storage_total_cost: 0.002 };

    const { offers, body } = await offersOf([small], { diskGb: 150 });

    expect(body).toMatchObject({ allocated_storage: 150, disk_space: { gte: 150 } });
    expect(offers[0]).toMatchObject({ diskGb: 150, priceMicrosPerHour: 384_200 });
  });

  it('V28: re-checks every filter, since theirs are not always honoured', async () => {
    const odd = (change: object, nth: number) => ({ ...offerRow, id: 100 + nth, ...change });
    const rows = [
      { rentable: false },
      { rented: true },
      { is_bid: true, dph_base: 0.2134 },
      { reliability2: 0.5 },
      { reliability2: null, reliability: null },
      { verification: 'deverified' },
      { gpu_name: 'RTX 3090' },
      { gpu_ram: 12_288 },
      { disk_space: 20 },
      { duration: 0 },
    ].map(odd);

    const { offers, dropped } = await offersOf([...rows, offerRow], { gpuTypes: ['rtx-4090'], minVramMib: 24_576 });

    expect(offers.map((offer) => offer.providerOfferId)).toEqual(['41827365']);
    expect(dropped).toBe(0);
  });

  it('REL-K3: drops and counts rows without a sane price, id or name, and keeps the rest', async () => {
    const rows = [
      null,
      'row',
      {},
      { ...offerRow, id: null, ask_contract_id: null },
      { ...offerRow, dph_base: -1 },
      { ...offerRow, dph_base: 5_000 },
      { ...offerRow, dph_base: null, dph_total: null },
      { ...offerRow, storage_cost: null, storage_total_cost: null, dph_total: null },
      { ...offerRow, num_gpus: 0 },
      { ...offerRow, disk_space: 'much' },
    ];

    const { offers, dropped } = await offersOf([...rows, offerRow]);

    expect(offers).toHaveLength(1);
    expect(dropped).toBe(rows.length);
  });

  it('V21: bears null and 0 where a machine does not tell', async () => {
    const bare = {
      ...offerRow,
      cpu_cores: null,
      geolocation: null,
      min_bid: null,
      cuda_max_good: null,
      machine_id: null,
      end_date: null,
    };
    const rows = [
      { ...bare, duration: null },
      { ...offerRow, id: 2, ask_contract_id: 2, cpu_cores: 0, cpu_cores_effective: null, geolocation: ', CN' },
      { ...offerRow, id: 3, ask_contract_id: 3, storage_cost: null, dph_base: null, gpu_ram: null },
    ];

    const { offers } = await offersOf(rows);

    expect(offers[0]).toMatchObject({ cpuCores: 16, memoryMib: 64_413, location: 'unknown' });
    for (const absent of ['machineId', 'cudaVersion', 'minBidMicrosPerHour', 'maxDurationMs'])
      expect(offers[0]).not.toHaveProperty(absent);
    expect(offers[1]).toMatchObject({ cpuCores: 1, memoryMib: 64_413, location: 'CN' });
    expect(offers[2]).toMatchObject({ priceMicrosPerHour: 359_200, diskMicrosPerGbHour: 250, vramMib: 24_564 });
  });

  it('REL-K2: takes names and places as text of one line', async () => {
    const { offers } = await offersOf([{ ...offerRow, geolocation: 'Utah\u001b[31m\u202e, US\n' }]);

    expect(offers[0]?.location).toBe('Utah [31m , US');
  });

  it.each([
    [['T4', 'A100 SXM'], { gpu_name: { in: ['Tesla T4', 'A100 SXM4', 'A100 SXM'] } }],
    [['rtx4090', 'H100 NVL'], { gpu_name: { in: ['RTX 4090', 'H100 NVL'] } }],
  ])('asks for %s by their names', async (gpuTypes, expected) => {
    const { body } = await offersOf([], { gpuTypes });

    expect(body).toMatchObject(expected);
  });

  it.each([
    ['Q RTX 8000', 'RTX 8000'],
    ['RTX 4070S Ti', 'RTX 4070 Ti Super'],
    ['RTX 4080S', 'RTX 4080 Super'],
    ['RTX 6000Ada', 'RTX 6000 Ada'],
    ['RTX 4090D', 'RTX 4090 D'],
    ['A100 PCIE', 'A100'],
    ['A100 SXM4', 'A100 SXM'],
    ['Tesla V100', 'V100'],
    ['RTX PRO 6000 S', 'RTX PRO 6000'],
  ])('calls their %s what everybody else calls it, and asks for it by their name', async (theirs, ours) => {
    const { offers, body } = await offersOf([{ ...offerRow, gpu_name: theirs }], { gpuTypes: [ours] });

    expect(offers[0]?.gpuType).toBe(ours);
    const names = (body as { gpu_name?: { in: string[] } }).gpu_name?.in;
    if (names) expect(names).toContain(theirs);
  });

  it('asks for all GPUs when it does not know their name of one', async () => {
    const { body } = await offersOf([], { gpuTypes: ['RTX 4090', 'Frobnicator 9'] });

    expect(body).not.toHaveProperty('gpu_name');
  });

  it('V7, CONF-C7: spends the rows of a day evenly, and says how long to wait', async () => {
    nock(API)
      .post('/api/v0/bundles/')
      .times(40)
      .reply(200, { offers: Array.from({ length: 64 }, () => offerRow) });
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    let searches = 0;
    let refused: unknown;
    while (refused === undefined && searches < 100) {
      const listed = provider.listOffers({}, uncancelled);
      const settled = listed.then(
        () => (searches += 1),
        (error: unknown) => (refused = error),
      );
      await clock.advance(14_000);
      await settled;
    }

    expect(searches).toBeGreaterThan(25);
    expect(searches * 64).toBeLessThanOrEqual(2_300);
    expect(refused).toMatchObject({ kind: 'rate_limited' });
    expect((refused as ProviderError).retryAfterMs).toBeLessThan(310_000);
    expect(provider.capabilities.offerRefreshMs).toBe(307_200);
  });

  it('V7, CONF-C7: pauses searches alone when the quota is used up', async () => {
    nock(API).post('/api/v0/bundles/').reply(429, quotaUsedUp);
    const { provider } = await aProvider();
    const first = await failureOf(provider.listOffers({}, uncancelled));

    expect(first).toMatchObject({ kind: 'rate_limited', retryAfterMs: 18_340_000 });
    expect(await failureOf(provider.listOffers({}, uncancelled))).toMatchObject({
      kind: 'rate_limited',
      retryAfterMs: 18_340_000,
    });
    replyToGet(200, { instances: runningRecord });
    expect(await provider.getInstance(id, uncancelled)).toMatchObject({ state: 'running' });
  });

  it('V7: waits for the reset in the header, or for midnight, when nothing else tells', async () => {
    const body = { success: false, error: 'search_quota_exceeded' };
    const now = Date.parse('2026-01-01T00:00:00Z');
    nock(API)
      .post('/api/v0/bundles/')
      .reply(429, body, { 'x-ratelimit-reset': String(now / 1_000 + 600) });
    nock(API).post('/api/v0/bundles/').reply(429, body);

    const [first, second] = [await aProvider(), await aProvider()];

    expect(await failureOf(first.provider.listOffers({}, uncancelled))).toMatchObject({ retryAfterMs: 600_000 });
    expect(await failureOf(second.provider.listOffers({}, uncancelled))).toMatchObject({ retryAfterMs: 86_400_000 });
  });

  it.each([
    ['404 auth_error (V25)', 404, badKey, 'auth'],
    ['an invalid search', 400, { error: 'invalid_request', msg: 'Invalid json body' }, 'rejected'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['a list without its key', 200, { success: true }, 'protocol'],
    ['502', 502, badGateway, 'unavailable'],
    ['410 (V26)', 410, retired, 'protocol'],
    ['another 404', 404, { error: 'not_found' }, 'protocol'],
    ['301 (V1)', 301, moved, 'protocol'],
  ])('takes %s for what it is', async (_, status, body, kind) => {
    nock(API).post('/api/v0/bundles/').reply(status, body);
    const { provider } = await aProvider();

    expect(await failureOf(provider.listOffers({}, uncancelled))).toMatchObject({ kind, operation: 'ListOffers' });
  });
});
