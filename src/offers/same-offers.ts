import type { Offer } from '../provider/offer.ts';

/** Whether two listings say the same in the same order, so that nothing has to be built or written anew. */
export function sameOffers(one: readonly Offer[], other: readonly Offer[]): boolean {
  if (one === other) return true;
  return one.length === other.length && one.every((offer, at) => sameOffer(offer, other[at]));
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
