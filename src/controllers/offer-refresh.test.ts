import { expect, it } from 'vitest';
import { marketOffers } from '../../test/support/in-memory-provider.ts';
import { anOfferRefresh } from '../../test/support/offer-refresh.ts';
import { describeWorld } from '../../test/support/world.ts';
import { MINUTE_MS } from '../core/duration.ts';
import { offerId, providerId } from '../provider/ids.ts';

describeWorld('offer refresh', (make) => {
  it('lists each provider in its own rhythm', async () => {
    const world = await make({
      providers: [
        { id: 'quick', capabilities: { offerRefreshMs: 10_000 } },
        { id: 'slow', capabilities: { offerRefreshMs: 60_000 } },
      ],
    });
    const before = { quick: world.account('quick').calls('ListOffers'), slow: world.account('slow').calls('ListOffers') };
    await world.run({ withinMs: 10 * MINUTE_MS });

    expect(world.account('quick').calls('ListOffers') - before.quick).toBeGreaterThanOrEqual(58);
    expect(world.account('quick').calls('ListOffers') - before.quick).toBeLessThanOrEqual(61);
    expect(world.account('slow').calls('ListOffers') - before.slow).toBeLessThanOrEqual(11);
  });

  it('lists no faster than the operator wants', async () => {
    const world = await make();
    const refresh = anOfferRefresh(world, { refreshMs: 5 * MINUTE_MS });
    const before = world.account().calls('ListOffers');
    await refresh.pass();
    for (let minute = 1; minute < 5; minute += 1) {
      await world.clock.advance(MINUTE_MS);
      await refresh.pass();
    }
    expect(world.account().calls('ListOffers') - before).toBe(1);

    await world.clock.advance(MINUTE_MS);
    await refresh.pass();

    expect(world.account().calls('ListOffers') - before).toBe(2);
  });

  it('lists a provider of a quick rhythm again at once when its offers have changed, not one whose listings cost something', async () => {
    const world = await make({
      providers: [
        { id: 'quick', capabilities: { offerRefreshMs: 10_000 } },
        { id: 'slow', capabilities: { offerRefreshMs: 60_000 } },
      ],
    });
    const { controller, pass } = anOfferRefresh(world);
    const calls = () => [world.account('quick').calls('ListOffers'), world.account('slow').calls('ListOffers')];
    await pass();
    await world.run({ withinMs: 2_000 });
    const [quick = 0, slow = 0] = calls();

    const asked = [
      controller.refreshSoon(providerId('quick')),
      controller.refreshSoon(providerId('slow')),
      controller.refreshSoon(providerId('nobody')),
    ];
    await pass();

    expect(asked).toEqual([true, false, false]);
    expect(calls()).toEqual([quick + 1, slow]);
    expect(controller.refreshSoon(providerId('quick'))).toBe(true);
    await pass();
    expect(calls()).toEqual([quick + 1, slow]); // a second later at the soonest
  });

  it('PEER-11.2.18: a failure keeps the stale listing with its error, and is soon asked again, then less and less often', async () => {
    const world = await make();
    const { book } = world.replica;
    const before = world.account().calls('ListOffers');
    world.account().failAlways('ListOffers', { do: 'fail', kind: 'unavailable' });
    await world.run({ withinMs: 60_000 });
    const [status] = book.providers();
    expect(status).toMatchObject({ offers: 3, error: { kind: 'unavailable' }, stale: true });
    expect(book.find(offerId('memory-ask-1'))).toBeDefined();
    const early = world.account().calls('ListOffers') - before;

    await world.run({ withinMs: 30 * MINUTE_MS });
    const late = world.account().calls('ListOffers') - before - early;
    world.account().heal();
    await world.run({ until: () => book.providers()[0]?.error === undefined, withinMs: 6 * MINUTE_MS });

    expect(early).toBeGreaterThanOrEqual(3);
    expect(early).toBeLessThanOrEqual(6);
    expect(late).toBeLessThanOrEqual(10);
    expect(book.providers()[0]?.stale).toBe(false);
  });

  it('PEER-11.2.22: a market that hangs keeps no other one from being listed, and is asked by one call at a time', async () => {
    const world = await make({
      providers: [
        { id: 'hanging', offers: marketOffers('hanging') },
        { id: 'good', offers: marketOffers('good'), capabilities: { offerRefreshMs: 10_000 } },
      ],
      settings: { callTimeoutMs: 25_000 },
    });
    const calls = (id: string) => world.account(id).calls('ListOffers');
    const before = [calls('hanging'), calls('good')];
    world.account('hanging').failAlways('ListOffers', { do: 'hang', done: false });

    await world.run({ withinMs: 80_000 });

    // due after half a minute, given up after 25 s, and asked again 5 s later
    expect(calls('hanging') - (before[0] ?? 0)).toBe(2);
    expect(calls('good') - (before[1] ?? 0)).toBeGreaterThanOrEqual(7);
    expect(world.replica.book.providers()).toMatchObject([{ stale: true, offers: 3 }, { stale: false }]);
  });

  it('a failing market does not keep another one from being listed', async () => {
    const world = await make({
      providers: [
        { id: 'bad', offers: marketOffers('bad') },
        { id: 'good', offers: marketOffers('good') },
      ],
    });
    world.account('bad').failAlways('ListOffers', { do: 'throw', error: new Error('a bug') });
    await world.run({ withinMs: 2 * MINUTE_MS });

    const [bad, good] = world.replica.book.providers();
    expect(bad?.error?.kind).toBe('protocol');
    expect(good).toMatchObject({ offers: 3, stale: false });
  });

  it('a listing that cannot be stored is shown all the same, and blames no provider', async () => {
    const world = await make();
    const { replica } = world;
    Object.assign(replica.offers, { saveSlice: () => Promise.reject(new Error('disk full')) });
    world.account().takeOffer({ id: offerId('memory-ask-1') });
    await world.clock.advance(30_000);

    await world.pass('offers.refresh');

    expect(replica.book.providers()[0]?.error).toBeUndefined();
    expect(replica.book.find(offerId('memory-ask-1'))).toBeUndefined();
    expect(world.log.messages('error')).toContain('listing could not be stored');
  });

  it('a listing that is cancelled poisons nothing', async () => {
    const world = await make();
    world.account().failNext('ListOffers', { do: 'hang', done: false });
    await world.clock.advance(30_000);
    const { controller, pool, begin } = anOfferRefresh(world);
    await begin();
    expect(pool.inFlight).toBe(1);

    pool.stop(new Error('the broker is shutting down'));
    await world.clock.advance(2_000);
    await controller.idle?.();

    expect(world.replica.book.providers()[0]?.error).toBeUndefined();
  });

  it('a restart shows the last listing at once, with its time', async () => {
    const world = await make();
    world.account().failAlways('ListOffers', { do: 'fail', kind: 'unavailable' });
    await world.clock.advance(10_000);

    const { book } = await world.crash();

    expect(book.find(offerId('memory-ask-1'))?.observedAt).toBe(world.clock.now() - 10_000);
  });
});
