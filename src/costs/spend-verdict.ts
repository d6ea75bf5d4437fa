import type { EpochMs } from '../core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { MicroUsd } from '../core/money.ts';
import { billOf, overlapMs, type BilledSegment } from './bill.ts';

/**
 * - `matches`: the balance fell by what the known instances cost, within ten percent.
 * - `possible_leak`: it fell by more, all the time. Something that is not known may be spending.
 * - `less`: it fell by less. Nothing leaks; the provider bills late, or our meter counts too much.
 * - `cannot_tell`: the two cannot be compared; `why` says for what.
 */
export type SpendState = 'matches' | 'possible_leak' | 'less' | 'cannot_tell';

/**
 * Why nothing can be told: too little time has been watched; somebody else's instances spend, too; it is not known whether they do;
 * money was paid in; the balance could not be read; a bill begins in the future, since the clock was set back; or the balance fell by more,
 * but not all the time, as it does for an instance that runs on.
 */
export type SpendDoubt = 'too_short' | 'foreign' | 'unseen' | 'top_up' | 'unread' | 'misdated' | 'uneven';

/** One look at an account. */
export interface AccountReading {
  readonly at: EpochMs;
  readonly monotonicMs: number;
  /** What is left of the account's money. */
  readonly balanceMicros: MicroUsd;
  /** Whether instances are there that are not ours; `unseen` when no list could be believed. */
  readonly others: 'none' | 'foreign' | 'unseen';
}

export interface SpendComparison {
  /** In order of time. */
  readonly readings: readonly AccountReading[];
  /** Of the account, from the first reading on; whoever pays. */
  readonly segments: readonly BilledSegment[];
  /** What instances would cost that may exist and are not billed yet: creates without an answer. */
  readonly unknownMicrosPerHour: MicroUsd;
}

export interface SpendVerdict {
  readonly state: SpendState;
  readonly why?: SpendDoubt;
  /** Over the time that was compared; absent when there is none. */
  readonly compared?: {
    readonly durationMs: number;
    readonly expectedMicros: MicroUsd;
    readonly observedMicros: MicroUsd;
  };
}

/** Less than this is not compared. */
export const SPEND_WINDOW_MS = 15 * MINUTE_MS;
/** Readings further apart leave too much unseen between them. */
const LONGEST_GAP_MS = 12 * MINUTE_MS;
const CLOCK_TOLERANCE_MS = 5 * SECOND_MS;
/** A balance that rises by less was corrected, not paid into. */
const CORRECTION_MICROS = 10_000;
const TOLERANCE = 0.1;
/** Below it nothing is told apart from rounding and traffic. */
const FLOOR_MICROS_PER_HOUR = 50_000;
/** When an instance began or ended, and when its rate changed, is known to about this. */
const UNSURE_MS = MINUTE_MS;
/** What runs on costs the same all the time: of a steady excess each part of the time has at least this share. */
const STEADY_SHARE = 0.5;

/**
 * Whether an account spends what its known instances cost (RULE-R13, REL-B16): the third witness, beside lists and single looks.
 * It raises no false alarm rather than none too few: what might have another reason than a leak is `cannot_tell`.
 */
export function judgeSpend({ readings, segments, unknownMicrosPerHour }: SpendComparison): SpendVerdict {
  const { span, why } = comparableSpan(readings);
  const [first, last] = [span[0], span.at(-1)];
  if (!first || !last) return { state: 'cannot_tell', why };
  if (segments.some(({ fromAt }) => fromAt > last.at + UNSURE_MS)) return { state: 'cannot_tell', why: 'misdated' };

  const parts = span.slice(1).map((end, index) => partBetween(span[index] ?? first, end, segments));
  const durationMs = last.monotonicMs - first.monotonicMs;
  const { consumerMicros, operatorMicros } = billOf(segments, first.at, last.at);
  const expectedMicros = consumerMicros + operatorMicros;
  const observedMicros = first.balanceMicros - last.balanceMicros;
  const compared = { durationMs, expectedMicros, observedMicros };

  const excessMicros = observedMicros - expectedMicros;
  const tolerance =
    TOLERANCE * expectedMicros + costOf(FLOOR_MICROS_PER_HOUR, durationMs) + unsureMicros(segments, first.at, last.at);
  if (excessMicros < -tolerance) return { state: 'less', compared };
  if (excessMicros <= tolerance + costOf(unknownMicrosPerHour, durationMs)) return { state: 'matches', compared };
  const steady = parts.every((part) => part.excessMicros >= STEADY_SHARE * (excessMicros / durationMs) * part.durationMs);
  return steady ? { state: 'possible_leak', compared } : { state: 'cannot_tell', why: 'uneven', compared };
}

/** The latest readings between which nothing stands in the way, just long enough; none while they are not. */
function comparableSpan(readings: readonly AccountReading[]): { span: readonly AccountReading[]; why: SpendDoubt } {
  let span: AccountReading[] = [];
  let why: SpendDoubt = 'too_short';
  for (const reading of readings) {
    const before = span.at(-1);
    if (reading.others !== 'none') {
      span = [];
      why = reading.others;
      continue;
    }
    const hindrance = before && hindranceBetween(before, reading);
    if (hindrance) why = hindrance;
    span = hindrance ? [reading] : [...span, reading];
  }
  const last = span.at(-1);
  const from = last ? span.findLastIndex(({ monotonicMs }) => last.monotonicMs - monotonicMs >= SPEND_WINDOW_MS) : -1;
  return { span: from === -1 ? [] : span.slice(from), why };
}

function hindranceBetween(before: AccountReading, after: AccountReading): SpendDoubt | undefined {
  const elapsedMs = after.monotonicMs - before.monotonicMs;
  if (elapsedMs > LONGEST_GAP_MS) return 'too_short';
  // our bills go by a clock that has jumped (REL-F1)
  if (Math.abs(after.at - before.at - elapsedMs) > CLOCK_TOLERANCE_MS) return 'too_short';
  return after.balanceMicros - before.balanceMicros > CORRECTION_MICROS ? 'top_up' : undefined;
}

function partBetween(from: AccountReading, until: AccountReading, segments: readonly BilledSegment[]) {
  const { consumerMicros, operatorMicros } = billOf(segments, from.at, until.at);
  return {
    durationMs: until.monotonicMs - from.monotonicMs,
    excessMicros: from.balanceMicros - until.balanceMicros - consumerMicros - operatorMicros,
  };
}

function unsureMicros(segments: readonly BilledSegment[], from: EpochMs, until: EpochMs): MicroUsd {
  let micros = 0;
  for (const segment of segments) {
    if (overlapMs(segment, from, until) === 0) continue;
    const ends = [segment.fromAt, segment.toAt].filter((at) => at !== null && at > from && at < until).length;
    micros += ends * costOf(segment.priceMicrosPerHour, UNSURE_MS);
  }
  return micros;
}

function costOf(microsPerHour: MicroUsd, durationMs: number): number {
  return (microsPerHour * durationMs) / HOUR_MS;
}
