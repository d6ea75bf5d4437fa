/**
 * Codes that a client may act on (`error_type` on the wire): a promise, changed only by adding.
 * What each means stands once, in docs/errors.md; its status once, in http/errors.ts.
 */
export const ERROR_CODES = [
  'invalid_request',
  'unauthorized',
  'forbidden',
  'not_found',
  'offer_not_found',
  'session_not_found',
  'conflict',
  'duplicate_session',
  'invalid_state',
  'idempotency_mismatch',
  'stale_inventory',
  'no_capacity',
  'price_changed',
  'provision_failed',
  'provider_rejected',
  'provider_unavailable',
  'insufficient_disk',
  'payload_too_large',
  'uri_too_long',
  'header_too_large',
  'unsupported_media_type',
  'rate_limited',
  'not_ready',
  'unavailable',
  'disk_full',
  'internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

interface BrokerErrorInit {
  code: ErrorCode;
  /** Fit for the consumer: names the operation, no secret, no vendor body. */
  message: string;
  /** For the log only. */
  internal?: string;
  /** Further fields of the error body, in wire names. */
  details?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/** What the caller of a command can be told. Expected outcomes inside the broker are values; this is for its border. */
export class BrokerError extends Error {
  readonly code: ErrorCode;
  readonly internal: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor({ code, message, internal, details, cause }: BrokerErrorInit) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'BrokerError';
    this.code = code;
    this.internal = internal;
    this.details = details ?? {};
  }
}

/** One line for a log or an event, whatever was thrown: name, message, and the chain of causes. */
export function describeError(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = `${thrown.name}: ${thrown.message}`;
  return thrown.cause === undefined ? own : `${own} (caused by ${describeError(thrown.cause)})`;
}
