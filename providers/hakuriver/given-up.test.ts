import { describe, expect, it, onTestFinished } from 'vitest';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { KILL_TAKEN, TASK } from './fixtures/bodies.ts';
import { aContainer, aRunner, aWorld, destroy, got, heard, KILL, listed, refused, silent } from './fixtures/ending-vps.ts';
import { makeWorld, rowsOf, type HakuWorld, type Reply, type ScriptedHost } from './fixtures/scripted-host.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

const killed: Reply = { json: { message: 'Kill processed.' } };

describe('what the Host has given up', () => {
  it('HAKU-9.25: a lost VPS has failed, is ended by the Runner’s own route with its id as a bare number, and is gone when its port is', async () => {
    const container = await aContainer();
    const runner = await aRunner(killed);
    const world = await aWorld({ ...rowsOf({ ssh_port: container.port }, { url: runner.url }), [KILL]: refused('lost') });
    await got(world);
    world.host.say(rowsOf({ status: 'lost' }, { url: runner.url }));

    expect([await got(world), await listed(world)]).toEqual(['failed', ['failed']]);
    expect(await destroy(world)).toBe('destroying');
    expect(runner.asked.map(({ text }) => text)).toEqual([`{"task_id":${TASK}}`]);
    await container.close();

    expect(await destroy(world)).toBe('gone');
    expect(await got(world)).toBeUndefined();
  });

  it('HAKU-9.25: a lost VPS is never gone because its old port is refused: a machine that was started again gives another', async () => {
    const runner = await aRunner({ status: 500, text: 'x' });
    const world = await aWorld({ ...rowsOf({ status: 'lost' }, { url: runner.url }), [KILL]: refused('lost') });

    expect(await got(world)).toBe('failed');
    await world.clock.advance(60 * MINUTE_MS);

    expect(await got(world)).toBe('failed');
    expect(await destroy(world)).toBe('destroying');
  });

  it('a lost VPS whose container somebody removed by hand, so that the Runner fails for ever, is gone when its port is refused', async () => {
    const container = await aContainer();
    const runner = await aRunner({ status: 500, text: 'x' });
    const world = await aWorld({ ...rowsOf({ ssh_port: container.port }, { url: runner.url }), [KILL]: refused('lost') });
    await got(world);
    world.host.say(rowsOf({ status: 'lost' }, { url: runner.url }));
    expect(await destroy(world)).toBe('destroying');
    await container.close();
    for (let waitedMs = 0; waitedMs < MINUTE_MS; waitedMs += 15 * SECOND_MS) {
      expect(await destroy(world)).toBe('destroying');
      await world.clock.advance(15 * SECOND_MS);
    }
    await destroy(world);
    await world.clock.advance(15 * SECOND_MS);

    expect(await destroy(world)).toBe('gone');
  });

  it.each([
    [500, 4], // an accident or two
    [502, 9], // of whatever stands before it
  ])('a VPS that has moved to another port is not gone because its Runner answers %i, %i times', async (status, times) => {
    const container = await aContainer();
    const runner = await aRunner({ status, text: 'x' });
    const world = await aWorld({ ...rowsOf({ ssh_port: container.port }, { url: runner.url }), [KILL]: refused('lost') });
    await got(world);
    world.host.say(rowsOf({ status: 'lost' }, { url: runner.url }));
    await container.close(); // what was published there is published elsewhere

    for (let asked = 0; asked < times; asked += 1) {
      expect(await destroy(world)).toBe('destroying');
      await world.clock.advance(MINUTE_MS);
    }
    expect(runner.asked).toHaveLength(times);
  });

  it('is not ended because a server that is no Runner says 200 to everything', async () => {
    const runner = await aRunner({ text: '<html>Welcome</html>' });
    const world = await aWorld({ ...rowsOf({ status: 'lost' }, { url: runner.url }), [KILL]: refused('lost') });

    expect(await destroy(world)).toBe('destroying');
    await world.clock.advance(5 * MINUTE_MS);

    expect(await destroy(world)).toBe('destroying');
    expect(await got(world)).toBe('failed');
  });

  it.each(['paused', 'hibernating'])(
    'HAKU-9.26: a VPS that is %s, which the Host refuses to kill, is ended by its machine',
    async (status) => {
      const runner = await aRunner(killed);
      const world = await aWorld({ ...rowsOf({ status }, { url: runner.url }), [KILL]: refused(status) });

      await destroy(world);

      expect(runner.routesAsked()).toEqual(['POST /kill']);
    },
  );

  it('HAKU-9.28: a container that somebody’s early kill left behind is ended by its machine once a stop’s time has passed', async () => {
    const container = await aContainer();
    const runner = await aRunner(killed);
    const world = await aWorld({ ...rowsOf({ ssh_port: container.port }, { url: runner.url }), [KILL]: refused('killed') });
    await got(world);
    world.host.say(rowsOf({ status: 'killed' }, { url: runner.url }));

    expect(await got(world)).toBe('failed'); // not by us: whoever waits for it has to know
    expect(await destroy(world)).toBe('destroying');
    expect(runner.asked).toHaveLength(0);
    await world.clock.advance(15 * SECOND_MS);
    await destroy(world);

    expect(runner.asked).toHaveLength(1);
  });

  it('is told by the name of its container where its machine cannot be asked', async () => {
    const world = await aWorld({ ...rowsOf({ status: 'lost' }, { url: 'http://127.0.0.1:9' }), [KILL]: refused('lost') });

    expect(await destroy(world)).toBe('destroying');

    expect(world.log.entries.filter(({ level }) => level === 'warn').map(({ fields }) => fields['container'])).toEqual([
      `hakuriver-vps-${TASK}`,
    ]);
  });

  it('sends no token to a Runner, whose address anybody may have registered', async () => {
    const runner = await aRunner(killed);
    const world = await makeWorld(
      { ...rowsOf({ status: 'lost' }, { url: runner.url }), [KILL]: refused('lost') },
      { HAKURIVER_TOKEN: '0123456789abcdef' },
    );
    onTestFinished(world.host.close);

    await destroy(world);

    expect(world.host.asked.at(-1)?.headers.authorization).toBe('Bearer 0123456789abcdef');
    expect(runner.asked[0]?.headers).not.toHaveProperty('authorization');
  });
});

describe('a row that the Host has closed without a word to the machine', () => {
  /** The messages of its start were lost, and its Host gave it up. */
  const unheard = { status: 'failed', exit_code: -1, started_at: null };

  /** It was made, with a port; nothing listens there, as at that of a container that crashes over and over. */
  async function aCrashLoop(runner: ScriptedHost): Promise<HakuWorld> {
    const container = await aContainer();
    const node = { url: runner.url };
    const world = await aWorld(rowsOf({ status: 'assigning', started_at: null, ssh_port: container.port }, node));
    await world.provider.listInstances(uncancelled);
    await container.close();
    world.host.say({ ...rowsOf(unheard, node), [KILL]: refused('failed') });
    return world;
  }

  it('HAKU-9.1, HAKU-9.25: is not gone for an hour because its port is refused, although the Host hears the machine', async () => {
    const world = await aCrashLoop(await aRunner(killed));
    await got(world);

    await world.clock.advance(59 * MINUTE_MS);
    expect([await got(world), await listed(world)]).toEqual(['failed', ['failed']]);
    await world.clock.advance(MINUTE_MS);

    expect(await got(world)).toBeUndefined();
  });

  it('HAKU-9.25: is gone as soon as its machine has ended it', async () => {
    const runner = await aRunner(killed);
    const world = await aCrashLoop(runner);

    expect(await destroy(world)).toBe('gone');
    expect(runner.asked).toHaveLength(1);
  });

  it.each([
    ['an operator killed it before the Host had heard that it runs', { status: 'killed' }, 'failed'],
    ['its machine told that it was ended there', { exit_code: -9 }, undefined],
  ])('where %s, it is after a minute: %s', async (_, change, state) => {
    const runner = await aRunner(killed);
    const world = await aCrashLoop(runner);
    world.host.say(rowsOf({ ...unheard, ...change }, { url: runner.url }));
    await got(world);

    await world.clock.advance(MINUTE_MS);

    expect(await got(world)).toBe(state);
  });

  it('HAKU-9.28: is not gone a minute after a word that nobody knows was shown in between', async () => {
    const world = await aWorld(rowsOf({ ...unheard, ssh_port: null }));
    await got(world);
    await world.clock.advance(11 * MINUTE_MS);
    world.host.say(rowsOf({ status: 'defragmenting', started_at: null, ssh_port: null }));
    await got(world);
    world.host.say(rowsOf({ ...unheard, ssh_port: null }));
    await got(world);

    await world.clock.advance(2 * MINUTE_MS);

    expect(await got(world)).toBe('failed');
  });

  it.each<[string, Record<string, Reply>]>([
    ['its machine is silent', silent],
    ['the Host fails to tell', { 'GET /nodes': { status: 500, text: 'x' } }],
  ])('is not gone because %s at one moment after the ten minutes', async (_, nodes) => {
    const world = await aWorld(rowsOf({ ...unheard, ssh_port: null }));
    await got(world);
    await world.clock.advance(11 * MINUTE_MS);
    world.host.say(nodes);

    expect(await got(world)).toBe('failed');
  });
});

describe('a kill that a dead Runner may not have heard', () => {
  async function aKilled(port: number): Promise<HakuWorld> {
    const world = await aWorld(rowsOf({ ssh_port: port }));
    await got(world);
    world.host.say({ [KILL]: { status: 202, json: KILL_TAKEN } });
    await destroy(world);
    world.host.say(rowsOf({ status: 'killed', ssh_port: port }));
    await got(world);
    return world;
  }

  it('HAKU-9.25, HAKU-9.33: is not proven by a port that was still open while the machine was silent, and is left when that is heard again', async () => {
    const container = await aContainer();
    const world = await aKilled(container.port);
    world.host.say(silent);
    await got(world);
    world.host.say(heard);
    await container.close(); // it restarted, and is published elsewhere

    expect(await got(world)).toBe('stopping');
    await world.clock.advance(9 * MINUTE_MS);

    expect(await got(world)).toBe('stopping');
  });

  it('HAKU-9.25: is not proven because the row shows a word that nobody knows after the machine was silent', async () => {
    const container = await aContainer();
    const world = await aKilled(container.port);
    await container.close();
    world.host.say(silent);
    await got(world);
    world.host.say({ ...heard, ...rowsOf({ status: 'defragmenting', ssh_port: container.port }) });
    await got(world);
    world.host.say(rowsOf({ status: 'killed', ssh_port: container.port }));
    await got(world);

    await world.clock.advance(9 * MINUTE_MS);

    expect(await got(world)).toBe('stopping');
  });
});

describe('a row that was closed before anything is known to have run', () => {
  const unheard = { started_at: null, ssh_port: null, exit_code: -1 };

  it('HAKU-9.28: says nothing for ten minutes, since its machine may be starting it unheard', async () => {
    const world = await aWorld({ ...rowsOf({ status: 'failed', ...unheard }), ...silent });

    expect(await got(world)).toBe('failed');
    await world.clock.advance(9 * MINUTE_MS);
    expect([await got(world), await listed(world)]).toEqual(['failed', ['failed']]);
    await world.clock.advance(MINUTE_MS);

    expect([await got(world), await listed(world)]).toEqual([undefined, []]);
  });

  it('says nothing for an hour where the Host gave it up and hears its machine, which nobody has told to end it', async () => {
    const world = await aWorld(rowsOf({ status: 'failed', ...unheard }));
    await got(world);

    await world.clock.advance(59 * MINUTE_MS);
    expect([await got(world), await listed(world)]).toEqual(['failed', ['failed']]);
    await world.clock.advance(MINUTE_MS);

    expect([await got(world), await listed(world)]).toEqual([undefined, []]);
  });

  it('is asked of its machine all that time, and is gone soon after that has ended it', async () => {
    let isStarted = false;
    const runner = await aRunner(async () =>
      isStarted
        ? { json: { message: 'Kill processed.' } }
        : { status: 404, json: { detail: 'Task not found or not tracked.' } },
    );
    const routes = rowsOf({ status: 'killed', ...unheard }, { url: runner.url });
    const world = await aWorld({ ...routes, [KILL]: refused('killed') });
    await world.provider.listInstances(uncancelled);

    await world.clock.advance(30 * SECOND_MS);
    expect(await destroy(world)).toBe('destroying');
    await world.clock.advance(2 * MINUTE_MS);
    expect(await destroy(world)).toBe('destroying');
    isStarted = true;
    await destroy(world);

    expect(runner.asked).toHaveLength(3);
    expect(await destroy(world)).toBe('gone');
  });

  it.each([
    ['its machine refused', { error_message: 'Runner rejected VPS creation.' }],
    ['its machine was not reached', { error_message: 'Failed to contact runner: All connection attempts failed' }],
    ['its container could not be started', { exit_code: 125 }],
    ['nobody approved it', { status: 'rejected' }],
  ])('says enough where %s', async (_, change) => {
    const world = await aWorld(rowsOf({ status: 'failed', ...unheard, ...change }));

    await got(world);
    await world.clock.advance(MINUTE_MS);

    expect(await got(world)).toBeUndefined();
  });
});
