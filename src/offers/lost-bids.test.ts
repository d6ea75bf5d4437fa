import { describe, expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { OfferFailure } from '../db/tables.ts';
import { offerId, providerId } from '../provider/ids.ts';
import { createFailureMemory } from './failure-memory.ts';
import { isPlausiblePrice, medianPrices } from './price-sanity.ts';

// Somebody bids more than we did: whose fault that is, and what it does to prices.

const provider = providerId('market');
const onDemand = anOffer({ provider, providerOfferId: '7', machineId: 'm1' });
const bid = { ...onDemand, id: offerId('market-7-bid'), interruptible: true, priceMicrosPerHour: 30_000 };
let sessions = 0;

function aFailure(kind: string, at = 0, overrides: Partial<OfferFailure> = {}): OfferFailure {
  return {
    sessionId: countedId('ses', (sessions += 1)),
    ordinal: 1,
    provider,
    offerId: bid.id,
    machineId: 'm1',
    gpuType: bid.gpuType,
    kind,
    reason: 'somebody bids more',
    at,
    ...overrides,
  };
}

describe('a bid that lost', () => {
  it('hides the interruptible offer for three minutes, longer when it loses again, and not the machine at a fixed price', () => {
    const once = createFailureMemory([aFailure('preempted')]);
    const twice = createFailureMemory([aFailure('preempted'), aFailure('preempted', 4 * MINUTE_MS)]);

    expect(once.view(bid, 1)).toMatchObject({ suppressedUntil: 3 * MINUTE_MS });
    expect(once.view(bid, 3 * MINUTE_MS)).not.toHaveProperty('suppressedUntil');
    expect(once.view(onDemand, 1)).toEqual({ multiplier: 1 });
    expect(twice.view(bid, 5 * MINUTE_MS)).toMatchObject({ suppressedUntil: 10 * MINUTE_MS });
    expect(once.nextChangeAt(1)).toBe(3 * MINUTE_MS);
  });

  it('makes no type of GPU suspect, however many lose', () => {
    const lost = Array.from({ length: 5 }, (_, at) =>
      aFailure('preempted', 0, { machineId: `m${at}`, offerId: offerId(`market-${at}-bid`) }),
    );
    const memory = createFailureMemory(lost);

    expect(memory.view(onDemand, 1)).toEqual({ multiplier: 1 });
    expect(memory.health(1).gpuTypes).toEqual([]);
    expect(memory.health(1).offers).toHaveLength(5);
  });

  it('adds to what the machine itself is to blame for', () => {
    const memory = createFailureMemory([aFailure('wrong_host'), aFailure('preempted')]);

    expect(memory.view(onDemand, 1)).toEqual({ multiplier: 0.7 });
    expect(memory.view(bid, 1)).toMatchObject({ suppressedUntil: 3 * MINUTE_MS, multiplier: expect.closeTo(0.49) as number });
  });
});

describe('floors of bids', () => {
  const market = [300_000, 340_000, 400_000].map((priceMicrosPerHour, at) =>
    anOffer({ provider, providerOfferId: String(at), priceMicrosPerHour }),
  );

  it('are no prices that a GPU is known to cost', () => {
    const floors = market.map((offer) => ({ ...offer, interruptible: true, priceMicrosPerHour: 20_000 }));

    expect(medianPrices([...market, ...floors])).toEqual(medianPrices(market));
  });

  it('may lie far under those prices, but not as far as a mistake', () => {
    const medians = medianPrices(market);

    expect(isPlausiblePrice({ ...bid, priceMicrosPerHour: 17_000 }, medians)).toBe(true);
    expect(isPlausiblePrice({ ...bid, priceMicrosPerHour: 16_999 }, medians)).toBe(false);
    expect(isPlausiblePrice({ ...onDemand, priceMicrosPerHour: 17_000 }, medians)).toBe(false);
  });
});
