import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { databases, describeEachStore } from '../../test/support/stores.ts';
import { SECOND_MS } from '../core/duration.ts';
import { berthSchema } from '../db/schema.ts';
import { providerId } from '../provider/ids.ts';
import { START } from '../sessions/fixtures/session-records.ts';
import { dialledSessions } from './fixtures/dialled-sessions.ts';

const CLOUD = providerId('cloud');

describeEachStore('tunnel port repository', (open) => {
  async function aWorld() {
    const clock = new FakeClock(START);
    const store = await open();
    const world = dialledSessions(store, clock);
    /** Whether the port would be given to the session. */
    const claims = (id: Awaited<ReturnType<typeof world.add>>, port: number) =>
      store.write(world.ports.claim({ port, sessionId: id, now: clock.now() }));
    return { ...world, clock, claims };
  }

  it('finds sessions whose live instance can only be dialled, with the port that they have', async () => {
    const world = await aWorld();
    const [first, second] = [await world.add(1), await world.add(2)];
    await world.add(3, { direct: true });
    await world.add(4, { booting: true });
    await world.stop(await world.add(5));
    await world.openPort(second, 22_001);

    expect(await world.ports.findDialled(CLOUD)).toEqual([
      { sessionId: first, ordinal: 1, instanceId: 'instance-1', host: null, port: null },
      { sessionId: second, ordinal: 1, instanceId: 'instance-2', host: 'broker.example', port: 22_001 },
    ]);
    expect(await world.ports.findDialled(providerId('another'))).toEqual([]);
  });

  it('gives a port to one session at a time, and after its end only when it has rested', async () => {
    const world = await aWorld();
    const [first, second] = [await world.add(1), await world.add(2)];
    await world.openPort(first, 22_001);

    expect(await world.claims(first, 22_001)).toBe(true);
    expect(await world.claims(second, 22_002)).toBe(true);
    expect(await world.claims(second, 22_001)).toBe(false);

    await world.stop(first);
    await world.clock.advance(29 * SECOND_MS);
    expect(await world.claims(second, 22_001)).toBe(false);
    expect(await world.ports.findHeld(world.clock.now())).toEqual(new Set([22_001]));

    await world.clock.advance(2 * SECOND_MS);
    expect(await world.claims(second, 22_001)).toBe(true);
    expect(await world.ports.findHeld(world.clock.now())).toEqual(new Set());
  });
});

describe('tunnel port repository of two brokers', () => {
  const newDatabase = databases('postgres', berthSchema);

  it('gives a port that both want at the same moment to one of two sessions', async () => {
    const database = await newDatabase();
    const clock = new FakeClock(START);
    const [here, there] = [dialledSessions(await database.open(), clock), dialledSessions(await database.open(), clock)];
    for (let port = 22_000; port < 22_030; port += 1) {
      const [mine, yours] = [await here.add(2 * port), await here.add(2 * port + 1)];
      await Promise.all([here.openPort(mine, port), there.openPort(yours, port)]);

      const ports = [await here.portOf(mine), await here.portOf(yours)];
      expect(ports.filter((each) => each === port)).toHaveLength(1);
    }
  });
});
