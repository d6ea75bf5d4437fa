import type { EpochMs } from '../core/clock.ts';
import { HOUR_MS } from '../core/duration.ts';
import { exactCost, roundCost, type MicroUsd } from '../core/money.ts';
import type { CostSegment } from '../db/tables.ts';

/** A cost segment with what decides who pays for it. */
export interface BilledSegment extends CostSegment {
  /** Whether its attempt was ever handed out. */
  readonly ran: boolean;
}

export interface Bill {
  /** What the consumer pays: the time of attempts that ran. */
  readonly consumerMicros: MicroUsd;
  /** What the operator pays: attempts that never ran, and instances that came back after they were gone. */
  readonly operatorMicros: MicroUsd;
  /** Hours that the consumer pays for. */
  readonly hours: number;
}

/** The part of a segment between two instants; an open one reaches to `until`. */
export function overlapMs(segment: Pick<CostSegment, 'fromAt' | 'toAt'>, from: EpochMs, until: EpochMs): number {
  return Math.max(0, Math.min(segment.toAt ?? until, until) - Math.max(segment.fromAt, from));
}

export function isConsumers({ payer, ran }: Pick<BilledSegment, 'payer' | 'ran'>): boolean {
  return payer === 'attempt' && ran;
}

type Priced = Pick<BilledSegment, 'payer' | 'ran' | 'priceMicrosPerHour' | 'fromAt' | 'toAt'>;

/** Adds segments up exactly and rounds once. */
export function billOf(segments: readonly Priced[], from: EpochMs, until: EpochMs): Bill {
  let consumer = 0n;
  let operator = 0n;
  let ms = 0;
  for (const segment of segments) {
    const duration = overlapMs(segment, from, until);
    const cost = exactCost(segment.priceMicrosPerHour, duration);
    if (isConsumers(segment)) {
      consumer += cost;
      ms += duration;
    } else operator += cost;
  }
  return { consumerMicros: roundCost(consumer), operatorMicros: roundCost(operator), hours: ms / HOUR_MS };
}
