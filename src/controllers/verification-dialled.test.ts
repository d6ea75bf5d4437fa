import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { createInMemoryProvider } from '../../test/support/in-memory-provider.ts';
import { databases } from '../../test/support/stores.ts';
import { aWorld, WorldClock, type World } from '../../test/support/world.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { berthSchema } from '../db/schema.ts';
import { offerId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import type { Provider } from '../provider/provider.ts';

const newDatabase = databases('sqlite', berthSchema);
const worlds: World[] = [];
afterEach(() => {
  for (const { replica } of worlds.splice(0)) replica.life.end();
});

/** A world whose only market can be dialled by nobody but itself. */
async function make({ ports = 10 } = {}): Promise<World> {
  const clock = new WorldClock();
  const { provider } = createInMemoryProvider({ clock });
  const behind = (instance: Instance): Instance =>
    instance.state === 'running' ? { ...instance, ssh: { ...instance.ssh, routes: 'dial' } } : instance;
  const walled: Provider = {
    ...provider,
    createInstance: async (request, options) => behind(await provider.createInstance(request, options)),
    listInstances: async (options) => (await provider.listInstances(options)).map(behind),
    getInstance: async (id, options) => {
      const instance = await provider.getInstance(id, options);
      return instance && behind(instance);
    },
    dialSsh: async () => new PassThrough(),
  };
  const world = await aWorld({
    store: await (await newDatabase()).open(),
    outside: { clock, providers: [walled] },
    settings: { tunnelPorts: { first: 22_000, last: 22_000 + ports - 1 } },
  });
  worlds.push(world);
  await world.begin('offers.refresh');
  return world;
}

const anOrder = (offer = 'ask-1') => ({ request: { offerId: offerId(`memory-${offer}`) } });

describe('verification of an instance that only its provider can dial', () => {
  it('knocks only once the broker has a port for it, and hands out that one', async () => {
    const world = await make();
    const { id } = await world.order(anOrder());
    const { session } = await world.runUntil(id, 'running');

    expect(world.ssh.knocks.length).toBeGreaterThan(0);
    expect(session).toMatchObject({ sshHost: 'broker.example' });
    expect(world.replica.tunnels.routes()).toMatchObject([{ sessionId: id, port: session.sshPort }]);
    const kinds = await world.eventKinds(id);
    expect(kinds.indexOf('session.tunnel_opened')).toBeLessThan(kinds.indexOf('session.running'));
  });

  it('never knocks without one, and says at the deadline what was missing, not that the machine is bad', async () => {
    const world = await make({ ports: 1 });
    world.replica.tunnels.takenPorts.add(22_000);
    const { id } = await world.order(anOrder());
    const { session, attempts } = await world.runUntil(id, 'failed', 20 * MINUTE_MS);

    expect(world.ssh.knocks).toEqual([]);
    expect(session).toMatchObject({ reason: 'no_capacity' });
    expect(session.error).toMatch(/^no port of TUNNEL_PORTS \(22000\) is free for this session, for \d+ minutes$/);
    expect(attempts[0]).toMatchObject({ outcome: 'no_capacity' });
  });

  it('gives the port back with the session', async () => {
    const world = await make({ ports: 1 });
    const first = await world.order(anOrder());
    await world.runUntil(first.id, 'running');
    await world.stop(first.id);
    await world.run({ withinMs: 2 * SECOND_MS });
    expect(world.replica.tunnels.routes()).toEqual([]);

    const second = await world.order(anOrder('stock-t4'));
    expect((await world.runUntil(second.id, 'running')).session.sshPort).toBe(22_000);
  });

  it('takes up where a process died after the port was stored', async () => {
    const world = await make();
    world.dieAt('session.tunnel_opened');
    const { id } = await world.order(anOrder());
    await world.run({ until: () => !world.replica.life.alive, withinMs: MINUTE_MS });
    const { sshPort } = (await world.record(id)).session;
    await world.crash();

    const { session } = await world.runUntil(id, 'running');

    expect(session.sshPort).toBe(sshPort);
    expect(world.replica.tunnels.isAdmitting(id)).toBe(true);
  });
});
