import { describe, expect, it } from 'vitest';
import { marketOffers } from '../../test/support/in-memory-provider.ts';
import { anOfferRefresh } from '../../test/support/offer-refresh.ts';
import type { Replica } from '../../test/support/replica.ts';
import { databases, DIALECTS } from '../../test/support/stores.ts';
import { aWorld, type World } from '../../test/support/world.ts';
import { MINUTE_MS } from '../core/duration.ts';
import { berthSchema } from '../db/schema.ts';
import { offerId, providerId } from '../provider/ids.ts';

const SLOW = [{ capabilities: { offerRefreshMs: 30_000 } }];

describe.each(DIALECTS)('the lease of offers (%s)', (dialect) => {
  const create = databases(dialect, berthSchema);

  async function twoReplicas(): Promise<{ world: World; first: Replica; second: Replica; lists: () => number }> {
    const settings = { sharedSqlite: true, activations: false };
    const world = await aWorld({ store: await (await create()).open(), providers: SLOW, settings });
    const first = world.replica;
    const second = await world.join();
    return { world, first, second, lists: () => world.account().calls('ListOffers') };
  }

  const offersIn = ({ book }: Replica) => book.providers()[0];

  it('REL-D1: one replica lists, the other shows what it stored', async () => {
    const { world, first, second, lists } = await twoReplicas();
    const before = lists();
    world.account().takeOffer({ id: offerId('memory-ask-1') });
    await world.clock.advance(30_000);

    await world.pass('offers.refresh', second);
    expect(offersIn(second)).toMatchObject({ offers: 3 });
    await world.pass('offers.refresh', first);
    await world.pass('offers.refresh', second);

    expect(lists() - before).toBe(1);
    expect(offersIn(second)).toMatchObject({ offers: 2, stale: false });
    expect(offersIn(second)?.observedAt).toBe(offersIn(first)?.observedAt);
  });

  it('shows the time of a listing that changed nothing, without loading it again', async () => {
    const { world, first, second } = await twoReplicas();
    await world.pass('offers.refresh', second);
    Object.assign(second.offers, { loadSlice: () => Promise.reject(new Error('loaded again')) });
    await world.clock.advance(30_000);
    await world.pass('offers.refresh', first);

    await world.pass('offers.refresh', second);

    expect(offersIn(second)?.observedAt).toBe(world.clock.now());
  });

  it('a listing that failed is seen as failed by both, and its end as well', async () => {
    const { world, first, second } = await twoReplicas();
    world.account().failNext('ListOffers', { do: 'fail', kind: 'auth' });
    await world.clock.advance(30_000);
    await world.pass('offers.refresh', first);
    await world.pass('offers.refresh', second);
    expect(offersIn(second)).toMatchObject({ offers: 3, stale: true, error: { kind: 'auth' } });

    await world.clock.advance(5_000);
    await world.pass('offers.refresh', first);
    await world.pass('offers.refresh', second);

    expect(offersIn(second)?.error).toBeUndefined();
  });

  it('is taken over when its holder is dead, and whatever the dead one still writes counts no more', async () => {
    const { world, first, second, lists } = await twoReplicas();
    await world.pass('offers.refresh', second);
    const before = lists();
    first.life.end();
    await world.clock.advance(31_000);
    await world.pass('offers.refresh', second);
    expect(lists() - before).toBe(0);

    await second.leases.release('replica-1001'); // its half minute is over: the database has a clock of its own
    await world.pass('offers.refresh', second);

    expect(lists() - before).toBe(1);
    const slice = { provider: providerId('memory'), account: 'account', slice: '' };
    const late = { offers: [], observedAt: world.clock.now() + MINUTE_MS, dropped: 0, term: 1 };
    expect(await second.offers.saveSlice(slice, late)).toBe('older');
  });

  it('REL-F2: a clock that was set back stops no listing, here or there', async () => {
    const { world, first, second } = await twoReplicas();
    await world.pass('offers.refresh', second);
    world.clock.jumpWall(-120 * MINUTE_MS);
    world.account().takeOffer({ id: offerId('memory-ask-1') });
    await world.clock.advance(30_000);

    await world.pass('offers.refresh', first);
    await world.pass('offers.refresh', second);

    expect(offersIn(first)).toMatchObject({ offers: 2 });
    expect(offersIn(second)).toMatchObject({ offers: 2 });
  });

  it('is given back by a clean end, so that the other lists at once', async () => {
    const { world, first, second, lists } = await twoReplicas();
    await world.clock.advance(20_000);
    const before = lists();
    await world.shutDown(first);

    await world.pass('offers.refresh', second);

    expect(lists() - before).toBe(1);
  });

  it('a restart shows what was stored, with its age, before anybody is asked', async () => {
    const { world, lists } = await twoReplicas();
    const before = lists();
    world.account().failAlways('ListOffers', { do: 'fail', kind: 'unavailable' });
    await world.clock.advance(10_000);

    const { book } = await world.crash();

    expect(lists() - before).toBe(0);
    expect(book.find(offerId('memory-ask-1'))?.observedAt).toBe(world.clock.now() - 10_000);
  });
});

describe('a restart', () => {
  const create = databases('sqlite', berthSchema);

  it('spends no listing that costs something on what it has just stored', async () => {
    const costly = [{ capabilities: { offerRefreshMs: 5 * MINUTE_MS } }];
    const world = await aWorld({ store: await (await create()).open(), providers: costly });
    const before = world.account().calls('ListOffers');
    await world.clock.advance(2 * MINUTE_MS);
    await world.crash();

    await world.pass('offers.refresh');
    expect(world.account().calls('ListOffers') - before).toBe(0);
    await world.run({ withinMs: 3 * MINUTE_MS });

    expect(world.account().calls('ListOffers') - before).toBe(1);
  });

  it('with other credentials shows nothing that another account was offered', async () => {
    const world = await aWorld({ store: await (await create()).open(), providers: [{ offers: marketOffers('memory') }] });
    const { replica } = world;
    replica.book.replace(providerId('memory'), { offers: [], observedAt: world.clock.now(), dropped: 0 });

    await anOfferRefresh(world, { account: 'another' }).controller.load();
    expect(replica.book.providers()[0]?.offers).toBe(0);
    await anOfferRefresh(world).controller.load();
    expect(replica.book.providers()[0]?.offers).toBe(3);
  });
});
