import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { MINUTE_MS } from '../../core/duration.ts';
import { BrokerError } from '../../core/errors.ts';

/** One counter for each key (without keys: for each address) over all routes that do not say `rateLimit: false`. */
export async function installRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  if (perMinute === 0) return;
  await app.register(rateLimit, {
    max: perMinute,
    timeWindow: MINUTE_MS,
    // by then it is known whose request it is
    hook: 'preHandler',
    keyGenerator: (request) => (request.principal ? `key ${request.principal.keyName}` : `address ${request.ip}`),
    errorResponseBuilder: (_request, { max, ttl }) =>
      new BrokerError({
        code: 'rate_limited',
        message: `more than ${max} requests in a minute; try again in ${Math.ceil(ttl / 1000)} s`,
        details: { retry_after_seconds: Math.ceil(ttl / 1000) },
      }),
  });
}
