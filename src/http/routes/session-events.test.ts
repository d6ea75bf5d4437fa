import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { describe, expect, it } from 'vitest';
import { aSession, httpWorlds } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

interface Listed {
  readonly events: readonly { readonly id: number; readonly kind: string; readonly data: Record<string, unknown> }[];
  readonly count: number;
}

/** Reads a stream until it has seen enough, or to its end. */
async function readStream(response: Response, enough: (events: readonly EventSourceMessage[]) => boolean) {
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => void events.push(event) });
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  if (!reader) throw new Error('the answer has no body');
  while (!enough(events)) {
    const { done, value } = await reader.read();
    if (done) return { events, ended: true };
    parser.feed(decoder.decode(value, { stream: true }));
  }
  await reader.cancel();
  return { events, ended: false };
}

describe('GET /api/v1/sessions/:id/events', () => {
  it('lists what happened, with times as texts', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    await world.app.inject({ method: 'POST', url: `/api/v1/sessions/${id}/extend`, payload: { additional_hours: 1 } });

    const all = (await world.app.inject(`/api/v1/sessions/${id}/events`)).json<Listed>();
    const later = (await world.app.inject(`/api/v1/sessions/${id}/events?after=1`)).json<Listed>();

    expect(all.events.map(({ kind }) => kind)).toEqual(['session.requested', 'session.extended']);
    expect(all.events[1]?.data['expires_at']).toMatch(/Z$/);
    expect(later.events).toEqual(all.events.slice(1));
  });

  it('streams from the first on, goes on as things happen, and ends when the broker shuts down', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    const origin = await world.app.listen({ port: 0, host: '127.0.0.1' });
    const response = await fetch(`${origin}/api/v1/sessions/${id}/events`, { headers: { accept: 'text/event-stream' } });
    const reading = readStream(response, (events) => {
      if (events.some(({ event }) => event === 'session.running')) world.shutdown.abort(new Error('shutting down'));
      return false;
    });

    await world.run(id);

    const { events, ended } = await reading;
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    expect(response.headers.get('x-request-id')).toBeTruthy();
    expect(ended).toBe(true);
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['session.requested', 'attempt.begun', 'instance.created', 'session.running']),
    );
  });

  it('misses nothing between two connections: Last-Event-ID is where it goes on', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    const origin = await world.app.listen({ port: 0, host: '127.0.0.1' });
    const connect = (lastEventId?: string) =>
      fetch(`${origin}/api/v1/sessions/${id}/events`, {
        headers: { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) },
      });
    const first = await readStream(await connect(), (events) => events.length === 1);
    await world.run(id);

    const second = await readStream(await connect(first.events[0]?.id), (events) =>
      events.some(({ event }) => event === 'session.running'),
    );

    const ids = [...first.events, ...second.events].map((event) => Number(event.id));
    const all = (await world.app.inject(`/api/v1/sessions/${id}/events`)).json<Listed>();
    expect(ids).toEqual(all.events.map((event) => event.id));
  });

  it('refuses a Last-Event-ID that is no id, and a session that is not there', async () => {
    const world = await aWorld();
    const id = await aSession(world);
    const headers = { accept: 'text/event-stream', 'last-event-id': 'x' };

    const badId = await world.app.inject({ url: `/api/v1/sessions/${id}/events`, headers });
    const missing = await world.app.inject({ url: '/api/v1/sessions/ses_01h00000000000000000000000/events', headers });

    expect(badId.statusCode).toBe(400);
    expect(missing.statusCode).toBe(404);
  });
});
