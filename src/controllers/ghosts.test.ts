import { expect, it } from 'vitest';
import { describeWorld, type World } from '../../test/support/world.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { instanceId, offerId, providerId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';

const CLOUD = { absence: { observations: 3, spacingMs: 60_000, windowMs: 15 * MINUTE_MS, kinds: ['get', 'list'] } } as const;

async function running(world: World, count: number): Promise<SessionId[]> {
  const ids: SessionId[] = [];
  for (let made = 0; made < count; made += 1) {
    const { id } = await world.order({ request: { offerId: offerId('memory-stock-t4') }, reservationMinutes: 600 });
    ids.push(id);
  }
  for (const id of ids) await world.runUntil(id, 'running');
  return ids;
}

const statuses = async (world: World, ids: readonly SessionId[]) =>
  Promise.all(ids.map(async (id) => (await world.record(id)).session.status));

describeWorld('ghosts', (make) => {
  it('REL-B1, PEER-11.2.2: lists that fail or cannot be read change no session, however long', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD }] });
    const ids = await running(world, 3);
    for (const kind of ['unavailable', 'protocol', 'auth', 'rate_limited'] as const) {
      world.account().failAlways('ListAllInstances', { do: 'fail', kind });
      await world.run({ withinMs: 20 * MINUTE_MS });
    }

    expect(await statuses(world, ids)).toEqual(['running', 'running', 'running']);
    for (const id of ids) expect((await world.attempt(id)).absences).toEqual([]);
    expect(world.account().destroyedIds()).toEqual([]);
  });

  it('REL-B2, RULE-R7: an empty list during an outage is suspect, proves nothing, and is kept as an observation', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD }] });
    const ids = await running(world, 2);
    await world.run({ withinMs: 16 * MINUTE_MS });
    const observed: { suspect: boolean; complete: boolean; count: number }[] = [];
    const { sightings } = world.replica;
    const keep = sightings.record.bind(sightings);
    Object.assign(sightings, {
      record: (observation: Parameters<typeof keep>[0]) => {
        observed.push(observation);
        return keep(observation);
      },
    });
    world.account().failAlways('ListAllInstances', { do: 'empty' });
    world.account().failAlways('GetInstanceStatus', { do: 'fail', kind: 'unavailable' });

    await world.run({ withinMs: 60 * MINUTE_MS });

    expect(await statuses(world, ids)).toEqual(['running', 'running']);
    expect(observed.length).toBeGreaterThan(5);
    expect(observed.every(({ suspect, complete, count }) => suspect && complete && count === 0)).toBe(true);
    expect(world.log.messages('warn')).toContainEqual(
      expect.stringMatching(/^suspect list: it lacks \d+ instances held to be alive$/),
    );
    for (const id of ids) expect((await world.attempt(id)).absences).toEqual([]);
  });

  it('REL-B5: one 404 is a hint, and what comes back is forgiven', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD }] });
    const [id] = await running(world, 1);
    const omitted = { do: 'omit', ids: [instanceId('i-1')] } as const;
    world.account().failAlways('ListAllInstances', omitted);
    world.account().failAlways('GetInstanceStatus', omitted);
    await world.run({ withinMs: 12 * MINUTE_MS });
    world.account().heal();

    await world.run({ withinMs: 60 * MINUTE_MS });

    expect(await statuses(world, [id!])).toEqual(['running']);
    expect((await world.attempt(id!)).absences).toEqual([]);
  });

  it('REL-B5, REL-C15: what is missing by both calls for the whole window is a ghost: billed until it was last seen', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD }] });
    const [id, other] = await running(world, 2);
    await world.run({ withinMs: 20 * MINUTE_MS });
    const lastSeenAt = (await world.attempt(id!)).lastSeenAt;
    world.account().vanish(instanceId('i-1'));
    const vanishedAt = world.clock.now();

    await world.run({ withinMs: 14 * MINUTE_MS });
    expect(await statuses(world, [id!])).toEqual(['running']);
    await world.runUntil(id!, 'stopped', 20 * MINUTE_MS);

    const { session } = await world.record(id!);
    expect(session.reason).toBe('instance_vanished');
    const [segment] = await world.replica.costs.segmentsOf(id!);
    expect(segment?.toAt).toBeLessThanOrEqual(vanishedAt);
    expect(segment?.toAt).toBeGreaterThanOrEqual(lastSeenAt ?? 0);
    expect(await statuses(world, [other!])).toEqual(['running']);
    expect(world.account().calls('DestroyInstance')).toBe(0);
  });

  it('REL-B7, PEER-11.2.1: an instance that its list does not show yet is missed by nobody', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD, settings: { listLagMs: 10 * MINUTE_MS } }] });
    const [id] = await running(world, 1);

    await world.run({ withinMs: 60 * MINUTE_MS });

    expect(await statuses(world, [id!])).toEqual(['running']);
    expect(world.account().destroyedIds()).toEqual([]);
  });

  it('PEER-11.2.1: instances whose tag the market lost are no ghosts: they are known by their id', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD }] });
    const [id] = await running(world, 1);
    world.account().loseTag(instanceId('i-1'));

    await world.run({ withinMs: 90 * MINUTE_MS });

    expect(await statuses(world, [id!])).toEqual(['running']);
    await world.stop(id!);
    await world.runUntil(id!, 'stopped');
    expect(world.account().living()).toEqual([]);
  });

  it('REL-B14: a word for a state that nobody knows ends nothing', async () => {
    const world = await make();
    const [id] = await running(world, 1);
    world.account().setWord(instanceId('i-1'), 'hibernating-v2');

    await world.run({ withinMs: 60 * MINUTE_MS });

    expect(await statuses(world, [id!])).toEqual(['running']);
    expect(world.account().destroyedIds()).toEqual([]);
  });

  it('PEER-11.2.21: after a restart, errors of the provider end nothing and prove nothing', async () => {
    const world = await make({ providers: [{ capabilities: CLOUD, settings: { bootMs: 30 * MINUTE_MS } }] });
    const booting = await world.order({ request: { offerId: offerId('memory-stock-t4'), sshTimeoutMinutes: 60 } });
    await world.run({ withinMs: 10_000 });
    world.account().failAlways('GetInstanceStatus', { do: 'fail', kind: 'unavailable' });
    world.account().failAlways('ListAllInstances', { do: 'fail', kind: 'unavailable' });

    await world.crash();
    await world.run({ withinMs: 20 * MINUTE_MS });

    expect((await world.record(booting.id)).session).toMatchObject({ status: 'provisioning', phase: 'booting' });
  });

  it('PEER-11.2.22, REL-D9: a provider that hangs and a row that cannot be written keep no other from being looked after', async () => {
    const world = await make({ providers: [{ id: 'slow' }, { id: 'memory' }] });
    const hanging = await world.order({ request: { offerId: offerId('slow-stock-t4') }, reservationMinutes: 600 });
    await world.runUntil(hanging.id, 'running');
    const [poison, ghost] = await running(world, 2);
    world.account('slow').failAlways('ListAllInstances', { do: 'hang', done: false });
    const apply = world.replica.writer.apply.bind(world.replica.writer);
    Object.assign(world.replica.writer, {
      apply: (...args: Parameters<typeof apply>) =>
        args[0] === poison ? Promise.reject(new Error('fact would break: something')) : apply(...args),
    });
    world.account().vanish((await world.attempt(ghost!)).instanceId!);

    await world.runUntil(ghost!, 'stopped', 10 * MINUTE_MS);

    expect(await statuses(world, [hanging.id, poison!])).toEqual(['running', 'running']);
  });

  it('takes an answer from before the end for old news, and not for a reappearance', async () => {
    const world = await make();
    const [id] = await running(world, 1);
    world.account().failAlways('ListAllInstances', { do: 'omit', ids: [instanceId('i-1')] });
    const provider = world.replica.providers.get(providerId('memory'))!;
    const get = provider.getInstance.bind(provider);
    let arrive = () => {};
    const slow = new Promise<void>((resolve) => (arrive = resolve));
    Object.assign(provider, {
      getInstance: async (...args: Parameters<typeof get>) => {
        const answer = await get(...args);
        await slow;
        return answer;
      },
    });
    await world.begin('session.ghosts');
    Object.assign(provider, { getInstance: get });
    await world.clock.advance(1_000);
    await world.stop(id!);
    await world.pass('session.termination');
    expect(await statuses(world, [id!])).toEqual(['stopped']);

    arrive();
    await world.settle();

    expect(await world.eventKinds(id!)).not.toContain('instance.reappeared');
  });

  it('says so when a provider with running sessions is not configured, and leaves them alone', async () => {
    const world = await make({ providers: [{ id: 'memory' }, { id: 'other' }] });
    const { id } = await world.order({ request: { offerId: offerId('other-stock-t4') } });
    await world.runUntil(id, 'running');
    const providers = world.replica.providers as Map<ReturnType<typeof providerId>, never>; // it is one, made for this world
    providers.delete(providerId('other'));

    const report = await world.pass('session.ghosts');

    expect(report).toMatchObject({ examined: 1, failed: 1 });
    expect(await statuses(world, [id])).toEqual(['running']);
  });

  it('keeps on when only the questions by id fail', async () => {
    const world = await make();
    const ids = await running(world, 20);
    world.account().failAlways('ListAllInstances', { do: 'empty' });
    let asked = 0;
    const provider = world.replica.providers.get(providerId('memory'))!;
    Object.assign(provider, {
      getInstance: () => {
        asked += 1;
        const message = 'get instance at memory: no';
        return Promise.reject(
          new ProviderError({ kind: 'unavailable', provider: provider.id, operation: 'GetInstanceStatus', message }),
        );
      },
    });
    await world.clock.advance(10_000);

    const report = await world.pass('session.ghosts');

    expect(asked).toBe(20);
    expect(report).toMatchObject({ examined: 20, failed: 20 });
    expect(new Set(await statuses(world, ids))).toEqual(new Set(['running']));
  });
});
