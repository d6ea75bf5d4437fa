import type { Clock } from '../core/clock.ts';
import type { Random } from '../core/random.ts';
import { StoreError } from './store-error.ts';

/** What waiting takes. */
export interface Patience {
  clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  random: Pick<Random, 'next'>;
}

const MOST_ATTEMPTS = 12;
const LONGEST_PAUSE_MS = 200;
const LONGEST_TRYING_MS = 5_000;

/**
 * Repeats an attempt that lost against another transaction (kind `try-again`), at most 12 times and for about 5 seconds.
 * The pause is random, or the losers would meet again. Throws the last error.
 */
export async function retry<Result>({ clock, random }: Patience, attempt: () => Result | Promise<Result>): Promise<Result> {
  const startedMs = clock.monotonicMs();
  for (let tried = 1; ; tried += 1) {
    try {
      return await attempt();
    } catch (error) {
      const lost = error instanceof StoreError && error.kind === 'try-again';
      if (!lost || tried >= MOST_ATTEMPTS || clock.monotonicMs() - startedMs > LONGEST_TRYING_MS) throw error;
      await clock.sleep(random.next() * Math.min(2 ** tried, LONGEST_PAUSE_MS));
    }
  }
}
