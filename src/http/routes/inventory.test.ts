import { describe, expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { httpWorlds, MEMORY, OFFERS, OTHER, someOffers, type World } from '../fixtures/http-world.ts';
import { InventoryBody, OfferBody } from '../schemas/offer.ts';

const aWorld = httpWorlds();

interface Page {
  readonly offers: readonly { readonly id: string; readonly price_per_hour: number }[];
  readonly count: number;
  readonly total: number;
  readonly providers: readonly Record<string, unknown>[];
}

async function get({ app }: World, query = '', headers: Record<string, string> = {}) {
  const answer = await app.inject({ url: `/api/v1/inventory${query}`, headers });
  return { status: answer.statusCode, headers: answer.headers, body: answer.body, page: () => answer.json<Page>() };
}

const idsOf = (page: Page) => page.offers.map(({ id }) => id);

describe('GET /api/v1/inventory', () => {
  it('lists the offers, the cheapest first, in the shape that it promises', async () => {
    const world = await aWorld();

    const { status, headers, page } = await get(world);

    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(idsOf(page())).toEqual([OFFERS.stock, OFFERS.ask1, OFFERS.ask2]);
    expect(page()).toMatchObject({ count: 3, total: 3 });
    expect(InventoryBody.strict().safeParse(page())).toMatchObject({ success: true });
    for (const offer of page().offers) expect(OfferBody.strict().safeParse(offer)).toMatchObject({ success: true });
  });

  it('has every field of an offer that existing clients read', async () => {
    const world = await aWorld();

    const [offer] = (await get(world, '?provider=memory&sort=vram&order=desc&limit=1')).page().offers;

    expect(offer).toMatchObject({
      provider: 'memory',
      provider_id: expect.any(String),
      gpu_type: 'RTX 4090',
      gpu_count: 1,
      vram_gb: 24,
      available: true,
      max_duration_hours: 0,
      reliability: 0.99,
      availability_confidence: 0.9,
      cuda_version: 12.4,
      machine_id: expect.any(String),
      fetched_at: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect(offer).not.toHaveProperty('interruptible');
    expect(offer).not.toHaveProperty('min_bid');
  });

  it.each([
    ['?gpu_type=rtx4090', [OFFERS.ask1, OFFERS.ask2]],
    ['?gpu_type=RTX%204090&gpu_type=T4&limit=1', [OFFERS.stock]],
    ['?gpu_type=cpu', ['memory-cpu']],
    ['?location=quebec', [OFFERS.ask2]],
    ['?min_vram=24', [OFFERS.ask1, OFFERS.ask2]],
    ['?max_price=0.35', [OFFERS.stock, OFFERS.ask1]],
    ['?max_price=0', [OFFERS.stock, OFFERS.ask1, OFFERS.ask2]],
    ['?gpu_count=2', []],
    ['?gpu_count=2&min_gpu_count=1', [OFFERS.stock, OFFERS.ask1, OFFERS.ask2]],
    ['?interruptible=true', []],
    ['?sort=price&order=desc&offset=1&limit=1', [OFFERS.ask1]],
    ['?offset=100', []],
    ['?max_price=0.30000000000000004', [OFFERS.stock]],
    ['?max_price=.35', [OFFERS.stock, OFFERS.ask1]],
    ['?provider=&gpu_type=&limit=&min_vram=', [OFFERS.stock, OFFERS.ask1, OFFERS.ask2]],
    ['/?min_cuda=12.5', []],
  ])('%s', async (query, ids) => {
    const world = await aWorld();

    const { status, page } = await get(world, query);

    expect(status).toBe(200);
    expect(idsOf(page())).toEqual(ids);
  });

  it.each([
    ['?provider=nowhere', 'provider not found: nowhere; on are memory'],
    ['?min_vram=99999999999999999999', 'min_vram must be at most 1000000'],
    ['?max_price=99999999999999999999', 'max_price must be at most 1000000'],
    ['?min_vram=-1', 'min_vram must be at least 0'],
    ['?min_vram=1e3', 'min_vram must be a whole number'],
    ['?max_price=abc', 'max_price must be a number such as 0.5'],
    ['?min_reliability=1.5', 'min_reliability must be at most 1'],
    ['?limit=0', 'limit must be at least 1'],
    ['?offset=-1', 'offset must be at least 0'],
    ['?limit=1&limit=2', 'limit must be given once'],
    ['?interruptible=yes', 'interruptible must be true or false'],
    ['?max_prise=1', 'max_prise is no query parameter of this route; did you mean max_price?'],
    ['?__proto__=1', '__proto__ is no query parameter of this route; known are provider, '],
    ['?sort=cheapest', 'sort must be one of price, price_per_gpu, vram, reliability'],
    ['?template_hash_id=x', 'template_hash_id no provider that is on has templates; leave it out'],
  ])('refuses %s', async (query, error) => {
    const world = await aWorld();

    const { status, page } = await get(world, query);

    expect(status).toBe(400);
    expect(page()).toMatchObject({
      error: expect.stringContaining(error),
      error_type: 'invalid_request',
      fields: [expect.anything()],
    });
  });

  it('answers 304 to its own ETag until something changes', async () => {
    const world = await aWorld();
    const first = await get(world, '?limit=2');
    const etag = String(first.headers['etag']);

    const same = await get(world, '?limit=2', { 'if-none-match': `"other", W/${etag}` });
    const otherQuery = await get(world, '?limit=1', { 'if-none-match': etag });
    world.list(someOffers().slice(1));
    const changed = await get(world, '?limit=2', { 'if-none-match': etag });

    expect([same.status, same.body, same.headers['etag']]).toEqual([304, '', etag]);
    expect(otherQuery.status).toBe(200);
    expect(changed.status).toBe(200);
    expect(changed.headers['etag']).not.toBe(etag);
  });

  it('PEER-11.2.18: a filtered question changes nothing of what others see', async () => {
    const world = await aWorld();

    await get(world, '?gpu_type=H100&provider=memory');

    expect((await get(world)).page().total).toBe(3);
  });

  it('shows a market that fails, with its error, beside the offers of the others', async () => {
    const world = await aWorld();
    world.book.fail(OTHER, { kind: 'unavailable', message: 'list offers at other: no answer' }, world.clock.now());

    const { status, page } = await get(world);

    expect(status).toBe(200);
    expect(page().count).toBe(3);
    expect(page().providers).toEqual([
      expect.objectContaining({ id: MEMORY, stale: false, observed_at: expect.any(String) }),
      expect.objectContaining({
        id: OTHER,
        stale: true,
        error: { kind: 'unavailable', message: 'list offers at other: no answer' },
      }),
    ]);
  });
});

describe('GET /api/v1/inventory/:id', () => {
  it('finds an offer whose id is long and holds colons', async () => {
    const offer = anOffer({ provider: MEMORY, providerOfferId: `site:${'x'.repeat(300)}:8` });
    const world = await aWorld({ offers: [offer] });

    const { status, body } = await get(world, `/${encodeURIComponent(offer.id)}`);

    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ id: offer.id });
  });

  it('answers 404 with the id, and 304 to its ETag', async () => {
    const world = await aWorld();
    const found = await get(world, `/${OFFERS.ask1}`);

    const missing = await get(world, '/memory-nothing');
    const unchanged = await get(world, `/${OFFERS.ask1}`, { 'if-none-match': String(found.headers['etag']) });

    expect(missing.status).toBe(404);
    expect(missing.page()).toMatchObject({ error: 'offer not found: memory-nothing', error_type: 'offer_not_found' });
    expect(unchanged.status).toBe(304);
  });
});
