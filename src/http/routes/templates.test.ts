import { describe, expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { httpWorlds, MEMORY, OFFERS, OTHER, someOffers, type World } from '../fixtures/http-world.ts';
import { BARE, failingTemplates, HUGE, OLLAMA, templateMarket } from '../fixtures/template-market.ts';
import { CompatibleTemplatesBody, TemplateBody, TemplatesBody } from '../schemas/template.ts';

const aWorld = httpWorlds();

async function get({ app }: World, url: string) {
  const answer = await app.inject({ url: `/api/v1${url}` });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>(), headers: answer.headers };
}

const hashesOf = (body: Record<string, unknown>) =>
  (body['templates'] as { hash_id: string }[]).map(({ hash_id: hash }) => hash); // the schema was checked

describe('GET /api/v1/templates', () => {
  it('refuses a provider that is not on, and says which are', async () => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await get(world, '/templates?provider=nowhere');

    expect(status).toBe(400);
    expect(body['error']).toContain('provider not found: nowhere');
  });

  it('lists what providers recommend, in the shape that it promises, with when it was asked', async () => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await get(world, '/templates');

    expect(status).toBe(200);
    expect(TemplatesBody.strict().safeParse(body)).toMatchObject({ success: true });
    expect(body).toEqual({
      templates: [
        {
          id: 90_211,
          hash_id: OLLAMA.hashId,
          name: 'Ollama small',
          image: 'ollama/ollama',
          tag: 'latest',
          env: '-e OLLAMA_HOST=0.0.0.0 -p 11434:11434',
          onstart: 'ollama serve &',
          runtype: 'ssh',
          use_ssh: true,
          ssh_direct: true,
          recommended: true,
          recommended_disk_space: 32,
          extra_filters: '{"cuda_max_good": {"gte": 12.4}}',
          creator_id: 62,
          created_at: '2026-02-13T00:00:00.000Z',
          count_created: 1_402,
          provider: 'memory',
          observed_at: '2026-10-26T08:00:00.000Z',
        },
        {
          id: 7,
          hash_id: BARE.hashId,
          name: '<b>Notebook</b>',
          image: 'jupyter/base',
          use_ssh: false,
          ssh_direct: false,
          recommended: true,
          created_at: '0001-01-01T00:00:00Z',
          provider: 'memory',
          observed_at: '2026-10-26T08:00:00.000Z',
        },
      ],
      count: 2,
      providers: [{ id: 'memory', observed_at: '2026-10-26T08:00:00.000Z', templates: 2, dropped: 2 }],
    });
  });

  it.each([
    ['?use_ssh=true', [OLLAMA.hashId]],
    ['?use_ssh=0', [BARE.hashId]],
    ['?recommended=True', [OLLAMA.hashId, BARE.hashId]],
    ['?recommended=false', []],
    ['?name=OLLAMA', [OLLAMA.hashId]],
    ['?image=jupyter/&name=book', [BARE.hashId]],
    ['?name=', [OLLAMA.hashId, BARE.hashId]],
    ['?provider=memory', [OLLAMA.hashId, BARE.hashId]],
    ['?provider=other', []],
  ])('%s', async (query, hashes) => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await get(world, `/templates${query}`);

    expect({ status, hashes: hashesOf(body) }).toEqual({ status: 200, hashes });
    expect(body['count']).toBe(hashes.length);
  });

  it.each([
    ['?use_ssh=yes', 'use_ssh must be true or false'],
    ['?recommended=2', 'recommended must be true or false'],
    ['?limit=5', 'limit is no query parameter of this route'],
  ])('refuses %s', async (query, error) => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await get(world, `/templates${query}`);

    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'invalid_request', error: expect.stringContaining(error) });
  });

  it('is empty where nobody has templates', async () => {
    const world = await aWorld();

    expect(await get(world, '/templates')).toMatchObject({ status: 200, body: { templates: [], count: 0, providers: [] } });
  });

  it.each([
    ['unavailable', true],
    ['auth', false],
  ] as const)('says so when the only provider with templates has no answer (%s)', async (kind, retrySuggested) => {
    const world = await aWorld({ templates: failingTemplates(kind) });

    const { status, body } = await get(world, '/templates');

    expect(status).toBe(503);
    expect(body).toMatchObject({ error_type: 'provider_unavailable', provider: 'memory', retry_suggested: retrySuggested });
  });
});

describe('GET /api/v1/templates/:hash_id', () => {
  it('gives one, also one that is not recommended', async () => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await get(world, `/templates/${HUGE.hashId}`);

    expect(status).toBe(200);
    expect(TemplateBody.strict().safeParse(body)).toMatchObject({ success: true });
    expect(body).toMatchObject({ hash_id: HUGE.hashId, recommended: false });
  });

  it.each([{ templates: templateMarket }, {}])('404 for one that nobody knows', async (options) => {
    const world = await aWorld(options);

    const { status, body } = await get(world, '/templates/0000');

    expect(status).toBe(404);
    expect(body).toMatchObject({
      error_type: 'not_found',
      error: 'template not found: 0000; GET /api/v1/templates lists those that are recommended',
      template_hash_id: '0000',
    });
  });

  it('PEER-11.2.29: does not call unknown what could not be asked for', async () => {
    const world = await aWorld({ templates: failingTemplates('unavailable') });

    expect(await get(world, '/templates/0000')).toMatchObject({
      status: 503,
      body: { error_type: 'provider_unavailable', retry_suggested: true },
    });
  });
});

describe('GET /api/v1/inventory/:id/compatible-templates', () => {
  it('lists what the offer can run', async () => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await get(world, `/inventory/${OFFERS.ask1}/compatible-templates`);

    expect(status).toBe(200);
    expect(CompatibleTemplatesBody.strict().safeParse(body)).toMatchObject({ success: true });
    expect(body).toEqual({
      compatible_templates: [
        { hash_id: OLLAMA.hashId, name: 'Ollama small', image: 'ollama/ollama', recommended_disk_space: 32 },
        { hash_id: BARE.hashId, name: '<b>Notebook</b>', image: 'jupyter/base' },
      ],
      count: 2,
      offer_id: OFFERS.ask1,
      gpu_type: 'RTX 4090',
      vram_gb: 24,
    });
  });

  it('leaves out what asks for more than the offer has, or tells', async () => {
    const { cudaVersion: _, ...untold } = anOffer({ provider: MEMORY, providerOfferId: 'untold' });
    const offers = [anOffer({ provider: MEMORY, providerOfferId: 'old', cudaVersion: 12.2 }), untold];
    const world = await aWorld({ templates: templateMarket, offers });

    for (const { id } of offers)
      expect((await get(world, `/inventory/${id}/compatible-templates`)).body).toMatchObject({
        compatible_templates: [{ hash_id: BARE.hashId }],
        count: 1,
      });
  });

  it('says of an offer of another provider that there are none', async () => {
    const world = await aWorld({ templates: templateMarket });
    world.list([anOffer({ provider: OTHER, providerOfferId: 'ask' })], OTHER);

    expect(await get(world, '/inventory/other-ask/compatible-templates')).toMatchObject({
      status: 200,
      body: { compatible_templates: [], count: 0, offer_id: 'other-ask', provider: 'other', note: 'other has no templates' },
    });
  });

  it('404 for an offer that is not listed', async () => {
    const world = await aWorld({ templates: templateMarket });

    expect(await get(world, '/inventory/memory-gone/compatible-templates')).toMatchObject({
      status: 404,
      body: { error_type: 'offer_not_found', error: 'offer not found: memory-gone', offer_id: 'memory-gone' },
    });
  });
});

describe('GET /api/v1/inventory?template_hash_id', () => {
  const offers = [
    ...someOffers(),
    anOffer({ provider: MEMORY, providerOfferId: 'old', cudaVersion: 12.2 }),
    anOffer({ provider: MEMORY, providerOfferId: 'cramped', maxDiskGb: 31, diskGb: 20, minDiskGb: 8 }),
    anOffer({
      provider: MEMORY,
      providerOfferId: 'big',
      gpuCount: 8,
      cudaVersion: 12.8,
      maxDiskGb: 2_000,
      priceMicrosPerHour: 3_000_000,
    }),
  ];
  const idsFor = async (world: World, query: string) => {
    const { status, body } = await get(world, `/inventory?${query}`);
    return { status, ids: (body['offers'] as { id: string }[]).map(({ id }) => id) }; // an inventory has offers
  };

  it('shows only offers that the template fits: by all that it asks for, its disk included', async () => {
    const world = await aWorld({ templates: templateMarket, offers });
    world.list([anOffer({ provider: OTHER, providerOfferId: 'ask' })], OTHER);

    expect(await idsFor(world, `template_hash_id=${OLLAMA.hashId}`)).toEqual({
      status: 200,
      ids: [OFFERS.stock, OFFERS.ask1, OFFERS.ask2, 'memory-big'],
    });
    expect(await idsFor(world, `template_hash_id=${HUGE.hashId}`)).toEqual({ status: 200, ids: ['memory-big'] });
    expect(await idsFor(world, `template_hash_id=${OLLAMA.hashId}&provider=memory&max_price=0.35&gpu_count=1`)).toEqual({
      status: 200,
      ids: [OFFERS.stock, OFFERS.ask1],
    });
  });

  it('says when nothing has changed, for this template alone', async () => {
    const world = await aWorld({ templates: templateMarket, offers });
    const url = (hash: string) => `/api/v1/inventory?template_hash_id=${hash}`;
    const etagOf = async (hash: string) => (await world.app.inject({ url: url(hash) })).headers.etag ?? '';
    const [ollama, huge] = [await etagOf(OLLAMA.hashId), await etagOf(HUGE.hashId)];

    const again = await world.app.inject({ url: url(OLLAMA.hashId), headers: { 'if-none-match': ollama } });
    const other = await world.app.inject({ url: url(OLLAMA.hashId), headers: { 'if-none-match': huge } });

    expect([again.statusCode, other.statusCode]).toEqual([304, 200]);
  });

  it.each([
    ['template_hash_id=0000', templateMarket, 404, 'not_found'],
    [`template_hash_id=${OLLAMA.hashId}&provider=other`, templateMarket, 400, 'invalid_request'],
    [`template_hash_id=${OLLAMA.hashId}`, undefined, 400, 'invalid_request'],
    [`template_hash_id=${OLLAMA.hashId}`, failingTemplates('unavailable'), 503, 'provider_unavailable'],
  ])('%s', async (query, templates, expected, errorType) => {
    const world = await aWorld({ offers, ...(templates && { templates }) });

    const { status, body } = await get(world, `/inventory?${query}`);

    expect({ status, error_type: body['error_type'] }).toEqual({ status: expected, error_type: errorType });
  });
});
