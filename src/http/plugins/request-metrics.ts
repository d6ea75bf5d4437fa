import type { FastifyInstance } from 'fastify';
import { SECOND_MS } from '../../core/duration.ts';
import type { Log } from '../../core/log.ts';
import type { Metrics } from '../../observability/metrics.ts';

/** Counts every answer by the pattern of its route, never by its URL: an id must not become a label. */
export function installRequestMetrics(
  app: FastifyInstance,
  { observeRequest, log }: { readonly observeRequest: Metrics['observeRequest']; readonly log: Log },
): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { method, id, routeOptions } = request;
    const route = routeOptions.url;
    const status = reply.statusCode;
    observeRequest({ method, route, status, seconds: reply.elapsedTime / SECOND_MS });
    log.debug({ requestId: id, method, route, status, ms: Math.round(reply.elapsedTime) }, 'request answered');
    done();
  });
}
