import type { Clock, EpochMs } from '../../../src/core/clock.ts';

/** The vendor's time: the handed clock, times a speed, plus what `advance` has added. Sleeping is done on the handed clock. */
export interface EmulatorClock {
  now(): EpochMs;
  advance(ms: number): void;
  /** Ends early, and rejects, when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export function createEmulatorClock(base: Clock, speed = 1): EmulatorClock {
  const startedAt = base.now();
  let addedMs = 0;
  return {
    now: () => Math.floor(startedAt + (base.now() - startedAt) * speed + addedMs),
    advance(ms) {
      if (!(ms >= 0)) throw new RangeError(`time only goes on: advance by 0 ms or more, not ${ms}`);
      addedMs += ms;
    },
    sleep: (ms, signal) => base.sleep(ms / speed, signal),
  };
}
