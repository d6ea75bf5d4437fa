import type { Clock } from '../../core/clock.ts';
import { SECOND_MS } from '../../core/duration.ts';
import type { ProviderId } from '../ids.ts';
import type { ProviderOperation } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { aroundEveryCall } from './around.ts';

/** Where calls to providers are counted. */
export interface ProviderMetrics {
  /** One call has ended; `seconds` is how long the provider took, without our own waiting. */
  call(call: {
    readonly provider: ProviderId;
    readonly operation: ProviderOperation;
    readonly status: 'success' | 'error';
    readonly seconds: number;
  }): void;
}

/** Counts and times every call that reaches the provider, by its public operation name. */
export function instrumented(
  provider: Provider,
  { clock, metrics }: { readonly clock: Pick<Clock, 'monotonicMs'>; readonly metrics: ProviderMetrics },
): Provider {
  return aroundEveryCall(provider, async ({ operation, options }, proceed) => {
    const startedAt = clock.monotonicMs();
    const count = (status: 'success' | 'error') =>
      metrics.call({ provider: provider.id, operation, status, seconds: (clock.monotonicMs() - startedAt) / SECOND_MS });
    let result;
    try {
      result = await proceed(options);
    } catch (error) {
      count('error');
      throw error;
    }
    count('success');
    return result;
  });
}
