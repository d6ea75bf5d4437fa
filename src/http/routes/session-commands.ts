import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { SECOND_MS } from '../../core/duration.ts';
import { BrokerError } from '../../core/errors.ts';
import type { SessionRecord } from '../../sessions/session-record.ts';
import { isEnded, SESSION_STATUSES } from '../../sessions/session-state.ts';
import { listenerGone } from '../client-gone.ts';
import type { HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { waitSeconds } from '../schemas/query-values.ts';
import { time } from '../schemas/wire-values.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { DATABASE_TIME_MS, WAITING_TIME_MS } from './handler-times.ts';
import { sessionOf, stillThere } from './session-access.ts';

type CommandDeps = Pick<HttpDeps, 'sessions' | 'stopSession' | 'extendSession' | 'waiter' | 'shutdown'>;

const params = z.object({ id: z.string() });
const querystring = z.strictObject({
  wait: waitSeconds.optional().describe('Seconds to wait for the end status; the state so far when time is up.'),
});

const StopAnswer = z
  .object({
    message: z.string(),
    session_id: z.string(),
    status: z.enum(SESSION_STATUSES),
    reason: z.string().optional(),
    destroy_accepted_at: time.optional().describe('When the provider itself said that everything is gone.'),
    destroy_verified_at: time.optional().describe('When it was still gone after the observation window.'),
  })
  .meta({ id: 'StopAnswer' });

export const sessionCommandRoutes: FastifyPluginAsyncZod<CommandDeps> = async (app, deps) => {
  const { sessions, stopSession, extendSession, waiter, shutdown } = deps;

  async function stop(record: SessionRecord, reply: FastifyReply, wait = 0) {
    const { id } = record.session;
    let stopped = stillThere(await stopSession(id, 'user_requested'), id);
    if (wait > 0 && !isEnded(stopped.session)) {
      const until = ({ session }: SessionRecord) => isEnded(session);
      const signal = listenerGone(reply, shutdown);
      stopped = (await waiter.wait({ id, until, timeoutMs: wait * SECOND_MS, signal })) ?? stopped;
    }
    const { session } = stopped;
    return present({
      message: isEnded(session)
        ? `session is ${session.status}`
        : 'session will be destroyed; the broker repeats it until the provider says that it is gone',
      session_id: id,
      status: session.status,
      reason: session.reason ?? undefined,
      destroy_accepted_at: wireTimeIfAny(session.destroyAcceptedAt),
      destroy_verified_at: wireTimeIfAny(session.destroyVerifiedAt),
    });
  }

  app.delete(
    '/api/v1/sessions/:id',
    {
      handlerTimeout: WAITING_TIME_MS,
      schema: {
        operationId: 'deleteSession',
        summary: 'End a session',
        description: 'Answers once the wish is stored; from then on the broker sees to it. May be repeated.',
        tags: ['sessions'],
        params,
        querystring,
        response: { 200: StopAnswer, ...errorAnswers(400, 401, 404, 429, 500, 503, 507) },
      },
    },
    async (request, reply) => stop(await sessionOf(sessions, request, request.params.id), reply, request.query.wait),
  );

  app.post(
    '/api/v1/sessions/:id/done',
    {
      handlerTimeout: WAITING_TIME_MS,
      schema: {
        operationId: 'finishSession',
        summary: 'End a session because its work is done',
        description: 'As DELETE, but 409 for a session that has ended already.',
        tags: ['sessions'],
        params,
        querystring,
        response: { 200: StopAnswer, ...errorAnswers(400, 401, 404, 409, 429, 500, 503, 507) },
      },
    },
    async (request, reply) => {
      const record = await sessionOf(sessions, request, request.params.id);
      const { status, reason } = record.session;
      if (isEnded(record.session))
        throw new BrokerError({
          code: 'invalid_state',
          message: `finish session: it is ${status} already`,
          details: { session_id: record.session.id, status, reason },
        });
      return stop(record, reply, request.query.wait);
    },
  );

  app.post(
    '/api/v1/sessions/:id/extend',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'extendSession',
        summary: 'Let a session live longer',
        description: 'Never past its hard_maximum_at, which counts from its creation.',
        tags: ['sessions'],
        params,
        body: z.strictObject({
          additional_hours: z
            .number()
            .gt(0)
            .max(8_760)
            .describe('Added to the present expiry; fractions are allowed, rounded up to minutes.'),
        }),
        response: {
          200: z.object({ message: z.string(), session_id: z.string(), new_expires_at: time, reservation_minutes: z.int() }),
          ...errorAnswers(400, 401, 404, 409, 413, 415, 429, 500, 503, 507),
        },
      },
    },
    async (request) => {
      const { session: known } = await sessionOf(sessions, request, request.params.id);
      const minutes = Math.ceil(request.body.additional_hours * 60 - 1e-6);
      const { session } = stillThere(await extendSession(known.id, minutes), known.id);
      return {
        message: `session extended by ${minutes} minute${minutes === 1 ? '' : 's'}`,
        session_id: session.id,
        new_expires_at: wireTime(session.expiresAt),
        reservation_minutes: session.reservationMinutes,
      };
    },
  );
};
