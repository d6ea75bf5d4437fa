import type { EpochMs } from '../core/clock.ts';
import type { Piecework } from '../core/gently.ts';
import { gpuKey } from '../provider/gpu-name.ts';
import type { OfferId } from '../provider/ids.ts';
import type { Offer, OfferListing, OfferQuery } from '../provider/offer.ts';
import type { BookListing } from './offer-book.ts';
import { hasVram } from './vram.ts';

/** The slice that nobody asked for by name: whatever the provider shows first. */
export const WHOLE = '';

/** A part of a market that is listed by itself, since the whole does not come at once. Its name says what was asked, so that a restart knows. */
export interface OfferSlice {
  readonly name: string;
  readonly query: OfferQuery;
}

const OFFERS_A_PIECE = 256;

export type SliceListing = OfferListing & { readonly slice: string };

export function gpuSlice(gpuType: string): OfferSlice {
  return { name: `gpu:${gpuKey(gpuType)}`, query: { gpuTypes: [gpuType] } };
}

export function vramSlice(vramGb: number): OfferSlice {
  return { name: `vram:${vramGb}`, query: { minVramMib: vramGb * 1024 } };
}

/** Whether an offer would be in a slice, by the slice's name. */
function covers(slice: string, offer: Offer): boolean {
  if (slice === WHOLE) return true;
  const [kind, value = ''] = slice.split(':');
  if (kind === 'gpu') return gpuKey(offer.gpuType) === value;
  return kind === 'vram' && hasVram(offer.vramMib, Number(value) * 1024);
}

/**
 * What a provider's slices say together. Of an offer that several list the latest word counts; one that a later and complete listing of
 * its part of the market lacks is gone. The whole's time is the listing's; offers of other slices keep their own.
 */
export function* mergeSlices(slices: readonly SliceListing[]): Piecework<BookListing | undefined> {
  const whole = slices.find(({ slice }) => slice === WHOLE);
  if (!whole) return undefined;
  if (slices.length === 1) return whole;
  const latestFirst = slices.toSorted((one, other) => other.observedAt - one.observedAt);
  const offers = new Map<OfferId, Offer>();
  const seenAt = new Map<OfferId, EpochMs>();
  for (const [place, { slice, offers: listed, observedAt }] of latestFirst.entries()) {
    const later = latestFirst.slice(0, place).filter(({ truncated }) => truncated !== true);
    for (const [at, offer] of listed.entries()) {
      if (at % OFFERS_A_PIECE === 0) yield;
      if (offers.has(offer.id) || later.some((other) => covers(other.slice, offer))) continue;
      offers.set(offer.id, offer);
      if (slice !== WHOLE) seenAt.set(offer.id, observedAt);
    }
  }
  const dropped = slices.reduce((sum, slice) => sum + slice.dropped, 0);
  return { offers: [...offers.values()], observedAt: whole.observedAt, dropped, seenAt };
}
