import { describe, expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { httpWorlds, OFFERS, OTHER, PUBLIC_KEY, type World } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

/** A world in which the provider `other` can carry out none of them, and is the cheapest. */
async function withAPlainProvider(): Promise<World> {
  const world = await aWorld();
  world.list([anOffer({ provider: OTHER, providerOfferId: 'plain', priceMicrosPerHour: 250_000 })], OTHER);
  return world;
}

async function rent({ app }: World, body: Record<string, unknown>) {
  const payload = { ssh_public_key: PUBLIC_KEY, ...body };
  const answer = await app.inject({ method: 'POST', url: '/api/v1/sessions?wait=0', payload });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() };
}

const WISHES = [
  ['image', { image: 'ubuntu:24.04' }],
  ['env', { env: { TOKEN: 'x' } }],
  ['on_start_cmd', { on_start_cmd: 'echo hello' }],
] as const;

describe('POST /api/v1/sessions with what a provider cannot do', () => {
  it.each(WISHES)('chooses an offer of a provider that can: %s', async (_field, wish) => {
    const world = await withAPlainProvider();

    const plain = await rent(world, { gpu_type: 'RTX 4090' });
    const wished = await rent(world, { gpu_type: 'RTX 4090', ...wish });

    expect(plain.body).toMatchObject({ session: { offer_id: 'other-plain' } });
    expect(wished.body).toMatchObject({ session: { offer_id: OFFERS.ask1 } });
  });

  it.each(WISHES)('refuses a named offer whose provider cannot, and names the field: %s', async (field, wish) => {
    const world = await withAPlainProvider();

    const { status, body } = await rent(world, { offer_id: 'other-plain', ...wish });

    expect({ status, body }).toMatchObject({
      status: 400,
      body: {
        error_type: 'invalid_request',
        error: expect.stringContaining(`${field} is not possible at other; leave it out`),
        fields: [{ field }],
      },
    });
  });
});
