import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { SECOND_MS } from '../../core/duration.ts';
import type { SessionRecord } from '../../sessions/session-record.ts';
import { isEnded } from '../../sessions/session-state.ts';
import { listenerGone } from '../client-gone.ts';
import { createFailureOf } from '../create-failure.ts';
import type { HttpDeps } from '../http-deps.ts';
import { faultsIn, invalidInput } from '../input-faults.ts';
import { consumerInScope } from '../plugins/access.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { waitSeconds } from '../schemas/query-values.ts';
import { IdempotencyKeyHeader, SessionRequest } from '../schemas/session-request.ts';
import { SessionBody } from '../schemas/session.ts';
import { furtherFaultsOf, sessionOrderOf } from '../session-order.ts';
import { WAITING_TIME_MS } from './handler-times.ts';
import { withCost } from './session-access.ts';

type CreateDeps = Pick<HttpDeps, 'requestSession' | 'waiter' | 'ledger' | 'settings' | 'shutdown'>;

const VERDICT_WAIT_MS = 60 * SECOND_MS;
const DEFAULT_CONSUMER = 'default';

const CreatedSession = z
  .object({
    session: SessionBody,
    ssh_private_key: z
      .string()
      .optional()
      .describe(
        'In OpenSSH format, when no ssh_public_key was sent. Returned once, and for a short while to a repeated Idempotency-Key.',
      ),
    retries_attempted: z.int().optional().describe('Attempts beyond the first.'),
    warnings: z.array(z.string()).optional(),
  })
  .meta({ id: 'CreatedSession' });

export const createSessionRoute: FastifyPluginAsyncZod<CreateDeps> = async (app, deps) => {
  const { requestSession, waiter, ledger, settings, shutdown } = deps;

  app.post(
    '/api/v1/sessions',
    {
      handlerTimeout: WAITING_TIME_MS,
      // what the schema refuses may be wrong in more than the schema knows, and all of it is told at once
      attachValidation: true,
      schema: {
        operationId: 'createSession',
        summary: 'Rent a machine',
        description:
          'Send ssh_public_key or an Idempotency-Key: a lost answer otherwise loses the only copy of the private key. Once the session is stored, a client that goes away stops nothing: it is provisioned all the same, until it is deleted or expires.',
        tags: ['sessions'],
        querystring: z.strictObject({
          wait: waitSeconds
            .optional()
            .describe(
              'Seconds. Absent: until a provider has accepted or refused, 60 s at most. 0: answer once it is stored. N: until it runs or has failed; then, as after a time-out, the answer is 201 with the state so far.',
            ),
        }),
        headers: IdempotencyKeyHeader,
        body: SessionRequest,
        response: { 201: CreatedSession, ...errorAnswers(400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 502, 503, 507) },
      },
    },
    async (request, reply) => {
      const { body, query, validationError } = request;
      if (validationError) throw withFurtherFaults(validationError, body, settings);
      const consumerId = consumerInScope(request, body.consumer_id) ?? DEFAULT_CONSUMER;
      const { 'idempotency-key': idempotencyKey } = request.headers;
      const order = sessionOrderOf({ body, consumerId, idempotencyKey, settings });
      const requested = await requestSession(order);
      const record = query.wait === 0 ? requested.record : await waited(requested.record, query.wait);
      if (requested.repeated) void reply.header('idempotent-replay', 'true');

      const failure = createFailureOf(record, idempotencyKey !== undefined);
      if (failure) throw failure;
      const { session, attempts } = record;
      void reply.code(201).header('location', `/api/v1/sessions/${session.id}`).header('cache-control', 'no-store');
      return present({
        session: await withCost(ledger, record),
        ssh_private_key: requested.privateKey?.reveal(),
        retries_attempted: attempts.length > 1 ? attempts.length - 1 : undefined,
        warnings: session.warnings.length > 0 ? [...session.warnings] : undefined,
      });

      async function waited(stored: SessionRecord, seconds: number | undefined): Promise<SessionRecord> {
        const until = seconds === undefined ? hasCreateVerdict : runsOrEnded;
        if (until(stored)) return stored;
        const timeoutMs = seconds === undefined ? VERDICT_WAIT_MS : seconds * SECOND_MS;
        const signal = listenerGone(reply, shutdown);
        return (await waiter.wait({ id: stored.session.id, until, timeoutMs, signal })) ?? stored;
      }
    },
  );
};

function withFurtherFaults(refusal: Error, body: unknown, settings: CreateDeps['settings']): Error {
  const known = faultsIn(refusal);
  const further = furtherFaultsOf(body, settings).filter(({ field }) => !known.some((fault) => fault.field === field));
  return further.length === 0 ? refusal : invalidInput([...known, ...further]);
}

/** A provider has accepted, or it ends without. */
function hasCreateVerdict({ session, attempts }: SessionRecord): boolean {
  return isEnded(session) || attempts.some(({ acceptedAt }) => acceptedAt !== null);
}

function runsOrEnded({ session }: SessionRecord): boolean {
  return session.status === 'running' || isEnded(session);
}
