import type { ProviderId } from './ids.ts';

/**
 * What went wrong, and with it the caller's duty:
 * - `capacity`: the offer is gone; try another, remember the failure.
 * - `rate_limited`: not done; wait `retryAfterMs`.
 * - `unavailable`: not done, or for a read no answer; the next activation tries again.
 * - `auth`: credentials refused; creates stop, an alarm, never a session closed for it.
 * - `funds`: the account is empty; no retry, an alarm.
 * - `rejected`: the request itself is at fault; fail with the reason.
 * - `protocol`: an answer nobody can read; fail loudly. To a create it means the same as `ambiguous`.
 * - `ambiguous`: **unknown whether it happened**; never create again, look for the tag.
 */
export const PROVIDER_ERROR_KINDS = [
  'capacity',
  'rate_limited',
  'unavailable',
  'auth',
  'funds',
  'rejected',
  'protocol',
  'ambiguous',
] as const;
export type ProviderErrorKind = (typeof PROVIDER_ERROR_KINDS)[number];

export type ProviderOperation =
  | 'ListOffers'
  | 'ListAllInstances'
  | 'CreateInstance'
  | 'DestroyInstance'
  | 'GetInstanceStatus'
  | 'AttachSSHKey'
  | 'DetachSSHKey'
  | 'Check'
  | 'GetBalance'
  | 'ListTemplates'
  | 'ListCharges'
  | 'DialSsh';

interface ProviderErrorInit {
  kind: ProviderErrorKind;
  provider: ProviderId;
  operation: ProviderOperation;
  /** Fit for the consumer: what could not be done and why; no secret, no vendor body. */
  message: string;
  retryAfterMs?: number;
  cause?: unknown;
}

/** The only thing that a provider throws. */
export class ProviderError extends Error {
  readonly kind: ProviderErrorKind;
  readonly provider: ProviderId;
  readonly operation: ProviderOperation;
  readonly retryAfterMs: number | undefined;

  constructor({ kind, provider, operation, message, retryAfterMs, cause }: ProviderErrorInit) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ProviderError';
    this.kind = kind;
    this.provider = provider;
    this.operation = operation;
    this.retryAfterMs = retryAfterMs;
  }
}

/** To a create: whether the answer proves that nothing was made. Everything that is not on this list is unknown (RULE-R3). */
export function provesNothingCreated(thrown: unknown): thrown is ProviderError {
  if (!(thrown instanceof ProviderError)) return false;
  switch (thrown.kind) {
    case 'capacity':
    case 'rate_limited':
    case 'unavailable':
    case 'auth':
    case 'funds':
    case 'rejected':
      return true;
    case 'protocol':
    case 'ambiguous':
      return false;
    default:
      return false;
  }
}
