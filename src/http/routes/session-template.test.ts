import { describe, expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { MINUTE_MS } from '../../core/duration.ts';
import type { SessionId } from '../../core/ids.ts';
import type { Provider } from '../../provider/provider.ts';
import { httpWorlds, MEMORY, OFFERS, OTHER, PUBLIC_KEY, someOffers, type World } from '../fixtures/http-world.ts';
import { failingTemplates, HUGE, OLLAMA, templateMarket } from '../fixtures/template-market.ts';

const aWorld = httpWorlds();

async function get({ app }: World, url: string) {
  const answer = await app.inject({ url: `/api/v1${url}` });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>(), headers: answer.headers };
}

async function rent({ app }: World, body: Record<string, unknown>) {
  const answer = await app.inject({
    method: 'POST',
    url: '/api/v1/sessions?wait=0',
    payload: { ssh_public_key: PUBLIC_KEY, ...body },
  });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() };
}

describe('POST /api/v1/sessions with template_hash_id', () => {
  it('keeps the template, and takes its disk when none is asked for', async () => {
    const world = await aWorld({ templates: templateMarket });

    const { status, body } = await rent(world, { offer_id: OFFERS.ask1, template_hash_id: OLLAMA.hashId });

    expect(status).toBe(201);
    const session = body['session'] as { id: string }; // a 201 has a session
    expect(session).toMatchObject({ template_hash_id: OLLAMA.hashId, disk_gb: 32 });
    const { body: later } = await get(world, `/sessions/${session.id}`);
    expect(later).toMatchObject({ template_hash_id: OLLAMA.hashId, disk_gb: 32 });
  });

  it('takes the disk that is asked for, where the template has enough of it', async () => {
    const world = await aWorld({ templates: templateMarket });

    const { body } = await rent(world, { offer_id: OFFERS.ask1, template_hash_id: OLLAMA.hashId, disk_gb: 64 });

    expect(body['session']).toMatchObject({ disk_gb: 64 });
  });

  it('takes an empty one for none', async () => {
    const world = await aWorld();

    const { status, body } = await rent(world, { offer_id: OFFERS.ask1, template_hash_id: '' });

    expect(status).toBe(201);
    expect(body['session']).not.toHaveProperty('template_hash_id');
  });

  it('chooses, where no offer is named, one that the template fits', async () => {
    const cheap = anOffer({ provider: MEMORY, providerOfferId: 'old', cudaVersion: 12.2, priceMicrosPerHour: 300_000 });
    const elsewhere = anOffer({ provider: OTHER, providerOfferId: 'ask', priceMicrosPerHour: 310_000 });
    const world = await aWorld({ templates: templateMarket, offers: [cheap, ...someOffers()] });
    world.list([elsewhere], OTHER);

    const { status, body } = await rent(world, { gpu_type: 'RTX 4090', template_hash_id: OLLAMA.hashId });

    expect({ status, session: body['session'] }).toMatchObject({ status: 201, session: { offer_id: OFFERS.ask1 } });
  });

  it('says that nothing fits rather than to take what does not', async () => {
    const world = await aWorld({ templates: templateMarket });

    expect(await rent(world, { gpu_type: 'RTX 4090', template_hash_id: HUGE.hashId })).toMatchObject({
      status: 503,
      body: { error_type: 'no_capacity' },
    });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['an unknown template', { template_hash_id: '0000' }, 'not found: 0000; GET /api/v1/templates lists'],
    [
      'PEER-11.2.28: a template that the offer cannot run',
      { template_hash_id: HUGE.hashId },
      `does not fit offer ${OFFERS.ask1}: "vLLM" needs CUDA at least 12.8, and the offer has 12.4; MiB of VRAM of all GPUs at least 160000`,
    ],
    [
      'a provider without templates',
      { offer_id: 'other-ask', template_hash_id: OLLAMA.hashId },
      'other has no templates; leave it out, or choose an offer of memory',
    ],
    [
      'requirements that name another provider',
      { offer_id: undefined, provider: 'other', template_hash_id: OLLAMA.hashId },
      'is a template of memory; name it as provider, or name none',
    ],
    ['what is no hash', { template_hash_id: 'a b' }, 'must be a hash_id of GET /api/v1/templates'],
  ])('refuses %s, and says what helps', async (_what, body, message) => {
    const world = await aWorld({ templates: templateMarket });
    world.list([anOffer({ provider: OTHER, providerOfferId: 'ask' })], OTHER);

    const { status, body: refusal } = await rent(world, { offer_id: OFFERS.ask1, ...body });

    expect(status).toBe(400);
    expect(refusal).toMatchObject({
      error_type: 'invalid_request',
      error: expect.stringContaining(`template_hash_id ${message}`),
      fields: [{ field: 'template_hash_id', message: expect.stringContaining(message) }],
    });
    expect((await get(world, '/sessions')).body).toMatchObject({ count: 0 });
  });

  it('refuses it where no provider has templates', async () => {
    const world = await aWorld();

    expect(await rent(world, { offer_id: OFFERS.ask1, template_hash_id: OLLAMA.hashId })).toMatchObject({
      status: 400,
      body: { error: 'template_hash_id no provider that is on has templates; leave it out and name an image' },
    });
  });

  it('refuses a disk below the one that the template is meant for', async () => {
    const world = await aWorld({ templates: templateMarket });

    expect(await rent(world, { offer_id: OFFERS.ask1, template_hash_id: OLLAMA.hashId, disk_gb: 20 })).toMatchObject({
      status: 400,
      body: {
        error_type: 'insufficient_disk',
        error: expect.stringContaining('disk_gb must be at least 32 for template "Ollama small"'),
        requested_gb: 20,
        minimum_gb: 32,
        recommended_gb: 32,
        breakdown: { template_floor_gb: 32 },
      },
    });
  });

  it('names an offer that is gone before a template', async () => {
    const world = await aWorld({ templates: templateMarket });

    expect(await rent(world, { offer_id: 'memory-gone', template_hash_id: '0000' })).toMatchObject({
      status: 404,
      body: { error_type: 'offer_not_found' },
    });
  });

  it('answers a repeated Idempotency-Key although the template cannot be looked up any more', async () => {
    let provider: NonNullable<Provider['templates']> = templateMarket;
    const world = await aWorld({ templates: (query, options) => provider(query, options) });
    const send = () =>
      world.app.inject({
        method: 'POST',
        url: '/api/v1/sessions?wait=0',
        headers: { 'idempotency-key': 'once' },
        payload: { ssh_public_key: PUBLIC_KEY, offer_id: OFFERS.ask1, template_hash_id: OLLAMA.hashId },
      });
    const first = await send();
    provider = failingTemplates('unavailable');

    const again = await send();

    expect([first.statusCode, again.statusCode]).toEqual([201, 201]);
    expect(again.headers['idempotent-replay']).toBe('true');
  });

  it('gives a template with a heavy image longer to boot than others', async () => {
    const world = await aWorld({ templates: templateMarket });
    const { body } = await rent(world, { offer_id: OFFERS.ask1, template_hash_id: OLLAMA.hashId });
    const { id } = body['session'] as { id: SessionId }; // a 201 has a session

    await world.accept(id);

    const record = await world.sessions.find(id);
    const { phaseEnteredAt = 0, phaseDeadlineAt } = record?.session ?? {};
    expect(phaseDeadlineAt).toBe(phaseEnteredAt + 12 * MINUTE_MS);
  });
});
