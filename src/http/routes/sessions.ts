import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { SECOND_MS } from '../../core/duration.ts';
import { isSessionId } from '../../core/ids.ts';
import { isEnded, SESSION_STATUSES } from '../../sessions/session-state.ts';
import { listenerGone } from '../client-gone.ts';
import type { HttpDeps } from '../http-deps.ts';
import { invalidInput } from '../input-faults.ts';
import { consumerInScope } from '../plugins/access.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { queryText, repeatable, waitSeconds, wholeNumber } from '../schemas/query-values.ts';
import { SessionBody } from '../schemas/session.ts';
import { DATABASE_TIME_MS, WAITING_TIME_MS } from './handler-times.ts';
import { sessionOf, withCost } from './session-access.ts';

type SessionsDeps = Pick<HttpDeps, 'sessions' | 'ledger' | 'waiter' | 'shutdown'>;

const MOST_LISTED = 1_000;

export const sessionRoutes: FastifyPluginAsyncZod<SessionsDeps> = async (app, { sessions, ledger, waiter, shutdown }) => {
  app.get(
    '/api/v1/sessions',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'listSessions',
        summary: 'List sessions, the newest first',
        tags: ['sessions'],
        querystring: z.strictObject({
          consumer_id: queryText.optional().describe("Only this consumer's; with an API key only its own."),
          status: repeatable.optional().describe('Only these; an unknown status matches nothing.'),
          provider: queryText.optional(),
          limit: wholeNumber({ max: 1_000_000 }).optional().describe(`At most so many; 0, absent or more mean ${MOST_LISTED}.`),
          before: queryText
            .optional()
            .describe('Only sessions older than the one with this id: the next_before of the last page.'),
        }),
        response: {
          200: z.object({
            sessions: z.array(SessionBody),
            count: z.int(),
            next_before: z.string().optional().describe('There may be more: ask again with before set to it.'),
          }),
          ...errorAnswers(400, 401, 403, 429, 500, 503),
        },
      },
    },
    async (request) => {
      const { consumer_id: named, status, provider, limit, before } = request.query;
      const consumerId = consumerInScope(request, named);
      if (before !== undefined && !isSessionId(before))
        throw invalidInput([{ field: 'before', message: 'must be the id of a session' }]);
      const statuses = SESSION_STATUSES.filter((known) => status?.includes(known));
      if (status !== undefined && statuses.length === 0) return { sessions: [], count: 0 };

      const atMost = Math.min(limit || MOST_LISTED, MOST_LISTED);
      const rows = await sessions.list({ ...present({ consumerId, provider, beforeId: before }), statuses, limit: atMost });
      const found = await Promise.all(
        rows.map(async ({ id }) => {
          const record = await sessions.find(id);
          return record && (await withCost(ledger, record));
        }),
      );
      const bodies = found.filter((body) => body !== undefined);
      return {
        ...present({ next_before: rows.length === atMost ? rows.at(-1)?.id : undefined }),
        sessions: bodies,
        count: bodies.length,
      };
    },
  );

  app.get(
    '/api/v1/sessions/:id',
    {
      handlerTimeout: WAITING_TIME_MS,
      schema: {
        operationId: 'getSession',
        summary: 'Get one session, or wait for a status of it',
        description: 'Flat, and once more under session, which some clients read.',
        tags: ['sessions'],
        params: z.object({ id: z.string() }),
        querystring: z.strictObject({
          wait: waitSeconds
            .optional()
            .describe('Seconds to wait for one of status, or for the end; the state so far when time is up.'),
          status: repeatable.optional().describe('What to wait for; running, stopped and failed unless given.'),
        }),
        response: {
          200: z.object({ ...SessionBody.shape, session: SessionBody }),
          ...errorAnswers(400, 401, 404, 429, 500, 503),
        },
      },
    },
    async (request, reply) => {
      const { wait = 0, status = ['running', 'stopped', 'failed'] } = request.query;
      const unknown = status.filter((text) => !(SESSION_STATUSES as readonly string[]).includes(text)); // widened to ask for any text
      if (unknown.length > 0)
        throw invalidInput([{ field: 'status', message: `must be among ${SESSION_STATUSES.join(', ')}` }]);
      let record = await sessionOf(sessions, request, request.params.id);
      if (wait > 0 && !status.includes(record.session.status)) {
        const { id } = record.session;
        // nothing comes after an end status, so a wait for any other ends with it
        const until = ({ session }: typeof record) => status.includes(session.status) || isEnded(session);
        const signal = listenerGone(reply, shutdown);
        record = (await waiter.wait({ id, until, timeoutMs: wait * SECOND_MS, signal })) ?? record;
      }
      const body = await withCost(ledger, record);
      return { ...body, session: body };
    },
  );
};
