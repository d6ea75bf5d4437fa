import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { aCreateRequest, aTag, uncancelled } from '../../test/support/provider-calls.ts';
import { systemRandom } from '../../src/core/random.ts';
import { instanceId, offerId } from '../../src/provider/ids.ts';
import { priceWithDisk, type Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { account, badGateway, badKey, moved, noSuchInstance, offerRow, quotaUsedUp } from './fixtures/bodies.ts';
import { retired, runningRecord, tooFrequent } from './fixtures/bodies.ts';
import { vastai } from './index.ts';

const API = 'https://console.vast.ai';
const KEY = 's3cret-key-of-the-account';
const PROBE = `ssh-ed25519 ${'A'.repeat(68)} probe`;
const OWN = `ssh-ed25519 ${'B'.repeat(68)} me@home`;

/** Time passes as soon as somebody sleeps. */
class SwiftClock extends FakeClock {
  slept = 0;
  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept += ms;
    await this.advance(ms);
  }
}

async function aProvider(environment: Record<string, string> = {}, clock: FakeClock = new SwiftClock()) {
  const log = recordingLog();
  const unused = null as never; // the pool is for those that own machines
  // one search a listing: what becomes of the other is told in interruptible.test.ts
  const settings = vastai.environment.parse({ VASTAI_API_KEY: KEY, VASTAI_INTERRUPTIBLE_OFFERS: '0', ...environment });
  const deps = { clock, random: { ...systemRandom, next: () => 0 }, log, dataFolder: '/nonexistent', machinePool: unused };
  return { provider: await vastai.create(settings, deps), clock, log };
}

const anOffer: Offer = {
  id: offerId('vastai-41827365'),
  provider: 'vastai' as Offer['provider'],
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
  confidence: 0.9,
  interruptible: false,
  units: 1,
};

const aBidOffer: Offer = {
  ...anOffer,
  id: offerId('vastai-41827365-bid'),
  interruptible: true,
  minBidMicrosPerHour: 200_000,
  priceMicrosPerHour: 212_500,
};

const aRequest = (overrides: Partial<CreateRequest> = {}) =>
  aCreateRequest(anOffer, { sshPublicKeys: [OWN, PROBE], ...overrides });
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('it should have failed'),
    (error: unknown) => error,
  );
const replyToCreate = (status: number, body: nock.Body = '') => nock(API).put('/api/v0/asks/41827365/').reply(status, body);
const replyToGet = (status: number, body: nock.Body = '', id = 33918204) =>
  nock(API).get(`/api/v0/instances/${id}/`).reply(status, body);
const replyToDelete = (status: number, body: nock.Body = '', id = 33918204) =>
  nock(API).delete(`/api/v0/instances/${id}/`).reply(status, body);
const replyWithCredit = (credit: number) =>
  nock(API)
    .get('/api/v0/users/current/')
    .reply(200, { ...account, credit });
const id = instanceId('33918204');

beforeEach(() => nock.disableNetConnect());
afterEach(() => {
  nock.abortPendingRequests();
  nock.cleanAll();
  nock.enableNetConnect();
});

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

describe('vastai: create', () => {
  async function create(overrides: Partial<CreateRequest> = {}) {
    const { provider, ...rest } = await aProvider();
    return {
      ...rest,
      outcome: await provider.createInstance(aRequest(overrides), uncancelled).catch((error: unknown) => error),
    };
  }

  it('V22, V23, REL-K9: sends label, variables as an object and keys as data in the one call that creates', async () => {
    const bodies: Record<string, unknown>[] = [];
    nock(API)
      .put('/api/v0/asks/41827365/', (body: Record<string, unknown>) => bodies.push(body) > 0)
      .matchHeader('authorization', `Bearer ${KEY}`)
      .reply(200, { success: true, new_contract: 33918204, instance_api_key: 'b3f1d0synthetic' });

    const { outcome } = await create({
      environment: { HF_TOKEN: 'x y' },
      onStart: "echo 'hi'",
      diskGb: 40.2,
      image: 'ubuntu:22.04',
    });

    expect(outcome).toEqual({ id: '33918204', tag: aTag(), state: 'starting' });
    const [body] = bodies;
    expect(body).toEqual({
      client_id: 'me',
      image: 'ubuntu:22.04',
      label: aTag(),
      disk: 41,
      env: { HF_TOKEN: 'x y', BERTH_TAG: aTag() },
      runtype: 'ssh_direct',
      onstart: expect.any(String) as string,
      target_state: 'running',
      cancel_unavail: true,
    });
    const script = String(body?.['onstart']);
    expect(script.length).toBeLessThanOrEqual(4_096);
    expect(script).toContain(Buffer.from(`${OWN}\n${PROBE}\n`).toString('base64'));
    expect(script).not.toMatch(/'hi'|ssh-ed25519/);
  });

  it('sends the default image, and a bid only for an interruptible offer', async () => {
    const bodies: Record<string, unknown>[] = [];
    const note = (body: Record<string, unknown>) => bodies.push(body) > 0;
    nock(API).put('/api/v0/asks/41827365/', note).times(2).reply(200, { success: true, new_contract: '33918204' });

    await create();
    await create({ offer: aBidOffer, bidMicrosPerHour: 220_000, maxPriceMicrosPerHour: 400_000 });

    expect(bodies[0]).toMatchObject({ image: 'nvidia/cuda:12.6.3-runtime-ubuntu22.04' });
    expect(bodies[0]).not.toHaveProperty('price');
    expect(bodies[1]).toMatchObject({ price: 0.22 });
  });

  it.each<[string, Partial<CreateRequest>]>([
    ['a variable that would be a flag of docker', { environment: { '-v /:/host': '1' } }],
    ['a key of two lines', { sshPublicKeys: [`${OWN}\n${PROBE}`] }],
    ['an image with a space', { image: 'ubuntu:22.04 --privileged' }],
    [
      'a start script beyond their limit',
      { onStart: Array.from({ length: 900 }, (_, n) => `echo ${(n * 7919) ** 3}`).join('\n') },
    ],
    ['a foreign offer', { offer: { ...anOffer, providerOfferId: '../users/current' } }],
    ['a bid under the floor', { offer: { ...aBidOffer, minBidMicrosPerHour: 250_000 }, bidMicrosPerHour: 249_999 }],
    [
      'a bid that comes to too much with the disk',
      { offer: aBidOffer, bidMicrosPerHour: 240_000, maxPriceMicrosPerHour: 252_499 },
    ],
    ['no bid', { offer: aBidOffer }],
  ])('refuses %s before anything is sent', async (_, overrides) => {
    expect((await create(overrides)).outcome).toMatchObject({ kind: 'rejected', operation: 'CreateInstance' });
  });

  it.each([
    [
      'V4: 400 with 404/3603',
      400,
      {
        success: false,
        error: 'invalid_args',
        msg: 'error 404/3603: no_such_ask  Instance type by id 41827365 is not available.',
      },
      'capacity',
    ],
    [
      '410 with no_such_ask',
      410,
      {
        success: false,
        error: 'no_such_ask',
        msg: 'error 410/3907: no_such_ask Instance type 41827365 is no longer available.',
      },
      'capacity',
    ],
    ['404 with no_such_ask', 404, { success: false, msg: 'no_such_ask' }, 'capacity'],
    ['200 with no_such_ask', 200, { success: false, error: 'no_such_ask' }, 'capacity'],
    ['400 as plain text', 400, 'no_such_ask', 'capacity'],
    [
      'CONF-C20, V29: no credit',
      400,
      { success: false, error: 'insufficient_credit', msg: 'Your account lacks credit; see the billing page.' },
      'funds',
    ],
    ['V29: no credit, as text', 400, 'Your account lacks credit', 'funds'],
    ['no credit, in detail', 400, { detail: 'Insufficient balance' }, 'funds'],
    ['no card', 400, { error: 'missing_billing' }, 'funds'],
    ['411', 411, { success: false, msg: 'Insufficient credit' }, 'funds'],
    ['a new account', 403, { success: false, error: 'spend_rate_limit' }, 'funds'],
    ['a new account, as 429', 429, { success: false, error: 'spend_rate_limit' }, 'funds'],
    ['V25: 404 auth_error', 404, badKey, 'auth'],
    ['401', 401, badKey, 'auth'],
    ['no header', 403, { success: false, error: 'auth_error', msg: 'This action requires login.' }, 'auth'],
    ['a key without scope', 403, { success: false, error: 'forbidden', msg: 'Missing permission' }, 'auth'],
    ['a host account', 403, { success: false, msg: 'error 403/3586: Offer 41827365 is not your own' }, 'rejected'],
    [
      'bad arguments',
      400,
      { success: false, error: 'invalid_args', msg: 'error 400/3467: Invalid args: disk must be at least 8', ask_id: 41827365 },
      'rejected',
    ],
    [
      'a virtual machine',
      400,
      { success: false, error: 'no_ssh_key_for_vm', msg: 'VM instances need an SSH key on the account.' },
      'rejected',
    ],
    ['a bad price', 400, { success: false, error: 'invalid_price' }, 'rejected'],
    ['a long label', 400, { success: false, error: 'label_too_long' }, 'rejected'],
    ['483', 483, { success: false, error: 'invalid_args', msg: 'Invalid json_body' }, 'rejected'],
    ['V26: 410 of the endpoint', 410, retired, 'protocol'],
    ['404 as a page', 404, '<html>Not here</html>', 'protocol'],
    ['301', 301, moved, 'protocol'],
    ['408', 408, '', 'ambiguous'],
    ['500', 500, { success: false, msg: 'no_such_ask' }, 'ambiguous'],
    ['502', 502, badGateway, 'ambiguous'],
    ['V8: 200 without id or text', 200, { success: false }, 'ambiguous'],
    ['200 with an unknown text', 200, { success: false, error: 'invalid_args', msg: 'something' }, 'ambiguous'],
    ['success without id', 200, { success: true }, 'ambiguous'],
    ['an id without success', 200, { new_contract: 33918204 }, 'ambiguous'],
    ['half an answer', 200, '{"success": true, "new_cont', 'ambiguous'],
    ['an empty answer', 200, '', 'ambiguous'],
  ])('%s is %s: %s', async (_, status, body, kind) => {
    replyToCreate(status, body);

    const { outcome } = await create();

    expect(outcome).toMatchObject({ name: 'ProviderError', provider: 'vastai', kind, operation: 'CreateInstance' });
    expect((outcome as Error).message).toMatch(/^create instance at vastai: [^{<\n]{5,120}$/);
  });

  it.each([
    [0, 'funds'],
    [12, 'rejected'],
  ])('V29: asks for the credit (%d) when a 400 is empty', async (credit, kind) => {
    replyToCreate(400);
    replyWithCredit(credit);

    expect((await create()).outcome).toMatchObject({ kind });
  });

  it.each(tooFrequent)('V6: waits at least 12 s after $body', async ({ body, leastMs }) => {
    replyToCreate(429, body);

    expect((await create()).outcome).toMatchObject({ kind: 'rate_limited', retryAfterMs: Math.max(12_000, leastMs) });
  });

  it('V6: honours Retry-After and retry_after where there is one', async () => {
    nock(API).put('/api/v0/asks/41827365/').reply(429, '', { 'retry-after': '25' });
    replyToCreate(429, { error: 'rate_limit_exceeded', retry_after: 40 });

    expect((await create()).outcome).toMatchObject({ retryAfterMs: 25_000 });
    expect((await create()).outcome).toMatchObject({ retryAfterMs: 40_000 });
  });

  describe('CONF-C5, V8, V9: refused, yet a contract was made', () => {
    const refused = { success: false, error: 'invalid_args', msg: 'Bid too low; contract is stopped.', new_contract: 33918204 };

    it.each([
      [200, refused, 'capacity'],
      [400, refused, 'capacity'],
      [410, { ...refused, error: 'no_such_ask' }, 'capacity'],
      [400, { ...refused, msg: 'insufficient_credit' }, 'funds'],
    ])('is destroyed at once (%d), and then another offer may be tried', async (status, body, kind) => {
      replyToCreate(status, body);
      const destroyed = replyToDelete(200, { success: true });

      expect((await create()).outcome).toMatchObject({ kind });
      expect(destroyed.isDone()).toBe(true);
    });

    it.each([
      ['500', () => replyToDelete(500)],
      ['429', () => replyToDelete(429, 'API requests too frequent')],
      ['a lost answer', () => nock(API).delete('/api/v0/instances/33918204/').replyWithError({ code: 'ECONNRESET' })],
    ])('is ambiguous while its destroy fails with %s', async (_, reply) => {
      replyToCreate(200, refused);
      reply();

      expect((await create()).outcome).toMatchObject({ kind: 'ambiguous' });
    });

    it('needs no destroy that finds nothing', async () => {
      replyToCreate(200, refused);
      replyToDelete(404, noSuchInstance);

      expect((await create()).outcome).toMatchObject({ kind: 'capacity' });
    });
  });

  it.each([
    ['CONF-C3: reset', 'ECONNRESET', 'ambiguous'],
    ['CONF-C4: nobody there', 'ECONNREFUSED', 'unavailable'],
    ['no name', 'ENOTFOUND', 'unavailable'],
  ])('%s', async (_, code, kind) => {
    nock(API)
      .put('/api/v0/asks/41827365/')
      .replyWithError(Object.assign(new Error(`at ${API}`), { code }));

    expect((await create()).outcome).toMatchObject({ kind });
  });

  it('V33, CONF-C3: a create without an answer in 30 s is ambiguous, and is not sent again', async () => {
    let calls = 0;
    nock(API)
      .put('/api/v0/asks/41827365/', () => (calls += 1) > 0)
      .delay(60_000)
      .reply(200, {});
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    const outcome = failureOf(provider.createInstance(aRequest(), uncancelled));
    while (calls === 0) await clock.settle();

    await clock.advance(30_000);

    expect(await outcome).toMatchObject({ kind: 'ambiguous' });
    expect(calls).toBe(1);
  });

  it('RULE-R11: does not send a create whose deadline passed while it waited its turn', async () => {
    nock(API).put('/api/v0/asks/41827365/').reply(400, { error: 'no_such_ask' });
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    await failureOf(provider.createInstance(aRequest(), uncancelled));

    const late = failureOf(
      provider.createInstance(aRequest({ notAfterMonotonicMs: clock.monotonicMs() + 2_000 }), uncancelled),
    );
    await clock.advance(6_000);

    expect(await late).toMatchObject({ kind: 'unavailable' });
  });

  it('V5: lies 4.5 s and a margin behind the one before, and nothing was made when it is cancelled before that', async () => {
    nock(API).put('/api/v0/asks/41827365/').reply(400, { error: 'no_such_ask' });
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    await failureOf(provider.createInstance(aRequest(), uncancelled));
    const abort = new AbortController();

    const cancelled = failureOf(provider.createInstance(aRequest(), { signal: abort.signal }));
    await clock.settle();
    expect(clock.nextWakeInMs).toBeCloseTo(5_175);
    abort.abort();

    expect(await cancelled).toMatchObject({ kind: 'unavailable' });
  });

  it('puts no key and no word of theirs into what it throws or logs', async () => {
    replyToCreate(400, { error: 'invalid_args', msg: `bad args api_key=${KEY}` });

    const { outcome, log } = await create();

    expect(JSON.stringify([outcome, String(outcome), String((outcome as Error).cause), log.entries])).not.toMatch(
      /s3cret|bad args/,
    );
  });
});

describe('vastai: one instance', () => {
  async function get(...bodies: object[]) {
    const { provider, clock } = await aProvider();
    let instance;
    for (const body of bodies) {
      replyToGet(200, { instances: body });
      instance = await provider.getInstance(id, uncancelled);
    }
    return { instance, provider, clock };
  }

  it('V20: is running, with the direct way first, then the proxy, and bears the tag of its label', async () => {
    const { instance } = await get({ ...runningRecord, label: aTag(7) });

    expect(instance).toEqual({
      id: '33918204',
      tag: aTag(7),
      priceMicrosPerHour: 356_700,
      state: 'running',
      ssh: {
        user: 'root',
        routes: [
          { host: '203.0.113.47', port: 40_118 },
          { host: 'ssh7.vast.ai', port: 18_204 },
        ],
      },
    });
  });

  it('finds the tag in the variables when somebody changed the label, and takes no other text for one', async () => {
    const renamed = { ...runningRecord, label: 'my training', extra_env: [['BERTH_TAG', aTag(3)]] };

    expect((await get(renamed)).instance?.tag).toBe(aTag(3));
    expect((await get({ ...runningRecord, label: 'my training' })).instance).not.toHaveProperty('tag');
  });

  it.each([
    ['an array, as older servers', { instances: [runningRecord] }],
    ['an id as text', { instances: { ...runningRecord, id: '33918204' } }],
  ])('reads %s', async (_, body) => {
    replyToGet(200, body);
    const { provider } = await aProvider();

    expect(await provider.getInstance(id, uncancelled)).toMatchObject({ id: '33918204', state: 'running' });
  });

  it('CONF-C12, V16: has only the ways that it was told of', async () => {
    const proxyOnly = (await get({ ...runningRecord, ports: null })).instance;
    const directOnly = (await get({ ...runningRecord, ssh_host: null, ssh_port: null })).instance;

    expect(proxyOnly).toMatchObject({ ssh: { routes: [{ host: 'ssh7.vast.ai', port: 18_204 }] } });
    expect(directOnly).toMatchObject({ ssh: { routes: [{ host: '203.0.113.47', port: 40_118 }] } });
    expect((await get({ ...runningRecord, ports: {}, ssh_host: 'a b', ssh_port: 99_999 })).instance).toMatchObject({
      state: 'starting',
    });
  });

  const stopped = { intended_status: 'stopped', cur_state: 'stopped', next_state: 'stopped' };
  const oci =
    'Error response from daemon: failed to create task: OCI runtime create failed: failed to inject CDI devices: unresolvable CDI devices D.33918204';
  it.each<[string, object, object]>([
    ['no report yet', { actual_status: null, ports: null }, { state: 'starting', priceMicrosPerHour: 10_000 }],
    ['created', { actual_status: 'created' }, { state: 'starting' }],
    ['V14: loading', { actual_status: 'loading', status_msg: 'Pulling layers 7/19', ports: {} }, { state: 'starting' }],
    [
      'loading with package names',
      { actual_status: 'loading', status_msg: 'Unpacking libgpg-error0 (1.4)\nSetting up liberror-perl' },
      { state: 'starting' },
    ],
    ['scheduling', { actual_status: 'scheduling' }, { state: 'starting' }],
    [
      'CONF-C11, V15: OCI text',
      { actual_status: 'created', ...stopped, status_msg: oci },
      { state: 'failed', reason: expect.stringContaining('OCI') as string },
    ],
    [
      'error while loading',
      { actual_status: 'loading', status_msg: 'Error: something' },
      { state: 'failed', reason: expect.stringContaining('error') as string },
    ],
    ['failed while loading', { actual_status: 'loading', status_msg: 'docker pull failed' }, { state: 'failed' }],
    [
      'no such tag',
      { actual_status: 'loading', status_msg: 'manifest unknown' },
      { state: 'failed', reason: 'the image has no such tag' },
    ],
    [
      'no such image',
      { actual_status: 'loading', status_msg: 'pull access denied for x' },
      { state: 'failed', reason: expect.stringContaining('not public') as string },
    ],
    ['unauthorized', { actual_status: 'loading', status_msg: 'unauthorized: authentication required' }, { state: 'failed' }],
    [
      'full disk',
      { actual_status: null, status_msg: 'write: no space left on device' },
      { state: 'failed', reason: expect.stringContaining('full') as string },
    ],
    [
      'too many pulls',
      { actual_status: 'loading', status_msg: 'toomanyrequests: rate limit' },
      { state: 'failed', reason: expect.stringContaining('pulls') as string },
    ],
    ['error text while running', { status_msg: 'error: old' }, { state: 'running' }],
    ['rebooting', { actual_status: 'rebooting' }, { state: 'starting' }],
    ['restarting', { actual_status: 'restarting' }, { state: 'starting' }],
    ['recycling', { actual_status: 'recycling' }, { state: 'starting' }],
    [
      'exited',
      { actual_status: 'exited' },
      { state: 'failed', reason: 'the container ended by itself', priceMicrosPerHour: 10_000 },
    ],
    ['stopped', { actual_status: 'stopped' }, { state: 'failed' }],
    ['frozen', { actual_status: 'frozen' }, { state: 'failed' }],
    [
      'CONF-C14: outbid, picture (a)',
      { actual_status: 'exited', is_bid: true },
      { state: 'paused', priceMicrosPerHour: 10_000 },
    ],
    ['CONF-C14, V13: outbid, picture (b)', { actual_status: 'loading', ...stopped, is_bid: true }, { state: 'paused' }],
    [
      'V12: given up by the host',
      { actual_status: 'exited', ...stopped },
      { state: 'failed', reason: expect.stringContaining('host') as string, priceMicrosPerHour: 10_000 },
    ],
    ['stopped while running', { ...stopped }, { state: 'failed' }],
    [
      'all three stopped but no wish told',
      { ...stopped, intended_status: null, actual_status: 'loading' },
      { state: 'failed' },
    ],
    ['offline', { actual_status: 'offline' }, { state: 'starting' }],
    ['unknown', { actual_status: 'unknown' }, { state: 'starting' }],
    ['CONF-C24: an unheard-of word', { actual_status: 'defragmenting' }, { state: 'starting' }],
    [
      'fields of odd forms',
      { actual_status: 7, label: 5, ports: 'none', gpu_util: 'x', ssh_port: '18204', extra_env: 3 },
      { state: 'starting' },
    ],
  ])('%s', async (_, change, expected) => {
    nock(API).get('/api/v0/users/current/').optionally().reply(200, account);

    expect((await get({ ...runningRecord, ...change })).instance).toMatchObject(expected);
  });

  it.each([
    ['outbid', { actual_status: 'exited', is_bid: true }],
    ['given up', { ...stopped }],
  ])('V29, V32: blames an empty account before it blames others (%s)', async (_, change) => {
    replyWithCredit(0);

    const { instance } = await get({ ...runningRecord, ...change });

    expect(instance).toMatchObject({ state: 'failed', reason: expect.stringContaining('credit') as string });
  });

  it('fails when its host has not answered for ten minutes, and not when it did in between', async () => {
    const offline = { ...runningRecord, actual_status: 'offline' };
    const { provider, clock } = await get(offline);
    const look = async (body: object) => {
      replyToGet(200, { instances: body });
      return (await provider.getInstance(id, uncancelled))?.state;
    };
    await clock.advance(9 * 60_000);
    expect(await look(offline)).toBe('starting');
    expect(await look(runningRecord)).toBe('running');
    expect(await look(offline)).toBe('starting');

    await clock.advance(10 * 60_000);

    expect(await look(offline)).toBe('failed');
  });

  it('CONF-C23: tells utilisation only from a report that is new', async () => {
    const first = { ...runningRecord, gpu_util: 0 };
    const second = { ...first, uptime_mins: 59.1 };
    const { instance, provider, clock } = await get(first, second);
    const sampledAt = clock.now();

    expect(instance?.utilisation).toEqual({ gpuPercent: 0, cpuPercent: 12.4, sampledAt: expect.any(Number) as number });
    await clock.advance(60_000);
    replyToGet(200, { instances: second });
    const again = await provider.getInstance(id, uncancelled);
    expect(again?.utilisation?.sampledAt).toBeLessThanOrEqual(sampledAt);
    expect((await get(first)).instance).not.toHaveProperty('utilisation');
    expect((await get(first, { ...second, actual_status: 'offline' })).instance).not.toHaveProperty('utilisation');
  });

  it.each([
    ['null', null],
    ['-1', -1],
  ])('CONF-C23: takes %s for unknown, not for idle', async (_, value) => {
    const { instance } = await get(runningRecord, { ...runningRecord, gpu_util: value, cpu_util: value, uptime_mins: 60 });

    expect(instance).toMatchObject({ state: 'running' });
    expect(instance).not.toHaveProperty('utilisation');
  });

  it.each([
    ['null', 200, { instances: null }],
    ['an empty object', 200, {}],
    ['404', 404, noSuchInstance],
    ['404 not_found', 404, { success: false, error: 'not_found', msg: 'No such instance.' }],
    ['200 and refused', 200, noSuchInstance],
    ['an empty array', 200, { instances: [] }],
  ])('says of %s that it does not exist', async (_, status, body) => {
    replyToGet(status, body);
    const { provider } = await aProvider();

    expect(await provider.getInstance(id, uncancelled)).toBeUndefined();
  });

  it.each([
    ['CONF-C19, V25: 404 auth_error', 404, badKey, 'auth'],
    ['V25: the words of both', 404, { ...badKey, msg: 'No such instance of this user' }, 'auth'],
    ['401', 401, badKey, 'auth'],
    ['403', 403, { success: false, error: 'auth_error', msg: 'This action requires login.' }, 'auth'],
    ['a 404 without their words', 404, '', 'protocol'],
    ['a 404 of a proxy', 404, '<html>404 Not Found</html>', 'protocol'],
    ['V1: 410', 410, retired, 'protocol'],
    ['V1: 301', 301, moved, 'protocol'],
    ['V2: an empty string', 200, '""', 'protocol'],
    ['an empty body', 200, '', 'protocol'],
    ['an empty list', 200, '[]', 'protocol'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['another key', 200, { message: 'hello' }, 'protocol'],
    ['a refusal without words', 200, { success: false }, 'protocol'],
    ['another instance', 200, { instances: { ...runningRecord, id: 5 } }, 'protocol'],
    ['a record without id', 200, { instances: { actual_status: 'running' } }, 'protocol'],
    ['half an answer', 200, '{"instances": {"id": 33918204', 'protocol'],
    ['500', 500, '', 'unavailable'],
    ['502', 502, badGateway, 'unavailable'],
    ['429', 429, 'API requests too frequent', 'rate_limited'],
  ])('never takes %s for its end', async (_, status, body, kind) => {
    replyToGet(status, body);
    const { provider } = await aProvider();

    expect(await failureOf(provider.getInstance(id, uncancelled))).toMatchObject({ kind, operation: 'GetInstanceStatus' });
  });
});

describe('vastai: many at once', () => {
  it('CONF-C29, V34: looks a crowd of instances up in a list, and only what that lacks one by one', async () => {
    const record = (nth: number) => ({ ...runningRecord, id: nth });
    nock(API)
      .get('/api/v1/instances/')
      .query(true)
      .reply(200, { instances: [3, 4, 5, 6].map(record), next_token: null });
    nock(API)
      .get('/api/v1/instances/')
      .query(true)
      .reply(200, { instances: [3, 4, 5, 6].map(record), next_token: null });
    for (const nth of [1, 2, 7]) replyToGet(200, { instances: record(nth) }, nth);
    const { provider } = await aProvider();

    const found = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7].map((nth) => provider.getInstance(instanceId(String(nth)), uncancelled)),
    );

    expect(found.map((instance) => instance?.id)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    expect(nock.isDone()).toBe(true);
  });
});

describe('vastai: all instances', () => {
  const page = (ids: readonly number[], next: string | null | undefined, more: object = {}) => ({
    success: true,
    instances: ids.map((each) => ({ id: each, label: aTag(each % 100), actual_status: 'loading' })),
    ...(next !== undefined && { next_token: next }),
    ...more,
  });
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const replyToList = (cursor: string | undefined, body: nock.Body, status = 200) =>
    nock(API)
      .get('/api/v1/instances/')
      .query((query) => query['after_token'] === cursor && query['limit'] === '25')
      .reply(status, body);
  const list = async () => (await aProvider()).provider.listInstances(uncancelled);

  it('CONF-C9: reads all pages, whoever owns what is on them', async () => {
    const foreign = { id: 99, label: null, actual_status: 'exited', is_bid: true };
    replyToList(undefined, page(range(1, 25), 'c1', { total_instances: 61 }));
    replyToList('c1', page(range(26, 50), 'c2', { total_instances: 61 }));
    const last = page(range(51, 60), null, { total_instances: 61 });
    replyToList('c2', { ...last, instances: [...last.instances, foreign] });

    const instances = await list();

    expect(instances).toHaveLength(61);
    expect(instances[0]).toEqual({ id: '1', tag: aTag(1), state: 'starting' });
    expect(instances[60]).toEqual({ id: '99', state: 'paused' });
  });

  it('is empty only when it says so', async () => {
    replyToList(undefined, { success: true, instances: [], total_instances: 0, next_token: null });

    expect(await list()).toEqual([]);
  });

  it('bears a list without cursor or totals', async () => {
    replyToList(undefined, page([1, 2], undefined));

    expect(await list()).toHaveLength(2);
  });

  it.each([
    ['V1, V3: 410', 410, retired, 'protocol'],
    ['V1: 301 with JSON', 301, moved, 'protocol'],
    ['a moved body with 200', 200, moved, 'protocol'],
    ['V2: an empty string', 200, '""', 'protocol'],
    ['null', 200, { instances: null }, 'protocol'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['half a page', 200, '{"instances": [{"id": 1}', 'protocol'],
    ['a refusal with a list', 200, { success: false, instances: [] }, 'protocol'],
    ['a row without id', 200, { instances: [{ id: 1 }, { label: 'x' }] }, 'protocol'],
    ['a row that is none', 200, { instances: [{ id: 1 }, null] }, 'protocol'],
    ['a full page without cursor or totals', 200, page(range(1, 25), undefined), 'protocol'],
    ['fewer rows than it has', 200, page(range(1, 25), null, { total_instances: 40 }), 'protocol'],
    ['CONF-C19, V25: 404 auth_error', 404, badKey, 'auth'],
    ['404', 404, { error: 'not_found' }, 'protocol'],
    [
      'a bad query',
      400,
      { error: 'invalid_request', msg: 'Error in query parameters: dph_total is not a valid search key' },
      'rejected',
    ],
    ['403', 403, { msg: 'no permission' }, 'auth'],
    ['500', 500, '', 'unavailable'],
    ['429', 429, '', 'rate_limited'],
  ])('CONF-C8: %s is no list', async (_, status, body, kind) => {
    replyToList(undefined, body, status);

    expect(await failureOf(list())).toMatchObject({ kind, operation: 'ListAllInstances' });
  });

  it.each([
    ['the second page fails', () => replyToList('c1', badGateway, 502), 'unavailable'],
    ['the second page is another thing', () => replyToList('c1', moved), 'protocol'],
    ['the cursor goes round', () => replyToList('c1', page(range(26, 50), 'c1')), 'protocol'],
  ])('CONF-C8: is thrown whole when %s', async (_, reply, kind) => {
    replyToList(undefined, page(range(1, 25), 'c1'));
    reply();

    expect(await failureOf(list())).toMatchObject({ kind });
  });

  it('begins anew, once, when its cursor is refused', async () => {
    const refusal = { success: false, error: 'invalid_token', msg: 'Invalid pagination token' };
    replyToList(undefined, page(range(1, 25), 'c1'));
    replyToList('c1', refusal, 400);
    replyToList(undefined, page(range(1, 25), 'c2'));
    replyToList('c2', page([26], null));
    expect(await list()).toHaveLength(26);

    for (const cursor of ['c3', 'c4']) {
      replyToList(undefined, page(range(1, 25), cursor));
      replyToList(cursor, refusal, 400);
    }
    expect(await failureOf(list())).toMatchObject({ kind: 'protocol' });
  });
});

describe('vastai: destroy', () => {
  const destroy = async () => (await aProvider()).provider.destroyInstance(id, uncancelled);

  it.each([
    ['success', 200, { success: true }],
    ['an empty object', 200, {}],
    ['an empty body', 200, ''],
    ['404', 404, noSuchInstance],
    ['404 not_found', 404, { success: false, error: 'not_found' }],
    ['200 and false', 200, { success: false, error: 'no_such_instance', msg: 'No such instance.' }],
  ])('CONF-C16: after %s it is gone only when a read says so', async (_, status, body) => {
    replyToDelete(status, body);
    replyToGet(200, { instances: null });
    replyToDelete(status, body);
    replyToGet(200, { instances: runningRecord });
    replyToDelete(status, body);
    replyToGet(502, badGateway);

    expect(await destroy()).toBe('gone');
    expect(await destroy()).toBe('destroying');
    expect(await destroy()).toBe('destroying');
  });

  it.each([
    ['V30: 429', 429, 'API requests too frequent', 'rate_limited'],
    ['500', 500, '', 'unavailable'],
    ['404 auth_error', 404, badKey, 'auth'],
    ['false without words', 200, { success: false }, 'unavailable'],
    ['a page for people', 200, badGateway, 'unavailable'],
    ['301', 301, moved, 'protocol'],
    ['410', 410, retired, 'protocol'],
    ['another 404', 404, 'nothing here', 'protocol'],
  ])('CONF-C16: %s is no destroy', async (_, status, body, kind) => {
    replyToDelete(status, body);

    expect(await failureOf(destroy())).toMatchObject({ kind, operation: 'DestroyInstance' });
  });

  it('CONF-C16: a destroy without an answer is to be repeated', async () => {
    nock(API).delete('/api/v0/instances/33918204/').replyWithError({ code: 'ECONNRESET' });

    expect(await failureOf(destroy())).toMatchObject({ kind: 'unavailable' });
  });

  it('CONF-C19: says that the key went bad in between', async () => {
    replyToDelete(200, { success: true });
    replyToGet(404, badKey);

    expect(await failureOf(destroy())).toMatchObject({ kind: 'auth' });
  });
});

describe('vastai: SSH keys', () => {
  const path = '/api/v0/instances/33918204/ssh/';
  const attach = async () => (await aProvider()).provider.ensureSshKeys?.(id, [OWN, `${PROBE}\n`], uncancelled);
  const replyToKeys = (keys: readonly object[]) =>
    nock(API)
      .get(path)
      .reply(200, { success: true, ssh_keys: JSON.stringify(keys) });

  it('V17, V27: attaches those that are missing from a list that is text', async () => {
    replyToKeys([{ id: 8812, public_key: OWN.replace('me@home', 'other comment'), deleted_at: null }]);
    const attached = nock(API).post(path, { ssh_key: PROBE }).reply(200, { success: true, msg: 'SSH key added to instance.' });

    await attach();

    expect(attached.isDone()).toBe(true);
  });

  it('does nothing more when both are there, under either name', async () => {
    replyToKeys([
      { id: 1, public_key: OWN },
      { id: 2, key: PROBE },
    ]);

    await expect(attach()).resolves.toBeUndefined();
  });

  it('attaches both when the list is a 404, odd or unavailable', async () => {
    for (const [status, body] of [
      [404, { success: false, error: 'not_found' }],
      [200, '{"success": true, "ssh_keys": "[{"}'],
      [500, ''],
    ] as const) {
      nock(API).get(path).reply(status, body);
      const attached = nock(API).post(path).times(2).reply(200, { success: true });

      await attach();

      expect(attached.isDone()).toBe(true);
    }
  });

  it('V17: has patience with an attach that fails, since it may have happened', async () => {
    replyToKeys([{ id: 1, public_key: OWN }]);
    nock(API).post(path).reply(500, { success: false, error: 'server_error' });
    nock(API).post(path).replyWithError({ code: 'ECONNRESET' });
    nock(API).post(path).reply(200, { success: true });
    await attach();

    replyToKeys([]);
    nock(API).post(path).times(3).reply(500);
    expect(await failureOf(attach() as Promise<void>)).toMatchObject({ kind: 'unavailable', operation: 'AttachSSHKey' });
  });

  it.each([
    ['no instance', 404, noSuchInstance, 'rejected'],
    ['a wrong key', 404, badKey, 'auth'],
    ['200 and false', 200, noSuchInstance, 'rejected'],
  ])('gives up at once for %s', async (_, status, body, kind) => {
    replyToKeys([]);
    nock(API).post(path).reply(status, body);

    expect(await failureOf(attach() as Promise<void>)).toMatchObject({ kind });
  });
});

describe('vastai: account', () => {
  const replyToList = (status: number, body: nock.Body) => nock(API).get('/api/v1/instances/').query(true).reply(status, body);
  const check = async () => (await aProvider()).provider.check(uncancelled);
  const good = { success: true, instances: [], next_token: null, total_instances: 0 };

  it('reads the credit in micro-dollars', async () => {
    replyWithCredit(47.2083);
    const { provider } = await aProvider();

    expect(await provider.balance?.(uncancelled)).toBe(47_208_300);
  });

  it('passes when key, scopes, endpoints and credit are there', async () => {
    replyWithCredit(1);
    replyToList(200, good);

    await expect(check()).resolves.toBeUndefined();
  });

  it.each<[string, () => void, string, RegExp]>([
    ['key wrong', () => nock(API).get('/api/v0/users/current/').reply(404, badKey), 'auth', /VASTAI_API_KEY/],
    [
      'scope missing',
      () => nock(API).get('/api/v0/users/current/').reply(403, { msg: 'permission' }),
      'auth',
      /scope \(user_read\)/,
    ],
    [
      'scope of the list missing',
      () => (replyWithCredit(1), replyToList(403, { msg: 'permission' })),
      'auth',
      /scope \(instance_read\)/,
    ],
    ['endpoint retired', () => (replyWithCredit(1), replyToList(410, retired)), 'protocol', /retired/],
    ['no credit', () => (replyWithCredit(0), replyToList(200, good)), 'funds', /no credit/],
    ['rate limited', () => nock(API).get('/api/v0/users/current/').reply(429, ''), 'rate_limited', /too many requests/],
    ['another address', () => nock(API).get('/api/v0/users/current/').reply(404, '<html>'), 'protocol', /VASTAI_BASE_URL/],
    [
      'an odd answer',
      () => nock(API).get('/api/v0/users/current/').reply(200, { credit: 'much' }),
      'protocol',
      /cannot be read/,
    ],
    ['down', () => nock(API).get('/api/v0/users/current/').reply(503, ''), 'unavailable', /server failed/],
  ])('has a plain verdict: %s', async (_, reply, kind, words) => {
    reply();

    expect(await failureOf(check())).toMatchObject({
      kind,
      operation: 'Check',
      message: expect.stringMatching(words) as string,
    });
  });
});

describe('vastai: configuration', () => {
  it('is on when it has a key', () => {
    const isOn = (environment: Record<string, string>) =>
      vastai.isOn(vastai.environment.parse(environment), { otherIsOn: false });

    expect(isOn({})).toBe(false);
    expect(isOn({ VASTAI_API_KEY: ' ' })).toBe(false);
    expect(isOn({ VASTAI_API_KEY: KEY })).toBe(true);
  });

  it.each(['', '/', '/api/v0', '/api/v0/', '/api/v1/', '/api', '/market', '/market/api/v0/'])(
    'finds the API behind "%s"',
    async (path) => {
      const base = 'http://127.0.0.1:4010';
      const prefix = path.startsWith('/market') ? '/market' : '';
      nock(base).get(`${prefix}/api/v0/users/current/`).reply(200, account);
      const { provider } = await aProvider({ VASTAI_BASE_URL: `${base}${path}` });

      expect(await provider.balance?.(uncancelled)).toBe(47_208_300);
      expect(provider.capabilities.privateAddresses).toBe(true);
    },
  );

  it.each([
    [{ VASTAI_BASE_URL: 'http://market.example' }, 'VASTAI_BASE_URL', /VASTAI_ALLOW_PLAIN_HTTP/],
    [{ VASTAI_BASE_URL: 'market.example' }, 'VASTAI_BASE_URL', /URL/],
    [{ VASTAI_API_KEY: 'two words and more' }, 'VASTAI_API_KEY', /printable/],
    [{ VASTAI_MIN_RELIABILITY: '95' }, 'VASTAI_MIN_RELIABILITY', /0 to 1/],
    [{ VASTAI_DEFAULT_IMAGE: '-x' }, 'VASTAI_DEFAULT_IMAGE', /image/],
    [{ VASTAI_OFFERS_PER_SEARCH: '0' }, 'VASTAI_OFFERS_PER_SEARCH', /1 to 5000/],
  ])('refuses %o by name', (environment, variable, words) => {
    const issues = vastai.environment.safeParse({ VASTAI_API_KEY: KEY, ...environment }).error?.issues ?? [];

    expect(issues).toMatchObject([{ path: [variable], message: expect.stringMatching(words) as string }]);
    expect(JSON.stringify(issues)).not.toMatch(/s3cret|two words/);
  });

  it('sends the key over plain HTTP only when that is allowed, and says so loudly', async () => {
    nock('http://market.example').get('/api/v0/users/current/').reply(200, account);

    const { provider, log } = await aProvider({ VASTAI_BASE_URL: 'http://market.example', VASTAI_ALLOW_PLAIN_HTTP: 'true' });

    expect(await provider.balance?.(uncancelled)).toBe(47_208_300);
    expect(log.messages('warn')).toEqual(['the API key travels unencrypted to another machine']);
    expect(provider.capabilities.privateAddresses).toBe(false);
  });
});

describe('vastai: taking keys back', () => {
  const path = '/api/v0/instances/33918204/ssh/';
  const forget = async () => (await aProvider()).provider.removeSshKeys?.(id, [PROBE], uncancelled);

  it('deletes the key that was named, by the id under which it is kept, and no other', async () => {
    const kept = [
      { id: 8812, public_key: OWN },
      { id: 8813, key: PROBE },
    ];
    nock(API)
      .get(path)
      .reply(200, { success: true, ssh_keys: JSON.stringify(kept) });
    const deletion = nock(API).delete(`${path}8813/`).reply(404, { success: false, error: 'no_such_ssh_key' });

    await forget();

    expect(deletion.isDone()).toBe(true);
  });

  it('has nothing to do where none is kept', async () => {
    nock(API).get(path).reply(404, { success: false, error: 'no_such_instance' });

    await expect(forget()).resolves.toBeUndefined();
  });

  it('says so when it could not', async () => {
    nock(API)
      .get(path)
      .reply(200, { success: true, ssh_keys: JSON.stringify([{ id: 8813, public_key: PROBE }]) });
    nock(API).delete(`${path}8813/`).reply(500, { success: false, error: 'delete_ssh_from_instance' });

    expect(await failureOf(forget())).toMatchObject({ kind: 'unavailable', operation: 'DetachSSHKey' });
  });
});
