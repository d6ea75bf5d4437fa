import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { instanceId } from '../../src/provider/ids.ts';
import { aTag, uncancelled } from '../../test/support/provider-calls.ts';
import { ACTIVE, KEY_BASE64, LISTED, NODES, NO_SUCH_ROUTE, NO_SUCH_TASK, STATUS, TASK } from './fixtures/bodies.ts';
import { makeWorld, rowsOf, TAG, type HakuWorld, type Reply } from './fixtures/scripted-host.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const worlds: HakuWorld[] = [];
afterEach(() => worlds.splice(0).forEach(({ host }) => host.close()));

async function aWorld(routes: Readonly<Record<string, Reply>> = {}) {
  const world = await makeWorld(routes);
  worlds.push(world);
  return world;
}
const got = (world: HakuWorld) => world.provider.getInstance(instanceId(TASK), uncancelled);
const listed = (world: HakuWorld) => world.provider.listInstances(uncancelled);

describe('an instance', () => {
  it.each([
    ['assigning', 'starting'],
    ['pending', 'starting'],
    ['running', 'running'],
    ['paused', 'paused'],
    ['hibernating', 'starting'],
    [null, 'starting'],
    ['lost', 'failed'],
    ['RUNNING', 'running'],
  ])('that the Host calls %s is %s, by get and by list', async (status, state) => {
    const world = await aWorld(rowsOf(status === null ? { status: undefined as unknown as string } : { status }));

    expect(await got(world)).toMatchObject({ id: TASK, tag: TAG, state });
    expect(await listed(world)).toMatchObject([{ id: TASK, tag: TAG, state }]);
  });

  it('HAKU-9.1: that has not started within ten minutes has failed', async () => {
    const world = await aWorld(rowsOf({ status: 'pending', ssh_port: null }));

    await got(world);
    await world.clock.advance(10 * MINUTE_MS - 1);
    expect(await got(world)).toMatchObject({ state: 'starting' });
    await world.clock.advance(1);

    expect(await got(world)).toMatchObject({ state: 'failed', reason: expect.stringContaining('ten minutes') });
  });

  it('CONF-C24: is starting for as long as the Host uses a word that nobody knows, and never an end', async () => {
    const world = await aWorld(rowsOf({ status: 'hibernating' }));

    await got(world);
    await world.clock.advance(24 * 60 * MINUTE_MS);

    expect(await got(world)).toMatchObject({ state: 'starting' });
  });

  it('HAKU-9.13: that runs without a port has failed after half a minute', async () => {
    const world = await aWorld(rowsOf({ ssh_port: null }));

    expect(await got(world)).toMatchObject({ state: 'starting' });
    await world.clock.advance(30 * SECOND_MS);

    expect(await got(world)).toMatchObject({ state: 'failed' });
  });

  it('RULE-R15: that ran still does while the list of ports lacks it, and is not given up while its status is a word that nobody knows', async () => {
    const world = await aWorld(rowsOf());
    await got(world);

    world.host.say({ 'GET /vps/status': { json: [] } });
    await got(world);
    await world.clock.advance(10 * MINUTE_MS);
    expect([await got(world), ...(await listed(world))]).toMatchObject([{ state: 'running' }, { state: 'running' }]);
    world.host.say(rowsOf({ status: 'migrating' }));
    await got(world);
    await world.clock.advance(10 * MINUTE_MS);

    expect([await got(world), ...(await listed(world))]).toMatchObject([{ state: 'starting' }, { state: 'starting' }]);
  });

  it('HAKU-9.7: that ended by itself says of what, since the Host says nothing', async () => {
    const world = await aWorld(rowsOf({ status: 'failed', exit_code: 125 }));

    expect(await got(world)).toMatchObject({
      state: 'failed',
      reason: expect.stringMatching(/could not start.*exit code 125/),
    });
  });

  it('HAKU-9.16, HAKU-9.33: is entered by its id alone, never by a port that may belong to another one tomorrow', async () => {
    const world = await aWorld(rowsOf());

    expect(await got(world)).toMatchObject({ state: 'running', ssh: { user: 'root', routes: 'dial' } });
  });

  it('that no row has does not exist; a route that does not exist says nothing', async () => {
    const world = await aWorld();
    expect(await world.provider.getInstance(instanceId('1'), uncancelled)).toBeUndefined();

    for (const json of [NO_SUCH_ROUTE, { detail: 'VPS host node not found' }]) {
      world.host.say({ 'GET /status/1': { status: 404, json } });
      await expect(world.provider.getInstance(instanceId('1'), uncancelled)).rejects.toMatchObject({ kind: 'protocol' });
    }
    for (const detail of ['Task 1 not found.', 'VPS not found', 'VPS task with id 1 was not found']) {
      world.host.say({ 'GET /status/1': { status: 404, json: { detail } } });
      expect(await world.provider.getInstance(instanceId('1'), uncancelled)).toBeUndefined();
    }
  });

  it('is not taken from an answer about another one', async () => {
    const world = await aWorld({ ...rowsOf(), 'GET /status/2': { json: STATUS } });

    await expect(world.provider.getInstance(instanceId('2'), uncancelled)).rejects.toMatchObject({ kind: 'protocol' });
  });

  it('keeps an id of 63 bits that comes as a bare number', async () => {
    const id = '7530111069344235521';
    const text = JSON.stringify({ ...STATUS, command: `ssh-ed25519 ${KEY_BASE64} ${TAG}` }).replaceAll(`"${TASK}"`, id);
    const world = await aWorld({
      [`GET /status/${id}`]: { text },
      'GET /vps': { text: JSON.stringify([LISTED]).replaceAll(`"${TASK}"`, id) },
      'GET /vps/status': { text: JSON.stringify([ACTIVE]).replaceAll(`"${TASK}"`, id) },
    });

    expect(await listed(world)).toMatchObject([{ id, tag: TAG, state: 'running' }]);
    expect(await world.provider.getInstance(instanceId(id), uncancelled)).toMatchObject({ id, state: 'running' });
  });
});

describe('the list', () => {
  const other = aTag(9, { deployment: 'other' });
  const row = (id: string, change = {}) => ({ ...LISTED, task_id: id, ...change });
  const status = (id: string, comment: string): Record<string, Reply> => ({
    [`GET /status/${id}`]: { json: { ...STATUS, task_id: id, command: `ssh-ed25519 ${KEY_BASE64} ${comment}` } },
  });

  it('shows all that may exist, each with the tag that its keys bear, and strangers without one', async () => {
    const world = await aWorld({
      'GET /vps': { json: [row('1'), row('2'), row('3')] },
      ...status('1', TAG),
      ...status('2', other),
      ...status('3', 'consumer'),
    });

    const instances = await listed(world);

    expect(instances.map(({ id, tag }) => [id, tag])).toEqual([
      ['1', TAG],
      ['2', other],
      ['3', undefined],
    ]);
  });

  it('reads the keys of each VPS once', async () => {
    const world = await aWorld({ 'GET /vps': { json: [row('1')] }, ...status('1', TAG) });

    await listed(world);
    await listed(world);

    expect(world.host.routesAsked().filter((route) => route === 'GET /status/1')).toHaveLength(1);
  });

  it('HAKU-9.35: asks nothing of what ended long ago, whatever zone the Host’s times are in', async () => {
    const world = await aWorld({
      'GET /vps': {
        json: [
          row('1', { status: 'killed', completed_at: '2026-11-20T03:33:06.156713' }),
          row('2', { status: 'lost', completed_at: '2026-11-20T03:33:06.156713' }),
        ],
      },
      ...status('2', TAG),
    });

    expect((await listed(world)).map(({ id }) => id)).toEqual(['2']); // a lost one may run for days
    expect(world.host.routesAsked()).not.toContain('GET /status/1');
  });

  it.each<[string, Record<string, Reply>]>([
    ['a row that cannot be read', { 'GET /vps': { json: [row('1'), { task_id: null }] } }],
    ['keys that cannot be asked for', { 'GET /vps': { json: [row('1')] }, 'GET /status/1': { status: 500, text: 'x' } }],
    ['ports that cannot be asked for', { 'GET /vps/status': { text: '[{' } }],
    ['something else than a list', { 'GET /vps': { json: { detail: 'x' } } }],
  ])('is no list with %s', async (_, routes) => {
    const world = await aWorld(routes);

    await expect(listed(world)).rejects.toMatchObject({ name: 'ProviderError' });
  });

  it('reads the keys again of what a task was denied for', async () => {
    const world = await aWorld({ 'GET /vps': { json: [row('1')] }, 'GET /status/1': { status: 404, json: NO_SUCH_TASK } });
    await listed(world);
    world.host.say(status('1', TAG));

    expect((await listed(world)).map(({ tag }) => tag)).toEqual([TAG]);
  });

  it('asks about few of the closed at once', async () => {
    let open = 0;
    let most = 0;
    const ids = Array.from({ length: 40 }, (_, index) => String(index + 1));
    const world = await aWorld({
      'GET /nodes': async () => {
        most = Math.max(most, (open += 1));
        await delay(20);
        open -= 1;
        return { json: [{ ...NODES[0], url: 'of no use' }] };
      },
      'GET /vps': { json: ids.map((id) => row(id, { status: 'killed' })) },
      ...Object.assign({}, ...ids.map((id) => status(id, TAG))),
    });

    expect(await listed(world)).toHaveLength(40);
    expect(most).toBeLessThanOrEqual(8);
  });

  it('leaves out a row that was gone by the time that its keys were read', async () => {
    const world = await aWorld({ 'GET /vps': { json: [row('1')] }, 'GET /status/1': { status: 404, json: NO_SUCH_TASK } });

    expect((await listed(world)).map(({ tag }) => tag)).toEqual([undefined]);
  });
});
