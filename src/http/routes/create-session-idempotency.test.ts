import { describe, expect, it } from 'vitest';
import { httpWorlds, OFFERS } from '../fixtures/http-world.ts';
import { idOf, post } from '../fixtures/post-session.ts';

const aWorld = httpWorlds();

describe('POST /api/v1/sessions with an Idempotency-Key', () => {
  const headers = { 'idempotency-key': 'order-1' };

  it('REL-G1: joins the same session when repeated, and tells the key again', async () => {
    const world = await aWorld();
    const first = await post(world, { offer_id: OFFERS.ask1 }, { headers });

    const second = await post(world, { offer_id: OFFERS.ask1 }, { headers });

    expect(second.status).toBe(201);
    expect(second.headers['idempotent-replay']).toBe('true');
    expect(first.headers).not.toHaveProperty('idempotent-replay');
    expect(second.body).toEqual(first.body);
  });

  it('REL-G3: makes one session of two requests that come at once', async () => {
    const world = await aWorld();

    const both = await Promise.all([1, 2].map(() => post(world, { offer_id: OFFERS.stock }, { headers })));

    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    expect(new Set(both.map(({ body }) => idOf(body))).size).toBe(1);
    expect(await world.sessions.list({ limit: 10 })).toHaveLength(1);
  });

  it('REL-G2: refuses another body under the same key', async () => {
    const world = await aWorld();
    await post(world, { offer_id: OFFERS.ask1 }, { headers });

    const second = await post(world, { offer_id: OFFERS.ask2 }, { headers });

    expect([second.status, second.body['error_type']]).toEqual([422, 'idempotency_mismatch']);
  });

  it('REL-G5: keeps the keys of consumers apart', async () => {
    const world = await aWorld();
    const first = await post(world, { offer_id: OFFERS.stock, consumer_id: 'a' }, { headers });

    const second = await post(world, { offer_id: OFFERS.stock, consumer_id: 'b' }, { headers });

    expect(second.status).toBe(201);
    expect(idOf(second.body)).not.toBe(idOf(first.body));
  });

  it.each(['', 'a b', 'x'.repeat(256), 'ä'])('refuses the key %j', async (key) => {
    const world = await aWorld();

    const { status, body } = await post(world, { offer_id: OFFERS.ask1 }, { headers: { 'idempotency-key': key } });

    expect(status).toBe(400);
    expect(body['fields']).toEqual([{ field: 'idempotency-key', message: 'must be 1 to 255 visible ASCII characters' }]);
  });
});
