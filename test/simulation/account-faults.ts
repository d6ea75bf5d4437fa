import type { Clock } from '../../src/core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { ProviderError, ProviderErrorKind, ProviderOperation } from '../../src/provider/provider-error.ts';
import type { Fate, FaultName, WorldPlan } from './faults.ts';

/** What is wrong with a whole account for a while, whatever is asked. */
export interface AccountFaults {
  /** Undefined when the call goes through. */
  on(operation: ProviderOperation): ProviderError | undefined;
  /** A fault that lasts for so many minutes: whether it is on now, or begins. */
  isIn(name: FaultName, minutes: readonly [least: number, most: number]): boolean;
  end(): void;
}

interface AccountFaultsDeps {
  readonly clock: Clock;
  readonly fate: Fate;
  readonly plan: WorldPlan;
  readonly scaled: (minutes: number) => number;
  readonly refusal: (operation: ProviderOperation, kind: ProviderErrorKind, retryAfterMs?: number) => ProviderError;
}

export function createAccountFaults({ clock, fate, plan, scaled, refusal }: AccountFaultsDeps): AccountFaults {
  const { dice } = fate;
  const spells = new Map<FaultName, number>();
  const bucket = { size: dice.whole(8, 30), refillMs: dice.between(0.3, 3) * SECOND_MS, left: 8, filledAt: 0 };

  function isIn(name: FaultName, minutes: readonly [least: number, most: number]): boolean {
    if (fate.isOver) return false;
    const until = spells.get(name) ?? 0;
    if (clock.monotonicMs() < until) return true;
    if (clock.monotonicMs() < until + 2 * MINUTE_MS || !fate.strikes(name)) return false;
    spells.set(name, clock.monotonicMs() + scaled(dice.between(...minutes)));
    return true;
  }

  /** Calls of all who share the account come out of one bucket, which fills by one each so often. */
  function isBucketEmpty(): boolean {
    if (!plan.rates.has('account.bucket') || fate.isOver) return false;
    const filled = Math.floor((clock.monotonicMs() - bucket.filledAt) / bucket.refillMs);
    bucket.filledAt += filled * bucket.refillMs;
    bucket.left = Math.min(bucket.size, bucket.left + filled);
    if (bucket.left === 0) return true;
    bucket.left -= 1;
    return false;
  }

  return {
    isIn,
    on(operation) {
      if (isBucketEmpty()) {
        fate.note('account.bucket');
        return refusal(operation, 'rate_limited', dice.chance(0.5) ? Math.ceil(bucket.refillMs) : undefined);
      }
      if (isIn('account.down', [0.5, 8])) return refusal(operation, 'unavailable');
      if (isIn('account.refused', [0.5, 6])) return refusal(operation, 'auth');
      if (isIn('account.throttled', [0.5, 6]) && dice.chance(0.7))
        return refusal(operation, 'rate_limited', dice.whole(1, 20) * SECOND_MS);
      return undefined;
    },
    end: () => spells.clear(),
  };
}
