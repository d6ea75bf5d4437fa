import { systemClock } from '../../src/core/clock.ts';
import { providerId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { createMarket } from '../../providers/simulated/market.ts';

export const SIMULATED = providerId('simulated');

/** The same offers at each call, give or take the drift of their prices: those of the simulated market. */
export function seededOffers(count: number): readonly Offer[] {
  return createMarket({ provider: SIMULATED, seed: 1, count, interruptibleShare: 0 }).list(systemClock.now(), {}, () => false);
}
