import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { listenerGone } from '../client-gone.ts';
import { eventsAfter } from '../event-stream.ts';
import type { HttpDeps } from '../http-deps.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { wholeNumber } from '../schemas/query-values.ts';
import { EventBody, eventToWire } from '../schemas/session-event.ts';
import { invalidInput } from '../input-faults.ts';
import { sessionOf } from './session-access.ts';

type EventsDeps = Pick<HttpDeps, 'sessions' | 'changes' | 'clock' | 'shutdown'>;

const MOST_LISTED = 1_000;

export const sessionEventsRoute: FastifyPluginAsyncZod<EventsDeps> = async (app, deps) => {
  const { sessions, shutdown } = deps;

  app.get(
    '/api/v1/sessions/:id/events',
    {
      sse: 'dual',
      // a stream is one long request: a client that has used up its limit still sees what happens
      config: { rateLimit: false },
      schema: {
        operationId: 'listSessionEvents',
        summary: 'The history of a session, as a list or as a stream',
        description:
          'With Accept: text/event-stream the events come as server-sent events, from the first or behind Last-Event-ID, and go on as they happen; event is the kind, id the version, data the same object as in the list.',
        tags: ['sessions'],
        params: z.object({ id: z.string() }),
        querystring: z.strictObject({
          after: wholeNumber().optional().describe('Only events behind this id.'),
          limit: wholeNumber({ min: 1, max: MOST_LISTED }).optional().describe(`At most so many; ${MOST_LISTED} unless given.`),
        }),
        headers: z.object({ 'last-event-id': z.string().optional().describe('Where an interrupted stream goes on.') }),
        response: {
          200: {
            description: 'A list, or a stream, as Accept asks.',
            content: {
              'application/json': { schema: z.object({ events: z.array(EventBody), count: z.int() }) },
              'text/event-stream': { schema: z.string() },
            },
          },
          ...errorAnswers(400, 401, 404, 500, 503),
        },
      },
    },
    async (request, reply) => {
      const { session } = await sessionOf(sessions, request, request.params.id);
      const { after = 0, limit = MOST_LISTED } = request.query;
      if (!streams(reply)) {
        const events = (await sessions.listEvents({ id: session.id, after, limit })).map(eventToWire);
        return { events, count: events.length };
      }

      const from = Math.max(after, versionOf(reply.sse.lastEventId));
      const signal = listenerGone(reply, shutdown);
      reply.sse.sendHeaders();
      const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      for await (const event of eventsAfter(deps, { id: session.id, after: from, signal })) {
        if (signal.aborted) break;
        const body = eventToWire(event);
        // a client that goes away while it is full would never drain
        await Promise.race([reply.sse.send({ id: String(body.id), event: body.kind, data: body }), gone]);
      }
      return undefined;
    },
  );
};

/** The plugin sets `sse` only where the client asked for a stream, whatever its type says. */
function streams(reply: { readonly sse?: unknown }): boolean {
  return reply.sse !== undefined;
}

function versionOf(lastEventId: string | null): number {
  if (lastEventId === null || lastEventId === '') return 0;
  if (!/^\d{1,15}$/.test(lastEventId))
    throw invalidInput([{ field: 'Last-Event-ID', message: 'must be the id of an event: a whole number' }]);
  return Number(lastEventId);
}
