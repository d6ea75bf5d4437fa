import { expect, it } from 'vitest';
import { describeEachDatabase } from '../../test/support/stores.ts';
import { aTag } from '../../test/support/provider-calls.ts';
import { aWorld, describeWorld, type World } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { createIds } from '../core/ids.ts';
import { seededRandom } from '../core/random.ts';
import { offerId } from '../provider/ids.ts';
import { ownershipTag } from '../provider/ownership-tag.ts';

const GRACE_MS = 15 * MINUTE_MS;
const TOLD =
  'recovery mode is on: instances that the database does not know are not destroyed, until a person has looked (docs/recovery.md)';
const T4 = { request: { offerId: offerId('memory-stock-t4') } };

/** An instance of a session that was asked for just now, and of which the database has no row: what a restored backup finds. */
function plantUnknown(world: World) {
  const sessionId = createIds({ clock: world.clock, random: seededRandom(world.clock.now()) }).session();
  return world.account().plant({ tag: ownershipTag({ deployment: world.deploymentId, sessionId, ordinal: 1 }) });
}

const living = (world: World) =>
  world
    .account()
    .living()
    .map(({ id }) => id);

/** Sweeps alone, five minutes apart: hours of them cost nothing. */
async function sweepFor(world: World, ms: number): Promise<void> {
  for (let waited = 0; waited < ms; waited += 5 * MINUTE_MS) {
    await world.clock.advance(5 * MINUTE_MS);
    await world.pass('instance.orphans');
  }
}

describeWorld('recovery mode', (make) => {
  it('REL-B10, REL-E10: an instance newer than the database is kept until a person has looked, however long that takes', async () => {
    const world = await make();
    const unknown = plantUnknown(world);

    await sweepFor(world, 5 * HOUR_MS);

    expect(living(world)).toEqual([unknown]);
    expect(world.account().calls('DestroyInstance')).toBe(0);
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: true, cause: 'evidence' });
    expect(world.log.messages('error')).toContain('the database is older than reality: recovery mode begins');
    expect(world.log.messages('error').filter((message) => message === TOLD).length).toBeGreaterThanOrEqual(5);
    const report = await world.pass('instance.orphans');
    expect(report.details).toMatchObject({ held: 1, recovery_mode: 'on' });
  });

  it('REL-B10: an attempt that its session does not know is evidence, too', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    const second = world.account().plant({ tag: ownershipTag({ deployment: world.deploymentId, sessionId: id, ordinal: 2 }) });

    await sweepFor(world, HOUR_MS / 2);

    expect(living(world)).toContain(second);
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: true, cause: 'evidence' });
  });

  it('goes on over a restart, and then every other stray is kept, a twin among them', async () => {
    const world = await make();
    const { id } = await world.order({ reservationMinutes: 600 });
    await world.runUntil(id, 'running');
    const { tag } = await world.attempt(id);
    plantUnknown(world);
    await world.pass('instance.orphans');
    await world.crash();
    world.account().plant({ tag });
    world.account().plant({ tag: aTag(99) });

    await sweepFor(world, 2 * HOUR_MS);

    expect(living(world)).toHaveLength(4);
    expect(world.account().calls('DestroyInstance')).toBe(0);
  });

  it('what the database knows goes on: it is proven, expires and is destroyed', async () => {
    const world = await make();
    const unknown = plantUnknown(world);
    await world.pass('instance.orphans');
    const { id } = await world.order({ reservationMinutes: 5 });

    await world.runUntil(id, 'running');
    await world.runUntil(id, 'stopped', 10 * MINUTE_MS);

    expect((await world.record(id)).session.reason).toBe('expired');
    expect(living(world)).toEqual([unknown]);
  });

  it('REL-B10, RULE-R2: a session from before gets no instance while it lasts, since its tag may be taken; one from after does', async () => {
    const world = await make();
    const before = await world.order({ ...T4, reservationMinutes: 300 });
    await world.clock.advance(1_000);
    plantUnknown(world);
    await world.pass('instance.orphans');
    const after = await world.order({ ...T4, reservationMinutes: 300 });

    await world.runUntil(after.id, 'running');
    await world.run({ withinMs: 5 * MINUTE_MS });
    expect((await world.record(before.id)).session).toMatchObject({ status: 'pending', attemptCount: 0 });

    await world.replica.recovery.end('looked at');
    await world.runUntil(before.id, 'running');
  });

  it('RULE-R2, REL-B10: once a person has ended it, a session from before never uses the tag of an attempt that the lost database had made', async () => {
    const world = await make();
    const { id } = await world.order({ ...T4, reservationMinutes: 300 });
    const lost = ownershipTag({ deployment: world.deploymentId, sessionId: id, ordinal: 2 });
    world.account().plant({ tag: lost });
    await world.pass('instance.orphans');

    await world.replica.recovery.end('looked at');
    await world.runUntil(id, 'running');

    const { session, attempts } = await world.record(id);
    expect(attempts.map(({ ordinal }) => ordinal)).toEqual([3]);
    expect(session.attemptCount).toBe(1);
    expect(world.account().createdTags()).not.toContain(lost);
  });

  it('REL-B10: after a start, a session from before gets no machine where nobody has looked yet; one from after does', async () => {
    const world = await make();
    const before = await world.order({ ...T4, reservationMinutes: 300 });
    world.account().failAlways('ListAllInstances', { do: 'fail', kind: 'unavailable' });
    await world.clock.advance(1_000);
    await world.crash();
    const after = await world.order({ ...T4, reservationMinutes: 300 });

    await world.run({ withinMs: 5 * MINUTE_MS });
    expect((await world.record(before.id)).session).toMatchObject({ status: 'pending', attemptCount: 0 });
    expect((await world.record(after.id)).session.attemptCount).toBe(1);

    world.account().heal();
    await world.runUntil(before.id, 'running', 2 * MINUTE_MS);
  });

  it('REL-B10: a sweep that could not compare an instance with its row lets no session from before a start go on', async () => {
    const world = await make();
    const { id } = await world.order({ ...T4, reservationMinutes: 300 });
    world.account().plant({ tag: ownershipTag({ deployment: world.deploymentId, sessionId: id, ordinal: 1 }) });
    await world.clock.advance(1_000);
    await world.crash();
    const { saw } = world.replica.sightings;
    Object.assign(world.replica.sightings, { saw: () => Promise.reject(new Error('disk full')) });

    await world.run({ withinMs: MINUTE_MS });
    expect(world.account().calls('CreateInstance')).toBe(0);

    Object.assign(world.replica.sightings, { saw });
    await world.run({ withinMs: 5 * MINUTE_MS });
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: true, cause: 'evidence' });
    expect(world.account().calls('CreateInstance')).toBe(0);
  });

  it('once a person has ended it, what was seen by then is an orphan with the whole of its grace, and no evidence any more', async () => {
    const world = await make();
    const unknown = plantUnknown(world);
    await sweepFor(world, 3 * HOUR_MS);

    await world.replica.recovery.end('looked at');
    await sweepFor(world, GRACE_MS - 5 * MINUTE_MS);
    expect(living(world)).toEqual([unknown]);
    await sweepFor(world, 10 * MINUTE_MS);
    expect(living(world)).toEqual([]);

    expect(await world.replica.recovery.read()).toMatchObject({ isOn: false });
  });

  it('begins again for what is seen only afterwards', async () => {
    const world = await make();
    plantUnknown(world);
    await world.pass('instance.orphans');
    await world.replica.recovery.end('looked at');
    await world.clock.advance(MINUTE_MS);
    const later = plantUnknown(world);

    await sweepFor(world, 2 * HOUR_MS);

    expect(living(world)).toContain(later);
    expect(await world.replica.recovery.read()).toMatchObject({ isOn: true });
  });

  it('does not begin by ordinary life: restarts, kills at any time, lost creates, a twin, a stray of ages ago', async () => {
    const world = await make();
    const kept = await world.order({ ...T4, reservationMinutes: 600 });
    await world.runUntil(kept.id, 'running');
    for (const event of ['attempt.begun', 'instance.created']) {
      world.dieAt(event);
      const { id } = await world.order({ ...T4, reservationMinutes: 600 });
      await world.run({ until: () => !world.replica.life.alive, withinMs: 5 * MINUTE_MS });
      await world.crash();
      await world.runUntil(id, 'running', 30 * MINUTE_MS);
    }
    world.account().failNext('CreateInstance', { do: 'lose-answer' });
    const lost = await world.order({ ...T4, reservationMinutes: 600 });
    await world.runUntil(lost.id, 'running');
    const twin = world.account().plant({ tag: (await world.attempt(kept.id)).tag });
    const stray = world.account().plant({ tag: aTag(99) });

    await sweepFor(world, HOUR_MS);

    expect(await world.replica.recovery.read()).toEqual({ isOn: false });
    expect(living(world)).toHaveLength(4); // those that run
    expect(world.account().destroyedIds()).toContain(stray);
    expect(world.account().destroyedIds()).toContain(twin);
  });

  it('by a person’s wish it keeps even what would be an ordinary orphan', async () => {
    const world = await make();
    await world.replica.recovery.begin('operator', 'a backup was restored');
    world.account().plant({ tag: aTag(99) });

    await sweepFor(world, 2 * HOUR_MS);

    expect(living(world)).toHaveLength(1);
  });
});

describeEachDatabase('recovery mode of two replicas', (create) => {
  it('begun by one it keeps the other from destroying', async () => {
    const world = await aWorld({ store: await (await create()).open(), settings: { orphanGraceMs: 0 } });
    const second = await world.join();
    world.account().plant({ tag: aTag(99) });
    await world.pass('instance.orphans', second);
    plantUnknown(world);
    await world.pass('instance.orphans');
    await world.clock.advance(1_000);

    await world.pass('instance.orphans', second);

    expect(world.account().living()).toHaveLength(2);
    world.replica.life.end();
    second.life.end();
  });
});
