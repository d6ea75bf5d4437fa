import type { Instance } from '../../../src/provider/instance.ts';
import type { Offer } from '../../../src/provider/offer.ts';
import type { Provider } from '../../../src/provider/provider.ts';
import { withBids } from '../bidding-world.ts';
import type { BrokenProvider } from './broken-provider.ts';
import type { InMemoryWorld } from '../in-memory-world.ts';

/** Providers whose offers go to whoever bids more, each with one fault. */
export const BROKEN_BIDDERS: readonly BrokenProvider[] = [
  {
    name: 'sells machines that may be taken back without saying that it does',
    caughtBy: 'interruptible-offers',
    says: 'says that it has no such offers',
    wrap: (world) => ({ ...withBids(world), capabilities: world.provider.capabilities }),
  },
  {
    name: 'says that it has interruptible offers and calls all of them fixed',
    caughtBy: 'interruptible-offers',
    says: 'and shows none',
    wrap: changeBids((offer) => ({ ...offer, interruptible: false })),
  },
  {
    name: 'tells no floor',
    caughtBy: 'interruptible-offers',
    says: 'tells no floor',
    wrap: changeBids(({ minBidMicrosPerHour: _floor, ...offer }) => offer),
  },
  {
    name: 'shows the price on demand of what is sold for a bid',
    caughtBy: 'interruptible-offers',
    says: 'its floor and its disk come to',
    wrap: changeBids((offer) => ({ ...offer, priceMicrosPerHour: 2 * (offer.minBidMicrosPerHour ?? 0) })),
  },
  {
    name: 'goes on calling an instance that was outbid running',
    caughtBy: 'preempted-is-paused',
    says: 'get and list should both show it as paused',
    wrap: changePaused((instance) => ({ ...instance, state: 'running', ssh: { user: 'root', routes: [] } })),
  },
  {
    name: 'calls an instance that was outbid still starting',
    caughtBy: 'preempted-is-paused',
    says: 'get and list should both show it as paused',
    wrap: changePaused((instance) => ({ ...instance, state: 'starting' })),
  },
  {
    name: 'hides an instance that was outbid although its disk is billed',
    caughtBy: 'preempted-is-paused',
    says: 'get and list should both show it as paused',
    wrap: changePaused(() => undefined),
  },
  {
    name: 'lets an instance that was outbid resume after its destroy',
    caughtBy: 'preempted-is-paused',
    says: 'it came back after it was destroyed',
    wrap: (world) => {
      const provider = withBids(world);
      return {
        ...provider,
        destroyInstance: async (id, options) => {
          const { tag, word } = world.account.instance(id);
          const answer = await provider.destroyInstance(id, options);
          if (answer === 'gone' && word === 'parked' && tag !== undefined) world.account.plant({ tag });
          return answer;
        },
      };
    },
  },
];

function changeBids(change: (offer: Offer) => Offer) {
  return (world: InMemoryWorld): Provider => {
    const provider = withBids(world);
    return {
      ...provider,
      listOffers: async (query, options) => {
        const listing = await provider.listOffers(query, options);
        return { ...listing, offers: listing.offers.map((offer) => (offer.interruptible ? change(offer) : offer)) };
      },
    };
  };
}

function changePaused(change: (instance: Instance) => Instance | undefined) {
  return (world: InMemoryWorld): Provider => {
    const provider = withBids(world);
    const seen = (instance: Instance) => (instance.state === 'paused' ? change(instance) : instance);
    return {
      ...provider,
      getInstance: async (id, options) => {
        const instance = await provider.getInstance(id, options);
        return instance && seen(instance);
      },
      listInstances: async (options) => (await provider.listInstances(options)).flatMap((instance) => seen(instance) ?? []),
    };
  };
}
