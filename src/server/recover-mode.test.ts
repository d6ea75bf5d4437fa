import { expect, it } from 'vitest';
import { aTag } from '../../test/support/provider-calls.ts';
import { describeWorld, type World } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { createIds, madeAt, type SessionId } from '../core/ids.ts';
import { seededRandom } from '../core/random.ts';
import { ownershipTag } from '../provider/ownership-tag.ts';
import { brokenInvariants } from '../sessions/invariants.ts';
import { recoverAdopt } from './recover-adopt.ts';
import { endRecovery } from './recover-mode.ts';

/** An instance of a session of which the database has no row, asked for just now. */
function plantLost(world: World, { ordinal = 1 } = {}) {
  const sessionId = createIds({ clock: world.clock, random: seededRandom(world.clock.now()) }).session();
  const id = world.account().plant({ tag: ownershipTag({ deployment: world.deploymentId, sessionId, ordinal }) });
  return { id, sessionId };
}

function aDesk(world: World, { answer, yes = false }: { readonly answer?: string; readonly yes?: boolean } = {}) {
  const told: string[] = [];
  const { sessions, sightings, recovery, providers } = world.replica;
  const deps = {
    providers: [...providers.values()],
    sessions,
    sightings,
    recovery,
    deployment: world.deploymentId,
    clock: world.clock,
    callTimeoutMs: MINUTE_MS,
    yes,
    terminal: {
      say: (line: string) => void told.push(line),
      complain: (line: string) => void told.push(line),
      ask: async () => answer,
    },
  };
  const rules = {
    absenceOf: () => [...providers.values()][0]!.capabilities.absence, // a world has a market
    billingOf: () => ({ starting: 'full', paused: 'disk' }) as const,
    bootTimeoutMs: 10 * MINUTE_MS,
    driverTimeoutMs: 5 * MINUTE_MS,
  };
  return {
    told: () => told.join('\n'),
    end: () => endRecovery(deps),
    adopt: (request: { readonly instances?: readonly string[]; readonly all?: boolean }) =>
      recoverAdopt({
        ...deps,
        instances: [],
        all: false,
        ...request,
        ids: createIds({ clock: world.clock, random: seededRandom(5) }),
        rules,
        consumer: 'operator',
        keepMs: HOUR_MS,
        hardMaxMs: 12 * HOUR_MS,
      }),
  };
}

describeWorld('berth recover --mode off', (make) => {
  it('shows what is unknown, and ends the mode when a person has typed the deployment id', async () => {
    const world = await make();
    const { id } = plantLost(world);
    await world.pass('instance.orphans');
    const desk = aDesk(world, { answer: 'test' });

    const code = await desk.end();

    expect(code).toBe(0);
    expect(desk.told()).toContain(`memory/${id}`);
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: false });
  });

  it.each([
    ['another word', { answer: 'yes' }, 'that is not the deployment id'],
    ['no terminal', {}, 'there is no terminal'],
  ])('leaves it on at %s', async (_, manner, refusal) => {
    const world = await make();
    plantLost(world);
    await world.pass('instance.orphans');
    const desk = aDesk(world, manner);

    const code = await desk.end();

    expect(code).toBe(1);
    expect(desk.told()).toContain(refusal);
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: true });
  });

  it('refuses while a provider cannot be listed', async () => {
    const world = await make();
    await world.replica.recovery.begin('operator', 'a restore');
    world.account().failAlways('ListAllInstances', { do: 'fail', kind: 'auth' });
    const desk = aDesk(world, { yes: true });

    const code = await desk.end();

    expect(code).toBe(1);
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: true });
  });

  it('notes what it shows as seen: before the first start after a restore it is no evidence either', async () => {
    const world = await make();
    plantLost(world);
    await aDesk(world, { yes: true }).end();
    await world.clock.advance(1_000);

    await world.pass('instance.orphans');

    expect(await world.replica.recovery.read()).toMatchObject({ isOn: false });
  });
});

describeWorld('berth recover --adopt', (make) => {
  it('makes rows that hold the invariants: it runs, is billed from its making, and is no stray any more', async () => {
    const world = await make();
    const { id, sessionId } = plantLost(world, { ordinal: 3 });
    await world.clock.advance(30 * MINUTE_MS);
    const desk = aDesk(world);

    const code = await desk.adopt({ instances: [id] });

    expect(code).toBe(0);
    const record = await world.record(sessionId);
    expect(brokenInvariants(record)).toEqual([]);
    expect(record.session).toMatchObject({ status: 'running', consumerId: 'operator', desired: 'run', attemptCount: 3 });
    expect(record.session.expiresAt).toBe(world.clock.now() + HOUR_MS);
    expect(record.attempts.map(({ state }) => state)).toEqual(['gone', 'gone', 'live']);
    expect(record.attempts[2]).toMatchObject({ instanceId: id, acceptedAt: madeAt(sessionId) });
    expect(await world.eventKinds(sessionId)).toEqual(['session.adopted', 'instance.created']);
    expect(desk.told()).toContain('The keys of an adopted instance were lost with its rows');
    const report = await world.pass('instance.orphans');
    expect(report).toMatchObject({ failed: 0 });
    expect(await world.replica.recovery.read()).toEqual({ isOn: false });
    expect(world.replica.counts.orphans).toBe(0);
  });

  it('is destroyed when its time is over, and settled for the whole of it', async () => {
    const world = await make();
    const { sessionId } = plantLost(world);
    await world.clock.advance(30 * MINUTE_MS);
    await aDesk(world).adopt({ all: true });
    await world.clock.advance(HOUR_MS - 10_000);

    const { session } = await world.runUntil(sessionId, 'stopped', 5 * MINUTE_MS);
    await world.run({ withinMs: 2 * MINUTE_MS });

    expect(session.reason).toBe('expired');
    expect(world.account().living()).toEqual([]);
    const settled = (await world.record(sessionId)).session.settledCostMicros ?? 0;
    expect(settled).toBeGreaterThan(700_000); // an hour and a half at half a dollar
    expect(settled).toBeLessThan(900_000);
  });

  it('one that is paused or has failed is taken in to be destroyed', async () => {
    const world = await make();
    const { id, sessionId } = plantLost(world);
    world.account().break(id, 'no such image');
    const desk = aDesk(world);

    const code = await desk.adopt({ all: true });

    expect(code).toBe(0);
    expect((await world.record(sessionId)).session.status).toBe('stopping');
    await world.run({ until: () => world.account().living().length === 0, withinMs: MINUTE_MS });
  });

  it('refuses what the database knows, what belongs to a session that it knows, and what is not ours', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    const { instanceId } = await world.attempt(id);
    const second = world
      .account()
      .plant({ tag: ownershipTag({ deployment: world.deploymentId, sessionId: id as SessionId, ordinal: 2 }) });
    const foreign = world.account().plant({ tag: aTag(1, { deployment: 'other1' }) });

    const known = aDesk(world);
    expect(await known.adopt({ instances: [String(instanceId)] })).toBe(1);
    expect(known.told()).toContain('the database knows it already');
    const held = aDesk(world);
    expect(await held.adopt({ instances: [second] })).toBe(1);
    expect(held.told()).toContain('is in the database (running) with 1 other attempts');
    const others = aDesk(world);
    expect(await others.adopt({ instances: [foreign] })).toBe(1);
    expect(others.told()).toContain('belongs to deployment other1');
    expect((await world.record(id)).attempts).toHaveLength(1);
  });
});
