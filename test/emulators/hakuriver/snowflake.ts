import type { EpochMs } from '../../../src/core/clock.ts';

/**
 * Ids of 63 bits by the Unix epoch: milliseconds, instance (always 0), a number within the millisecond. That number begins at 1 here: with
 * 0, and a clock that stands on a whole second, a double would print the same digits by luck.
 */
export function createSnowflakes(now: () => EpochMs): () => bigint {
  let lastMs = 0;
  let sequence = 0;
  return () => {
    const ms = now();
    sequence = ms === lastMs ? sequence + 1 : 1;
    lastMs = ms;
    return (BigInt(ms) << 22n) | BigInt(sequence);
  };
}
