import type { MicroUsd } from '../core/money.ts';
import { gpuKey } from '../provider/gpu-name.ts';
import type { Offer } from '../provider/offer.ts';

const LOWEST_PER_GPU: MicroUsd = 1_000;
const HIGHEST_PER_GPU: MicroUsd = 1_000_000_000;
const LEAST_SHARE_OF_MEDIAN = 0.2;
/** Floors of bids lie that much lower without being a mistake. */
const LEAST_SHARE_FOR_A_BID = 0.05;

/** The usual price of a GPU type, micro-dollars per GPU and hour: by the names that the offers bear and by `gpuKey`. */
export type MedianPrices = ReadonlyMap<string, MicroUsd>;

export function pricePerGpu(offer: Pick<Offer, 'priceMicrosPerHour' | 'gpuCount'>): MicroUsd {
  return offer.priceMicrosPerHour / Math.max(1, offer.gpuCount);
}

/**
 * Medians over the offers that are for sale at a price that can be true; free ones are machines of one's own and say nothing of a market,
 * and the floor of a bid is no price that anybody pays.
 */
export function medianPrices(offers: Iterable<Offer>): MedianPrices {
  const keys = new Map<string, string>();
  const prices = new Map<string, MicroUsd[]>();
  for (const offer of offers) {
    if (offer.interruptible || !isInRange(pricePerGpu(offer))) continue;
    const key = keys.get(offer.gpuType) ?? gpuKey(offer.gpuType);
    keys.set(offer.gpuType, key);
    const group = prices.get(key);
    if (group) group.push(pricePerGpu(offer));
    else prices.set(key, [pricePerGpu(offer)]);
  }
  const medians = new Map([...prices].map(([key, group]) => [key, median(group)]));
  for (const [name, key] of keys) medians.set(name, medians.get(key) ?? 0);
  return medians;
}

/**
 * Whether the broker may pick an offer by itself at this price (REL-K3). A price per minute, a lost digit or a bait is far below what
 * the same GPU costs elsewhere; a person who names the offer gets it all the same. Exactly nothing is the price of a machine of one's own.
 */
export function isPlausiblePrice(
  offer: Pick<Offer, 'priceMicrosPerHour' | 'gpuCount' | 'gpuType'> & Partial<Pick<Offer, 'interruptible'>>,
  medians: MedianPrices,
): boolean {
  if (offer.priceMicrosPerHour === 0) return true;
  const price = pricePerGpu(offer);
  const usual = medians.get(offer.gpuType) ?? medians.get(gpuKey(offer.gpuType)) ?? 0;
  const leastShare = offer.interruptible ? LEAST_SHARE_FOR_A_BID : LEAST_SHARE_OF_MEDIAN;
  return isInRange(price) && price >= leastShare * usual;
}

function isInRange(perGpu: MicroUsd): boolean {
  return perGpu >= LOWEST_PER_GPU && perGpu <= HIGHEST_PER_GPU;
}

/** Of two in the middle the lower, so that it is a price that somebody asks. */
function median(prices: MicroUsd[]): MicroUsd {
  const sorted = prices.toSorted((one, other) => one - other);
  return sorted[(sorted.length - 1) >> 1] ?? 0;
}
