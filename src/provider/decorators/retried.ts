import pRetry from 'p-retry';
import type { Clock } from '../../core/clock.ts';
import { SECOND_MS } from '../../core/duration.ts';
import type { Random } from '../../core/random.ts';
import { ProviderError } from '../provider-error.ts';
import type { ProviderOperation } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { aroundEveryCall } from './around.ts';

export interface RetrySettings {
  /** After the first try. */
  readonly retries: number;
  /** Before the first retry; doubles each time, with up to as much again by chance. */
  readonly firstDelayMs: number;
  /** A provider that wants a longer wait is left alone, and its error goes to the caller, who has other work. */
  readonly longestDelayMs: number;
}

export const DEFAULT_RETRIES: RetrySettings = { retries: 2, firstDelayMs: 500, longestDelayMs: 10 * SECOND_MS };

const READS: ReadonlySet<ProviderOperation> = new Set([
  'ListOffers',
  'ListAllInstances',
  'GetInstanceStatus',
  'Check',
  'GetBalance',
  'ListTemplates',
  'ListCharges',
]);

/**
 * Repeats reads that got no answer (`unavailable`, `rate_limited` with the wait that the provider asked for), within the caller's
 * signal. Creates are never repeated, since an answer may be lost after it happened; destroys by their controller, for ever.
 */
export function retried(provider: Provider, { clock, random, settings = DEFAULT_RETRIES }: RetriedDeps): Provider {
  return aroundEveryCall(provider, async ({ operation, options }, proceed) => {
    if (!READS.has(operation)) return proceed(options);
    const waitBefore = (error: Error, attempt: number): number | undefined => {
      if (!(error instanceof ProviderError) || options.signal.aborted) return undefined;
      if (error.kind !== 'unavailable' && error.kind !== 'rate_limited') return undefined;
      const backoffMs = settings.firstDelayMs * 2 ** (attempt - 1) * (1 + random.next());
      const waitMs = Math.max(error.retryAfterMs ?? 0, Math.min(backoffMs, settings.longestDelayMs));
      return waitMs > settings.longestDelayMs ? undefined : waitMs;
    };
    return pRetry(() => proceed(options), {
      retries: settings.retries,
      minTimeout: 0, // the waiting is done on our own clock, below
      shouldRetry: async ({ error, attemptNumber }) => {
        const waitMs = waitBefore(error, attemptNumber);
        if (waitMs === undefined) return false;
        try {
          await clock.sleep(waitMs, options.signal);
          return true;
        } catch {
          return false; // cancelled while waiting: the caller gets the error that it waited for
        }
      },
    });
  });
}

export interface RetriedDeps {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly random: Pick<Random, 'next'>;
  readonly settings?: RetrySettings;
}
