import { expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { anOfferRefresh } from '../../test/support/offer-refresh.ts';
import { describeWorld, type World } from '../../test/support/world.ts';
import { MINUTE_MS } from '../core/duration.ts';
import { bookQuery, type OfferWish } from '../offers/offer-query.ts';
import type { SliceTime } from '../offers/offer-repository.ts';
import { gpuKey } from '../provider/gpu-name.ts';
import { providerId } from '../provider/ids.ts';
import type { Offer, OfferQuery } from '../provider/offer.ts';
import type { Provider } from '../provider/provider.ts';
import { ProviderError } from '../provider/provider-error.ts';

const ROWS = 3;
const RHYTHM_MS = 5 * MINUTE_MS;

/** A market of cheap T4s and dear H100s that shows the three cheapest of what it is asked for. */
function cutOffMarket(world: World) {
  const bare = world.replica.providers.get(providerId('memory'));
  if (!bare) throw new Error('the world has no market');
  const asked: OfferQuery[] = [];
  const offers: Offer[] = [
    ...Array.from({ length: 5 }, (_, at) =>
      anOffer({ providerOfferId: `t4-${at}`, gpuType: 'T4', vramMib: 15_360, priceMicrosPerHour: 1_000 + at }),
    ),
    anOffer({ providerOfferId: 'h100-1', gpuType: 'H100 SXM', vramMib: 81_559, priceMicrosPerHour: 2_000_000 }),
    anOffer({ providerOfferId: 'h100-2', gpuType: 'H100 SXM', vramMib: 81_559, priceMicrosPerHour: 3_000_000 }),
  ];
  const provider: Provider = {
    ...bare,
    capabilities: { ...bare.capabilities, offerRefreshMs: RHYTHM_MS },
    async listOffers(query) {
      asked.push(query);
      const [failure] = failing;
      if (failure && query.gpuTypes) throw failure;
      const found = offers.filter(
        ({ gpuType, vramMib }) =>
          (query.gpuTypes?.some((name) => gpuKey(name) === gpuKey(gpuType)) ?? true) &&
          vramMib >= (query.minVramMib ?? 0) * 0.9,
      );
      return { offers: found.slice(0, ROWS), truncated: found.length > ROWS, observedAt: world.clock.now(), dropped: 0 };
    },
  };
  const failing: Error[] = [];
  const search = (wish: OfferWish) => world.replica.book.search(bookQuery(wish)).views;
  const idsOf = (wish: OfferWish) => search(wish).map(({ offer }) => offer.providerOfferId);
  return { provider, asked, offers, search, idsOf, failing };
}

describeWorld('slices of a market that shows only a part', (make) => {
  it('brings what somebody asks for, beside what was shown before, each with its own time', async () => {
    const world = await make({ settings: { activations: false } });
    const { provider, idsOf, search } = cutOffMarket(world);
    const { pass } = anOfferRefresh(world, { providers: [provider] });
    await pass();
    expect(idsOf({})).toEqual(['t4-0', 't4-1', 't4-2']);
    const wholeAt = world.clock.now();
    await world.clock.advance(MINUTE_MS);

    expect(idsOf({ gpuTypes: ['h100 sxm'] })).toEqual([]);
    await pass();

    expect(idsOf({ gpuTypes: ['h100 sxm'] })).toEqual(['h100-1', 'h100-2']);
    expect(idsOf({})).toEqual(['t4-0', 't4-1', 't4-2', 'h100-1', 'h100-2']);
    expect(search({}).map(({ observedAt }) => observedAt - wholeAt)).toEqual([0, 0, 0, MINUTE_MS, MINUTE_MS]);
  });

  it('keeps it fresh while it is asked for, in turn with the whole, and forgets it afterwards', async () => {
    const world = await make({ settings: { activations: false } });
    const { provider, asked, offers, idsOf } = cutOffMarket(world);
    const { pass } = anOfferRefresh(world, { providers: [provider] });
    await pass();
    idsOf({ minVramMib: 80 * 1024 });
    await pass();
    offers.pop();
    for (let minute = 0; minute < 9; minute += 1) {
      await world.clock.advance(MINUTE_MS);
      idsOf({ minVramMib: 80 * 1024 });
      await pass();
    }
    expect(idsOf({ minVramMib: 80 * 1024 })).toEqual(['h100-1']);
    expect(asked).toEqual([{}, { minVramMib: 81_920 }, { minVramMib: 81_920 }]);

    for (let minute = 0; minute < 30; minute += 1) {
      await world.clock.advance(MINUTE_MS);
      await pass();
    }

    expect(world.replica.book.snapshot(provider.id)?.offers.map(({ gpuType }) => gpuType)).toEqual(['T4', 'T4', 'T4']);
  });

  it('a part that cannot be listed leaves the provider well, and is left alone for as long as it says', async () => {
    const world = await make({ settings: { activations: false } });
    const { provider, asked, idsOf, failing } = cutOffMarket(world);
    const { pass } = anOfferRefresh(world, { providers: [provider] });
    await pass();
    const quota = {
      kind: 'rate_limited',
      provider: provider.id,
      operation: 'ListOffers',
      retryAfterMs: 4 * MINUTE_MS,
    } as const;
    failing.push(new ProviderError({ ...quota, message: 'the day has no more rows' }));
    idsOf({ gpuTypes: ['H100 SXM'] });
    await pass();
    await world.clock.advance(MINUTE_MS);
    idsOf({ gpuTypes: ['A100'] });
    await pass();

    expect(asked).toEqual([{}, { gpuTypes: ['H100 SXM'] }]);
    expect(world.replica.book.providers()[0]).toMatchObject({ offers: 3, stale: false });
    expect(world.replica.book.providers()[0]?.error).toBeUndefined();
  });

  it('those who only load leave a part alone that nobody has listed for long', async () => {
    const world = await make({ settings: { activations: false } });
    const { provider } = cutOffMarket(world);
    const { offers, leases, clock } = world.replica;
    await leases.seize({ name: `offers:${provider.id}:account`, holder: 'another', forMs: 60 * MINUTE_MS });
    const stored = { offers: [anOffer({ providerOfferId: 'h100-1' })], dropped: 0, term: 9 };
    const of = { provider: provider.id, account: 'account' };
    await offers.saveSlice({ ...of, slice: '' }, { ...stored, observedAt: clock.now() });
    await offers.saveSlice({ ...of, slice: 'gpu:h100sxm' }, { ...stored, observedAt: clock.now() - 60 * MINUTE_MS });
    const loaded: string[] = [];
    const { loadSlice } = offers;
    Object.assign(offers, { loadSlice: (time: SliceTime) => (loaded.push(time.slice), loadSlice(time)) });
    const { pass } = anOfferRefresh(world, { providers: [provider], shared: true });

    await pass();
    await pass();

    expect(loaded).toEqual(['']);
    expect(world.replica.book.snapshot(provider.id)?.offers).toHaveLength(1);
  });

  it('a restart knows the parts that were stored', async () => {
    const world = await make({ settings: { activations: false } });
    const { provider, idsOf } = cutOffMarket(world);
    const { pass } = anOfferRefresh(world, { providers: [provider] });
    await pass();
    idsOf({ gpuTypes: ['H100 SXM'] });
    await pass();

    await world.crash();

    expect(world.replica.book.snapshot(provider.id)?.offers).toHaveLength(5);
  });
});
