import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { HealthReport, HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { time } from '../schemas/wire-values.ts';
import { wireTime } from '../wire-time.ts';

type OperationsDeps = Pick<HttpDeps, 'health' | 'metricsText' | 'clock' | 'shutdown'> & {
  readonly access: Pick<HttpDeps['access'], 'keysOn'>;
};

const Health = z
  .object({
    status: z.enum(['ok', 'unavailable']),
    timestamp: time,
    services: z.object({
      lifecycle: z.enum(['running', 'stopped']),
      inventory: z.literal('ok'),
      ready: z.enum(['true', 'false']),
    }),
    version: z.string().optional(),
    deployment_id: z.string().optional(),
    simulated: z.boolean().optional().describe('Every offer is simulated: no real provider is on.'),
    database_writable: z.boolean().optional(),
    clock_frozen: z.boolean().optional().describe('The clock jumped: nothing expires until it is trusted again.'),
    recovery_mode: z
      .object({
        since: time,
        cause: z.enum(['evidence', 'operator']).describe('Whether it began by itself or was asked for.'),
        reason: z.string(),
      })
      .optional()
      .describe('There while the database is held to be older than what providers have: unknown instances are not destroyed.'),
    base_url_overridden: z.array(z.string()).optional().describe('Providers spoken to at an address of the configuration.'),
    providers: z
      .array(
        z.object({
          id: z.string(),
          simulated: z.boolean(),
          state: z.enum(['starting', 'ok', 'failing']),
          list_attempted: z.boolean(),
          error: z.string().optional(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Health', description: 'With API keys configured, strangers see the first three fields only.' });

const Ready = z
  .object({
    ready: z.boolean(),
    timestamp: time,
    recovery_mode: z.literal(true).optional().describe('There while recovery mode is on; strangers are not told.'),
  })
  .meta({ id: 'Ready' });

const open = { access: 'open', rateLimit: false } as const;

export const operationsRoutes: FastifyPluginAsyncZod<OperationsDeps> = async (
  app,
  { health, metricsText, clock, shutdown, access },
) => {
  const isReady = ({ databaseWritable, providers }: HealthReport) =>
    databaseWritable && !shutdown.aborted && providers.every(({ listAttempted }) => listAttempted);
  const maySeeDetails = ({ principal }: FastifyRequest) => !access.keysOn || principal !== undefined;

  app.get(
    '/health',
    {
      exposeHeadRoute: true,
      config: open,
      schema: {
        operationId: 'getHealth',
        summary: 'How the broker is',
        tags: ['operations'],
        security: [],
        response: { 200: Health, 503: Health },
      },
    },
    async (request, reply) => {
      const report = await health();
      const ready = isReady(report);
      void reply.code(ready ? 200 : 503).header('cache-control', 'no-store');
      const details = maySeeDetails(request) ? detailsOf(report) : {};
      return {
        status: ready ? ('ok' as const) : ('unavailable' as const),
        timestamp: wireTime(clock.now()),
        services: {
          lifecycle: shutdown.aborted ? ('stopped' as const) : ('running' as const),
          inventory: 'ok' as const,
          ready: ready ? ('true' as const) : ('false' as const),
        },
        ...details,
      };
    },
  );

  app.get(
    '/ready',
    {
      exposeHeadRoute: true,
      config: open,
      schema: {
        operationId: 'getReady',
        summary: 'Whether the broker can serve',
        description: 'The database takes writes, and the instances of every provider were listed once, or it was tried.',
        tags: ['operations'],
        security: [],
        response: { 200: Ready, 503: Ready },
      },
    },
    async (request, reply) => {
      const report = await health();
      const ready = isReady(report);
      void reply.code(ready ? 200 : 503).header('cache-control', 'no-store');
      const isRecovering = report.recovery !== undefined && maySeeDetails(request);
      return { ready, timestamp: wireTime(clock.now()), ...(isRecovering ? { recovery_mode: true as const } : {}) };
    },
  );

  app.get(
    '/metrics',
    {
      config: { rateLimit: false },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics for Prometheus',
        tags: ['operations'],
        response: {
          200: { description: 'The text format of Prometheus.', content: { 'text/plain': { schema: z.string() } } },
          ...errorAnswers(401, 500),
        },
      },
    },
    async (_request, reply) => {
      const text = await metricsText();
      return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text);
    },
  );
};

function detailsOf(report: HealthReport) {
  return {
    version: report.version,
    deployment_id: report.deploymentId,
    simulated: report.simulated,
    database_writable: report.databaseWritable,
    clock_frozen: report.clockFrozen,
    ...(report.recovery ? { recovery_mode: { ...report.recovery, since: wireTime(report.recovery.since) } } : {}),
    base_url_overridden: [...report.baseUrlOverridden],
    providers: report.providers.map(({ id, simulated, state, listAttempted, error }) =>
      present({ id, simulated, state, list_attempted: listAttempted, error }),
    ),
  };
}
