import type { MicroUsd } from '../core/money.ts';
import type { StoredRequest } from '../db/tables.ts';
import { priceWithDisk, type Offer } from '../provider/offer.ts';

/** On what terms an offer will be rented. */
export interface Terms {
  /** The disk that will be asked for, GB. */
  readonly diskGb: number;
  /** With that disk; of an interruptible offer the bid counts, since that is what will be paid, not the floor. */
  readonly priceMicrosPerHour: MicroUsd;
  /** For an interruptible offer only: without the disk, as the floor is told. */
  readonly bidMicrosPerHour?: MicroUsd;
}

type Asked = Pick<StoredRequest, 'diskGb' | 'bidMicrosPerHour' | 'bidMarginPercent' | 'maxPriceMicrosPerHour'>;

/**
 * How far above the floor the broker bids when the consumer names no bid, unless the operator says otherwise (BID_MARGIN_PERCENT).
 * The floor is what the owner accepts at least, not the bid to beat: who bids exactly that much loses to the next one.
 */
const BID_MARGIN_PERCENT = 10;
/** Markets tell prices to a hundredth of a cent: a bid of ours fits, and what it comes to does not exceed the limit by a rounding. */
const BID_STEP = 100;

/** Undefined when the offer cannot be had so: it has no such disk, or the bid that was asked is under its floor or over the limit. */
export function termsOf(offer: Offer, asked: Asked): Terms | undefined {
  const diskGb = asked.diskGb ?? Math.max(offer.diskGb, offer.minDiskGb);
  if (diskGb < offer.minDiskGb || diskGb > offer.maxDiskGb) return undefined;
  const priceMicrosPerHour = priceWithDisk(offer, diskGb);
  if (!offer.interruptible) return { diskGb, priceMicrosPerHour };

  const floor = floorOf(offer);
  const disk = priceMicrosPerHour - floor;
  const most = (asked.maxPriceMicrosPerHour ?? Infinity) - disk;
  const bid = asked.bidMicrosPerHour ?? Math.max(floor, Math.min(withMargin(floor, asked), roundedDown(most)));
  if (asked.bidMicrosPerHour !== undefined && (bid < floor || bid > most)) return undefined;
  return { diskGb, priceMicrosPerHour: bid + disk, bidMicrosPerHour: bid };
}

/** The least that may be bid for an interruptible offer, without its disk. */
export function floorOf(offer: Offer): MicroUsd {
  return offer.minBidMicrosPerHour ?? Math.max(0, priceWithDisk(offer, 0));
}

function withMargin(floor: MicroUsd, { bidMarginPercent = BID_MARGIN_PERCENT }: Asked): MicroUsd {
  return Math.ceil((floor * (100 + bidMarginPercent)) / 100 / BID_STEP) * BID_STEP;
}

const roundedDown = (most: MicroUsd) => Math.floor(most / BID_STEP) * BID_STEP;
