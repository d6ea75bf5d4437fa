import sse from '@fastify/sse';
import Fastify, { type FastifyInstance } from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import { SECOND_MS } from '../core/duration.ts';
import { answerBrokenRequest, installErrorHandling, sendError } from './errors.ts';
import type { HttpDeps } from './http-deps.ts';
import { installAccess } from './plugins/access.ts';
import { installApiDescription, installReferencePage } from './plugins/api-reference.ts';
import { installJsonBodies } from './plugins/json-bodies.ts';
import { installRateLimit } from './plugins/rate-limit.ts';
import { installRequestMetrics } from './plugins/request-metrics.ts';
import { requestIdOf } from './request-id.ts';
import { benchmarkRoutes } from './routes/benchmarks.ts';
import { controllersRoute } from './routes/controllers.ts';
import { costRoutes } from './routes/costs.ts';
import { createSessionRoute } from './routes/create-session.ts';
import { inventoryRoutes } from './routes/inventory.ts';
import { offerHealthRoute } from './routes/offer-health.ts';
import { operationsRoutes } from './routes/operations.ts';
import { sessionCommandRoutes } from './routes/session-commands.ts';
import { sessionDiagnosticsRoute } from './routes/session-diagnostics.ts';
import { sessionEventsRoute } from './routes/session-events.ts';
import { sessionReceiptRoute } from './routes/session-receipt.ts';
import { sessionSshConfigRoute } from './routes/session-ssh-config.ts';
import { sessionRoutes } from './routes/sessions.ts';
import { templateRoutes } from './routes/templates.ts';
import { validatorCompiler } from './validation.ts';

/** Ids of offers are the providers' and may be long. */
const LONGEST_PATH_PART = 512;
const HEADERS_TIMEOUT_MS = 10 * SECOND_MS;
const KEEP_ALIVE_MS = 120 * SECOND_MS;
const HEARTBEAT_MS = 15 * SECOND_MS;
/** Past it a client that does not heed Connection: close is answered 503, so it is far out of the way of busy ones. */
const REQUESTS_PER_CONNECTION = 1_000_000;
const HIGHEST_HEADER_BYTES = 16 * 1024;

/** The whole API, ready to listen or to be asked by `inject`. Closing it ends open streams; sessions do not notice. */
export async function createHttpApp(deps: HttpDeps): Promise<FastifyInstance> {
  const { settings, log, ids } = deps;
  const requestTimeoutMs = settings.requestTimeoutMs;
  const app = Fastify({
    bodyLimit: settings.maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: REQUESTS_PER_CONNECTION,
    http: { headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs), maxHeaderSize: HIGHEST_HEADER_BYTES },
    // or an open stream would hold up the end of the process
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: LONGEST_PATH_PART, ignoreTrailingSlash: true },
    genReqId: requestIdOf(ids),
    frameworkErrors: (error, request, reply) => void sendError({ log }, error, request, reply),
    clientErrorHandler: answerBrokenRequest(ids),
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  installErrorHandling(app, { log });
  installJsonBodies(app);
  installRequestMetrics(app, deps);
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
    done();
  });
  installAccess(app, deps.access);
  await installRateLimit(app, settings.rateLimitPerMinute);
  await app.register(sse.default, { heartbeatInterval: HEARTBEAT_MS });
  await installApiDescription(app);

  await app.register(operationsRoutes, deps);
  await app.register(inventoryRoutes, deps);
  await app.register(templateRoutes, deps);
  await app.register(createSessionRoute, deps);
  await app.register(sessionRoutes, deps);
  await app.register(sessionCommandRoutes, deps);
  await app.register(sessionDiagnosticsRoute, deps);
  await app.register(sessionSshConfigRoute, deps);
  await app.register(sessionEventsRoute, deps);
  await app.register(sessionReceiptRoute, deps);
  await app.register(costRoutes, deps);
  await app.register(offerHealthRoute, deps);
  await app.register(controllersRoute, deps);
  await app.register(benchmarkRoutes);
  if (settings.docsEnabled) await installReferencePage(app);
  await app.ready();
  return app;
}
