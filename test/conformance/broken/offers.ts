import type { OfferListing } from '../../../src/provider/offer.ts';
import type { BrokenProvider } from './broken-provider.ts';
import { changeOffers } from './change.ts';

export const BROKEN_OFFERS: readonly BrokenProvider[] = [
  {
    name: 'prices in fractions of a micro-dollar',
    caughtBy: 'offers-integer-prices',
    says: 'no whole number of micro-dollars',
    wrap: changeOffers((offer) => ({ ...offer, priceMicrosPerHour: offer.priceMicrosPerHour / 3 })),
  },
  {
    name: 'prices by the minute',
    caughtBy: 'offers-whole-price',
    says: 'was offered at 2000 micro-dollars an hour and costs 120000',
    wrap: changeOffers((offer) => ({ ...offer, priceMicrosPerHour: Math.round(offer.priceMicrosPerHour / 60) })),
  },
  {
    name: 'prices by the GPU',
    caughtBy: 'offers-whole-price',
    says: 'was offered at 2490000 micro-dollars an hour and costs 4980000',
    wrap: (world) => {
      world.account.offers = world.account.offers.filter(({ gpuCount }) => gpuCount === 2);
      return changeOffers((offer) => ({ ...offer, priceMicrosPerHour: offer.priceMicrosPerHour / offer.gpuCount }))(world);
    },
  },
  {
    name: 'says that old offers were observed just now',
    caughtBy: 'offers-observed-at',
    says: 'asked between',
    wrap: ({ provider, clock }) => ({
      ...provider,
      listOffers: async (query, options) => ({
        ...(await provider.listOffers(query, options)),
        observedAt: clock.now() - 60_000,
      }),
    }),
  },
  {
    name: 'updates in place the offers that it has handed out',
    caughtBy: 'offers-are-snapshots',
    says: 'an offer changed in the hands of its holder',
    wrap: ({ provider }) => {
      let handedOut: OfferListing | undefined;
      return {
        ...provider,
        listOffers: async (query, options) => {
          const fresh = await provider.listOffers(query, options);
          handedOut ??= fresh;
          for (const offer of handedOut.offers) Object.assign(offer, { priceMicrosPerHour: offer.priceMicrosPerHour + 1 });
          return handedOut;
        },
      };
    },
  },
  {
    name: 'calls GPUs by what the vendor calls them',
    caughtBy: 'offers-names',
    says: 'should be written RTX 4090',
    wrap: changeOffers((offer) => ({ ...offer, gpuType: `NVIDIA GeForce ${offer.gpuType}` })),
  },
  {
    name: 'mistakes GB for MiB',
    caughtBy: 'offers-sizes',
    says: 'no whole numbers',
    wrap: changeOffers((offer) => ({ ...offer, vramMib: offer.vramMib / 1024 })),
  },
  {
    name: 'takes one 404 for proof of absence',
    caughtBy: 'capabilities-are-data',
    says: 'believed after 1 observation',
    wrap: ({ provider }) => ({
      ...provider,
      capabilities: { ...provider.capabilities, absence: { observations: 1, spacingMs: 0, windowMs: 0, kinds: ['get'] } },
    }),
  },
];
