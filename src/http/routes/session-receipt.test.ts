import { describe, expect, it } from 'vitest';
import { aSession, httpWorlds, PUBLIC_KEY, type World } from '../fixtures/http-world.ts';
import type { ReceiptBody } from '../schemas/receipt.ts';

const aWorld = httpWorlds();

async function receiptOf({ app }: World, id: string, key?: string) {
  const answer = await app.inject({
    url: `/api/v1/sessions/${id}/receipt`,
    ...(key && { headers: { authorization: `Bearer ${key}` } }),
  });
  return { status: answer.statusCode, body: answer.json<ReceiptBody & { error?: string }>() };
}

describe('GET /api/v1/sessions/:id/receipt', () => {
  it('says from the first moment what it lacks, and is complete when all is gone, verified and paid', async () => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    const early = await receiptOf(world, id);
    expect(early).toMatchObject({ status: 200, body: { session_id: id, complete: false, attempts: [] } });
    expect(early.body.missing).toEqual(['the session has not ended yet', 'the cost is not final yet']);

    const { ordinal } = await world.accept(id);
    await world.apply(id, { kind: 'stop_requested', reason: 'user_requested' });
    await world.apply(id, { kind: 'destroy_answered', ordinal, result: 'gone' });
    await world.apply(id, { kind: 'missing', ordinal, by: 'get' });
    await world.apply(id, { kind: 'settled', costMicros: 0 });

    const { status, body } = await receiptOf(world, id);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      complete: true,
      missing: [],
      stop_requested_by: 'consumer',
      reason: 'user_requested',
      attempts: [
        {
          ordinal: 1,
          tag: expect.stringMatching(/^berth-/),
          create: { verdict: 'created' },
          destroys: [{ answer: 'gone' }],
          accepted: { because: 'the provider answered the destroy with gone' },
          verified: { looks: 1 },
        },
      ],
      cost: 0,
      audit: { head: expect.stringMatching(/^[0-9a-f]{64}$/), check: `berth audit verify --session ${id}` },
    });
    expect(JSON.stringify(body)).not.toContain(PUBLIC_KEY.split(' ')[1]);
  });

  it('is nobody else’s, and there is none of what never was', async () => {
    const keys = { alice: 'alice-key-0123456789', bob: 'bob-key-0123456789' };
    const world = await aWorld({ keys });
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY }, keys.alice);

    expect((await receiptOf(world, id, keys.alice)).status).toBe(200);
    expect(await receiptOf(world, id, keys.bob)).toMatchObject({ status: 404 });
    expect(await receiptOf(world, 'ses_01JA0000000000000000000000', keys.alice)).toMatchObject({ status: 404 });
    expect((await receiptOf(world, 'nonsense', keys.alice)).status).toBeGreaterThanOrEqual(400);
  });
});
