import { BrokerError } from '../../core/errors.ts';
import { toUsd } from '../../core/money.ts';
import type { StoredRequest } from '../../db/tables.ts';
import { priceWithDisk, type Offer } from '../../provider/offer.ts';
import { floorOf } from '../terms.ts';

/** What is wrong with a bid for the offer that was named, or with the limit beside it, in words that say what to send instead; undefined when it may stand, or when there is none. */
export function bidRefusal(offer: Offer, request: StoredRequest): BrokerError | undefined {
  const { bidMicrosPerHour: bid, maxPriceMicrosPerHour: limit } = request;
  if (bid === undefined) return undefined;
  if (!offer.interruptible)
    return refusal(
      offer,
      `is for interruptible offers, and offer ${offer.id} is none; leave it out, or choose an offer of GET /api/v1/inventory?interruptible=true`,
    );
  const floor = floorOf(offer);
  if (bid < floor)
    return refusal(
      offer,
      `must be at least ${toUsd(floor)}, the min_bid of offer ${offer.id} now; leave it out to bid what the broker thinks fit`,
    );
  const disk = priceWithDisk(offer, request.diskGb ?? offer.diskGb) - floor;
  if (limit !== undefined && floor + disk > limit)
    return refusal(
      offer,
      `must be at least ${toUsd(floor + disk)}: offer ${offer.id} costs ${toUsd(floor)} at the lowest bid and ${toUsd(disk)} for the disk`,
      'max_price',
    );
  if (limit !== undefined && bid + disk > limit)
    return refusal(
      offer,
      `must be at most ${toUsd(limit - disk)}: with ${toUsd(disk)} for the disk it comes to more than max_price ${toUsd(limit)}`,
    );
  return undefined;
}

function refusal(offer: Offer, message: string, field: 'bid_price' | 'max_price' = 'bid_price'): BrokerError {
  return new BrokerError({
    code: 'invalid_request',
    message: `${field} ${message}`,
    details: {
      fields: [{ field, message }],
      offer_id: offer.id,
      ...(offer.interruptible && { min_bid: toUsd(floorOf(offer)) }),
    },
  });
}
