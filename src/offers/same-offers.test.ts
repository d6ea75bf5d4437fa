import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { sameOffers } from './same-offers.ts';

describe('sameOffers', () => {
  it('compares by value', () => {
    expect(sameOffers([anOffer(), anOffer({ providerOfferId: '2' })], [anOffer(), anOffer({ providerOfferId: '2' })])).toBe(
      true,
    );
  });

  it.each([
    ['another price', [anOffer({ priceMicrosPerHour: 1 })]],
    ['a field more', [anOffer({ maxDurationMs: 1 })]],
    ['one offer less', []],
    ['one offer more', [anOffer(), anOffer({ providerOfferId: '2' })]],
  ])('sees %s, from either side', (_, changed) => {
    expect(sameOffers([anOffer()], changed)).toBe(false);
    expect(sameOffers(changed, [anOffer()])).toBe(false);
  });
});
