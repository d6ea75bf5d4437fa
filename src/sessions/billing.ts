import type { EpochMs } from '../core/clock.ts';
import type { MicroUsd } from '../core/money.ts';
import type { Attempt, CostSegment } from '../db/tables.ts';
import type { Capabilities } from '../provider/capabilities.ts';
import type { Instance } from '../provider/instance.ts';
import { priceWithDisk } from '../provider/offer.ts';
import { setAttempt, type Draft } from './draft.ts';

/**
 * What an instance costs an hour in the state it is in: the provider's own word if it gives one, else the offered price
 * as its billing rule for that state has it.
 */
export function rateOf(attempt: Attempt, instance: Instance, billing: Capabilities['billing'], diskGb: number): MicroUsd {
  const told = instance.priceMicrosPerHour;
  if (told !== undefined && Number.isSafeInteger(told) && told >= 0) return told; // what is no amount of money is no word (REL-C17)
  const rule = instance.state === 'starting' ? billing.starting : instance.state === 'paused' ? billing.paused : 'full';
  return rateBy(rule, attempt, diskGb);
}

/** What it cost an hour before anybody looked. */
export function startingRate(attempt: Attempt, billing: Capabilities['billing'], diskGb: number): MicroUsd {
  return rateBy(billing.starting, attempt, diskGb);
}

function rateBy(rule: Capabilities['billing']['starting'], attempt: Attempt, diskGb: number): MicroUsd {
  switch (rule) {
    case 'full':
      return attempt.priceMicrosPerHour;
    case 'disk':
      return Math.max(0, priceWithDisk(attempt.offer, diskGb) - priceWithDisk(attempt.offer, 0));
    case 'none':
      return 0;
  }
}

/** From now on this rate holds: the open segment ends and another begins, unless nothing changed. Segments never overlap. */
export function bill(draft: Draft, attempt: Attempt, rate: MicroUsd, at: EpochMs): void {
  if (attempt.billingRate === rate) return;
  const since = Math.max(attempt.billingSince ?? at, at);
  endBill(draft, attempt, since);
  setAttempt(draft, attempt, { billingSequence: attempt.billingSequence + 1, billingRate: rate, billingSince: since });
  draft.segments.push(segmentOf(draft, attempt));
}

/** The open segment ends at `at`, never before it began. */
export function endBill(draft: Draft, attempt: Attempt, at: EpochMs): void {
  if (attempt.billingSince === null) return;
  draft.segments.push({ ...segmentOf(draft, attempt), toAt: Math.max(attempt.billingSince, at) });
  setAttempt(draft, attempt, { billingRate: null, billingSince: null });
}

/** What comes back after the provider said gone is the operator's: `goneAcceptedAt` is set before such a segment begins. */
function segmentOf(draft: Draft, attempt: Attempt): CostSegment {
  const { session } = draft;
  return {
    sessionId: session.id,
    ordinal: attempt.ordinal,
    sequence: attempt.billingSequence,
    consumerId: session.consumerId,
    provider: attempt.provider,
    gpuType: attempt.offer.gpuType,
    payer: attempt.goneAcceptedAt === null ? 'attempt' : 'operator',
    priceMicrosPerHour: attempt.billingRate ?? 0,
    fromAt: attempt.billingSince ?? draft.now,
    toAt: null,
  };
}
