import type { Clock, EpochMs } from './clock.ts';

/**
 * A moment by both clocks, for deadlines of what must not happen late. Each clock alone can be wrong about how long ago it was: the monotonic
 * clock of a suspended machine stands still, and the wall clock jumps (RULE-R12, REL-F3).
 */
export interface Moment {
  readonly monotonicMs: number;
  /** As the machine says, whether it is believed or not. */
  readonly machineMs: EpochMs;
}

export function momentOf(clock: Pick<Clock, 'monotonicMs' | 'machineNow'>): Moment {
  return { monotonicMs: clock.monotonicMs(), machineMs: clock.machineNow() };
}

export function later({ monotonicMs, machineMs }: Moment, ms: number): Moment {
  return { monotonicMs: monotonicMs + ms, machineMs: machineMs + ms };
}

/** As soon as either clock says so. */
export function isPast(moment: Moment, clock: Pick<Clock, 'monotonicMs' | 'machineNow'>): boolean {
  return clock.monotonicMs() > moment.monotonicMs || clock.machineNow() > moment.machineMs;
}

const TOLERANCE_MS = 5_000;

/** How long ago it was, milliseconds. Infinity where the clocks disagree: after a suspension or a jump nobody can tell. */
export function msSince(moment: Moment, clock: Pick<Clock, 'monotonicMs' | 'machineNow'>): number {
  const byMonotonic = clock.monotonicMs() - moment.monotonicMs;
  const byMachine = clock.machineNow() - moment.machineMs;
  return Math.abs(byMachine - byMonotonic) > TOLERANCE_MS ? Number.POSITIVE_INFINITY : byMonotonic;
}
