import type { FastifyInstance } from 'fastify';
import { BrokerError } from '../../core/errors.ts';

/**
 * Bodies are JSON or nothing. An empty one is no error whatever its content type says, since clients send `done` that way; any other
 * content type is refused, so that no page of a browser can post to a local broker without being asked.
 */
export function installJsonBodies(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>(/^application\/([\w.-]+\+)?json\b/i, { parseAs: 'string' }, (request, body, done) => {
    if (body === '') return done(null, undefined);
    return parseJson(request, body, (error, value) => {
      if (error) return done(notJson(body), undefined);
      return done(null, value);
    });
  });
  app.addContentTypeParser<string>('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined);
    return done(
      new BrokerError({
        code: 'unsupported_media_type',
        message: 'the request body must be JSON: send it with the header Content-Type: application/json',
      }),
      undefined,
    );
  });
}

/** What was refused and yet is JSON holds a name that would change the prototype of an object. */
function notJson(body: string): BrokerError {
  const poisoned = isJson(body);
  return new BrokerError({
    code: 'invalid_request',
    message: poisoned
      ? 'the request body holds the name __proto__ or constructor.prototype, which is refused'
      : 'the request body is no valid JSON',
  });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
