import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { databases, describeEachStore } from '../../test/support/stores.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { berthSchema } from '../db/schema.ts';
import { START } from '../sessions/fixtures/session-records.ts';
import { dialledSessions } from './fixtures/dialled-sessions.ts';

describe('the ports of sessions', () => {
  const newDatabase = databases('sqlite', berthSchema);

  async function aWorld() {
    const clock = new FakeClock(START);
    return { ...dialledSessions(await (await newDatabase()).open(), clock), clock };
  }

  it('are given to those whose instance can only be dialled, before they run', async () => {
    const world = await aWorld();
    const broker = world.aBroker();
    const [dialled, direct, booting] = [
      await world.add(1),
      await world.add(2, { direct: true }),
      await world.add(3, { booting: true }),
    ];

    await world.prove(dialled);
    expect((await world.record(dialled)).session.status).toBe('provisioning');
    const report = await broker.pass();
    await world.prove(dialled);

    const { session } = await world.record(dialled);
    expect(report).toMatchObject({ examined: 1, changed: 1, failed: 0 });
    expect(session).toMatchObject({ status: 'running', sshHost: 'broker.example' });
    expect(session.sshPort).toBeGreaterThanOrEqual(22_000);
    expect(session.sshPort).toBeLessThanOrEqual(22_009);
    expect(broker.openPorts()).toEqual([[dialled, session.sshPort]]);
    expect(broker.server.isAdmitting(dialled)).toBe(true);
    expect([await world.portOf(direct), await world.portOf(booting)]).toEqual([null, null]);
    expect(await world.eventKinds(dialled)).toEqual(expect.arrayContaining(['session.tunnel_opened', 'session.running']));
  });

  it('are left alone by the passes that follow', async () => {
    const world = await aWorld();
    const broker = world.aBroker();
    const id = await world.add(1);
    await broker.pass();
    const { version } = (await world.record(id)).session;

    expect(await broker.pass()).toMatchObject({ examined: 1, changed: 0, failed: 0 });
    expect((await world.record(id)).session.version).toBe(version);
  });

  it('are the same after a restart', async () => {
    const world = await aWorld();
    const before = world.aBroker();
    const ids = [await world.add(1), await world.add(2), await world.add(3)];
    await before.pass();

    const after = world.aBroker({ seed: 99, range: { first: 30_000, last: 30_009 } });
    await after.pass();

    expect(after.openPorts()).toEqual(before.openPorts());
    expect(ids.every((id) => after.server.isAdmitting(id))).toBe(true);
  });

  it('are closed when the session shall end, or its attempt is no use', async () => {
    const world = await aWorld();
    const broker = world.aBroker();
    const [first, second] = [await world.add(1), await world.add(2)];
    await broker.pass();

    await world.stop(first);
    await world.tell(second, { kind: 'attempt_failed', ordinal: 1, reason: 'ssh_verify_timeout', message: 'no login' });
    await broker.pass();

    expect(broker.openPorts()).toEqual([]);
  });

  it('are each given to one session, and who gets none waits and says why', async () => {
    const world = await aWorld();
    const broker = world.aBroker({ range: { first: 22_000, last: 22_001 } });
    const ids = [await world.add(1), await world.add(2), await world.add(3)];
    await broker.pass();
    const holderOf = async (port: number | null) => {
      for (const id of ids) if ((await world.portOf(id)) === port) return id;
      throw new Error(`nobody has port ${port}`);
    };
    const [first, , waiting] = [await holderOf(22_000), await holderOf(22_001), await holderOf(null)];

    await broker.pass();
    expect((await world.record(waiting)).session).toMatchObject({
      status: 'provisioning',
      sshPort: null,
      error: 'no port of TUNNEL_PORTS (22000-22001) is free for this session',
    });
    expect((await world.eventKinds(waiting)).filter((kind) => kind === 'session.tunnel_awaited')).toHaveLength(1);

    await world.stop(first);
    await broker.pass();
    expect(await world.portOf(waiting)).toBeNull(); // a port rests before it is given to the next
    await world.clock.advance(31 * SECOND_MS);
    await broker.pass();

    expect((await world.record(waiting)).session).toMatchObject({ sshPort: 22_000, error: null });
  });

  it('are others than those that another program holds', async () => {
    const world = await aWorld();
    const broker = world.aBroker({ range: { first: 22_000, last: 22_002 } });
    broker.server.takenPorts.add(22_000).add(22_002);

    const id = await world.add(1);
    await broker.pass();

    expect(await world.portOf(id)).toBe(22_001);
  });

  it('change only when another program holds one for long, and the consumer is told', async () => {
    const world = await aWorld();
    const id = await world.add(1);
    await world.aBroker().pass();
    await world.prove(id);
    const port = (await world.portOf(id)) ?? 0;
    const restarted = world.aBroker();
    restarted.server.takenPorts.add(port);

    expect(await restarted.pass()).toMatchObject({ changed: 0, failed: 1 });
    await world.clock.advance(9 * SECOND_MS);
    await restarted.pass();
    expect(await world.portOf(id)).toBe(port);
    expect(world.log.messages('warn')).toEqual(['the port of a running session cannot be opened; it is tried again']);

    await world.clock.advance(2 * SECOND_MS);
    await restarted.pass();
    const moved = await world.portOf(id);
    expect(moved).not.toBe(port);
    expect(restarted.openPorts()).toEqual([[id, moved]]);
    expect((await world.eventKinds(id)).at(-1)).toBe('session.address_changed');
  });

  it('come back where they were when they are free again in time', async () => {
    const world = await aWorld();
    const id = await world.add(1);
    await world.aBroker().pass();
    const port = (await world.portOf(id)) ?? 0;
    const restarted = world.aBroker();
    restarted.server.takenPorts.add(port);
    await restarted.pass();

    restarted.server.takenPorts.delete(port);
    await world.clock.advance(MINUTE_MS);
    await restarted.pass();

    expect(restarted.openPorts()).toEqual([[id, port]]);
  });

  it('are told under the name that the operator gives the machine now', async () => {
    const world = await aWorld();
    const id = await world.add(1);
    await world.aBroker().pass();
    const port = await world.portOf(id);

    await world.aBroker({ publicHost: 'gpu.example.com' }).pass();

    expect((await world.record(id)).session).toMatchObject({ sshHost: 'gpu.example.com', sshPort: port });
  });
});

describeEachStore('the ports of sessions with several brokers on one database', (open) => {
  it('are each given to one session, however many are given at once', async () => {
    const world = dialledSessions(await open(), new FakeClock(START));
    const range = { first: 22_000, last: 22_005 };
    const brokers = [1, 1, 2].map((seed) => world.aBroker({ range, seed, exclusive: false }));
    const ids: SessionId[] = [];
    for (let count = 1; count <= 6; count += 1) ids.push(await world.add(count));

    for (let round = 0; round < 3; round += 1) await Promise.all(brokers.map((broker) => broker.pass()));

    const ports = await Promise.all(ids.map(world.portOf));
    expect(new Set(ports)).toEqual(new Set([22_000, 22_001, 22_002, 22_003, 22_004, 22_005]));
    for (const id of ids)
      expect((await world.eventKinds(id)).filter((kind) => kind.startsWith('session.tunnel_opened'))).toHaveLength(1);
    const expected = new Map(ids.map((id, index) => [id, ports[index]]));
    for (const broker of brokers) expect(new Map(broker.openPorts())).toEqual(expected);
  });

  it('REL-I8, REL-I9: are served by every broker, and closed by each once the session shall end', async () => {
    const world = dialledSessions(await open(), new FakeClock(START));
    const [here, there] = [world.aBroker({ exclusive: false }), world.aBroker({ exclusive: false })];
    const id = await world.add(1);
    await here.pass();
    await there.pass();
    expect(there.openPorts()).toEqual(here.openPorts());
    expect(there.openPorts()).toHaveLength(1);

    await world.stop(id);
    await there.pass();

    expect(there.openPorts()).toEqual([]);
  });
});
