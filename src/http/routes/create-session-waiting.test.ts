import { describe, expect, it } from 'vitest';
import { setTimeout as pause } from 'node:timers/promises';
import { HOUR_MS } from '../../core/duration.ts';
import type { SessionId } from '../../core/ids.ts';
import { httpWorlds, MEMORY, OFFERS, type World } from '../fixtures/http-world.ts';
import { post } from '../fixtures/post-session.ts';

const aWorld = httpWorlds();

/** Waits until a POST that holds has stored its session. */
async function storedSession({ sessions }: World): Promise<SessionId> {
  for (let look = 0; look < 500; look += 1) {
    const [row] = await sessions.list({ limit: 1 });
    if (row) return row.id;
    await pause(5);
  }
  throw new Error('no session was stored');
}

describe('POST /api/v1/sessions and waiting', () => {
  it('waits for the verdict of the create unless told otherwise', async () => {
    const world = await aWorld();
    const answer = post(world, { offer_id: OFFERS.ask1 }, { query: '' });

    await world.accept(await storedSession(world));

    expect((await answer).status).toBe(201);
    expect((await answer).body.session).toMatchObject({ status: 'provisioning', instance_id: 'instance-1' });
  });

  it('holds until it runs with wait=N', async () => {
    const world = await aWorld();
    const answer = post(world, { offer_id: OFFERS.ask1 }, { query: '?wait=30' });

    await world.run(await storedSession(world));

    expect((await answer).body.session).toMatchObject({
      status: 'running',
      ssh_host: '127.0.0.1',
      ssh_port: 2201,
      ssh_user: 'root',
      ssh_command: 'ssh -p 2201 root@127.0.0.1',
    });
  });

  it('answers 201 with the state so far when the broker shuts down', async () => {
    const world = await aWorld();
    const answer = post(world, { offer_id: OFFERS.ask1 }, { query: '?wait=300' });
    await storedSession(world);

    world.shutdown.abort(new Error('shutting down'));

    expect((await answer).status).toBe(201);
    expect((await answer).body.session).toMatchObject({ status: 'pending' });
  });

  it('answers 201 with the state so far when time is up', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, { offer_id: OFFERS.ask1 }, { query: '?wait=1' });

    expect(status).toBe(201);
    expect(body.session).toMatchObject({ status: 'pending' });
  });

  it.each([
    ['capacity', 503, 'stale_inventory', true],
    ['rejected', 422, 'provider_rejected', false],
    ['auth', 503, 'provider_unavailable', false],
  ] as const)('PEER-11.2.29: a create refused for %s is answered by what happened', async (kind, status, code, retry) => {
    const world = await aWorld();
    const answer = post(world, { offer_id: OFFERS.ask1 }, { query: '' });
    const id = await storedSession(world);

    await world.refuse(id, kind, 'the provider says ssh timeout not found');

    expect((await answer).status).toBe(status);
    expect((await answer).body).toMatchObject({
      error: 'create session: the provider says ssh timeout not found',
      error_type: code,
      retry_suggested: retry,
      session_id: id,
      offer_id: OFFERS.ask1,
      provider: MEMORY,
      tried: [{ offer_id: OFFERS.ask1, provider: MEMORY }],
    });
  });

  it('keeps a failure as the answer to its Idempotency-Key, and asks nobody to repeat it with that key', async () => {
    const world = await aWorld();
    const keyed = { query: '', headers: { 'idempotency-key': 'once' } };
    const first = post(world, { offer_id: OFFERS.ask1 }, keyed);
    await world.refuse(await storedSession(world), 'capacity', 'the offer is gone');

    const again = await post(world, { offer_id: OFFERS.ask1 }, keyed);

    expect((await first).body).toMatchObject({
      error_type: 'stale_inventory',
      message: expect.stringContaining('a new Idempotency-Key'),
    });
    expect([again.status, again.body['session_id']]).toEqual([503, (await first).body['session_id']]);
    expect(again.headers['idempotent-replay']).toBe('true');
    for (const { headers } of [await first, again]) expect(headers).not.toHaveProperty('retry-after');
  });

  it('REL-A9, PEER-11.2.16: a client that goes away ends the waiting, not the session', async () => {
    const world = await aWorld();
    const origin = await world.app.listen({ port: 0, host: '127.0.0.1' });
    const client = new AbortController();
    const answer = fetch(`${origin}/api/v1/sessions?wait=300`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ offer_id: OFFERS.ask1 }),
      signal: client.signal,
    }).catch(() => 'gone');
    const id = await storedSession(world);

    client.abort();

    expect(await answer).toBe('gone');
    await world.run(id);
    expect((await world.sessions.find(id))?.session).toMatchObject({ status: 'running', desired: 'run' });
  });

  it('expires from its creation on, and never later than the hard maximum', async () => {
    const world = await aWorld({ settings: { hardMaxMs: HOUR_MS / 2, defaultReservationHours: 3 } });

    const { body } = await post(world, { offer_id: OFFERS.ask1 });

    expect(body.session['expires_at']).toBe(body.session['hard_maximum_at']);
  });
});
