import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { describeWorld, type World } from '../../test/support/world.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { instanceId, offerId } from '../provider/ids.ts';
import { isIdle } from './idleness.ts';

async function watched(world: World, idleThresholdMinutes = 10): Promise<SessionId> {
  const { id } = await world.order({ idleThresholdMinutes, reservationMinutes: 600 });
  await world.runUntil(id, 'running');
  return id;
}

const statusOf = async (world: World, id: SessionId) => (await world.record(id)).session.status;

describe('isIdle', () => {
  const limits = { gpuPercent: 5, cpuPercent: 5 };

  it.each([
    ['a quiet GPU', { gpuPercent: 5, cpuPercent: 90, sshConnections: 0 }, 1, true],
    ['a busy GPU', { gpuPercent: 6, cpuPercent: 0 }, 1, false],
    ['a GPU that nobody could read', { cpuPercent: 0, sshConnections: 0 }, 1, false],
    ['a quiet CPU without a GPU', { cpuPercent: 1 }, 0, true],
    ['a busy CPU without a GPU', { cpuPercent: 50, gpuPercent: 0 }, 0, false],
    ['somebody logged in', { gpuPercent: 0, sshConnections: 1 }, 1, false],
    ['nothing seen', {}, 1, false],
  ] as const)('%s: idle %s', (_name, sample, gpuCount, idle) => {
    expect(isIdle(sample, { gpuCount }, limits)).toBe(idle);
  });
});

describeWorld('idle shutdown', (make) => {
  it('ends a session that was idle for the whole time, after a warning, with the reason idle', async () => {
    const world = await make();
    world.ssh.use({ gpuPercent: 0, cpuPercent: 0, sshConnections: 0 });
    const id = await watched(world);
    const runningAt = world.clock.now();

    const { session } = await world.runUntil(id, 'stopped', 12 * MINUTE_MS);

    expect(session.reason).toBe('idle');
    expect((session.stopRequestedAt ?? 0) - runningAt).toBeGreaterThanOrEqual(10 * MINUTE_MS - 1_000);
    const events = await world.events(id);
    const warned = events.find(({ kind }) => kind === 'session.idle_warned');
    expect((session.stopRequestedAt ?? 0) - (warned?.at ?? 0)).toBeGreaterThanOrEqual(90_000);
    expect(world.account().living()).toEqual([]);
  });

  it('never ends without a warning, however short the threshold is beside the interval of looks', async () => {
    const world = await make({ settings: { sampleIntervalMs: 90_000 } });
    world.ssh.use({ gpuPercent: 0, sshConnections: 0 });
    const id = await watched(world, 1);

    await world.runUntil(id, 'stopped', 8 * MINUTE_MS);

    const kinds = await world.eventKinds(id);
    expect(kinds.indexOf('session.idle_warned')).toBeGreaterThan(0);
    expect(kinds.indexOf('session.idle_warned')).toBeLessThan(kinds.indexOf('session.stopping'));
  });

  it('no sample is not idle', async () => {
    const world = await make();
    const id = await watched(world);

    await world.run({ withinMs: 30 * MINUTE_MS });

    expect(world.ssh.samplesAsked).toBeGreaterThan(30);
    expect(await statusOf(world, id)).toBe('running');
  });

  it('one busy look, or one without a sample, begins the time anew', async () => {
    const world = await make();
    world.ssh.use({ gpuPercent: 0, sshConnections: 0 });
    const id = await watched(world);
    await world.run({ withinMs: 8 * MINUTE_MS + 30_000 });
    expect(await world.eventKinds(id)).toContain('session.idle_warned');
    world.ssh.use(undefined);
    await world.run({ withinMs: 40_000 });
    world.ssh.use({ gpuPercent: 0, sshConnections: 0 });

    await world.run({ withinMs: 9 * MINUTE_MS });
    expect(await statusOf(world, id)).toBe('running');
    await world.runUntil(id, 'stopped', 3 * MINUTE_MS);
  });

  it('somebody who is logged in is not idle', async () => {
    const world = await make();
    world.ssh.use({ gpuPercent: 0, cpuPercent: 0, sshConnections: 1 });
    const id = await watched(world);

    await world.run({ withinMs: 20 * MINUTE_MS });

    expect(await statusOf(world, id)).toBe('running');
  });

  it('after a gap, as a restart makes one, the time begins anew', async () => {
    const world = await make();
    world.ssh.use({ gpuPercent: 0, sshConnections: 0 });
    const id = await watched(world);
    await world.run({ withinMs: 7 * MINUTE_MS });
    await world.shutDown();
    await world.clock.advance(5 * MINUTE_MS);

    await world.crash();
    await world.run({ withinMs: 8 * MINUTE_MS });
    expect(await statusOf(world, id)).toBe('running');
    await world.runUntil(id, 'stopped', 4 * MINUTE_MS);
  });

  it('takes the provider’s own fresh reading where SSH tells nothing, and no old one or one from the future', async () => {
    const offers = [anOffer({ gpuType: 'CPU', gpuCount: 0, vramMib: 0 })];
    const world = await make({ providers: [{ offers }] });
    const id = await watched(world);
    const instance = world.account().instance(instanceId('i-1'));
    instance.utilisation = { cpuPercent: 0, sampledAt: world.clock.now() - 5 * MINUTE_MS };
    await world.pass('session.idleness');
    expect((await world.record(id)).session.idleSince).toBeNull();
    instance.utilisation = { cpuPercent: 0, sampledAt: world.clock.now() + 30 * MINUTE_MS };
    await world.clock.advance(1_000);
    await world.pass('session.idleness');
    expect((await world.record(id)).session.idleSince).toBeNull();

    instance.utilisation = { cpuPercent: 0, sampledAt: world.clock.now() };
    await world.clock.advance(1_000);
    await world.pass('session.idleness');

    expect((await world.record(id)).session.idleSince).not.toBeNull();
  });

  it('looks at every watched session, also when there are more than may be looked at at once', async () => {
    const world = await make();
    const ids: SessionId[] = [];
    for (let count = 0; count < 20; count += 1)
      ids.push((await world.order({ idleThresholdMinutes: 10, request: { offerId: offerId('memory-stock-t4') } })).id);
    for (const id of ids) await world.runUntil(id, 'running');
    world.ssh.use({ gpuPercent: 0, sshConnections: 0 });

    await world.pass('session.idleness');

    for (const id of ids) expect((await world.record(id)).session.idleSince).not.toBeNull();
  });

  it('leaves a session alone that did not ask for it', async () => {
    const world = await make();
    world.ssh.use({ gpuPercent: 0, sshConnections: 0 });
    const { id } = await world.order({ reservationMinutes: 600 });
    await world.runUntil(id, 'running');

    await world.run({ withinMs: 20 * MINUTE_MS });

    expect(await statusOf(world, id)).toBe('running');
    expect(world.ssh.samplesAsked).toBe(0);
  });
});
