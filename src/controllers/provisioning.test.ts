import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { marketOffers } from '../../test/support/in-memory-provider.ts';
import { databases } from '../../test/support/stores.ts';
import { aWorld, describeWorld, type World } from '../../test/support/world.ts';
import type { SessionId } from '../core/ids.ts';
import { berthSchema } from '../db/schema.ts';
import type { Attempt } from '../db/tables.ts';
import { instanceId, offerId, providerId } from '../provider/ids.ts';
import type { CallOptions, CreateRequest, Provider } from '../provider/provider.ts';

function bareProvider(world: World, id = 'memory'): Provider {
  const market = world.markets.get(id);
  if (!market) throw new RangeError(`no market ${id}`);
  return market.provider;
}

/** Puts something in front of every create call; hands back what was asked. */
function aroundCreate(
  world: World,
  around: (
    create: Provider['createInstance'],
    request: CreateRequest,
    options: CallOptions,
  ) => ReturnType<Provider['createInstance']>,
): void {
  const provider = bareProvider(world);
  const create = provider.createInstance.bind(provider);
  Object.assign(provider, {
    createInstance: (request: CreateRequest, options: CallOptions) => around(create, request, options),
  });
}

const states = (attempts: readonly Attempt[]) => attempts.map(({ state, outcome }) => [state, outcome]);

describeWorld('provisioning: an answer that does not come', (make) => {
  it('REL-A1: a crash between the intent and the call leads to a proof of absence and to an attempt with another number', async () => {
    const world = await make();
    const { id } = await world.order();
    world.dieAt('attempt.begun');
    await world.begin('session.provisioning');
    expect(world.account().calls('CreateInstance')).toBe(0);
    expect((await world.attempt(id)).state).toBe('intent');

    await world.crash();
    const { attempts } = await world.runUntil(id, 'running');

    expect(states(attempts)).toEqual([
      ['gone', 'create_lost'],
      ['live', null],
    ]);
    expect(world.account().createdTags()).toEqual([attempts[1]?.tag]);
    expect(world.account().living()).toHaveLength(1);
  });

  it('REL-A2: a crash between the making and the storing of its id: it is found by its tag and handed out', async () => {
    const world = await make();
    const { id } = await world.order();
    world.account().failNext('CreateInstance', { do: 'hang', done: true });
    await world.pass('session.provisioning');

    await world.crash();
    const { attempts } = await world.runUntil(id, 'running');

    expect(states(attempts)).toEqual([['live', null]]);
    expect(world.account().calls('CreateInstance')).toBe(1);
  });

  it('REL-A2: found after the consumer gave up, it is destroyed', async () => {
    const world = await make();
    const { id } = await world.order();
    world.account().failNext('CreateInstance', { do: 'hang', done: true });
    await world.pass('session.provisioning');
    await world.stop(id);

    await world.crash();
    const { session } = await world.runUntil(id, 'stopped');

    expect(session.reason).toBe('user_requested');
    expect(world.account().createdTags()).toHaveLength(1);
    expect(world.account().living()).toEqual([]);
  });

  it('REL-A3: a create whose answer is lost is looked for, never sent again', async () => {
    const world = await make();
    const { id } = await world.order();
    world.account().failNext('CreateInstance', { do: 'lose-answer' });

    const { attempts } = await world.runUntil(id, 'running');

    expect(states(attempts)).toEqual([['live', null]]);
    expect(world.account().calls('CreateInstance')).toBe(1);
    expect(await world.eventKinds(id)).toContain('attempt.unknown');
  });

  it('REL-A4: what lands minutes later is destroyed by its tombstone, and the session keeps its own machine', async () => {
    const world = await make({ settings: { reconciliationIntervalMs: 60_000 } });
    const { id } = await world.order();
    world.account().failNext('CreateInstance', { do: 'land-late', afterMs: 120_000 });

    const { attempts } = await world.runUntil(id, 'running');
    expect(states(attempts)).toEqual([
      ['gone', 'create_lost'],
      ['live', null],
    ]);
    await world.run({ withinMs: 600_000 });

    expect(world.account().createdTags()).toHaveLength(2);
    expect(
      world
        .account()
        .living()
        .map(({ tag }) => tag),
    ).toEqual([attempts[1]?.tag]);
    expect((await world.record(id)).session.status).toBe('running');
    expect(await world.eventKinds(id)).toContain('instance.reappeared');
  });

  it('REL-A6: an answer with another tag is not believed; the list tells what was made', async () => {
    const world = await make();
    const { id } = await world.order();
    const foreign = world.account().plant({ tag: 'berth-other-00000000000000000000000009-1' });
    aroundCreate(world, async (create, request, options) => ({
      ...(await create(request, options)),
      id: foreign,
      tag: 'berth-other-00000000000000000000000009-1',
    }));

    const { attempts } = await world.runUntil(id, 'running');

    expect(attempts[0]?.instanceId).not.toBe(foreign);
    expect(attempts).toHaveLength(1);
    await world.stop(id);
    await world.runUntil(id, 'stopped');
    expect(
      world
        .account()
        .living()
        .map((instance) => instance.id),
    ).toEqual([foreign]);
  });

  it('REL-A6: an answer without an id is not believed either', async () => {
    const world = await make();
    const { id } = await world.order();
    aroundCreate(world, async (create, request, options) => ({ ...(await create(request, options)), id: instanceId('') }));

    const { attempts } = await world.runUntil(id, 'running');

    expect(attempts[0]?.instanceId).toBe('i-1');
  });

  it('REL-A9, PEER-11.2.16: a client that hangs up cancels nothing: its abort reaches no provider', async () => {
    const world = await make({ providers: [{ settings: { createMs: 4_000 } }] });
    const signals: AbortSignal[] = [];
    aroundCreate(world, (create, request, options) => {
      signals.push(options.signal);
      return create(request, options);
    });
    const { id } = await world.order();
    const client = new AbortController();
    const waiting = world.replica.waiter.wait({ id, until: () => false, timeoutMs: 60_000, signal: client.signal });
    await world.begin('session.provisioning');

    client.abort();
    const answered = await waiting;
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    await world.runUntil(id, 'running');

    expect(answered?.session.status).toBe('provisioning');
    expect(signals).toHaveLength(1);
    expect(world.account().calls('CreateInstance')).toBe(1);
  });

  it('REL-A15: a process that was paused between the intent and the call does not send it any more', async () => {
    const world = await make();
    const { id } = await world.order();
    let wake = () => {};
    const { life } = world.replica;
    life.hold = () =>
      new Promise((resolve) => {
        wake = resolve;
      });
    await world.begin('session.provisioning');
    expect((await world.attempt(id)).state).toBe('intent');
    life.hold = undefined;

    await world.clock.advance(30_001);
    wake();
    await world.settle();

    expect(world.account().calls('CreateInstance')).toBe(0);
    expect(states((await world.record(id)).attempts)).toEqual([['gone', 'provider_unavailable']]);
  });

  it('REL-B12: a sweep by another replica between the intent and the id adopts what it finds, and kills nothing', async () => {
    const world = await make({ settings: { orphanGraceMs: 0 } });
    const { id } = await world.order();
    world.account().failNext('CreateInstance', { do: 'hang', done: true });
    await world.pass('session.provisioning');
    expect((await world.attempt(id)).state).toBe('intent');

    const other = await world.join();
    for (let sweep = 0; sweep < 5; sweep += 1) {
      await world.pass('instance.orphans', other);
      await world.clock.advance(1_000);
    }

    expect((await world.attempt(id)).state).toBe('live');
    expect(world.account().destroyedIds()).toEqual([]);
    expect(other.counts.orphans).toBe(0);
  });
});

describeWorld('provisioning: refusals', (make) => {
  const market = () => [
    anOffer({ providerOfferId: 'cheap', machineId: 'm-1', priceMicrosPerHour: 100_000 }),
    anOffer({ providerOfferId: 'middle', machineId: 'm-2', priceMicrosPerHour: 200_000 }),
    anOffer({ providerOfferId: 'dear', machineId: 'm-3', priceMicrosPerHour: 300_000 }),
  ];
  const anyOffer = { byRequirements: true, request: { gpuTypes: ['RTX 4090'] } };

  it('goes on to the next offer for want of capacity, each tried once, the cheapest first, and gives claims back', async () => {
    const world = await make({ providers: [{ offers: market() }] });
    world.account().failNext('CreateInstance', { do: 'fail', kind: 'capacity' }, { do: 'fail', kind: 'capacity' });
    const { id } = await world.order(anyOffer);

    const { session, attempts } = await world.runUntil(id, 'running');

    expect(attempts.map(({ offerId: tried }) => tried)).toEqual(['memory-cheap', 'memory-middle', 'memory-dear']);
    expect(session.offerId).toBe('memory-dear');
    expect([...(await world.replica.offers.takenUnits())]).toEqual([['memory-dear', 1]]);
  });

  it('ends with no_capacity and what was tried when nothing is left', async () => {
    const world = await make({ providers: [{ offers: market() }] });
    world.account().failAlways('CreateInstance', { do: 'fail', kind: 'capacity' });
    const { id } = await world.order({ ...anyOffer, maxAttempts: 6 });

    const { session, attempts } = await world.runUntil(id, 'failed');

    expect(attempts).toHaveLength(3);
    expect(session.reason).toBe('no_capacity');
    expect(session.error).toContain('memory-cheap, memory-middle, memory-dear');
    expect(await world.replica.offers.takenUnits()).toEqual(new Map());
    expect(session.destroyAcceptedAt).toBeNull();
  });

  it('never makes more attempts than were allowed', async () => {
    const world = await make({ providers: [{ offers: market() }] });
    world.account().failAlways('CreateInstance', { do: 'fail', kind: 'capacity' });
    const { id } = await world.order({ ...anyOffer, maxAttempts: 2 });

    const { attempts } = await world.runUntil(id, 'failed');

    expect(attempts).toHaveLength(2);
    expect(world.account().calls('CreateInstance')).toBe(2);
  });

  it('fails at once for an offer named by its id, with the reason', async () => {
    const world = await make();
    world.account().failNext('CreateInstance', { do: 'fail', kind: 'capacity' });
    const { id } = await world.order();

    const { session } = await world.runUntil(id, 'failed');

    expect(session.reason).toBe('stale_inventory');
    expect(world.account().calls('CreateInstance')).toBe(1);
  });

  it('waits as long as the provider asks before it tries the same offer again', async () => {
    const world = await make();
    world.account().failNext('CreateInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 20_000 });
    const { id } = await world.order();

    await world.run({ withinMs: 19_000 });
    expect(world.account().calls('CreateInstance')).toBe(1);
    await world.runUntil(id, 'running', 30_000);

    expect(world.account().createdTags()).toHaveLength(1);
  });

  describe('when the price of the offer rises before it is tried again', () => {
    const risenTo = async (priceMicrosPerHour: number, order: Parameters<World['order']>[0]) => {
      const world = await make({ providers: [{ offers: market() }] });
      world.account().failNext('CreateInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 120_000 });
      const { id } = await world.order(order);
      await world.run({ withinMs: 1_000 });
      world.account().changeOffer({ id: offerId('memory-cheap') }, { priceMicrosPerHour });
      return { world, id };
    };

    it('REL-A10: an offer that was named is not taken at another price than was agreed', async () => {
      const { world, id } = await risenTo(150_000, { request: { offerId: offerId('memory-cheap') } });

      const { session } = await world.runUntil(id, 'failed');

      expect(session.reason).toBe('price_changed');
      expect(session.error).toContain('0.15');
      expect(world.account().createdTags()).toEqual([]);
      expect(await world.replica.offers.takenUnits()).toEqual(new Map());
    });

    it('REL-A10: picked by requirements, it gives way to the next one', async () => {
      const { world, id } = await risenTo(250_000, anyOffer);

      const { session } = await world.runUntil(id, 'running');

      expect(session).toMatchObject({ offerId: 'memory-middle', priceMicrosPerHour: 200_000 });
      expect([...(await world.replica.offers.takenUnits())]).toEqual([['memory-middle', 1]]);
    });

    it('REL-A10: a little more is within what was agreed, which does not grow with it', async () => {
      const { world, id } = await risenTo(104_000, { request: { offerId: offerId('memory-cheap') } });

      const { attempts } = await world.runUntil(id, 'running');

      expect(attempts.map(({ priceMicrosPerHour, capMicrosPerHour }) => [priceMicrosPerHour, capMicrosPerHour])).toEqual([
        [100_000, 105_000],
        [104_000, 105_000],
      ]);
    });
  });

  it('asks no provider for a session whose reservation is over when its turn comes', async () => {
    const world = await make();
    const { id } = await world.order({ reservationMinutes: 5 });
    await world.clock.advance(6 * 60_000);

    await world.pass('session.provisioning');

    expect(world.account().calls('CreateInstance')).toBe(0);
    expect((await world.record(id)).session).toMatchObject({ status: 'stopped', reason: 'expired' });
  });

  it('REL-C10: the wish to end comes while the create is under way: resolved first, then destroyed', async () => {
    const world = await make({ providers: [{ settings: { createMs: 5_000 } }] });
    const { id } = await world.order();
    await world.begin('session.provisioning');
    await world.stop(id);
    expect((await world.record(id)).session).toMatchObject({ status: 'stopping', desired: 'gone', reason: 'user_requested' });

    await world.runUntil(id, 'stopped');

    expect(world.account().calls('CreateInstance')).toBe(1);
    expect(world.account().living()).toEqual([]);
  });

  it('REL-C10: the wish to end comes before the intent: no provider is ever asked', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.stop(id);

    await world.runUntil(id, 'stopped');
    await world.run({ withinMs: 60_000 });

    expect(world.account().calls('CreateInstance')).toBe(0);
    expect(await world.replica.offers.takenUnits()).toEqual(new Map());
  });

  it('REL-D9, RULE-R16: a row that cannot be written keeps no other from being provisioned', async () => {
    const world = await make({ settings: { createConcurrency: 2 } });
    const poison = await world.order();
    world.dieAt('attempt.begun');
    await world.begin('session.provisioning');
    const replica = await world.crash();
    const apply = replica.writer.apply.bind(replica.writer);
    let refusals = 0;
    Object.assign(replica.writer, {
      apply: (...args: Parameters<typeof apply>) => {
        const [session] = args;
        if ((typeof session === 'string' ? session : session.session.id) !== poison.id) return apply(...args);
        refusals += 1;
        return Promise.reject(new Error('fact would break: something'));
      },
    });
    const others = [];
    for (let count = 0; count < 5; count += 1)
      others.push(await world.order({ request: { offerId: offerId('memory-stock-t4') } }));

    for (const { id } of others) await world.runUntil(id, 'running', 60_000);

    expect((await world.attempt(poison.id)).state).toBe('intent');
    expect(refusals).toBeGreaterThan(0);
    expect(refusals).toBeLessThan(20);
  });

  it('REL-D9: unknown creates at a provider that is not configured any more do not go round and round', async () => {
    const world = await make({ providers: [{ id: 'memory' }, { id: 'other', offers: marketOffers('other') }] });
    world.account('other').failAlways('CreateInstance', { do: 'lose-answer' });
    const { id } = await world.order({ request: { offerId: offerId('other-ask-1') } });
    await world.pass('session.provisioning');
    const { replica } = world;
    const providers = replica.providers as Map<ReturnType<typeof providerId>, Provider>; // it is one, made for this world
    providers.delete(providerId('other'));

    await world.run({ withinMs: 60_000 });

    const failed = world.log.entries.filter(({ message }) => message === 'task failed');
    expect((await world.attempt(id)).state).toBe('unknown');
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.length).toBeLessThan(12);
  });

  it('PEER-11.2.22: creates that hang at one provider keep nobody from looking for unknown ones', async () => {
    const world = await make({ settings: { createConcurrency: 1 } });
    const first = await world.order();
    world.account().failNext('CreateInstance', { do: 'lose-answer' }, { do: 'hang', done: false });
    await world.begin('session.provisioning');
    const second = await world.order({ request: { offerId: offerId('memory-stock-t4') } });

    await world.runUntil(first.id, 'running', 20_000);

    expect((await world.record(second.id)).session.phase).toBe('creating');
  });

  it('PEER-11.2.22: creates that hang at one provider hold up none at another', async () => {
    const world = await make({
      providers: [{ id: 'slow' }, { id: 'quick', offers: marketOffers('quick') }],
      settings: { createConcurrency: 1 },
    });
    world.account('slow').failAlways('CreateInstance', { do: 'hang', done: false });
    for (let count = 0; count < 3; count += 1) await world.order({ request: { offerId: offerId('slow-stock-t4') } });
    const quick = await world.order({ request: { offerId: offerId('quick-stock-t4') } });

    await world.runUntil(quick.id, 'running', 5_000);
  });

  it('gives a create that had to wait for its turn all the time that the provider may take', async () => {
    const world = await make({ providers: [{ settings: { createMs: 20_000 } }] });
    let cutShort = 0;
    aroundCreate(world, async (create, request, options) => {
      try {
        return await create(request, options);
      } finally {
        if (options.signal.aborted) cutShort += 1;
      }
    });
    // more than run at once
    for (let count = 0; count < 12; count += 1) await world.order({ request: { offerId: offerId('memory-stock-t4') } });

    await world.run({ withinMs: 60_000 });

    expect(world.account().calls('CreateInstance')).toBe(12);
    expect(cutShort).toBe(0);
  });

  it('RULE-R5: with every hint lost, periods alone bring a session to its end', async () => {
    const world = await make({ settings: { activations: false } });
    const { id } = await world.order();

    await world.runUntil(id, 'running', 120_000);
    await world.stop(id);
    await world.runUntil(id, 'stopped', 120_000);
    await world.run({ until: async () => (await world.record(id)).session.phase === 'settled', withinMs: 300_000 });
    await world.run({ until: async () => (await world.record(id)).session.settledCostMicros !== null, withinMs: 120_000 });
  });

  it('rests when there is nothing to do', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    const before = world.replica.driver.statuses().find(({ name }) => name === 'session.provisioning')?.runs ?? 0;

    await world.run({ withinMs: 60_000 });

    const after = world.replica.driver.statuses().find(({ name }) => name === 'session.provisioning')?.runs ?? 0;
    expect(after - before).toBeLessThanOrEqual(13);
  });
});

describe('provisioning by two replicas', () => {
  const create = databases('postgres', berthSchema); // a SQLite file has one process at a time
  it('REL-D1: two replicas act on one session: one create call in all', async () => {
    const database = await create();
    const world = await aWorld({ store: await database.open() });
    const second = await world.join();
    await world.pass('offers.refresh', second);
    const ids: SessionId[] = [];
    for (let count = 0; count < 10; count += 1)
      ids.push((await world.order({ request: { offerId: offerId('memory-stock-t4') } })).id);

    second.driver.start();
    for (const id of ids) await world.runUntil(id, 'running');
    for (const id of ids) await world.stop(id);
    for (const id of ids) await world.runUntil(id, 'stopped');

    expect(world.account().calls('CreateInstance')).toBe(10);
    expect(new Set(world.account().createdTags()).size).toBe(10);
    expect(world.account().living()).toEqual([]);
    await world.shutDown();
    await world.shutDown(second);
  });

  it('REL-A1, RULE-R11: the intent of a process that died is taken over by another one, when its call cannot come any more', async () => {
    const world = await aWorld({ store: await (await create()).open() });
    const { id } = await world.order();
    world.dieAt('attempt.begun');
    await world.begin('session.provisioning');
    const other = await world.join();
    await world.pass('offers.refresh', other);

    await world.clock.advance(59_000);
    await world.pass('session.provisioning', other);
    expect((await world.attempt(id)).state).toBe('intent');

    other.driver.start();
    await world.clock.advance(20_000);
    expect(states((await world.record(id)).attempts)).toEqual([
      ['gone', 'create_lost'],
      ['live', null],
    ]);
    expect(world.account().calls('CreateInstance')).toBe(1);
    await world.shutDown(other);
  });

  it('REL-A15, REL-D2: a process that was paused past its intent sends nothing after another one has taken over', async () => {
    const world = await aWorld({ store: await (await create()).open() });
    const { id } = await world.order();
    const paused = world.replica;
    let wake = () => {};
    paused.life.hold = () =>
      new Promise((resolve) => {
        wake = resolve;
      });
    await world.begin('session.provisioning');
    expect((await world.attempt(id)).state).toBe('intent');
    paused.life.hold = undefined;
    const other = await world.join();
    await world.pass('offers.refresh', other);
    other.driver.start();
    await world.clock.advance(90_000);
    expect((await world.record(id)).session.status).toBe('running');

    wake();
    await world.settle();
    await world.clock.advance(60_000);

    expect(world.account().calls('CreateInstance')).toBe(1);
    expect(states((await world.record(id)).attempts)).toEqual([
      ['gone', 'create_lost'],
      ['live', null],
    ]);
    expect((await world.record(id)).session.status).toBe('running');
    await world.shutDown(other);
    paused.life.end();
  });

  it('REL-D3: facts from many places at once are all applied, none lost', async () => {
    const world = await aWorld({ store: await (await create()).open() });
    const { id } = await world.order({ reservationMinutes: 10 });

    await Promise.all(Array.from({ length: 10 }, () => world.replica.writer.apply(id, { kind: 'extended', addedMinutes: 1 })));

    expect((await world.record(id)).session.reservationMinutes).toBe(20);
    expect((await world.events(id)).filter(({ kind }) => kind === 'session.extended')).toHaveLength(10);
    world.replica.life.end();
  });
});
