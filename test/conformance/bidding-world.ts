import { offerId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { InMemoryWorld } from './in-memory-world.ts';

/** Has every offer of the market in memory be sold for a bid as well, under an id of its own. */
export function withBids({ provider, account }: Pick<InMemoryWorld, 'provider' | 'account'>): Provider {
  account.offers = account.offers.flatMap((offer) => [offer, forABid(offer)]);
  return { ...provider, capabilities: { ...provider.capabilities, interruptible: true } };
}

function forABid(offer: Offer): Offer {
  const minBidMicrosPerHour = Math.round(offer.priceMicrosPerHour / 2);
  return {
    ...offer,
    id: offerId(`${offer.id}-bid`),
    providerOfferId: `${offer.providerOfferId}-bid`,
    interruptible: true,
    minBidMicrosPerHour,
    priceMicrosPerHour: minBidMicrosPerHour + offer.diskGb * offer.diskMicrosPerGbHour,
  };
}
