import { ownershipTag, parseDeploymentId } from '../../src/provider/ownership-tag.ts';
import type { OwnershipTag } from '../../src/provider/ownership-tag.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { CallOptions, CreateRequest } from '../../src/provider/provider.ts';
import { countedId } from './counted-ids.ts';
import type { Moment } from '../../src/core/moment.ts';

/** Options of a call that nobody cancels. */
export const uncancelled: CallOptions = { signal: new AbortController().signal };

/** `berth-test-0…07-1` for `aTag(7)`. */
export function aTag(count = 1, { deployment = 'test', ordinal = 1 } = {}): OwnershipTag {
  const parsed = parseDeploymentId(deployment);
  if (!parsed) throw new Error(`not a deployment id: ${deployment}`);
  return ownershipTag({ deployment: parsed, sessionId: countedId('ses', count), ordinal });
}

/** A deadline that nothing misses. */
export const FAR_OFF: Moment = { monotonicMs: Number.MAX_SAFE_INTEGER, machineMs: Number.MAX_SAFE_INTEGER };

/** A deadline of the monotonic clock alone. */
export const byMonotonic = (monotonicMs: number): Moment => ({ ...FAR_OFF, monotonicMs });

/** A request that any provider would carry out, for an offer with the disk that it comes with; for an interruptible one it bids the floor. */
export function aCreateRequest(offer: Offer, overrides: Partial<CreateRequest> = {}): CreateRequest {
  const tag = overrides.tag ?? aTag();
  const diskGb = overrides.diskGb ?? offer.diskGb;
  return {
    tag,
    offer,
    sshPublicKeys: [],
    diskGb,
    environment: { BERTH_TAG: tag },
    maxPriceMicrosPerHour: priceWithDisk(offer, diskGb),
    ...(offer.interruptible && { bidMicrosPerHour: offer.minBidMicrosPerHour ?? 0 }),
    notAfter: FAR_OFF,
    ...overrides,
  };
}
