import { HOUR_MS, SECOND_MS } from '../core/duration.ts';
import type { MicroUsd } from '../core/money.ts';

/**
 * - `matches`: within one percent, beside what rounding takes and what half a minute costs.
 * - `awaited`: the provider has billed less so far; its rows come late and grow.
 * - `differs`: it has billed more, or less and does not come any nearer.
 * - `missing`: it has billed nothing at all.
 */
export type ChargeVerdict = 'matches' | 'awaited' | 'differs' | 'missing';

export interface ChargeComparison {
  /** What we reckon that the instance has cost, whoever pays. */
  readonly oursMicros: MicroUsd;
  /** What the provider has billed for its time. */
  readonly chargedMicros: MicroUsd;
  /** How many amounts that is the sum of. */
  readonly rows: number;
  /** By how much each of them may be off. */
  readonly roundingMicros: MicroUsd;
  /** The highest price that it ran at: when it began and ended is seen by looking, some seconds late. */
  readonly priceMicrosPerHour: MicroUsd;
  /** How long ago the instance has ended. */
  readonly endedAgoMs: number;
}

const TOLERANCE = 0.01;
const LATE_MS = 30 * SECOND_MS;
/** What the provider has not billed by then, it does not bill. */
const PATIENCE_MS = 48 * HOUR_MS;

export function judgeCharge(comparison: ChargeComparison): ChargeVerdict {
  const { oursMicros, chargedMicros, rows, roundingMicros, priceMicrosPerHour, endedAgoMs } = comparison;
  const unsure = Math.max(1, rows) * roundingMicros + (priceMicrosPerHour * LATE_MS) / HOUR_MS;
  const tolerance = TOLERANCE * Math.max(oursMicros, chargedMicros) + unsure;
  if (Math.abs(chargedMicros - oursMicros) <= tolerance) return 'matches';
  if (chargedMicros > oursMicros) return 'differs'; // charges only grow
  if (endedAgoMs < PATIENCE_MS) return 'awaited';
  return rows === 0 ? 'missing' : 'differs';
}
