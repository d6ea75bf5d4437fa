import type { FastifyReply } from 'fastify';

/**
 * Aborted when nobody will read the answer, or when the broker shuts down. It ends waiting only: what a request began with a provider
 * or the database goes on (REL-A9).
 */
export function listenerGone(reply: FastifyReply, shutdown: AbortSignal): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort(new Error('the client is gone')));
  return AbortSignal.any([gone.signal, shutdown]);
}
