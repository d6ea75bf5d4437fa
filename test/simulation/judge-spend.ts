import type { EpochMs } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { billOf, type BilledSegment } from '../../src/costs/bill.ts';
import type { Attempt } from '../../src/db/tables.ts';
import type { Lived } from './cloud.ts';

export interface Spend {
  readonly booked: MicroUsd;
  readonly invoiced: MicroUsd;
  /** What is wrong with it, if anything. */
  readonly failure?: string;
}

interface SpendRequest {
  readonly attempt: Attempt;
  readonly segments: readonly BilledSegment[];
  readonly lives: readonly Lived[];
  readonly invoiced: MicroUsd;
  /** Its tag was used by a lost database, too: what that made is a stray of this one, with no bill of its own. */
  readonly mayBeTwo: boolean;
  /** It was believed gone and was there: what a list shows in the first two minutes is not believed to have cost anything before. */
  readonly cameBack: boolean;
  /** Wall time at the world's beginning. */
  readonly startsAt: EpochMs;
  readonly now: EpochMs;
}

/** Rounding, and the moments between a call's answer and the vendor's clock. */
const ALWAYS_MS = 2 * SECOND_MS;
const CAME_BACK_MS = 3 * MINUTE_MS;

/**
 * What was booked for an attempt beside the vendor's invoice. They differ by what nobody could know, and by no more: an end that took the broker
 * a while to see is booked until it was seen, an end that nobody confirmed until it was last
 * known to be alive.
 */
export function judgeSpend({ attempt, segments, lives, invoiced, mayBeTwo, cameBack, startsAt, now }: SpendRequest): Spend {
  const { ordinal, intentAt, goneAcceptedAt, destroyAnsweredAt, lastSeenAt, instanceState, tag } = attempt;
  const { consumerMicros, operatorMicros } = billOf(
    segments.filter((segment) => segment.ordinal === ordinal),
    0,
    now,
  );
  const booked = consumerMicros + operatorMicros;
  const spend = { booked, invoiced };
  if (lives.length === 0) return booked === 0 ? spend : { ...spend, failure: `${tag} was never made and costs ${booked}` };

  const microsPerHour = Math.max(attempt.priceMicrosPerHour, ...lives.map(({ mostMicrosPerHour }) => mostMicrosPerHour));
  const costOf = (ms: number) => (microsPerHour * ms) / HOUR_MS + 1;
  const knownEnd = Math.max(goneAcceptedAt ?? now, destroyAnsweredAt ?? 0, lastSeenAt ?? 0);
  const most = costOf(knownEnd - intentAt + ALWAYS_MS);
  if (booked > most) return { ...spend, failure: `${tag} is booked ${booked}, more than ${most} until its end was known` };

  if (mayBeTwo && lives.length > 1) return spend;
  const answered = destroyAnsweredAt ?? 0;
  const isRefuted = instanceState !== 'stopping' && (lastSeenAt ?? 0) > answered + MINUTE_MS;
  const lastKnownAlive = isRefuted ? (lastSeenAt ?? 0) : answered;
  // what was made before the attempt was written again, after the database had been replaced by an older one (RULE-R1)
  const unwritten = lives.reduce((ms, { bornAt }) => ms + Math.max(0, intentAt - (startsAt + bornAt)), 0);
  const unseen = lives.reduce(
    (ms, { endedAt, bornAt }) =>
      endedAt === undefined ? ms : ms + Math.max(0, startsAt + endedAt - Math.max(lastKnownAlive, startsAt + bornAt)),
    0,
  );
  // another price than was agreed holds from the look that told it
  const untold = (Math.max(0, microsPerHour - attempt.priceMicrosPerHour) * (knownEnd - intentAt)) / HOUR_MS;
  const least = invoiced - untold - costOf(unwritten + unseen + ALWAYS_MS + (cameBack ? CAME_BACK_MS : 0));
  if (booked < least) return { ...spend, failure: `${tag} is booked ${booked}, less than ${least} of ${invoiced}` };
  return spend;
}
