import type { Clock } from '../../src/core/clock.ts';
import { DAY_MS } from '../../src/core/duration.ts';

/**
 * Their searches are counted in rows that come back, per day of UTC. So many a day are let through evenly, with a tenth of the quota in
 * hand at the start: what is taken in any one day never exceeds the quota.
 */
export interface RowBudget {
  /** How many rows may be asked for now, at most `wanted`; or the wait until there are some. */
  take(wanted: number): { readonly rows: number } | { readonly waitMs: number };
  /** Gives back what did not come. */
  giveBack(rows: number): void;
}

/** An answer of fewer rows is no use to anybody. */
const FEWEST_ROWS = 16;
const IN_HAND = 0.1;

export function createRowBudget({
  rowsPerDay,
  clock,
}: {
  readonly rowsPerDay: number;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}): RowBudget {
  const most = rowsPerDay * IN_HAND;
  const perMs = refillPerMs(rowsPerDay);
  let left = most;
  let countedAt = clock.monotonicMs();

  const refill = () => {
    const now = clock.monotonicMs();
    left = Math.min(most, left + (now - countedAt) * perMs);
    countedAt = now;
  };
  return {
    take(wanted) {
      refill();
      const fewest = Math.min(wanted, FEWEST_ROWS);
      if (left < fewest) return { waitMs: Math.ceil((fewest - left) / perMs) };
      const rows = Math.min(wanted, Math.floor(left));
      left -= rows;
      return { rows };
    },
    giveBack(rows) {
      left = Math.min(most, left + rows);
    },
  };
}

/** How often so many rows can be asked for, for ever. */
export function sustainablePeriodMs({ rowsPerDay, rows }: { readonly rowsPerDay: number; readonly rows: number }): number {
  return Math.ceil(rows / refillPerMs(rowsPerDay));
}

function refillPerMs(rowsPerDay: number): number {
  return (rowsPerDay * (1 - IN_HAND)) / DAY_MS;
}
