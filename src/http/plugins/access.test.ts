import { describe, expect, it } from 'vitest';
import { httpWorlds, OFFERS, type World } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();
const keys = { alice: 'alice-key-0123456789', bob: 'bob-key-0123456789ab' };
const as = (consumer: keyof typeof keys) => ({ authorization: `Bearer ${keys[consumer]}` });

async function aSessionOf({ app }: World, consumer: keyof typeof keys, payload: object = {}): Promise<string> {
  const answer = await app.inject({
    method: 'POST',
    url: '/api/v1/sessions?wait=0',
    headers: as(consumer),
    payload: { offer_id: OFFERS.stock, ...payload },
  });
  return answer.json<{ session: { id: string } }>().session.id;
}

describe('with API keys', () => {
  it.each(['/api/v1/inventory', '/api/v1/sessions', '/metrics', '/docs/', '/no/such/route'])(
    '%s asks strangers for a key',
    async (url) => {
      const world = await aWorld({ keys, settings: { docsEnabled: true } });

      const none = await world.app.inject(url);
      const wrong = await world.app.inject({ url, headers: { authorization: 'Bearer nobody-has-this-key' } });
      const basic = await world.app.inject({ url, headers: { authorization: 'Basic YTpi' } });

      for (const answer of [none, wrong, basic]) {
        expect(answer.statusCode).toBe(401);
        expect(answer.headers['www-authenticate']).toBe('Bearer');
        expect(answer.json()).toMatchObject({ error_type: 'unauthorized', request_id: expect.any(String) });
      }
    },
  );

  it('/health and /ready answer strangers without detail, and key holders with it', async () => {
    const world = await aWorld({ keys });

    const stranger = (await world.app.inject('/health')).json<object>();
    const holder = (await world.app.inject({ url: '/health', headers: as('alice') })).json<object>();
    const ready = await world.app.inject('/ready');

    expect(Object.keys(stranger)).toEqual(['status', 'timestamp', 'services']);
    expect(holder).toHaveProperty('providers');
    expect(ready.statusCode).toBe(200);
  });

  it('makes sessions for the consumer of the key, and for no other', async () => {
    const world = await aWorld({ keys });
    const id = await aSessionOf(world, 'alice');

    const forAnother = await world.app.inject({
      method: 'POST',
      url: '/api/v1/sessions?wait=0',
      headers: as('alice'),
      payload: { offer_id: OFFERS.stock, consumer_id: 'bob' },
    });
    const found = await world.app.inject({ url: `/api/v1/sessions/${id}`, headers: as('alice') });

    expect(forAnother.statusCode).toBe(403);
    expect(forAnother.json()).toMatchObject({ error_type: 'forbidden' });
    expect(found.json()).toMatchObject({ consumer_id: 'alice' });
  });

  it('shows nobody the sessions, events and costs of another consumer', async () => {
    const world = await aWorld({ keys });
    const id = await aSessionOf(world, 'alice');
    const get = (url: string) => world.app.inject({ url, headers: as('bob') });

    expect((await get('/api/v1/sessions')).json()).toMatchObject({ count: 0 });
    expect((await get('/api/v1/sessions?consumer_id=alice')).statusCode).toBe(403);
    expect((await get(`/api/v1/sessions/${id}`)).statusCode).toBe(404);
    expect((await get(`/api/v1/sessions/${id}/events`)).statusCode).toBe(404);
    expect((await get(`/api/v1/sessions/${id}/diagnostics`)).statusCode).toBe(404);
    expect((await get(`/api/v1/costs?session_id=${id}`)).statusCode).toBe(404);
    expect((await get('/api/v1/costs?consumer_id=alice')).statusCode).toBe(403);
    const ended = await world.app.inject({ method: 'DELETE', url: `/api/v1/sessions/${id}`, headers: as('bob') });
    expect(ended.statusCode).toBe(404);
    const extended = await world.app.inject({
      method: 'POST',
      url: `/api/v1/sessions/${id}/extend`,
      headers: as('bob'),
      payload: { additional_hours: 1 },
    });
    expect(extended.statusCode).toBe(404);
  });
});

describe('without API keys', () => {
  it('lets everybody name any consumer', async () => {
    const world = await aWorld();
    await world.app.inject({
      method: 'POST',
      url: '/api/v1/sessions?wait=0',
      payload: { offer_id: OFFERS.stock, consumer_id: 'anybody' },
    });

    expect((await world.app.inject('/api/v1/sessions?consumer_id=anybody')).json()).toMatchObject({ count: 1 });
  });
});

describe('with a rate limit', () => {
  it('counts each key by itself, says when to come back, and spares health', async () => {
    const world = await aWorld({ keys, settings: { rateLimitPerMinute: 2 } });
    const get = (consumer: keyof typeof keys) => world.app.inject({ url: '/api/v1/sessions', headers: as(consumer) });
    await get('alice');
    await get('alice');

    const third = await get('alice');
    const other = await get('bob');
    const health = await world.app.inject({ url: '/health', headers: as('alice') });

    expect(third.statusCode).toBe(429);
    expect(third.headers).toHaveProperty('retry-after');
    expect(third.json()).toMatchObject({ error_type: 'rate_limited', request_id: expect.any(String) });
    expect([other.statusCode, health.statusCode]).toEqual([200, 200]);
  });
});

describe('without API keys', () => {
  it.each(['evil.example', 'localhost.evil.example', '192.168.1.20:8080', '127.0.0.1.evil.example'])(
    'refuses a page that reaches this machine as %s',
    async (host) => {
      const world = await aWorld();

      const answer = await world.app.inject({ url: '/api/v1/inventory', headers: { host } });

      expect(answer.statusCode).toBe(403);
      expect(answer.json()).toMatchObject({
        error_type: 'forbidden',
        error: expect.stringMatching(/answers only to localhost/),
      });
    },
  );

  it.each(['localhost:8080', '127.0.0.1', '127.0.0.1:18080', '[::1]:8080', 'berth.localhost'])(
    'answers to %s',
    async (host) => {
      const world = await aWorld();

      expect((await world.app.inject({ url: '/api/v1/inventory', headers: { host } })).statusCode).toBe(200);
    },
  );
});
