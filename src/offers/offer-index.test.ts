import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { gpuKey } from '../provider/gpu-name.ts';
import { providerId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { createOfferBook } from './offer-book.ts';
import { bookQuery, OFFER_SORTS } from './offer-query.ts';
import type { OfferWish } from './offer-query.ts';
import { soldVramGb } from './vram.ts';

// Few distinct values, so that ties and exact limits are the rule.
const PROVIDERS = ['a', 'b', 'c'].map(providerId);
const GPU_TYPES = ['RTX 4090', 'L4', 'H100 SXM', 'CPU'];
const LOCATIONS = ['Oslo, NO', 'Quebec, CA', 'Austin, US'];
const PRICES = [0, 100_000, 200_000, 400_000];
const SHARES = [0, 0.5, 0.9, 1];

const anyOffer = fc.record({
  provider: fc.constantFrom(...PROVIDERS),
  name: fc.integer({ min: 1, max: 60 }),
  gpuType: fc.constantFrom(...GPU_TYPES),
  gpuCount: fc.constantFrom(1, 2, 8),
  vramMib: fc.constantFrom(15_360, 23_034, 24_564, 81_559),
  priceMicrosPerHour: fc.constantFrom(...PRICES),
  location: fc.constantFrom(...LOCATIONS),
  reliability: fc.constantFrom(...SHARES),
  confidence: fc.constantFrom(...SHARES),
  cudaVersion: fc.constantFrom(undefined, 11.8, 12.4),
  interruptible: fc.boolean(),
  taken: fc.constantFrom(false, false, true),
});

const maybe = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: undefined });
const anyWish: fc.Arbitrary<OfferWish> = fc.record({
  providers: maybe(fc.subarray(PROVIDERS)),
  gpuTypes: maybe(fc.subarray(['rtx4090', 'RTX 4090', 'l4', 'h100-sxm', 'cpu'])),
  locations: maybe(fc.subarray(['oslo', 'A', 'us', 'nowhere'])),
  minVramMib: maybe(fc.constantFrom(0, 16, 24, 25, 80).map((gb) => gb * 1024)),
  maxPriceMicrosPerHour: maybe(fc.constantFrom(0, 50_000, 100_000, 200_000, 999_999)),
  minGpuCount: maybe(fc.constantFrom(0, 1, 2, 4)),
  minReliability: maybe(fc.constantFrom(...SHARES)),
  minConfidence: maybe(fc.constantFrom(...SHARES)),
  minCuda: maybe(fc.constantFrom(0, 11.8, 12)),
  interruptible: maybe(fc.boolean()),
  sort: maybe(fc.constantFrom(...OFFER_SORTS)),
  order: maybe(fc.constantFrom('asc' as const, 'desc' as const)),
  limit: maybe(fc.integer({ min: 0, max: 20 })),
  offset: maybe(fc.integer({ min: 0, max: 20 })),
});

function naiveSearch(offers: readonly Offer[], wish: OfferWish): { total: number; ids: readonly string[] } {
  const any = <Value>(values: readonly Value[] | undefined, test: (value: Value) => boolean) =>
    !values || values.length === 0 || values.some(test);
  const named = (offer: Offer) => (wish.providers ?? []).includes(offer.provider);
  const matching = offers.filter(
    (offer) =>
      any(wish.providers, (provider) => offer.provider === provider) &&
      any(wish.gpuTypes, (name) => gpuKey(offer.gpuType) === gpuKey(name)) &&
      (offer.gpuCount > 0 || (wish.gpuTypes ?? []).length > 0 || named(offer)) &&
      any(wish.locations, (part) => offer.location.toLowerCase().includes(part.toLowerCase())) &&
      soldVramGb(offer.vramMib) * 1024 >= (wish.minVramMib ?? 0) &&
      (!wish.maxPriceMicrosPerHour || offer.priceMicrosPerHour <= wish.maxPriceMicrosPerHour) &&
      offer.gpuCount >= (wish.minGpuCount ?? 0) &&
      offer.reliability >= (wish.minReliability ?? 0) &&
      offer.confidence >= (wish.minConfidence ?? 0) &&
      (offer.cudaVersion ?? 0) >= (wish.minCuda ?? 0) &&
      (wish.interruptible === undefined || offer.interruptible === wish.interruptible),
  );
  const key = (offer: Offer) =>
    ({
      price: offer.priceMicrosPerHour,
      price_per_gpu: offer.priceMicrosPerHour / Math.max(1, offer.gpuCount),
      vram: soldVramGb(offer.vramMib),
      reliability: offer.reliability,
    })[wish.sort ?? 'price'];
  matching.sort((one, other) => key(one) - key(other) || (one.id < other.id ? -1 : 1));
  if (wish.order === 'desc') matching.reverse();
  const offset = wish.offset ?? 0;
  const paged = matching.slice(offset, offset + (wish.limit ?? Infinity));
  return { total: matching.length, ids: paged.map((offer) => offer.id) };
}

describe('search', () => {
  it('finds what a plain filter finds, in its order, page by page, over any book and query', () => {
    fc.assert(
      fc.property(fc.array(anyOffer, { maxLength: 60 }), fc.array(anyWish, { minLength: 1, maxLength: 8 }), (drawn, wishes) => {
        const clock = new FakeClock();
        const serialise = { offer: ({ offer }: { offer: Offer }) => JSON.stringify({ id: offer.id }), provider: () => '{}' };
        const providers = PROVIDERS.map((id) => ({ id, simulated: false, staleAfterMs: 1_000 }));
        const book = createOfferBook({ providers, serialise, clock, epoch: '' });
        const offers = new Map<string, Offer>();
        const taken = new Set<string>();
        for (const { name, cudaVersion, taken: isTaken, ...rest } of drawn) {
          const cpu = rest.gpuType === 'CPU' ? { gpuCount: 0, vramMib: 0 } : {};
          const { cudaVersion: _, ...base } = anOffer({ ...rest, ...cpu, providerOfferId: String(name) });
          offers.set(base.id, cudaVersion === undefined ? base : { ...base, cudaVersion });
          if (isTaken) taken.add(base.id);
        }
        for (const id of PROVIDERS) {
          const listed = [...offers.values()].filter((offer) => offer.provider === id);
          book.replace(id, { offers: listed, observedAt: clock.now(), dropped: 0 });
        }
        for (const offer of offers.values()) if (taken.has(offer.id)) book.setClaims(offer.id, 1);
        const free = [...offers.values()].filter((offer) => !taken.has(offer.id));

        for (const wish of wishes) {
          const query = bookQuery(wish);
          const expected = naiveSearch(free, wish);
          const found = book.search(query);
          expect({ total: found.total, ids: found.views.map((view) => view.offer.id) }).toEqual(expected);

          const page = book.page(query);
          const body = JSON.parse(page.body.toString()) as { offers: { id: string }[]; count: number; total: number };
          expect(body.offers.map((offer) => offer.id)).toEqual(expected.ids);
          expect([body.count, body.total, page.count, page.total]).toEqual([
            expected.ids.length,
            expected.total,
            expected.ids.length,
            expected.total,
          ]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
