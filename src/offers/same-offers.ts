import { atOnce, type Piecework } from '../core/gently.ts';
import type { Offer } from '../provider/offer.ts';

/** Whether two listings say the same in the same order, so that nothing has to be built or written anew. */
export function sameOffers(one: readonly Offer[], other: readonly Offer[]): boolean {
  return atOnce(sameOffersInPieces(one, other));
}

export function* sameOffersInPieces(one: readonly Offer[], other: readonly Offer[]): Piecework<boolean> {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (const [at, offer] of one.entries()) {
    if (!sameOffer(offer, other[at])) return false;
    if (at % 256 === 0) yield;
  }
  return true;
}

/** Field by field, as they are: an offer holds texts, numbers and booleans only. */
function sameOffer(one: Offer, other: Offer | undefined): boolean {
  if (!other) return false;
  return one === other || (hasFieldsOf(one, other) && hasFieldsOf(other, one));
}

function hasFieldsOf(one: Offer, other: Offer): boolean {
  for (const name in other) {
    // holds because the names are the other offer's own
    if (one[name as keyof Offer] !== other[name as keyof Offer]) return false;
  }
  return true;
}
