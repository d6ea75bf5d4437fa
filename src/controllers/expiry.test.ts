import { expect, it } from 'vitest';
import { describeWorld } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { offerId } from '../provider/ids.ts';

describeWorld('expiry', (make) => {
  it('ends a session at its instant, not at the next period', async () => {
    const world = await make({ settings: { checkIntervalMs: 10 * MINUTE_MS } });
    const { id, expiresAt } = await world.order({ reservationMinutes: 5 });

    const { session } = await world.runUntil(id, 'stopped', 20 * MINUTE_MS);

    expect(session).toMatchObject({ reason: 'expired', stopRequestedAt: expiresAt });
    expect(world.account().living()).toEqual([]);
  });

  it('ends a session at its instant that came when the next look was far away', async () => {
    const world = await make({ settings: { checkIntervalMs: 10 * MINUTE_MS } });
    await world.run({ withinMs: MINUTE_MS });
    const { id, expiresAt } = await world.order({ reservationMinutes: 5 });

    const { session } = await world.runUntil(id, 'stopped', 20 * MINUTE_MS);

    expect(session).toMatchObject({ reason: 'expired', stopRequestedAt: expiresAt });
  });

  it('an extension moves it', async () => {
    const world = await make();
    const { id } = await world.order({ reservationMinutes: 5 });
    await world.runUntil(id, 'running');
    await world.replica.commands.extend(id, 10);

    await world.run({ withinMs: 10 * MINUTE_MS });
    expect((await world.record(id)).session.status).toBe('running');
    await world.runUntil(id, 'stopped', 6 * MINUTE_MS);
  });

  it('hard maximum: ends what no extension can lift, with its own reason', async () => {
    const world = await make({ settings: { hardMaxMs: 30 * MINUTE_MS } });
    const { id } = await world.order({ reservationMinutes: 20 });
    await world.runUntil(id, 'running');
    await expect(world.replica.commands.extend(id, 20)).rejects.toThrow('10 more minutes are possible');
    await world.replica.commands.extend(id, 10);
    await world.clock.advance(0);

    // given both are due at once, either reason tells the truth; the hard maximum alone is enough when expiry does not run
    await world.shutDown();
    await world.clock.advance(40 * MINUTE_MS);
    await world.crash();
    await world.pass('session.hard-maximum');

    expect((await world.record(id)).session).toMatchObject({ status: 'stopping', reason: 'hard_max' });
  });

  it('REL-C14: reached while the provider is down, the session stays stopping and its bill goes on until gone is observed', async () => {
    const world = await make();
    const { id, expiresAt } = await world.order({ reservationMinutes: 5 });
    await world.runUntil(id, 'running');
    for (const call of ['DestroyInstance', 'GetInstanceStatus', 'ListAllInstances'] as const)
      world.account().failAlways(call, { do: 'fail', kind: 'unavailable' });

    await world.run({ withinMs: 30 * MINUTE_MS });
    expect((await world.record(id)).session).toMatchObject({ status: 'stopping', reason: 'expired' });
    world.account().heal();
    await world.runUntil(id, 'stopped', 6 * MINUTE_MS);

    const [segment] = await world.replica.costs.segmentsOf(id);
    expect(segment?.toAt).toBeGreaterThan(expiresAt + 20 * MINUTE_MS);
  });

  it('REL-F1: a clock that jumps two hours ahead expires nobody, and what is really due still ends', async () => {
    const world = await make({ settings: { clockSettleMs: 24 * HOUR_MS } });
    const short = await world.order({ reservationMinutes: 10, request: { offerId: offerId('memory-stock-t4') } });
    const long = await world.order({ reservationMinutes: 60, request: { offerId: offerId('memory-stock-t4') } });
    await world.runUntil(short.id, 'running');
    await world.runUntil(long.id, 'running');

    world.clock.jumpWall(2 * HOUR_MS);
    await world.run({ withinMs: 8 * MINUTE_MS });
    expect((await world.record(short.id)).session.status).toBe('running');
    await world.run({ withinMs: 3 * MINUTE_MS });

    expect((await world.record(short.id)).session).toMatchObject({ reason: 'expired' });
    expect((await world.record(long.id)).session.status).toBe('running');
    const passes = world.replica.driver.statuses().find(({ name }) => name === 'session.expiry')?.runs ?? 0;
    expect(passes).toBeLessThan(30); // frozen time does not make it go round without a rest
  });

  it('REL-F1: once the new time is believed, it decides', async () => {
    const world = await make({ settings: { clockSettleMs: 10 * MINUTE_MS } });
    const { id } = await world.order({ reservationMinutes: 60 });
    await world.runUntil(id, 'running');
    world.clock.jumpWall(2 * HOUR_MS);

    await world.run({ withinMs: 9 * MINUTE_MS });
    expect((await world.record(id)).session.status).toBe('running');
    await world.runUntil(id, 'stopped', 4 * MINUTE_MS);
  });

  it('REL-F1, REL-F2: a clock that jumps back makes nobody live longer while it is not believed', async () => {
    const world = await make({ settings: { clockSettleMs: 24 * HOUR_MS } });
    const { id } = await world.order({ reservationMinutes: 10 });
    await world.runUntil(id, 'running');
    world.clock.jumpWall(-2 * HOUR_MS);

    await world.runUntil(id, 'stopped', 11 * MINUTE_MS);
  });

  it('REL-D9: a session that cannot be stopped keeps no other from expiring', async () => {
    const world = await make();
    const poison = await world.order({ reservationMinutes: 5, request: { offerId: offerId('memory-stock-t4') } });
    const other = await world.order({ reservationMinutes: 5, request: { offerId: offerId('memory-stock-t4') } });
    const apply = world.replica.writer.apply.bind(world.replica.writer);
    Object.assign(world.replica.writer, {
      apply: (...args: Parameters<typeof apply>) =>
        args[0] === poison.id ? Promise.reject(new Error('fact would break: something')) : apply(...args),
    });
    await world.clock.advance(6 * MINUTE_MS);

    const report = await world.pass('session.expiry');

    expect(report).toMatchObject({ examined: 2, changed: 1, failed: 1 });
    expect((await world.record(other.id)).session.reason).toBe('expired');
    expect(report.wakeAt).toBeUndefined();
  });
});
