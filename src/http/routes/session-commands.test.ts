import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { HOUR_MS } from '../../core/duration.ts';
import { aSession, httpWorlds, type World } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

async function send({ app }: World, method: 'POST' | 'DELETE', url: string, payload?: object) {
  const answer = await app.inject({ method, url: `/api/v1/sessions/${url}`, ...(payload && { payload }) });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() };
}

describe('DELETE /api/v1/sessions/:id', () => {
  it('answers once the wish is stored, and again, and after the end', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await world.run(id);

    const first = await send(world, 'DELETE', id);
    const second = await send(world, 'DELETE', id);
    await world.vanish(id);
    const ended = await send(world, 'DELETE', id);

    expect([first.status, second.status, ended.status]).toEqual([200, 200, 200]);
    expect(first.body).toMatchObject({
      session_id: id,
      status: 'stopping',
      reason: 'user_requested',
      message: expect.any(String),
    });
    expect(ended.body).toMatchObject({ status: 'stopped', destroy_accepted_at: expect.any(String) });
    expect((await world.sessions.find(id))?.attempts).toMatchObject([{ state: 'verifying' }]);
  });

  it('PEER-11.2.17, PEER-10.66: many that come at once are one wish', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await world.run(id);

    const answers = await Promise.all(Array.from({ length: 8 }, () => send(world, 'DELETE', id)));

    expect(answers.map(({ status, body }) => [status, body['status']])).toEqual(Array(8).fill([200, 'stopping']));
    const events = await world.sessions.listEvents({ id, after: 0, limit: 100 });
    expect(events.filter(({ kind }) => kind === 'session.stopping')).toHaveLength(1);
  });

  it('holds until the end with wait=N', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await world.run(id);
    const answer = send(world, 'DELETE', `${id}?wait=30`);

    await world.app.inject({ method: 'DELETE', url: `/api/v1/sessions/${id}` });
    await world.vanish(id);

    expect((await answer).body).toMatchObject({ status: 'stopped' });
  });

  it('ends a session that no provider was asked for at once', async () => {
    const world = await aWorld();
    const id = await aSession(world);

    expect((await send(world, 'DELETE', id)).body).toMatchObject({ status: 'stopped' });
  });
});

describe('POST /api/v1/sessions/:id/done', () => {
  it('takes an empty body, whatever its content type says', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await world.run(id);

    const answer = await world.app.inject({
      method: 'POST',
      url: `/api/v1/sessions/${id}/done`,
      headers: { 'content-type': 'application/json' },
      payload: '',
    });

    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ session_id: id, status: 'stopping' });
  });

  it('PEER-10.69: answers 409 with the state for a session that has ended, and 200 while it is stopping', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await world.run(id);
    await send(world, 'POST', `${id}/done`);
    const stopping = await send(world, 'POST', `${id}/done`);
    await world.vanish(id);

    const ended = await send(world, 'POST', `${id}/done`);

    expect(stopping.status).toBe(200);
    expect([ended.status, ended.body['error_type'], ended.body['status']]).toEqual([409, 'invalid_state', 'stopped']);
  });
});

describe('POST /api/v1/sessions/:id/extend', () => {
  it('adds a fraction of an hour', async () => {
    const clock = new FakeClock('2026-01-01T00:00:00Z');
    const world = await aWorld({ clock });
    const id = await aSession(world);

    const { status, body } = await send(world, 'POST', `${id}/extend`, { additional_hours: 0.5 });

    expect(status).toBe(200);
    expect(body).toMatchObject({ session_id: id, new_expires_at: '2026-01-01T01:30:00.000Z', reservation_minutes: 90 });
  });

  it('PEER-11.2.20, PEER-10.68: counts the maximum from the creation and the present expiry, not from now', async () => {
    const clock = new FakeClock();
    const world = await aWorld({ clock });
    const id = await aSession(world, { reservation_hours: 1 });
    await clock.advance(HOUR_MS / 2);

    const whole = await send(world, 'POST', `${id}/extend`, { additional_hours: 11 });
    const further = await send(world, 'POST', `${id}/extend`, { additional_hours: 11 });

    expect(whole.status).toBe(200);
    expect(further.status).toBe(400);
    expect(further.body).toMatchObject({ error_type: 'invalid_request', possible_minutes: 0 });
  });

  it.each([{}, { additional_hours: 0 }, { additional_hours: '1' }, { additional_hours: null }, { hours: 1 }])(
    'refuses %j',
    async (payload) => {
      const world = await aWorld();
      const id = await aSession(world);

      expect((await send(world, 'POST', `${id}/extend`, payload)).status).toBe(400);
    },
  );

  it('answers 409 for a session that shall end', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await send(world, 'DELETE', id);

    const { status, body } = await send(world, 'POST', `${id}/extend`, { additional_hours: 1 });

    expect([status, body['error_type']]).toEqual([409, 'invalid_state']);
  });
});

describe('GET /api/v1/sessions/:id/diagnostics', () => {
  it('tells what is known of a running session, and 400 of any other', async () => {
    const clock = new FakeClock();
    const world = await aWorld({ clock });
    const id = await aSession(world);
    const before = await world.app.inject(`/api/v1/sessions/${id}/diagnostics`);
    await world.run(id);
    await clock.advance(HOUR_MS / 2);

    const running = await world.app.inject(`/api/v1/sessions/${id}/diagnostics`);

    expect(before.statusCode).toBe(400);
    expect(before.json()).toMatchObject({ status: 'pending' });
    expect(before.json()).not.toHaveProperty('reason');
    expect(running.json()).toMatchObject({
      session_id: id,
      uptime: '30m',
      time_to_expiry: '30m',
      ssh_available: true,
      ssh_command: 'ssh -p 2201 root@127.0.0.1',
      instance_state: 'starting',
    });
  });
});
