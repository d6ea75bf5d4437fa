import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { providerId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { failOver, pickOffers } from './offer-picker.ts';
import type { PickRequest } from './offer-picker.ts';
import type { OfferView } from './offer-view.ts';
import { medianPrices } from './price-sanity.ts';

let counted = 0;
function aView(offer: Partial<Offer> = {}, view: Partial<OfferView> = {}): OfferView {
  return {
    offer: anOffer({ providerOfferId: `ask-${(counted += 1)}`, ...offer }),
    availabilityConfidence: 0.9,
    observedAt: 0,
    simulated: false,
    available: true,
    ...view,
  };
}

function pick(offers: readonly OfferView[], request: Partial<PickRequest> = {}): readonly string[] {
  const medians = medianPrices(offers.map((view) => view.offer));
  return pickOffers({ offers, medians, ...request }).map(({ offer }) => offer.providerOfferId);
}

describe('pickOffers', () => {
  it('takes the cheapest first, priced for the disk that is asked', () => {
    const cheapDisk = aView({ providerOfferId: 'cheap disk', priceMicrosPerHour: 400_000, diskMicrosPerGbHour: 100 });
    const dearDisk = aView({ providerOfferId: 'dear disk', priceMicrosPerHour: 390_000, diskMicrosPerGbHour: 500 });

    expect(pick([cheapDisk, dearDisk])).toEqual(['dear disk', 'cheap disk']);
    expect(pick([cheapDisk, dearDisk], { diskGb: 200 })).toEqual(['cheap disk', 'dear disk']);
    expect(pick([cheapDisk, dearDisk], { diskGb: 200, maxPriceMicrosPerHour: 415_000 })).toEqual(['cheap disk']);
    const [priced] = pickOffers({ offers: [cheapDisk], medians: new Map(), diskGb: 200 });
    expect(priced).toMatchObject({ priceMicrosPerHour: 415_000, simulated: false });
  });

  it('uses machines of one’s own before rented ones, and of those the smallest that fits', () => {
    const rented = aView({ providerOfferId: 'rented' });
    const names: Readonly<Record<number, string>> = { 1: 'z one', 2: 'y two', 8: 'x eight' };
    const own = [8, 1, 2].map((gpuCount) =>
      aView({ providerOfferId: names[gpuCount] ?? '', provider: providerId('pool'), gpuCount, priceMicrosPerHour: 0 }),
    );

    expect(pick([rented, ...own])).toEqual(['z one', 'y two', 'x eight', 'rented']);
  });

  it('takes the likelier of two that are equal, then the lower id', () => {
    const unlikely = aView({ providerOfferId: 'a' }, { availabilityConfidence: 0.2 });

    expect(pick([aView({ providerOfferId: 'c' }), unlikely, aView({ providerOfferId: 'b' })])).toEqual(['b', 'c', 'a']);
  });

  it('gives each offer and each machine one try', () => {
    const tried = anOffer({ providerOfferId: 'tried', machineId: 'm1' });
    const offers = [
      aView({ providerOfferId: 'tried', machineId: 'm1' }),
      aView({ providerOfferId: 'same machine', machineId: 'm1' }),
      aView({ providerOfferId: 'same name elsewhere', machineId: 'm1', provider: providerId('other') }),
      aView({ providerOfferId: 'other machine', machineId: 'm2' }),
    ];

    expect(pick(offers, { tried: [tried] })).toEqual(['other machine', 'same name elsewhere']);
  });

  it.each([
    ['a disk that is too large', { maxDiskGb: 99 }],
    ['a disk that is too small', { minDiskGb: 101 }],
    ['a rental that is too long', { maxDurationMs: 3_599_999 }],
  ])('leaves out what cannot serve: %s', (_, offer) => {
    expect(pick([aView(offer)], { diskGb: 100, durationMs: 3_600_000 })).toEqual([]);
    expect(pick([aView()], { diskGb: 100, durationMs: 3_600_000 })).toHaveLength(1);
  });

  it('leaves out what is taken', () => {
    expect(pick([aView({}, { available: false })])).toEqual([]);
  });

  it.each([
    ['a price per minute', 5_700],
    ['a price without its decimals', 2_000_000_000],
    ['next to nothing', 1],
    ['less than nothing', -1],
  ])('REL-K3: never picks %s', (_, priceMicrosPerHour) => {
    const honest = [300_000, 340_000, 380_000].map((price) => aView({ priceMicrosPerHour: price }));

    const picked = pick([...honest, aView({ providerOfferId: 'bait', priceMicrosPerHour })]);

    expect(picked).toHaveLength(3);
    expect(picked).not.toContain('bait');
  });

  it('trusts a low price that is our own setting', () => {
    const pool = providerId('pool');
    const offers = [aView(), aView({ providerOfferId: 'ours', provider: pool, priceMicrosPerHour: 10_000 })];
    const medians = medianPrices([anOffer()]);

    expect(pick(offers, { medians })).toHaveLength(1);
    expect(pick(offers, { medians, ownProviders: new Set([pool]) })[0]).toBe('ours');
  });
});

describe('failOver', () => {
  const first = anOffer({ gpuCount: 2, vramMib: 23_034, priceMicrosPerHour: 1_000_000 });
  const base = { first, firstPriceMicrosPerHour: 1_000_000, simulatedProviders: [] };

  it.each([
    ['same_gpu', 1_200_000, { providers: ['memory'], gpuTypes: ['RTX 4090'], minVramMib: undefined }],
    ['same_vram', 1_500_000, { providers: ['memory'], gpuTypes: undefined, minVramMib: 24 * 1024 }],
    ['any', 2_000_000, { providers: undefined, gpuTypes: undefined, minVramMib: 24 * 1024 }],
  ] as const)('%s may cost %i and looks as far as it says', (scope, cap, wish) => {
    expect(failOver({ ...base, scope })).toEqual({
      wish: { ...wish, minGpuCount: 2, interruptible: false },
      maxPriceMicrosPerHour: cap,
    });
  });

  it('never goes past what the consumer would pay', () => {
    expect(failOver({ ...base, scope: 'any', maxPriceMicrosPerHour: 1_100_000 }).maxPriceMicrosPerHour).toBe(1_100_000);
  });

  it('replaces simulated offers by simulated ones only', () => {
    const simulatedProviders = [first.provider, providerId('another market')];

    expect(failOver({ ...base, scope: 'any', simulatedProviders }).wish.providers).toEqual(simulatedProviders);
  });

  it('replaces an offer without a GPU by such an offer', () => {
    const cpu = anOffer({ gpuType: 'CPU', gpuCount: 0, vramMib: 0 });

    expect(failOver({ ...base, first: cpu, scope: 'any' }).wish).toMatchObject({ gpuTypes: ['CPU'], minGpuCount: 0 });
  });
});
