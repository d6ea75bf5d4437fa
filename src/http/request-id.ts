import type { IncomingMessage } from 'node:http';
import type { Ids } from '../core/ids.ts';

const ACCEPTED = /^[A-Za-z0-9._-]{1,128}$/;

/** The id that the client gave its request, if it is fit for a log, else one of ours. */
export function requestIdOf(ids: Pick<Ids, 'request'>): (message: Pick<IncomingMessage, 'headers'>) => string {
  return ({ headers }) => {
    const given = headers['x-request-id'];
    return typeof given === 'string' && ACCEPTED.test(given) ? given : ids.request();
  };
}
