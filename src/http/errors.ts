import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Duplex } from 'node:stream';
import { BrokerError, describeError, type ErrorCode } from '../core/errors.ts';
import type { Ids } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { plainLine } from '../core/text.ts';
import { StoreError } from '../db/store-error.ts';

/** Which status a code is answered with: the only such table. */
export const STATUS_OF_CODE = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  offer_not_found: 404,
  session_not_found: 404,
  conflict: 409,
  duplicate_session: 409,
  invalid_state: 409,
  idempotency_mismatch: 422,
  stale_inventory: 503,
  no_capacity: 503,
  price_changed: 409,
  provision_failed: 502,
  provider_rejected: 422,
  provider_unavailable: 503,
  insufficient_disk: 400,
  payload_too_large: 413,
  uri_too_long: 414,
  header_too_large: 431,
  unsupported_media_type: 415,
  rate_limited: 429,
  not_ready: 503,
  unavailable: 503,
  disk_full: 507,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

const CODE_OF_STATUS = new Map<number, ErrorCode>([
  [401, 'unauthorized'],
  [403, 'forbidden'],
  [404, 'not_found'],
  [413, 'payload_too_large'],
  [414, 'uri_too_long'],
  [415, 'unsupported_media_type'],
  [429, 'rate_limited'],
  [431, 'header_too_large'],
]);

/** Errors of the framework whose own words do not name the fix. */
const FRAMEWORK_MESSAGES: Readonly<Record<string, string>> = {
  FST_ERR_BAD_URL: 'the path holds a % that is not followed by two hexadecimal digits, or is no UTF-8',
  FST_ERR_MAX_PARAM_LENGTH: 'a part of the path is longer than 512 characters',
  FST_ERR_CTP_BODY_TOO_LARGE: 'the request body is larger than MAX_BODY_BYTES allows',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'the request body is not as long as its Content-Length says',
};

interface ErrorsDeps {
  readonly log: Log;
}

/** Every error of the app leaves it in one shape, and none tells more than the client may know. */
export function installErrorHandling(app: FastifyInstance, deps: ErrorsDeps): void {
  app.setErrorHandler((error, request, reply) => sendError(deps, error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?');
    return sendError(
      deps,
      new BrokerError({
        code: 'not_found',
        message: `no such route: ${request.method} ${plainLine(path, 200)}; the API is described at /docs`,
      }),
      request,
      reply,
    );
  });
}

export function sendError({ log }: ErrorsDeps, thrown: unknown, request: FastifyRequest, reply: FastifyReply) {
  const error = asBrokerError(thrown);
  const status = STATUS_OF_CODE[error.code];
  if (error.code === 'internal' || thrown instanceof StoreError)
    log.error(
      {
        requestId: request.id,
        method: request.method,
        route: request.routeOptions?.url,
        error: describeError(thrown),
        ...(thrown instanceof Error && { stack: thrown.stack }),
      },
      'request failed',
    );
  if (error.internal !== undefined) log.warn({ requestId: request.id, internal: error.internal }, 'request refused');
  if (error.code === 'unauthorized') void reply.header('www-authenticate', 'Bearer');
  if ((status === 503 || status === 507) && mayRepeat(error) && !reply.hasHeader('retry-after'))
    void reply.header('retry-after', '5');
  return reply
    .code(status)
    .type('application/json; charset=utf-8')
    .send({ error: error.message, error_type: error.code, request_id: request.id, ...error.details });
}

/** Whether a client that repeats by itself may do so: not what cannot succeed, nor what a stored session has answered for good. */
function mayRepeat({ details }: BrokerError): boolean {
  return details['retry_suggested'] !== false && details['session_id'] === undefined;
}

/** What the client may know of what was thrown; a bug of ours is told to the log only. */
function asBrokerError(thrown: unknown): BrokerError {
  if (thrown instanceof BrokerError) return thrown;
  if (thrown instanceof StoreError)
    return new BrokerError({
      code: thrown.kind === 'disk-full' ? 'disk_full' : 'unavailable',
      message: storeMessage(thrown),
      details: { retry_suggested: true },
    });
  const { statusCode = 500, code, message } = thrown instanceof Error ? (thrown as FastifyError) : {}; // its fields are read only where they are
  if (code === 'FST_ERR_HANDLER_TIMEOUT')
    return new BrokerError({ code: 'unavailable', message: 'the request took too long; what it began goes on' });
  if (statusCode < 400 || statusCode >= 500)
    return new BrokerError({ code: 'internal', message: 'internal error; the log has it under this request_id' });
  return new BrokerError({
    code: CODE_OF_STATUS.get(statusCode) ?? 'invalid_request',
    message: FRAMEWORK_MESSAGES[code ?? ''] ?? plainLine(message ?? 'bad request'),
  });
}

function storeMessage({ kind, outcomeUnknown }: StoreError): string {
  if (outcomeUnknown) return 'the database gave no answer; the request may have been carried out: look before repeating it';
  return kind === 'disk-full'
    ? 'the disk of the database is full; nothing was changed'
    : 'the database did not take the request';
}

/** Answers what is no HTTP at all, or too large to be read, where no request exists yet; then the connection ends. */
export function answerBrokenRequest(ids: Pick<Ids, 'request'>): (error: { code?: string }, socket: Duplex) => void {
  return ({ code }, socket) => {
    if (code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [statusLine, errorType, message] =
      code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', 'header_too_large', 'the headers are larger than 16 KiB']
        : code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? ['408 Request Timeout', 'invalid_request', 'the request was not sent in time']
          : ['400 Bad Request', 'invalid_request', 'this is no HTTP request that can be read'];
    const body = JSON.stringify({ error: message, error_type: errorType, request_id: ids.request() });
    const head = `HTTP/1.1 ${statusLine}\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    socket.end(head + body);
  };
}
