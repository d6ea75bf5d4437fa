import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { isPlausiblePrice, medianPrices } from './price-sanity.ts';

const market = [300_000, 340_000, 400_000, 2_000_000, 0, 500].map((priceMicrosPerHour, at) =>
  anOffer({ providerOfferId: String(at), priceMicrosPerHour }),
);

describe('medianPrices', () => {
  it('is what one GPU of a type usually costs, whatever the market writes it like', () => {
    const pair = anOffer({ providerOfferId: 'pair', gpuType: 'rtx4090', gpuCount: 2, priceMicrosPerHour: 720_000 });

    const medians = medianPrices([...market, pair]);

    expect([medians.get('RTX 4090'), medians.get('rtx4090')]).toEqual([360_000, 360_000]);
  });
});

describe('isPlausiblePrice', () => {
  const medians = medianPrices(market);

  it.each([
    ['what others ask', 340_000, 1, true],
    ['a fifth of it', 68_000, 1, true],
    ['REL-K3: less than a fifth, as of a price per minute', 67_999, 1, false],
    ['REL-K3: less than a fifth for each of eight', 500_000, 8, false],
    ['nothing, as for a machine of one’s own', 0, 1, true],
    ['a thousand dollars for each', 2_000_000_000, 2, true],
    ['REL-K3: more than a thousand dollars', 1_000_000_001, 1, false],
  ])('%s: %i micro-dollars for %i', (_, priceMicrosPerHour, gpuCount, plausible) => {
    expect(isPlausiblePrice({ gpuType: 'RTX 4090', gpuCount, priceMicrosPerHour }, medians)).toBe(plausible);
  });

  it('knows a type by another spelling', () => {
    expect(isPlausiblePrice({ gpuType: 'GeForce RTX4090', gpuCount: 1, priceMicrosPerHour: 2_000 }, medians)).toBe(false);
  });

  it('REL-K3: refuses next to nothing also where nobody else sells the type', () => {
    expect(isPlausiblePrice({ gpuType: 'B300', gpuCount: 1, priceMicrosPerHour: 999 }, medians)).toBe(false);
    expect(isPlausiblePrice({ gpuType: 'B300', gpuCount: 1, priceMicrosPerHour: 1_000 }, medians)).toBe(true);
  });
});
