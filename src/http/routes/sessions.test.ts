import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { MINUTE_MS } from '../../core/duration.ts';
import { aSession, httpWorlds, OFFERS, type World } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

interface Listed {
  readonly sessions: readonly { readonly id: string; readonly status: string }[];
  readonly count: number;
  readonly next_before?: string;
}

const list = async ({ app }: World, query = '') => (await app.inject(`/api/v1/sessions${query}`)).json<Listed>();

describe('GET /api/v1/sessions', () => {
  it('lists the newest first, filtered by consumer, status and provider', async () => {
    const world = await aWorld({ clock: new FakeClock() });
    const first = await aSession(world, { consumer_id: 'a' });
    world.clock.now();
    const second = await aSession(world, { consumer_id: 'b' });
    await world.run(second);

    expect((await list(world)).count).toBe(2);
    expect((await list(world, '?consumer_id=a')).sessions.map(({ id }) => id)).toEqual([first]);
    expect((await list(world, '?status=running&status=stopped')).sessions.map(({ id }) => id)).toEqual([second]);
    expect(await list(world, '?status=sleeping')).toEqual({ sessions: [], count: 0 });
    expect((await list(world, '?provider=other')).count).toBe(0);
    expect((await list(world, '?limit=0')).count).toBe(2);
  });

  it('goes on behind the last of a page', async () => {
    const world = await aWorld();
    const ids = [
      await aSession(world, { consumer_id: 'a' }),
      await aSession(world, { consumer_id: 'b' }),
      await aSession(world, { consumer_id: 'c' }),
    ];

    const page = await list(world, '?limit=2');
    const rest = await list(world, `?limit=2&before=${page.next_before}`);

    expect([...page.sessions, ...rest.sessions].map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    expect(rest.next_before).toBeUndefined();
  });

  it.each(['?limit=x', '?before=abc', '?state=running'])('refuses %s', async (query) => {
    const world = await aWorld();

    expect((await world.app.inject(`/api/v1/sessions${query}`)).statusCode).toBe(400);
  });
});

describe('GET /api/v1/sessions/:id', () => {
  it('is flat with a nested copy, and tells the attempts, the conditions and what it costs', async () => {
    const clock = new FakeClock();
    const world = await aWorld({ clock });
    const id = await aSession(world);
    await world.run(id);
    await clock.advance(30 * MINUTE_MS);

    const { session, ...flat } = (await world.app.inject(`/api/v1/sessions/${id}`)).json<Record<string, unknown>>();

    expect(session).toEqual(flat);
    expect(flat).toMatchObject({
      id,
      status: 'running',
      phase: 'running',
      actions: ['connect', 'extend', 'done', 'delete'],
      cost: 0.06,
      cost_is_final: false,
      operator_cost: 0,
      attempts: [{ ordinal: 1, state: 'live', offer_id: OFFERS.stock, price_per_hour: 0.12, instance_id: 'instance-1' }],
      conditions: [{ type: 'created' }, { type: 'ready' }],
    });
  });

  it.each([
    ['ses_01h00000000000000000000000', 'session not found: ses_01h00000000000000000000000'],
    ['7', 'session not found: 7 (ids of sessions are ses_ and 26 lower-case letters and digits'],
  ])('answers 404 for %s', async (id, error) => {
    const world = await aWorld();

    const answer = await world.app.inject(`/api/v1/sessions/${id}`);

    expect(answer.statusCode).toBe(404);
    expect(answer.json<{ error: string }>().error).toContain(error);
  });

  it('names no instance of an attempt that has failed while the next one is not answered', async () => {
    const world = await aWorld();
    const id = await aSession(world, { auto_retry: true });
    const { ordinal } = await world.accept(id);
    await world.apply(id, { kind: 'attempt_failed', ordinal, reason: 'ssh_verify_timeout', message: 'no login' });
    await world.apply(id, { kind: 'destroy_answered', ordinal, result: 'gone' });
    await world.begin(id);

    const session = (await world.app.inject(`/api/v1/sessions/${id}`)).json<{ attempts: object[] }>();

    expect(session).not.toHaveProperty('instance_id');
    expect(session.attempts).toMatchObject([{ instance_id: 'instance-1' }, { state: 'intent' }]);
  });

  it('waits for a status', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    const answer = world.app.inject(`/api/v1/sessions/${id}?wait=30&status=running`);

    await world.run(id);

    expect((await answer).json()).toMatchObject({ status: 'running' });
  });

  it('waits no longer than to the end, after which no other status comes', async () => {
    const world = await aWorld({ clock: new FakeClock() });
    const id = await aSession(world);
    const answer = world.app.inject(`/api/v1/sessions/${id}?wait=300&status=running`);
    await world.app.inject({ method: 'DELETE', url: `/api/v1/sessions/${id}` });

    const late = await world.app.inject(`/api/v1/sessions/${id}?wait=300&status=running`);

    expect((await answer).json()).toMatchObject({ status: 'stopped' });
    expect(late.json()).toMatchObject({ status: 'stopped' });
  });

  it('refuses to wait for a status that there is not', async () => {
    const world = await aWorld();
    const id = await aSession(world);

    const answer = await world.app.inject(`/api/v1/sessions/${id}?wait=30&status=sleeping`);

    expect(answer.statusCode).toBe(400);
  });

  it('tells of a create that nobody answered', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    const { ordinal } = await world.begin(id);
    await world.apply(id, { kind: 'create_unknown', ordinal, message: 'no answer' });

    const body = (await world.app.inject(`/api/v1/sessions/${id}`)).json<Record<string, unknown>>();

    expect(body).toMatchObject({ status: 'provisioning', phase: 'resolving', conditions: [{ type: 'create_unknown' }] });
  });
});
