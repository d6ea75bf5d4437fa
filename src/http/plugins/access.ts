import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Principal } from '../../consumers/api-keys.ts';
import { isLoopback } from '../../config/loopback.ts';
import { BrokerError } from '../../core/errors.ts';
import { plainLine } from '../../core/text.ts';
import type { Access } from '../http-deps.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; undefined while no keys are configured, and for strangers on open routes. */
    principal: Principal | undefined;
  }
  interface FastifyContextConfig {
    /** `open`: answers strangers too, though not with everything. */
    access?: 'open';
  }
}

const BEARER = /^Bearer +(\S+)$/i;

/** Asks for a bearer key on every route that is not open, unknown ones included, so that strangers learn nothing of what exists. */
export function installAccess(app: FastifyInstance, { keysOn, localOnly, authenticate }: Access): void {
  app.decorateRequest('principal', undefined);
  if (localOnly) app.addHook('onRequest', refuseOtherNames);
  if (!keysOn) return;
  app.addHook('onRequest', async (request) => {
    const { authorization } = request.headers;
    const [, presented] = BEARER.exec(authorization ?? '') ?? [];
    request.principal = presented === undefined ? undefined : authenticate(presented);
    if (request.principal !== undefined || request.routeOptions.config.access === 'open') return;
    throw new BrokerError({ code: 'unauthorized', message: refusal(authorization, presented) });
  });
}

/**
 * Without keys the address is the only door, and a page in a browser on this machine can walk through it under a name of its own that it
 * points here (DNS rebinding). So only this machine's own names are answered.
 */
async function refuseOtherNames({ hostname }: FastifyRequest): Promise<void> {
  if (isLoopback(hostname) || hostname.endsWith('.localhost')) return;
  throw new BrokerError({
    code: 'forbidden',
    message: `this broker has no API keys and answers only to localhost and 127.0.0.1, not to ${plainLine(hostname, 100)}; set API_KEYS, or AUTH=none behind a proxy of your own`,
  });
}

function refusal(authorization: string | undefined, presented: string | undefined): string {
  if (authorization === undefined) return 'an API key is required: send the header Authorization: Bearer <key>';
  return presented === undefined ? 'the Authorization header must read: Bearer <key>' : 'this API key is not known';
}

/**
 * Whose sessions and costs a request is about. With keys, a key's consumer sees and makes only its own; naming another one is refused.
 * Without keys everybody may name anybody. Undefined means all.
 */
export function consumerInScope({ principal }: FastifyRequest, named: string | undefined): string | undefined {
  if (principal === undefined) return named;
  if (named !== undefined && named !== principal.consumerId)
    throw new BrokerError({
      code: 'forbidden',
      message: `this API key belongs to consumer ${principal.consumerId} and may not act as another; leave consumer_id out`,
    });
  return principal.consumerId;
}

/** Whether the request may know that something of this consumer exists. */
export function maySee({ principal }: FastifyRequest, consumerId: string): boolean {
  return principal === undefined || principal.consumerId === consumerId;
}
