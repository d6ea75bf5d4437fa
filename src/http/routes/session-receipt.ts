import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { receiptOf } from '../../sessions/receipt.ts';
import type { HttpDeps } from '../http-deps.ts';
import { maySee } from '../plugins/access.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { ReceiptBody, receiptToWire } from '../schemas/receipt.ts';
import { DATABASE_TIME_MS } from './handler-times.ts';
import { sessionIdOf, sessionNotFound } from './session-access.ts';

type ReceiptDeps = Pick<HttpDeps, 'sessions' | 'audit'>;

export const sessionReceiptRoute: FastifyPluginAsyncZod<ReceiptDeps> = async (app, { sessions, audit }) => {
  app.get(
    '/api/v1/sessions/:id/receipt',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'getSessionReceipt',
        summary: 'The destroy receipt of a session',
        description:
          'What became of every machine that was rented for it: each attempt with its tag, each destroy with its answer, each look that led to accepted and verified, and the final cost. Made of the audit log, which outlives the session: AUDIT_RETENTION says for how long.',
        tags: ['sessions'],
        params: z.object({ id: z.string() }),
        response: { 200: ReceiptBody, ...errorAnswers(401, 404, 429, 500, 503) },
      },
    },
    async (request) => {
      const id = sessionIdOf(request.params.id);
      const record = await sessions.find(id);
      if (record && !maySee(request, record.session.consumerId)) throw sessionNotFound(id); // before the log is read
      const receipt = receiptOf(await audit.list(id));
      const consumerId = record?.session.consumerId ?? receipt.consumerId; // the session's row may be past its retention
      if (consumerId === undefined || !maySee(request, consumerId)) throw sessionNotFound(id);
      return receiptToWire(id, { ...receipt, consumerId });
    },
  );
};
