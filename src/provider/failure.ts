import { describeCall } from './calls.ts';
import type { ProviderId } from './ids.ts';
import { ProviderError, type ProviderErrorKind, type ProviderOperation } from './provider-error.ts';

/** What an adapter knows of a call that came to nothing. */
interface FailureInit<Said> {
  readonly operation: ProviderOperation;
  readonly kind: ProviderErrorKind;
  /** What could not be done and why, without a word of theirs. */
  readonly why: string;
  /** Their answer, as the adapter has read it. */
  readonly said?: Said;
  /** Rounded up, so that nobody comes back too early. */
  readonly retryAfterMs?: number;
  /** What was thrown; goes before what was said. */
  readonly cause?: unknown;
}

/**
 * The errors of one adapter, all of which begin with the operation and the provider: `create instance at vastai: …`.
 * `describeSaid` puts an answer into one line that is safe in a log, as `HTTP 503`: it becomes the cause where nothing was thrown.
 */
export function createFailure<Said = never>(
  provider: ProviderId,
  describeSaid?: (said: Said) => string,
): (init: FailureInit<Said>) => ProviderError {
  return ({ operation, kind, why, said, retryAfterMs, cause }) =>
    new ProviderError({
      kind,
      provider,
      operation,
      message: `${describeCall({ id: provider }, operation)}: ${why}`,
      ...(retryAfterMs !== undefined && { retryAfterMs: Math.ceil(retryAfterMs) }),
      cause: cause ?? (said && describeSaid && new Error(describeSaid(said))),
    });
}
