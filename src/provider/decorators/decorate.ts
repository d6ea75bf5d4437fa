import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import type { Provider } from '../provider.ts';
import { fenced } from './fenced.ts';
import { guarded } from './guarded.ts';
import type { CallTimeouts } from './guarded.ts';
import { instrumented } from './instrumented.ts';
import type { ProviderMetrics } from './instrumented.ts';
import { logged } from './logged.ts';
import { rateLimited } from './rate-limited.ts';
import type { LaneSettings } from './rate-limited.ts';
import { retried } from './retried.ts';
import type { RetrySettings } from './retried.ts';

export interface DecorateDeps {
  readonly clock: Clock;
  readonly random: Pick<Random, 'next'>;
  readonly log: Log;
  readonly metrics: ProviderMetrics;
  readonly timeouts?: CallTimeouts;
  readonly lanes?: LaneSettings;
  readonly retries?: RetrySettings;
}

/**
 * A provider as the broker uses it. From the inside out:
 * - *guarded* next to the provider, so that everybody else sees only `ProviderError`s, and so that a time-out counts from the sending;
 * - *instrumented* and *logged* round that: each real call once, with the time that the provider took and what became of it;
 * - *fenced* just before the sending, after every wait;
 * - *rateLimited* makes calls wait their turn; a refusal by the fence or a cancelled wait is no call and is not counted as one;
 * - *retried* outermost, so that a repeated read waits its turn again.
 * Once per account, by the composition root: two of these round one account would not know of each other's pauses.
 */
export function decorate(
  provider: Provider,
  { clock, random, log, metrics, timeouts, lanes, retries }: DecorateDeps,
): Provider {
  const safe = guarded(provider, { clock, ...(timeouts && { timeouts }) });
  const observed = logged(instrumented(safe, { clock, metrics }), { clock, log });
  const inTurn = rateLimited(fenced(observed, { clock }), { clock, ...(lanes && { settings: lanes }) });
  return retried(inTurn, { clock, random, ...(retries && { settings: retries }) });
}
