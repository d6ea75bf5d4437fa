import type { MicroUsd } from '../core/money.ts';
import type { ProviderId } from '../provider/ids.ts';
import { priceWithDisk } from '../provider/offer.ts';
import type { Offer } from '../provider/offer.ts';
import type { OfferWish } from './offer-query.ts';
import type { OfferView } from './offer-view.ts';
import { isPlausiblePrice } from './price-sanity.ts';
import type { MedianPrices } from './price-sanity.ts';
import { soldVramGb } from './vram.ts';

export interface PickRequest {
  /** What the book found for the wish. Search it without a price: an offer's own disk may cost more or less than the one asked. */
  readonly offers: Iterable<OfferView>;
  readonly medians: MedianPrices;
  /** Absent means each offer's own disk. */
  readonly diskGb?: number | undefined;
  /** The most that the whole offer may cost an hour, the asked disk included. */
  readonly maxPriceMicrosPerHour?: MicroUsd | undefined;
  /** How long it is wanted for at least. */
  readonly durationMs?: number | undefined;
  /** What the session has tried before: each offer and each machine gets one try. */
  readonly tried?: readonly Pick<Offer, 'id' | 'provider' | 'machineId'>[] | undefined;
  /** Providers whose prices we set ourselves, so that none is too good to be true. */
  readonly ownProviders?: ReadonlySet<ProviderId> | undefined;
}

export interface Candidate {
  readonly offer: Offer;
  readonly simulated: boolean;
  /** With the asked disk. */
  readonly priceMicrosPerHour: MicroUsd;
}

/**
 * What the broker would rent by itself, best first: the cheapest; among equals the smallest, so that a wish for one GPU leaves the large
 * machines whole; then the likeliest to succeed; then by id. Prices that cannot be true are left out.
 */
export function pickOffers({ offers, medians, diskGb, durationMs, ...request }: PickRequest): Candidate[] {
  const maxPrice = request.maxPriceMicrosPerHour ?? Infinity;
  const triedOffers = new Set(request.tried?.map((offer) => offer.id));
  const triedMachines = new Set(request.tried?.flatMap((offer) => machineOf(offer) ?? []));
  const picked: (Candidate & { readonly confidence: number })[] = [];

  for (const { offer, simulated, available, availabilityConfidence } of offers) {
    if (!available || triedOffers.has(offer.id) || triedMachines.has(machineOf(offer) ?? '')) continue;
    if (durationMs !== undefined && durationMs > (offer.maxDurationMs ?? Infinity)) continue;
    if (diskGb !== undefined && (diskGb < offer.minDiskGb || diskGb > offer.maxDiskGb)) continue;
    if (!request.ownProviders?.has(offer.provider) && !isPlausiblePrice(offer, medians)) continue;
    const priceMicrosPerHour = diskGb === undefined ? offer.priceMicrosPerHour : priceWithDisk(offer, diskGb);
    if (priceMicrosPerHour < 0 || priceMicrosPerHour > maxPrice) continue;
    picked.push({ offer, simulated, priceMicrosPerHour, confidence: availabilityConfidence });
  }

  picked.sort(
    (one, other) =>
      one.priceMicrosPerHour - other.priceMicrosPerHour ||
      one.offer.gpuCount - other.offer.gpuCount ||
      one.offer.vramMib - other.offer.vramMib ||
      other.confidence - one.confidence ||
      (one.offer.id < other.offer.id ? -1 : 1),
  );
  return picked.map(({ offer, simulated, priceMicrosPerHour }) => ({ offer, simulated, priceMicrosPerHour }));
}

export type RetryScope = 'same_gpu' | 'same_vram' | 'any';

/** How much dearer than the first offer a replacement may be. */
const PRICE_FACTORS: Record<RetryScope, number> = { same_gpu: 1.2, same_vram: 1.5, any: 2 };

export interface FailOver {
  /** What to search the book for. */
  readonly wish: OfferWish;
  readonly maxPriceMicrosPerHour: MicroUsd;
}

/**
 * What may replace an offer that was named and failed. Everything is measured against the *first* offer of the session, so that prices
 * do not climb from one replacement to the next. A simulated offer is replaced by simulated ones only.
 */
export function failOver({
  first,
  firstPriceMicrosPerHour,
  scope,
  maxPriceMicrosPerHour = Infinity,
  simulatedProviders,
}: {
  readonly first: Offer;
  /** With the session's disk. */
  readonly firstPriceMicrosPerHour: MicroUsd;
  readonly scope: RetryScope;
  /** The consumer's own limit, if any. */
  readonly maxPriceMicrosPerHour?: MicroUsd | undefined;
  readonly simulatedProviders: readonly ProviderId[];
}): FailOver {
  const cap = Math.floor(firstPriceMicrosPerHour * PRICE_FACTORS[scope]);
  const isSimulated = simulatedProviders.includes(first.provider);
  const providers = scope === 'any' ? (isSimulated ? simulatedProviders : undefined) : [first.provider];
  const sameType = scope === 'same_gpu' || first.gpuCount === 0;
  return {
    wish: {
      providers,
      gpuTypes: sameType ? [first.gpuType] : undefined,
      minVramMib: sameType ? undefined : soldVramGb(first.vramMib) * 1024,
      minGpuCount: first.gpuCount,
      ...(first.interruptible ? {} : { interruptible: false }),
    },
    maxPriceMicrosPerHour: Math.min(cap, maxPriceMicrosPerHour),
  };
}

function machineOf({ provider, machineId }: Pick<Offer, 'provider' | 'machineId'>): string | undefined {
  return machineId === undefined ? undefined : `${provider} ${machineId}`;
}
