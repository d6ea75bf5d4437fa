import { expect, it } from 'vitest';
import { describeWorld, type World } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { instanceId, offerId } from '../provider/ids.ts';

async function aRunning(world: World): Promise<SessionId> {
  const { id } = await world.order();
  await world.runUntil(id, 'running');
  return id;
}

describeWorld('termination: destroyed until gone', (make) => {
  it('REL-C1, PEER-10.73: a destroy that fails for hours is repeated for ever, at least every five minutes, and the bill goes on', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable', retryAfterMs: 3 * HOUR_MS });
    await world.stop(id);
    await world.run({ withinMs: 15 * MINUTE_MS });
    const before = world.account().calls('DestroyInstance');

    await world.run({ withinMs: HOUR_MS });

    const tries = world.account().calls('DestroyInstance') - before;
    expect(tries).toBeGreaterThanOrEqual(11);
    expect(tries).toBeLessThanOrEqual(20);
    expect(world.replica.counts.destroysFailed).toBe(world.account().calls('DestroyInstance'));
    const { session, attempts } = await world.record(id);
    expect(session).toMatchObject({ status: 'stopping', destroyAcceptedAt: null });
    expect(attempts[0]?.billingSince).not.toBeNull();
    expect(world.log.messages('error').filter((line) => line.startsWith('instance destroy is overdue'))).toHaveLength(2);
    expect(attempts[0]?.instanceId).toBe(world.account().living()[0]?.id); // PEER-11.2.4: the id is never forgotten

    world.account().heal();
    await world.runUntil(id, 'stopped', 10 * MINUTE_MS);
    expect(world.account().living()).toEqual([]);
    const [segment] = await world.replica.costs.segmentsOf(id);
    expect((segment?.toAt ?? 0) - (segment?.fromAt ?? 0)).toBeGreaterThan(75 * MINUTE_MS);
  });

  it('REL-C2: a destroy that is accepted and not carried out is repeated', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().failNext('DestroyInstance', { do: 'ignore' }, { do: 'ignore' }, { do: 'ignore' });
    await world.stop(id);

    await world.runUntil(id, 'stopped');

    expect(world.account().calls('DestroyInstance')).toBe(4);
    expect(world.account().living()).toEqual([]);
  });

  it('REL-C2: a destroy that claims gone and lies is found out, and destroyed again at the operator’s cost', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().failNext('DestroyInstance', { do: 'claim-gone' });
    await world.stop(id);

    await world.runUntil(id, 'stopped');
    await world.run({ until: () => world.account().living().length === 0, withinMs: MINUTE_MS });
    await world.run({ until: async () => (await world.record(id)).session.phase === 'settled', withinMs: MINUTE_MS });

    expect(await world.eventKinds(id)).toContain('instance.reappeared');
    const segments = await world.replica.costs.segmentsOf(id);
    expect(segments.map(({ payer }) => payer)).toEqual(['attempt', 'operator']);
    expect((await world.record(id)).session.status).toBe('stopped');
  });

  it('REL-C5: an instance that is not there at the first destroy is looked for over the window before it is verified', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().vanish(instanceId('i-1'));
    await world.stop(id);

    const { session } = await world.runUntil(id, 'stopped');
    expect(session.destroyVerifiedAt).toBeNull();
    await world.run({ until: async () => (await world.record(id)).session.destroyVerifiedAt !== null, withinMs: MINUTE_MS });

    const { session: end } = await world.record(id);
    expect((end.destroyVerifiedAt ?? 0) - (end.destroyAcceptedAt ?? 0)).toBeGreaterThanOrEqual(5_000);
  });

  it('REL-C6: a destroy whose answer is lost is asked for again and does no harm', async () => {
    const world = await make({ providers: [{ settings: { destroyMs: 3_000 } }] });
    const id = await aRunning(world);
    world.account().failNext('DestroyInstance', { do: 'lose-answer' });
    await world.stop(id);

    await world.runUntil(id, 'stopped');

    expect(world.account().destroyedIds()).toEqual(['i-1']);
  });

  it('REL-C6: a crash between the destroy and its answer is no different', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().failNext('DestroyInstance', { do: 'hang', done: true });
    await world.stop(id);
    await world.settle();
    expect(world.account().living()).toEqual([]);

    await world.crash();
    const { session } = await world.runUntil(id, 'stopped');

    expect(session.reason).toBe('user_requested');
    expect(world.account().destroyedIds()).toHaveLength(1);
  });

  it('REL-B8: a list that still shows what is gone does not start a race of destroys', async () => {
    const world = await make({ providers: [{ settings: { listStaleMs: 120_000 } }] });
    const id = await aRunning(world);
    await world.stop(id);
    await world.runUntil(id, 'stopped');

    await world.run({ withinMs: 110_000 });
    expect((await world.record(id)).session.destroyVerifiedAt).toBeNull();
    expect(world.account().calls('DestroyInstance')).toBeLessThan(15);
    await world.run({ until: async () => (await world.record(id)).session.destroyVerifiedAt !== null, withinMs: 120_000 });

    expect((await world.record(id)).session.status).toBe('stopped');
  });

  it('REL-B15, RULE-R10: what answers to the id under another tag is not destroyed, and our own is found to be gone', async () => {
    const world = await make();
    const id = await aRunning(world);
    await world.clock.advance(0);
    const other = 'berth-other-00000000000000000000000009-1';
    world.account().vanish(instanceId('i-1'));
    world.account().plant({ id: instanceId('i-1'), tag: other });
    world.account().failNext('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.stop(id);

    await world.runUntil(id, 'stopped', 5 * MINUTE_MS);

    expect(world.account().livingWithTag(other)).toHaveLength(1);
    expect(world.account().destroyedIds()).toEqual([]);
  });

  it('REL-B15, RULE-R10: who answers to the id without a tag, and was made later, is not destroyed either', async () => {
    const world = await make();
    const id = await aRunning(world);
    await world.run({ withinMs: 10 * MINUTE_MS });
    world.account().vanish(instanceId('i-1'));
    world.account().plant({ id: instanceId('i-1') });
    world.account().failNext('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.stop(id);

    await world.run({
      until: async () => (await world.record(id)).session.destroyVerifiedAt !== null,
      withinMs: 10 * MINUTE_MS,
    });

    expect(world.account().living()).toHaveLength(1);
    expect(world.account().destroyedIds()).toEqual([]);
  });

  it('REL-B15, RULE-R10: an id that became another’s while the broker was down is looked at before it is destroyed', async () => {
    const world = await make();
    const id = await aRunning(world);
    await world.shutDown();
    await world.stop(id);
    const other = 'berth-other-00000000000000000000000009-1';
    world.account().vanish(instanceId('i-1'));
    world.account().plant({ id: instanceId('i-1'), tag: other });
    await world.clock.advance(2 * HOUR_MS);

    await world.crash();
    await world.runUntil(id, 'stopped', 5 * MINUTE_MS);

    expect(world.account().livingWithTag(other)).toHaveLength(1);
    expect(world.account().destroyedIds()).toEqual([]);
  });

  it.each([
    { reusesIds: true, where: 'where ids are reused', asks: 'no destroy is sent before its instance is seen again', spared: 1 },
    { reusesIds: false, where: 'where ids are used once', asks: 'a destroy is asked for all the same', spared: 0 },
  ])('REL-B15, RULE-R8: while nothing can be seen, $where, $asks', async ({ reusesIds, spared }) => {
    const world = await make({ providers: [{ capabilities: { reusesIds } }] });
    const id = await aRunning(world);
    await world.shutDown();
    await world.stop(id);
    await world.clock.advance(10 * MINUTE_MS);
    const other = 'berth-other-00000000000000000000000009-1';
    world.account().vanish(instanceId('i-1'));
    world.account().plant({ id: instanceId('i-1'), tag: other });
    world.account().failAlways('GetInstanceStatus', { do: 'fail', kind: 'unavailable' });
    world.account().failAlways('ListAllInstances', { do: 'fail', kind: 'unavailable' });
    await world.crash();
    await world.run({ withinMs: 20 * MINUTE_MS });
    expect(world.account().livingWithTag(other)).toHaveLength(spared);

    world.account().heal();
    await world.runUntil(id, 'stopped', 15 * MINUTE_MS);

    expect(world.account().livingWithTag(other)).toHaveLength(spared);
  });

  it('REL-B15: where ids are reused, what its id denies and the list shows is destroyed', async () => {
    const world = await make({ providers: [{ capabilities: { reusesIds: true } }] });
    const id = await aRunning(world);
    world.account().failAlways('GetInstanceStatus', { do: 'omit', ids: [instanceId('i-1')] });
    await world.stop(id);

    await world.run({ until: () => world.account().living().length === 0, withinMs: 5 * MINUTE_MS });

    expect(world.account().destroyedIds()).toEqual(['i-1']);
  });

  it('reads what is due, not all that waits: each answer calls for another pass', async () => {
    const world = await make({
      providers: [
        { capabilities: { absence: { observations: 3, spacingMs: 60_000, windowMs: 15 * MINUTE_MS, kinds: ['get', 'list'] } } },
      ],
    });
    const ids: SessionId[] = [];
    for (let count = 0; count < 12; count += 1) {
      ids.push((await world.order({ request: { offerId: offerId('memory-stock-t4') } })).id);
      await world.runUntil(ids[count]!, 'running');
      await world.run({ withinMs: 5_000 });
    }
    for (const id of ids) {
      await world.stop(id);
      await world.run({ withinMs: 5_000 });
    }
    const { sessions } = world.replica;
    const find = sessions.findDueAttempts.bind(sessions);
    let read = 0;
    Object.assign(sessions, {
      findDueAttempts: async (...args: Parameters<typeof find>) => {
        const found = await find(...args);
        read += found.length;
        return found;
      },
    });

    await world.run({ withinMs: MINUTE_MS });

    expect(read).toBeGreaterThanOrEqual(12);
    expect(read).toBeLessThan(12 * 8); // once each when it is due, and all of them now and then
  });

  it('ends a session whose every destroy fails once the instance is gone by itself', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.stop(id);
    await world.run({ withinMs: MINUTE_MS });
    expect((await world.record(id)).session.status).toBe('stopping');

    world.account().vanish(instanceId('i-1'));

    await world.runUntil(id, 'stopped', 40 * MINUTE_MS);
  });

  it('REL-C11, PEER-11.2.11, PEER-10.72: a session that is old when its end begins has all the time it needs', async () => {
    const world = await make();
    const id = await aRunning(world);
    await world.run({ withinMs: 40 * MINUTE_MS });
    world.account().failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.stop(id);
    await world.run({ withinMs: 15 * MINUTE_MS });

    expect((await world.record(id)).session).toMatchObject({ status: 'stopping', reason: 'user_requested' });
    world.account().heal();
    const { session } = await world.runUntil(id, 'stopped', 10 * MINUTE_MS);
    expect(session.reason).toBe('user_requested');
  });

  it('REL-C12: the wish to end may be repeated at any time and is carried out once', async () => {
    const world = await make();
    const id = await aRunning(world);
    await Promise.all([world.stop(id), world.stop(id), world.stop(id)]);
    await world.runUntil(id, 'stopped');

    const again = await world.stop(id, 'drained');
    await world.run({ withinMs: MINUTE_MS });

    expect(again.session).toMatchObject({ status: 'stopped', reason: 'user_requested' });
    expect(world.account().destroyedIds()).toHaveLength(1);
    expect(world.account().calls('DestroyInstance')).toBe(1);
  });

  it('REL-C13: the driver’s stop leaves sessions alone, and a start finds them running', async () => {
    const world = await make({ providers: [{ settings: { bootMs: 60_000 } }] });
    const running = await world.order();
    await world.runUntil(running.id, 'running', 2 * MINUTE_MS);
    const booting = await world.order({ request: { offerId: offerId('memory-stock-t4') } });
    await world.run({ withinMs: 10_000 });

    await world.shutDown();
    const before = world.account().calls('DestroyInstance');
    await world.crash();
    await world.runUntil(booting.id, 'running', 2 * MINUTE_MS);

    expect(before).toBe(0);
    expect((await world.record(running.id)).session.status).toBe('running');
    expect(world.account().living()).toHaveLength(2);
    expect(world.account().calls('CreateInstance')).toBe(2);
  });

  it('PEER-11.2.22: destroys that hang at one provider hold up none at another', async () => {
    const world = await make({
      providers: [{ id: 'slow' }, { id: 'quick' }],
      settings: { createConcurrency: 1 },
    });
    const slow = [];
    for (let count = 0; count < 3; count += 1) slow.push(await world.order({ request: { offerId: offerId('slow-stock-t4') } }));
    const quick = await world.order({ request: { offerId: offerId('quick-stock-t4') } });
    for (const { id } of [...slow, quick]) await world.runUntil(id, 'running');
    world.account('slow').failAlways('DestroyInstance', { do: 'hang', done: false });
    for (const { id } of slow) await world.stop(id);
    await world.stop(quick.id);

    await world.runUntil(quick.id, 'stopped', 5_000);
  });

  it('RULE-R5: everything is due at a start, whatever its row says', async () => {
    const world = await make();
    const id = await aRunning(world);
    world.account().failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.stop(id);
    await world.run({ withinMs: 20 * MINUTE_MS });
    world.account().heal();

    await world.crash();
    await world.runUntil(id, 'stopped', 1_000);
  });

  it('RULE-R9: a closed attempt that is seen again days later is destroyed again, and the session stays what it was', async () => {
    const world = await make();
    const id = await aRunning(world);
    await world.stop(id);
    await world.run({ until: async () => (await world.record(id)).session.phase === 'settled', withinMs: MINUTE_MS });
    const { tag } = await world.attempt(id);
    await world.shutDown();
    await world.clock.advance(3 * 24 * HOUR_MS);
    await world.crash();

    world.account().plant({ tag });
    world.account().failNext('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.run({ until: () => world.account().calls('DestroyInstance') === 2, withinMs: 10 * MINUTE_MS });
    expect(await world.replica.sessions.countReappeared()).toEqual([{ provider: 'memory', count: 1 }]);
    await world.run({ until: () => world.account().living().length === 0, withinMs: 10 * MINUTE_MS });

    const { session } = await world.record(id);
    expect(session).toMatchObject({ status: 'stopped', reason: 'user_requested' });
    expect(await world.eventKinds(id)).toContain('instance.reappeared');
  });

  it('REL-F2: nor is one from when it was half an hour ahead', async () => {
    const world = await make({ settings: { clockSettleMs: 0 } });
    const { id } = await world.order({ reservationMinutes: 600 });
    await world.runUntil(id, 'running');
    world.clock.jumpWall(30 * MINUTE_MS);
    await world.run({ withinMs: 10_000 });
    await world.replica.writer.apply(id, { kind: 'extended', addedMinutes: 1 });
    world.clock.jumpWall(-30 * MINUTE_MS);
    await world.run({ withinMs: 10_000 });

    await world.stop(id);

    await world.runUntil(id, 'stopped', 5 * MINUTE_MS);
  });

  it('REL-F2: a row written while the clock was ahead is not made to wait until that time comes', async () => {
    const world = await make({ settings: { clockSettleMs: 0 } });
    const { id } = await world.order({ reservationMinutes: 600 });
    await world.runUntil(id, 'running');
    world.clock.jumpWall(3 * HOUR_MS);
    await world.run({ withinMs: 10_000 });
    await world.replica.writer.apply(id, { kind: 'extended', addedMinutes: 1 });
    world.clock.jumpWall(-3 * HOUR_MS);
    await world.run({ withinMs: 10_000 });

    await world.stop(id);
    expect((await world.attempt(id)).dueAt).toBeGreaterThan(world.clock.now() + 2 * HOUR_MS);
    await world.runUntil(id, 'stopped', 5 * MINUTE_MS);
    await world.run({ withinMs: MINUTE_MS });

    expect(world.account().living()).toEqual([]);
    expect(world.account().calls('GetInstanceStatus')).toBeLessThan(30);
  });
});
