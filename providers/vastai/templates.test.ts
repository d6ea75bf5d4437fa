import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { Secret } from '../../src/core/secret.ts';
import { createVastClient } from './client.ts';
import { badKey, template } from './fixtures/bodies.ts';
import { createTemplateShelf } from './templates.ts';

const API = 'https://console.vast.ai';
const MINUTE_MS = 60_000;

/** Time passes as soon as somebody sleeps. */
class SwiftClock extends FakeClock {
  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.advance(ms);
  }
}

function aMarket(clock: FakeClock = new SwiftClock()) {
  const log = recordingLog();
  const client = createVastClient({
    baseUrl: new URL(API),
    authorization: new Secret('Bearer s3cret-key-of-the-account'),
    allowPlainHttp: false,
    clock,
    random: { next: () => 0 },
    log,
  });
  const shelf = createTemplateShelf({ client, clock, log });
  const list = (hashId?: string, options = uncancelled) =>
    hashId === undefined ? shelf.recommended(options) : shelf.byHash(hashId, options);
  return { clock, log, list };
}

/** Their answers, in order; gives the filters that they were asked with. */
function replies(...bodies: readonly (readonly [status: number, body: nock.Body])[]): unknown[] {
  const filters: unknown[] = [];
  for (const [status, body] of bodies) {
    nock(API)
      .get('/api/v0/template/')
      .query(({ select_filters: asked }) => filters.push(JSON.parse(String(asked))) > 0)
      .reply(status, body);
  }
  return filters;
}

const page = (...rows: readonly unknown[]) => ({ success: true, templates_found: rows.length, templates: rows });
const changed = (change: Record<string, unknown>) => ({ ...template, ...change });

beforeEach(() => nock.disableNetConnect());
afterEach(() => {
  nock.abortPendingRequests();
  nock.cleanAll();
  nock.enableNetConnect();
});

describe('vastai: templates', () => {
  it('lists those that the market recommends, in our words', async () => {
    const filters = replies([200, page(template)]);
    const { list, clock } = aMarket();
    const askedAt = clock.now();

    const { templates, observedAt, dropped } = await list();

    expect(filters).toEqual([{ recommended: { eq: true } }]);
    expect({ observedAt, dropped }).toEqual({ observedAt: askedAt, dropped: 0 });
    expect(templates).toEqual([
      {
        provider: 'vastai',
        id: 90_211,
        hashId: '0f3c5a7be1d94c0a8b7d6e5f4a3b2c1d',
        name: 'Ollama small',
        image: 'ollama/ollama',
        imageTag: 'latest',
        dockerFlags: '-e OLLAMA_HOST=0.0.0.0 -p 11434:11434',
        onStart: 'ollama serve &',
        runType: 'ssh',
        usesSsh: true,
        usesDirectSsh: true,
        recommended: true,
        recommendedDiskGb: 32,
        needs: [{ trait: 'cuda', operator: 'gte', values: [12.4] }],
        statedFilters: '{"cuda_max_good": {"gte": 12.4}}',
        creatorId: 62,
        createdAt: 1_771_000_000_000,
        createdCount: 1_402,
      },
    ]);
  });

  it.each<[string, unknown, unknown[]]>([
    [
      'every operator',
      { num_gpus: { eq: 2, neq: 3, gt: 1, gte: 2, lt: 9, lte: 8, in: [2, 4], notin: [1] } },
      [
        { trait: 'gpuCount', operator: 'eq', values: [2] },
        { trait: 'gpuCount', operator: 'neq', values: [3] },
        { trait: 'gpuCount', operator: 'gt', values: [1] },
        { trait: 'gpuCount', operator: 'gte', values: [2] },
        { trait: 'gpuCount', operator: 'lt', values: [9] },
        { trait: 'gpuCount', operator: 'lte', values: [8] },
        { trait: 'gpuCount', operator: 'in', values: [2, 4] },
        { trait: 'gpuCount', operator: 'notin', values: [1] },
      ],
    ],
    [
      'names of GPUs',
      { gpu_name: { in: ['RTX_4090', 'Q RTX 8000'] } },
      [{ trait: 'gpu', operator: 'in', values: ['RTX 4090', 'RTX 8000'] }],
    ],
    ['what no offer tells', { driver_version: { gte: '550' }, inet_down: { gt: 100 }, __proto__x: { eq: 1 } }, []],
    ['an operator nobody knows', { num_gpus: { like: 2 } }, []],
    ['a list where one value belongs', { num_gpus: { gte: [1, 2] } }, []],
    ['an object instead of its text', { gpu_ram: { gte: 24_000 } }, [{ trait: 'vramMib', operator: 'gte', values: [24_000] }]],
    ['words without meaning', '{"num_gpus": ', []],
    ['no object', '[1, 2]', []],
    ['a text of a megabyte', JSON.stringify({ num_gpus: { gte: 1 }, x: 'x'.repeat(1_000_000) }), []],
  ])('reads of its filters: %s', async (_what, filters, needs) => {
    const extra_filters = typeof filters === 'string' || 'gpu_ram' in Object(filters) ? filters : JSON.stringify(filters);
    replies([200, page(changed({ extra_filters }))]);
    const { list } = aMarket();

    const { templates } = await list();

    expect(templates[0]?.needs).toEqual(needs);
  });

  it('drops and counts rows that cannot be read, keeps what is odd within bounds, and runs none of it', async () => {
    const markup = '<script>alert(1)</script>\u202e\u0000\n# title';
    replies([
      200,
      page(
        changed({
          name: markup + 'x'.repeat(10_000),
          created_at: 1e300,
          recommended_disk_space: -5,
          creator_id: 'you',
          tag: null,
        }),
        changed({ hash_id: '../../users' }),
        changed({ onstart: 'x'.repeat(100_000) }),
        changed({ id: 'seven' }),
        null,
        'template',
      ),
    ]);
    const { list } = aMarket();

    const { templates, dropped } = await list();

    expect(dropped).toBe(5);
    expect(templates).toHaveLength(1);
    const [odd] = templates;
    expect(odd?.name).toHaveLength(200);
    expect(odd?.name.startsWith('<script>alert(1)</script> # title')).toBe(true);
    expect(odd).not.toHaveProperty('createdAt');
    expect(odd).not.toHaveProperty('recommendedDiskGb');
    expect(odd).not.toHaveProperty('creatorId');
    expect(odd).not.toHaveProperty('imageTag');
  });

  it('leaves out what is not recommended, should the market not filter', async () => {
    replies([200, page(template, changed({ hash_id: 'ffee00112233', recommended: false }))]);
    const { list } = aMarket();

    expect((await list()).templates.map(({ hashId }) => hashId)).toEqual([template.hash_id]);
  });

  it('asks once for many who want to know at the same time, and again only after ten minutes', async () => {
    const filters = replies([200, page(template)], [200, page(template, changed({ hash_id: 'aabbccdd' }))]);
    const { list, clock } = aMarket();

    const all = await Promise.all([list(), list(), list()]);
    await clock.advance(9 * MINUTE_MS);
    const young = await list();
    expect(filters).toHaveLength(1);
    await clock.advance(MINUTE_MS);
    const anew = await list();

    expect(new Set([...all, young]).size).toBe(1);
    expect(anew.templates).toHaveLength(2);
    expect(anew.observedAt).toBeGreaterThan(young.observedAt);
  });

  it('shows what it has, and of when, while the market does not answer; not for ever, and without hammering', async () => {
    const filters = replies([200, page(template)], [502, 'Bad Gateway'], [502, 'Bad Gateway'], [502, 'Bad Gateway']);
    const { list, clock } = aMarket();
    const first = await list();
    await clock.advance(11 * MINUTE_MS);

    expect(await list()).toBe(first);
    expect(await list()).toBe(first);
    expect(filters).toHaveLength(2);
    await clock.advance(2 * MINUTE_MS);
    expect(await list()).toBe(first);
    expect(filters).toHaveLength(3);
    await clock.advance(24 * 60 * MINUTE_MS);

    await expect(list()).rejects.toMatchObject({ kind: 'unavailable', operation: 'ListTemplates' });
  });

  it.each([
    ['auth', 404, badKey],
    ['auth', 401, badKey],
    ['unavailable', 503, 'down'],
    ['rate_limited', 429, 'API requests too frequent'],
    ['protocol', 404, { msg: 'not found' }],
    ['protocol', 200, { success: true }],
    ['protocol', 200, '<html>please enable JavaScript</html>'],
  ])('says %s to an answer of %i that is no list', async (kind, status, body) => {
    replies([status, body]);
    const { list } = aMarket();

    await expect(list()).rejects.toMatchObject({ name: 'ProviderError', kind });
  });

  it('finds any template by its hash, and remembers it', async () => {
    const own = changed({ hash_id: 'ffee00112233445566778899aabbccdd', recommended: false });
    const filters = replies([200, page(own)]);
    const { list } = aMarket();

    const { templates } = await list(own.hash_id);
    await list(own.hash_id);

    expect(filters).toEqual([{ hash_id: { eq: own.hash_id } }]);
    expect(templates).toMatchObject([{ hashId: own.hash_id, recommended: false }]);
  });

  it('does not ask for one that was just listed', async () => {
    const filters = replies([200, page(template)]);
    const { list } = aMarket();
    const { observedAt } = await list();

    expect(await list(template.hash_id)).toMatchObject({ observedAt, templates: [{ hashId: template.hash_id }] });
    expect(filters).toHaveLength(1);
  });

  it.each<[string, number, nock.Body]>([
    ['an empty list', 200, page()],
    ['404', 404, { success: false, error: 'not_found', msg: 'no such template' }],
    ['others than were asked for', 200, page(template)],
  ])('has none for a hash to which the market answers %s, and asks again a minute later', async (_what, status, body) => {
    const found = changed({ hash_id: 'aabbccddeeff' });
    const filters = replies([status, body], [200, page(found)]);
    const { list, clock } = aMarket();

    expect((await list(found.hash_id)).templates).toEqual([]);
    expect((await list(found.hash_id)).templates).toEqual([]);
    expect(filters).toHaveLength(1);
    await clock.advance(MINUTE_MS);

    expect((await list(found.hash_id)).templates).toHaveLength(1);
  });

  it('takes a wrong key for that, and not for an unknown template', async () => {
    replies([404, badKey]);
    const { list } = aMarket();

    await expect(list('aabbccddeeff')).rejects.toMatchObject({ kind: 'auth' });
  });

  it('looks among the recommended when the market cannot be asked by hash', async () => {
    const refusal = { error: 'invalid_request', msg: 'hash_id is not a valid search key' };
    replies([400, refusal], [200, page(template)]);
    const { list } = aMarket();

    expect((await list(template.hash_id)).templates).toMatchObject([{ hashId: template.hash_id }]);
  });

  it('never sends what is no hash', async () => {
    const { list } = aMarket();

    for (const text of ['', '../users/current/', '{"eq":1}', 'x'.repeat(1_000)])
      expect((await list(text)).templates).toEqual([]);
  });

  it('looks up five hashes at a time and refuses more, so that nobody can spend its turns', async () => {
    replies([200, page()]);
    const { list } = aMarket(new FakeClock());
    const leaving = new AbortController();
    const hashes = Array.from({ length: 5 }, (_, at) => `aabbccdd0${at}`);
    const waiting = Promise.allSettled(hashes.map((hash) => list(hash, { signal: leaving.signal })));

    await expect(list('aabbccdd06')).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('too many'),
    });

    leaving.abort();
    await waiting;
  });

  it('lets one who leaves go without taking the answer from the others', async () => {
    replies([200, page(template)]);
    const { list } = aMarket();
    const leaving = new AbortController();

    const left = expect(list(undefined, { signal: leaving.signal })).rejects.toMatchObject({ kind: 'unavailable' });
    const stayed = list();
    leaving.abort();

    await left;
    expect((await stayed).templates).toHaveLength(1);
  });
});
