import { expect, it } from 'vitest';
import { mapped } from '../../test/support/memory-store.ts';
import { describeEachDatabase } from '../../test/support/stores.ts';
import { aWorld, describeWorld } from '../../test/support/world.ts';
import { aTag } from '../../test/support/provider-calls.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import type { Call } from '../db/statement.ts';
import { StoreError } from '../db/store-error.ts';
import { offerId } from '../provider/ids.ts';

const GRACE_MS = 15 * MINUTE_MS;

describeWorld('orphans', (make) => {
  it('RULE-R10: a stray with our tag is destroyed after its time of grace and two sightings, and never before', async () => {
    const world = await make();
    const stray = world.account().plant({ tag: aTag(99) });

    await world.run({ withinMs: GRACE_MS - 1_000 });
    expect(
      world
        .account()
        .living()
        .map(({ id }) => id),
    ).toEqual([stray]);
    await world.run({ until: () => world.account().living().length === 0, withinMs: 6 * MINUTE_MS });

    expect(world.replica.counts.orphans).toBe(1);
    const destroying = world.log.entries.find(({ message }) => message === 'orphan is being destroyed');
    expect(destroying?.fields).toMatchObject({ instanceId: stray, tag: aTag(99) });
    await world.run({ withinMs: 6 * MINUTE_MS });
    expect(world.log.messages('info')).toContain('orphan is gone');
  });

  it('RULE-R10: without a time of grace it still takes two sightings', async () => {
    const world = await make({ settings: { orphanGraceMs: 0 } });
    world.account().plant({ tag: aTag(99) });

    await world.pass('instance.orphans');
    expect(world.account().living()).toHaveLength(1);
    await world.clock.advance(1_000);
    await world.pass('instance.orphans');

    expect(world.account().living()).toHaveLength(0);
  });

  it('RULE-R10: what bears no tag, or not to the letter one of ours, is never touched', async () => {
    const world = await make({ settings: { orphanGraceMs: 0 } });
    const ours = aTag(99);
    const foreign = [undefined, 'my-machine', `${ours}-1`, ours.toUpperCase(), ours.slice(0, -2), `x${ours}`, `${ours} `];
    for (const tag of foreign) world.account().plant(tag === undefined ? {} : { tag });

    await world.run({ withinMs: 20 * MINUTE_MS });

    expect(world.account().living()).toHaveLength(foreign.length);
    expect(world.account().calls('DestroyInstance')).toBe(0);
  });

  it('REL-B9: two deployments on one account never touch each other’s, even where one id begins with the other', async () => {
    const create = await make({ deployment: 'prod', settings: { orphanGraceMs: 0 } });
    const beside = await make({ deployment: 'prod1', shares: create, settings: { orphanGraceMs: 0 } });
    const first = await create.order({ reservationMinutes: 600, request: { offerId: offerId('memory-stock-t4') } });
    const second = await beside.order({ reservationMinutes: 600, request: { offerId: offerId('memory-stock-t4') } });
    await create.runUntil(first.id, 'running');
    await beside.runUntil(second.id, 'running');
    expect(first.id).toBe(second.id);

    await create.run({ withinMs: 30 * MINUTE_MS });
    await beside.run({ withinMs: 30 * MINUTE_MS });
    expect(create.account().destroyedIds()).toEqual([]);

    await create.stop(first.id);
    await create.runUntil(first.id, 'stopped');
    await create.run({ withinMs: 30 * MINUTE_MS });
    expect(
      create
        .account()
        .living()
        .map(({ tag }) => tag),
    ).toEqual([(await beside.attempt(second.id)).tag]);
    expect(create.replica.counts.orphans + beside.replica.counts.orphans).toBe(0);
  });

  it('REL-B13, PEER-11.2.3: what is made while the list is on its way is nobody’s orphan, however often', async () => {
    const world = await make({ settings: { orphanGraceMs: 0 } });
    const { provider } = world.markets.get('memory')!;
    const list = provider.listInstances.bind(provider);
    const made: SessionId[] = [];
    Object.assign(provider, {
      listInstances: async (...args: Parameters<typeof list>) => {
        const { id } = await world.order({ request: { offerId: offerId('memory-stock-t4') } });
        await world.begin('session.provisioning');
        made.push(id);
        return list(...args);
      },
    });
    const shown: number[] = [];
    const observe = world.replica.observer.list.bind(world.replica.observer);
    Object.assign(world.replica.observer, {
      list: async (...args: Parameters<typeof observe>) => {
        const listing = await observe(...args);
        shown.push(listing.instances.length);
        return listing;
      },
    });

    for (let sweep = 0; sweep < 3; sweep += 1) {
      await world.begin('instance.orphans');
      await world.clock.advance(1_000);
    }

    expect(shown).toEqual([1, 2, 3]); // each list shows what no row knew when it was asked for
    expect(world.replica.counts.orphans).toBe(0);
    expect(world.account().destroyedIds()).toEqual([]);
    for (const id of made) expect((await world.attempt(id)).state).toBe('live');
  });

  it('REL-A7: of two instances under one tag the first is the session’s, and the other is ended', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    const { tag, instanceId: own } = await world.attempt(id);
    const twin = world.account().plant({ tag });

    await world.run({ until: () => world.account().living().length === 1, withinMs: 25 * MINUTE_MS });

    expect(
      world
        .account()
        .living()
        .map((instance) => instance.id),
    ).toEqual([own]);
    expect(world.account().destroyedIds()).toEqual([twin]);
    expect((await world.record(id)).session.status).toBe('running');
  });

  it('PEER-11.2.22: a provider that hangs, and strays that cannot be destroyed, hold up no other sweep', async () => {
    const world = await make({ providers: [{ id: 'slow' }, { id: 'memory' }], settings: { orphanGraceMs: 0 } });
    world.account('slow').failAlways('ListAllInstances', { do: 'hang', done: false });
    for (let count = 1; count <= 5; count += 1) world.account('memory').plant({ tag: aTag(count) });
    world.account('memory').failNext('DestroyInstance', { do: 'hang', done: false }, { do: 'fail', kind: 'protocol' });

    await world.run({ until: () => world.account('memory').living().length === 2, withinMs: 45_000 });
    await world.run({ until: () => world.account('memory').living().length === 0, withinMs: 3 * MINUTE_MS });

    expect(world.replica.counts.destroysFailed).toBe(2);
  });

  it('does not call a stray gone because a suspect list lacks it', async () => {
    const world = await make({ settings: { orphanGraceMs: 60 * MINUTE_MS } });
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    await world.run({ withinMs: MINUTE_MS });
    world.account().plant({ tag: aTag(99) });
    await world.pass('instance.orphans');
    world.account().failAlways('ListAllInstances', { do: 'empty' });
    await world.clock.advance(1_000);

    await world.pass('instance.orphans');

    expect(world.log.messages('info')).not.toContain('orphan is gone');
  });

  it('sweeps every ten seconds after a start, and then by its period', async () => {
    const world = await make();
    await world.run({ withinMs: 200_000 });
    const early = world.replica.driver.statuses().find(({ name }) => name === 'instance.orphans')?.runs ?? 0;
    await world.run({ withinMs: 20 * MINUTE_MS });
    const late = (world.replica.driver.statuses().find(({ name }) => name === 'instance.orphans')?.runs ?? 0) - early;

    expect(early).toBe(21);
    expect(late).toBe(4);
  });
});

describeEachDatabase('orphans by two replicas', (create) => {
  it('a stray that two processes see is counted as one and destroyed', async () => {
    const world = await aWorld({ store: await (await create()).open(), settings: { orphanGraceMs: 0 } });
    const second = await world.join();
    world.account().plant({ tag: aTag(99) });

    await world.pass('instance.orphans');
    await world.clock.advance(10);
    await world.pass('instance.orphans', second);

    expect(world.replica.counts.orphans + second.counts.orphans).toBe(1);
    expect(world.account().living()).toEqual([]);
    world.replica.life.end();
    second.life.end();
  });
});

describeEachDatabase('an orphan whose broker cannot write its audit log', (create) => {
  it('is destroyed all the same', async () => {
    const store = await (await create()).open();
    const refuse = (call: Call): Call => {
      if (call.definition.name === 'audit.insert-if-new') throw new StoreError(call.definition.name, new Error('refused'));
      return call;
    };
    const world = await aWorld({
      store: { ...store, write: (body, isolation) => store.write(() => mapped(body(), refuse), isolation) },
      settings: { orphanGraceMs: 0 },
    });
    world.account().plant({ tag: aTag(99) });

    await world.pass('instance.orphans');
    await world.clock.advance(1_000);
    await world.pass('instance.orphans');

    expect(world.account().living()).toHaveLength(0);
    expect(world.log.messages('error')).toContain('orphan could not be told to the audit log');
    world.replica.life.end();
  });
});
