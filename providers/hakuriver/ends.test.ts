import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { instanceId } from '../../src/provider/ids.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { ACTIVE, KILL_TAKEN, NODE, NODES, TASK } from './fixtures/bodies.ts';
import { aContainer, aRunner, aWorld, destroy, got, KILL, listed, refused, silent } from './fixtures/ending-vps.ts';
import { openPort, rowsOf, type HakuWorld, type Reply } from './fixtures/scripted-host.ts';

const MINUTE_MS = 60_000;
const taken: Reply = { status: 202, json: KILL_TAKEN };
const kills = (world: HakuWorld) => world.host.routesAsked().filter((route) => route === KILL).length;

/** As the Host does: the row is closed the moment that a kill is taken. */
function killable(world: HakuWorld, ssh_port: number, node: { readonly url?: string } = {}): void {
  world.host.say({
    [KILL]: async () => {
      world.host.say({ ...rowsOf({ status: 'killed', ssh_port }, node), [KILL]: refused('killed') });
      return { status: 202, json: KILL_TAKEN };
    },
  });
}

/** A row that has been pending for the ten minutes that a start may take; the kill closes it, and no machine is told. */
async function neverStarted(node: { readonly url: string }, { losesAnswer = false } = {}): Promise<HakuWorld> {
  const row = { ssh_port: null, started_at: null };
  const world = await aWorld(rowsOf({ status: 'pending', ...row }, node));
  await world.provider.listInstances(uncancelled);
  await world.clock.advance(10 * MINUTE_MS);
  world.host.say({
    [KILL]: async () => {
      world.host.say({ ...rowsOf({ status: 'killed', ...row }, node), [KILL]: refused('killed') });
      return losesAnswer ? 'cut' : { status: 202, json: KILL_TAKEN };
    },
  });
  return world;
}

describe('a kill', () => {
  it('HAKU-9.27: is answered before anything stops: it is gone when its port is refused, whatever the Host says', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await got(world);

    expect(await destroy(world)).toBe('destroying');
    expect([await got(world), await listed(world)]).toEqual(['stopping', ['stopping']]);
    expect(await destroy(world)).toBe('destroying');
    await container.close();

    expect([await got(world), await listed(world)]).toEqual([undefined, []]);
    expect(await destroy(world)).toBe('gone');
  });

  describe('where the port was refused all along, as that of a container that crashes over and over, or has moved', () => {
    it('is believed at once when its machine says that it knows of none any more', async () => {
      const container = await aContainer();
      const runner = await aRunner({ status: 404, json: { detail: 'Task not found or not tracked by this runner.' } });
      const world = await aWorld(rowsOf({ ssh_port: container.port }, { url: runner.url }));
      killable(world, container.port, { url: runner.url });
      await got(world);
      await container.close();

      expect(await destroy(world)).toBe('destroying');
      expect(await destroy(world)).toBe('gone');
      expect(runner.asked).toHaveLength(1);
    });

    it.each([
      ['a minute when the Host hears its machine, which then heard the kill', 'online', MINUTE_MS],
      ['ten minutes when the Host does not', 'offline', 10 * MINUTE_MS],
    ])('is believed after %s', async (_, status, ms) => {
      const container = await aContainer();
      const world = await aWorld(rowsOf({ ssh_port: container.port }));
      killable(world, container.port);
      await got(world);
      await container.close();
      await destroy(world);
      world.host.say({ 'GET /nodes': { json: [{ ...NODES[0], status }] } });

      await world.clock.advance(ms - 1);
      expect(await got(world)).toBe('stopping');
      await world.clock.advance(1);

      expect(await got(world)).toBeUndefined();
    });
  });

  it('HAKU-9.25: is not believed for ten minutes where the machine was silent meanwhile, since a Runner that was dead is not told again', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await got(world);
    await destroy(world);
    await container.close();
    world.host.say(silent);
    expect(await got(world)).toBe('stopping');
    world.host.say({ 'GET /nodes': { json: NODES } });

    await world.clock.advance(10 * MINUTE_MS - 1);
    expect(await got(world)).toBe('stopping');
    await world.clock.advance(1);

    expect(await got(world)).toBeUndefined();
  });

  it('is believed after a minute where the port cannot be dialled', async () => {
    const nowhere = { url: 'of no use' };
    const world = await aWorld(rowsOf({}, nowhere));
    killable(world, ACTIVE.ssh_port, nowhere);
    await got(world);

    expect(await destroy(world)).toBe('destroying');
    await world.clock.advance(MINUTE_MS - 1);
    expect(await got(world)).toBe('stopping');
    await world.clock.advance(1);

    expect(await got(world)).toBeUndefined();
    expect(await listed(world)).toEqual([]);
  });

  it('HAKU-9.33: is believed after a minute where its port belongs to another VPS by now', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await got(world);
    await destroy(world);
    world.host.say({
      'GET /vps/status': { json: [{ ...ACTIVE, task_id: '8', assigned_node: NODE, ssh_port: container.port }] },
    });

    expect(await got(world)).toBe('stopping');
    await world.clock.advance(MINUTE_MS);

    expect(await got(world)).toBeUndefined();
  });

  it('that is gone and then heard of again is there again', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await got(world);
    await destroy(world);
    await container.close();
    expect(await destroy(world)).toBe('gone');
    world.host.say(rowsOf({ status: 'running' }));

    expect(await got(world)).toBe('running');
  });

  it('HAKU-9.28: is held back while the machine may be starting the container, which it would not hear of', async () => {
    const world = await aWorld({ ...rowsOf({ status: 'pending', ssh_port: null }), [KILL]: taken });

    expect(await destroy(world)).toBe('destroying');
    await world.clock.advance(9 * MINUTE_MS);
    expect(await destroy(world)).toBe('destroying');
    expect(kills(world)).toBe(0);
    world.host.say(rowsOf({ status: 'running' }));
    await destroy(world);

    expect(kills(world)).toBe(1);
  });

  it('HAKU-9.28: is held back whatever case the status is in', async () => {
    const world = await aWorld({ ...rowsOf({ status: 'Pending', ssh_port: null }), [KILL]: taken });

    expect(await destroy(world)).toBe('destroying');
    expect(kills(world)).toBe(0);
  });

  it('HAKU-9.28: that no machine was told of proves nothing for ten minutes, although the Host hears the machine', async () => {
    const world = await neverStarted({ url: 'of no use' });
    await destroy(world);

    await world.clock.advance(10 * MINUTE_MS - 1);
    expect(await destroy(world)).toBe('destroying');
    await world.clock.advance(1);

    expect(await destroy(world)).toBe('gone');
  });

  it('HAKU-9.28: that no machine was told of is asked of the machine until it answers, for an hour, while the Host hears it', async () => {
    const away = await aRunner({ status: 502, text: 'bad gateway' });
    const world = await neverStarted({ url: away.url });
    await destroy(world);
    const askedAtFirst = away.asked.length;

    await world.clock.advance(59 * MINUTE_MS);
    expect(await destroy(world)).toBe('destroying');
    expect(away.asked.length).toBe(askedAtFirst + 1);
    away.say({ 'POST /kill': { json: { message: 'Kill processed.' } } });
    await destroy(world);
    await world.clock.advance(MINUTE_MS);

    expect(await destroy(world)).toBe('gone');
  });

  it('HAKU-9.28: that no machine was told of is not believed sooner because the answer to the kill was lost', async () => {
    const runner = await aRunner({ status: 502, text: 'bad gateway' });
    const world = await neverStarted({ url: runner.url }, { losesAnswer: true });
    await expect(destroy(world)).rejects.toMatchObject({ kind: 'unavailable' });
    await got(world); // the row is seen to be closed

    await world.clock.advance(20 * MINUTE_MS);

    expect(await got(world)).toBe('failed'); // which is not gone
  });

  it('RULE-R15: is not over because the row that was closed no longer shows the keys', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await destroy(world);
    world.host.say(rowsOf({ status: 'killed', ssh_port: container.port, command: null }));

    expect([await got(world), await listed(world)]).toEqual(['stopping', ['stopping']]);
  });

  it('RULE-R15: is not over for who starts anew and never saw the keys', async () => {
    const world = await aWorld(rowsOf({ status: 'killed', command: null }));

    expect(await got(world)).toBe('failed');
  });

  it('HAKU-9.1, HAKU-9.28: is sent all the same after ten minutes, to the Host and to the machine itself', async () => {
    const runner = await aRunner({ status: 404, json: { detail: 'Task not found' } });
    const world = await aWorld({ ...rowsOf({ status: 'pending', ssh_port: null }, { url: runner.url }), [KILL]: taken });
    await destroy(world);
    // the create found out where it is
    await world.provider.listInstances(uncancelled);
    await world.clock.advance(10 * MINUTE_MS);

    await destroy(world);

    expect(kills(world)).toBe(1);
    expect(runner.asked.map(({ route, text }) => [route, text])).toEqual([['POST /kill', `{"task_id":${TASK}}`]]);
  });

  it('HAKU-9.28: is held back for ten minutes and no longer, whatever words the row shows meanwhile', async () => {
    const starting = rowsOf({ status: 'pending', ssh_port: null });
    const world = await aWorld({ ...starting, [KILL]: taken });
    await world.provider.listInstances(uncancelled);

    await world.clock.advance(5 * MINUTE_MS);
    world.host.say(rowsOf({ status: 'defragmenting', started_at: null, ssh_port: null }));
    await destroy(world);
    await world.clock.advance(4 * MINUTE_MS);
    world.host.say(starting);
    await destroy(world);
    expect(kills(world)).toBe(0);
    await world.clock.advance(MINUTE_MS);
    await destroy(world);

    expect(kills(world)).toBe(1);
  });

  it('of what never was is no error', async () => {
    const world = await aWorld({ 'POST /kill/1': { status: 404, json: { detail: 'Task not found.' } } });

    expect(await world.provider.destroyInstance(instanceId('1'), uncancelled)).toBe('gone');
  });

  it.each<[string, Reply, string]>([
    ['a failing Host', { status: 500, text: 'Internal Server Error' }, 'unavailable'],
    ['a token that is refused', { status: 403, json: { detail: 'x' } }, 'auth'],
    ['a page for people', { text: '<html></html>' }, 'unavailable'],
    ['a cut connection', async () => 'cut', 'unavailable'],
    ['a route that is gone', { status: 404, json: { detail: 'Not Found' } }, 'protocol'],
  ])('fails openly before %s', async (_, reply, kind) => {
    const world = await aWorld({ ...rowsOf(), [KILL]: reply });

    await expect(destroy(world)).rejects.toMatchObject({ name: 'ProviderError', operation: 'DestroyInstance', kind });
  });

  it('that was taken is destroying when the Host cannot be asked what became of it', async () => {
    const world = await aWorld(rowsOf());
    world.host.say({
      [KILL]: async () => {
        world.host.say({ [`GET /status/${TASK}`]: { status: 500, text: 'x' } });
        return { status: 202, json: KILL_TAKEN };
      },
    });

    expect(await destroy(world)).toBe('destroying');
  });
});

describe('what is gone', () => {
  it('is not dialled for ever', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await got(world);
    await destroy(world);
    await container.close();
    expect(await destroy(world)).toBe('gone');
    await world.clock.advance(10 * MINUTE_MS);
    const again = await openPort(); // whatever listens anywhere now
    onTestFinished(again.close);

    expect(await got(world)).toBeUndefined();
  });

  it('ends with the caller’s signal while it is dialled', async () => {
    const container = await aContainer();
    const world = await aWorld(rowsOf({ ssh_port: container.port }));
    killable(world, container.port);
    await got(world);
    await destroy(world);
    const abort = new AbortController();
    world.host.say({
      'GET /vps/status': async () => {
        abort.abort();
        await delay(1);
        return 'hang';
      },
    });

    await expect(world.provider.getInstance(instanceId(TASK), { signal: abort.signal })).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });
});
