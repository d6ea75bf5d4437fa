import type { Clock } from '../core/clock.ts';
import { toUsd, type MicroUsd } from '../core/money.ts';
import type { Attempt } from '../db/tables.ts';
import type { OfferId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import type { OfferDesk } from '../sessions/offer-desk.ts';
import { retryAfter } from '../sessions/retry-rules.ts';
import type { SessionRecord } from '../sessions/session-record.ts';
import { FAILURE_REASONS, type FailureReason } from '../sessions/session-state.ts';
import { floorOf, termsOf } from '../sessions/terms.ts';

interface ChoiceDeps {
  readonly offers: Pick<OfferDesk, 'find' | 'candidates'>;
  readonly clock: Pick<Clock, 'now'>;
}

export interface Failing {
  readonly reason: FailureReason;
  readonly message: string;
}

export interface Choice {
  /** In the order in which they are to be tried. */
  readonly offers: readonly Offer[];
  /** What was agreed for an offer that is tried again. */
  readonly agreedCapMicrosPerHour?: MicroUsd;
  /** Why nothing is left, where the last attempt does not tell. */
  readonly failing?: Failing;
}

/** What a session may be given next: its own offer, the same again, or others, as its retry rules say. */
export function chooseOffers(deps: ChoiceDeps, record: SessionRecord): Choice {
  const { session, attempts } = record;
  const last = attempts.at(-1);
  if (!last) return { offers: [session.offer] };
  if (retryAfter(session, failureOf(last)) !== 'same_offer') return { offers: otherOffers(deps, record) };

  const offer = deps.offers.find(session.offerId) ?? session.offer;
  const terms = termsOf(offer, session.request);
  const agreedCapMicrosPerHour = last.capMicrosPerHour;
  if (terms && terms.priceMicrosPerHour <= agreedCapMicrosPerHour) return { offers: [offer], agreedCapMicrosPerHour };
  // nobody has agreed to the new price (REL-A10), or the offer cannot be had any more as it was asked for
  const message = terms
    ? `offer ${offer.id} now costs ${toUsd(terms.priceMicrosPerHour)} USD an hour, more than the ${toUsd(agreedCapMicrosPerHour)} USD that were agreed`
    : `offer ${offer.id} can no longer be had as asked: it takes ${offer.interruptible ? `bids from ${toUsd(floorOf(offer))} USD an hour and ` : ''}disks of ${offer.minDiskGb} to ${offer.maxDiskGb} GB`;
  const goesOn = retryAfter(session, 'price_changed') === 'other_offer';
  return { offers: goesOn ? otherOffers(deps, record, [offer.id]) : [], failing: { reason: 'price_changed', message } };
}

function otherOffers(
  { offers, clock }: ChoiceDeps,
  { session, attempts }: SessionRecord,
  tooDear: readonly OfferId[] = [],
): readonly Offer[] {
  const failed = attempts.filter(({ outcome }) => outcome !== 'create_lost' && outcome !== 'provider_unavailable');
  const broken = attempts.filter(({ outcome }) => outcome === 'provider_auth' || outcome === 'provider_funds');
  const first = attempts.at(0)?.offer;
  return offers.candidates(session.request, {
    exclude: {
      offerIds: [...failed.map(({ offerId }) => offerId), ...tooDear],
      machineIds: failed.map(({ machineId }) => machineId).filter((id) => id !== null),
      providers: broken.map(({ provider }) => provider),
    },
    ...(first ? { after: first } : {}),
    durationMs: Math.max(0, session.expiresAt - clock.now()),
    now: clock.now(),
  });
}

/** Why an attempt has failed. */
export function failureOf(attempt: Attempt): FailureReason {
  return FAILURE_REASONS.find((reason) => reason === attempt.outcome) ?? 'create_lost';
}
