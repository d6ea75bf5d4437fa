import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ControllerStatus } from '../../controllers/driver.ts';
import type { HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { time } from '../schemas/wire-values.ts';
import { wireTimeIfAny } from '../wire-time.ts';

const ControllerBody = z
  .object({
    name: z.string(),
    period_seconds: z.number().describe('How often it runs at least.'),
    running: z.boolean().describe('A pass is under way.'),
    runs: z.int().describe('Passes since the start.'),
    last_started_at: time.optional(),
    last_duration_ms: z.number().optional(),
    last_success_at: time.optional(),
    last_error: z.string().optional().describe('What the last pass failed with.'),
    consecutive_failures: z.int(),
    report: z
      .object({
        examined: z.int(),
        changed: z.int(),
        failed: z.int(),
        next_at: time.optional().describe('When there is something to do next.'),
        details: z.record(z.string(), z.union([z.number(), z.string()])).optional(),
      })
      .optional()
      .describe('What the last pass did.'),
  })
  .meta({ id: 'Controller', description: 'One concern of the life cycle and how it has been doing.' });

export const controllersRoute: FastifyPluginAsyncZod<Pick<HttpDeps, 'controllers'>> = async (app, { controllers }) => {
  app.get(
    '/api/v1/controllers',
    {
      schema: {
        operationId: 'listControllers',
        summary: 'How the background work is doing',
        tags: ['operations'],
        response: {
          200: z.object({ controllers: z.array(ControllerBody), count: z.int() }),
          ...errorAnswers(401, 429, 500),
        },
      },
    },
    async () => {
      const bodies = controllers().map(controllerToWire);
      return { controllers: bodies, count: bodies.length };
    },
  );
};

function controllerToWire(status: ControllerStatus): z.infer<typeof ControllerBody> {
  const { lastReport } = status;
  return present({
    name: status.name,
    period_seconds: status.periodMs / 1_000,
    running: status.running,
    runs: status.runs,
    last_started_at: wireTimeIfAny(status.lastStartedAt),
    last_duration_ms: status.lastDurationMs,
    last_success_at: wireTimeIfAny(status.lastSuccessAt),
    last_error: status.lastError,
    consecutive_failures: status.consecutiveFailures,
    report:
      lastReport &&
      present({
        examined: lastReport.examined,
        changed: lastReport.changed,
        failed: lastReport.failed,
        next_at: wireTimeIfAny(lastReport.wakeAt),
        details: lastReport.details && { ...lastReport.details },
      }),
  });
}
