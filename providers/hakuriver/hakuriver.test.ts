import net, { type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { instanceId } from '../../src/provider/ids.ts';
import { seededRandom } from '../../src/core/random.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { aCreateRequest, byMonotonic, uncancelled } from '../../test/support/provider-calls.ts';
import { ACTIVE, KILL_TAKEN, NODE, NO_SUCH_ROUTE, STATUS, SUBMITTED, TASK } from './fixtures/bodies.ts';
import { KEYS, makeWorld, noMachines, rowsOf, TAG, type HakuWorld, type Reply } from './fixtures/scripted-host.ts';
import { hakuriver } from './index.ts';

const SECOND_MS = 1_000;
const worlds: HakuWorld[] = [];
afterEach(() => worlds.splice(0).forEach(({ host }) => host.close()));

async function aWorld(routes: Readonly<Record<string, Reply>> = {}, environment: Readonly<Record<string, string>> = {}) {
  const world = await makeWorld(routes, environment);
  worlds.push(world);
  return world;
}

const withPort: Reply = { status: 202, json: { ...SUBMITTED, runner_response: { ssh_port: ACTIVE.ssh_port } } };
const withoutPort: Reply = { status: 202, json: SUBMITTED };

async function create(world: HakuWorld, overrides: Partial<CreateRequest> = {}) {
  const request = aCreateRequest(await world.offer(), { tag: TAG, sshPublicKeys: KEYS, ...overrides });
  return world.provider.createInstance(request, uncancelled);
}

const got = (world: HakuWorld) => world.provider.getInstance(instanceId(TASK), uncancelled);

describe('a create', () => {
  it('sends the keys without comment but for the tag, and runs when the machine named a port', async () => {
    const world = await aWorld(
      { ...rowsOf(), 'POST /submit': withPort },
      { HAKURIVER_CONTAINER: 'test-env', HAKURIVER_PRICE_PER_HOUR: '2' },
    );

    const instance = await create(world);

    expect(instance).toEqual({
      id: TASK,
      tag: TAG,
      priceMicrosPerHour: 2_000_000,
      state: 'running',
      ssh: { user: 'root', routes: 'dial' },
    });
    const [consumer, probe] = KEYS.map((key) => key.split(' ').slice(0, 2).join(' '));
    expect(world.host.bodyOf('POST /submit')).toEqual({
      task_type: 'vps',
      command: `${consumer}\n${probe} ${TAG}`,
      required_cores: 2,
      targets: [NODE],
      container_name: 'test-env',
    });
  });

  it('HAKU-9.29: sends no memory limit to the seed’s version, where a VPS would never start with one', async () => {
    const world = await aWorld({ ...rowsOf(), 'POST /submit': withPort });
    await create(world);

    expect(world.host.bodyOf('POST /submit')).not.toHaveProperty('required_memory_bytes');
  });

  it('goes over a connection of its own, since the Host drops idle ones and what was sent on them', async () => {
    const world = await aWorld({ ...rowsOf(), 'POST /submit': withPort });
    await create(world);

    expect(world.host.asked.every(({ headers }) => headers.connection === 'close')).toBe(true);
  });

  it.each([
    ['a variable', { environment: { BERTH_TAG: TAG, HF_TOKEN: 'secret' } }, 'environment variables'],
    ['a boot script', { onStart: 'echo' }, 'on_start_cmd'],
    ['an image', { image: 'ubuntu:24.04' }, 'image'],
    ['a template', { templateHashId: 'abc' }, 'templates'],
    ['a key that is none', { sshPublicKeys: ['garbage', 'more'] }, 'SSH public key'],
  ] as const)('plainly refuses %s, which cannot be had, before anything is sent', async (_, overrides, words) => {
    const world = await aWorld({ ...rowsOf(), 'POST /submit': withPort });

    await expect(create(world, overrides)).rejects.toMatchObject({ kind: 'rejected', message: expect.stringContaining(words) });
    expect(world.host.routesAsked()).not.toContain('POST /submit');
  });

  it('is not sent when its deadline passed while it looked for a place', async () => {
    const world = await aWorld({ ...rowsOf(), 'POST /submit': withPort });
    await world.clock.advance(10);

    await expect(create(world, { notAfter: byMonotonic(5) })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(world.host.routesAsked()).not.toContain('POST /submit');
  });

  it('HAKU-9.1, HAKU-9.8: has failed, with a reason, when the Host answers at once and without a port: its row says pending for ever', async () => {
    const world = await aWorld({ ...rowsOf({ status: 'pending', ssh_port: null }), 'POST /submit': withoutPort });

    const instance = await create(world);

    expect(instance).toMatchObject({
      id: TASK,
      tag: TAG,
      state: 'failed',
      reason: expect.stringContaining('no such environment'),
    });
    expect(await got(world)).toMatchObject({ state: 'failed' });
  });

  it('costs nothing where its machine could not start it, and what it costs where it can', async () => {
    const price = { HAKURIVER_PRICE_PER_HOUR: '0.5' };
    const failed = await aWorld(
      { ...rowsOf({ status: 'pending', ssh_port: null, started_at: null }), 'POST /submit': withoutPort },
      price,
    );
    const runs = await aWorld({ ...rowsOf(), 'POST /submit': withPort }, price);

    expect(await create(failed)).toMatchObject({ priceMicrosPerHour: 0 });
    expect(await got(failed)).toMatchObject({ priceMicrosPerHour: 0 });
    expect(await create(runs)).toMatchObject({ priceMicrosPerHour: 500_000 });
    expect(await got(runs)).toMatchObject({ priceMicrosPerHour: 500_000 });
  });

  it('HAKU-9.1: is still starting when the Host stopped waiting after half a minute, and fails when it comes to run without a port', async () => {
    const world = await aWorld(rowsOf({ status: 'pending', ssh_port: null }));
    world.host.say({
      'POST /submit': async () => {
        await world.clock.advance(30 * SECOND_MS);
        return { status: 202, json: SUBMITTED };
      },
    });

    expect(await create(world)).toMatchObject({ id: TASK, state: 'starting' });
    world.host.say(rowsOf({ ssh_port: null }));
    expect(await got(world)).toMatchObject({ state: 'starting' }); // the port may be a moment behind
    await world.clock.advance(31 * SECOND_MS);

    expect(await got(world)).toMatchObject({ state: 'failed', reason: expect.stringContaining('without an SSH port') });
  });

  it('HAKU-9.5: has failed when the machine could not load the image, although that too is a 202 with an answer of the Runner', async () => {
    const broken = { status: 202, json: { ...SUBMITTED, runner_response: { error: 'Docker setup failed' } } };
    const world = await aWorld({ ...rowsOf({ status: 'failed', exit_code: null }), 'POST /submit': broken });

    expect(await create(world)).toMatchObject({
      id: TASK,
      state: 'failed',
      reason: expect.stringContaining('could not start'),
    });
  });

  it('HAKU-9.4: goes elsewhere when the Host cannot reach the Runner, which it too answers with 202', async () => {
    const error_message = 'Failed to contact runner: All connection attempts failed';
    const world = await aWorld({ ...rowsOf({ status: 'failed', error_message }), 'POST /submit': withoutPort });

    await expect(create(world)).rejects.toMatchObject({
      kind: 'capacity',
      message: expect.stringContaining('cannot reach the Runner'),
    });
  });

  it.each<[string, Reply, string]>([
    ['a plain 500, which can come with a VPS that was started', { status: 500, text: 'Internal Server Error' }, 'ambiguous'],
    ['a gateway’s 502', { status: 502, text: '<html></html>' }, 'ambiguous'],
    ['a gateway’s 503', { status: 503, text: 'busy' }, 'ambiguous'],
    ['half of an answer', { status: 202, text: '{"message":"Task' }, 'ambiguous'],
    ['an answer without an id', { status: 202, json: { message: 'x', task_ids: [] } }, 'ambiguous'],
    ['no answer but a cut connection', async () => 'cut', 'ambiguous'],
    ['a page for people', { status: 404, text: '<html></html>' }, 'protocol'],
    [
      '422 with a list of faults',
      { status: 422, json: { detail: [{ type: 'value_error', loc: ['body'], msg: 'x' }] } },
      'rejected',
    ],
    ['400', { status: 400, json: { detail: 'VPS tasks require a Docker container.' } }, 'rejected'],
    ['403', { status: 403, json: { detail: 'x' } }, 'auth'],
    ['404 of a route that is gone', { status: 404, json: NO_SUCH_ROUTE }, 'unavailable'],
    ['429', { status: 429, json: { detail: 'x' } }, 'rate_limited'],
  ])('takes %s for what it is', async (_, reply, kind) => {
    const world = await aWorld({ 'POST /submit': reply });

    await expect(create(world)).rejects.toMatchObject({ name: 'ProviderError', operation: 'CreateInstance', kind });
  });

  it('made nothing when the questions before it got no answer', async () => {
    const world = await aWorld({ 'POST /submit': withPort });
    const offer = await world.offer();
    const request = aCreateRequest(offer, { sshPublicKeys: KEYS });

    for (const reply of [{ text: '<html></html>' }, { status: 500, text: 'x' }, async () => 'cut'] satisfies Reply[]) {
      world.host.say({ 'GET /nodes': reply });
      await expect(world.provider.createInstance(request, uncancelled)).rejects.toMatchObject({ kind: 'unavailable' });
    }
    expect(world.host.routesAsked()).not.toContain('POST /submit');
  });

  it('REL-A8: has failed, so that it is destroyed by its id until it is gone, and no other is sent, at a Host that does not give the tag back', async () => {
    const unmarked = { ...STATUS, command: 'vps' };
    const world = await aWorld({
      ...rowsOf(),
      [`GET /status/${TASK}`]: { json: unmarked },
      'POST /submit': withPort,
      [`POST /kill/${TASK}`]: { status: 202, json: KILL_TAKEN },
    });
    const offer = await world.offer();
    const request = aCreateRequest(offer, { tag: TAG, sshPublicKeys: KEYS });

    expect(await world.provider.createInstance(request, uncancelled)).toMatchObject({
      id: TASK,
      tag: TAG,
      state: 'failed',
      reason: expect.stringContaining('does not give its ownership tag back'),
    });
    await expect(world.provider.createInstance(request, uncancelled)).rejects.toMatchObject({ kind: 'rejected' });
    expect(await world.provider.destroyInstance(instanceId(TASK), uncancelled)).toBe('destroying');

    const sent = world.host.routesAsked().filter((route) => route.startsWith('POST'));
    expect(sent).toEqual(['POST /submit', `POST /kill/${TASK}`]);
    await expect(world.provider.check(uncancelled)).rejects.toMatchObject({ kind: 'rejected' });
  });

  it('takes a port that is told as text', async () => {
    const asText = { status: 202, json: { ...SUBMITTED, runner_response: { ssh_port: String(ACTIVE.ssh_port) } } };
    const world = await aWorld({ ...rowsOf({ status: 'pending', ssh_port: null }), 'POST /submit': asText });
    world.host.say({ 'GET /vps/status': { json: [] } });

    expect(await create(world)).toMatchObject({ id: TASK, state: 'running' });
  });
});

describe('the check', () => {
  it('HAKU-9.18, HAKU-9.19: names the hop that fails, the SSH proxy too', async () => {
    const world = await aWorld({}, { HAKURIVER_SSH_PROXY: '127.0.0.1:9' });

    await expect(world.provider.check(uncancelled)).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('127.0.0.1:9 (HAKURIVER_SSH_PROXY)'),
    });
  });

  it('tells a token that is refused', async () => {
    const world = await aWorld({ 'GET /vps/status': { status: 401, json: { detail: 'Not authenticated' } } });

    await expect(world.provider.check(uncancelled)).rejects.toMatchObject({
      kind: 'auth',
      message: expect.stringContaining('operator'),
    });
  });

  it('HAKU-9.8: warns of an environment that the Host has no tarball of', async () => {
    const proxy = await startRefusingProxy();
    const variables = { HAKURIVER_CONTAINER: 'absent', HAKURIVER_SSH_PROXY: `127.0.0.1:${proxy.port}` };
    const world = await aWorld({ 'GET /docker/list': { json: { 'test-env': {} } } }, variables);

    await world.provider.check(uncancelled);
    proxy.close();

    expect(world.log.messages('warn')).toEqual([
      'the hakuriver host has no tarball of the environment that HAKURIVER_CONTAINER names',
    ]);
  });

  it('passes when all is well, and changes nothing', async () => {
    const proxy = await startRefusingProxy();
    const world = await aWorld({}, { HAKURIVER_SSH_PROXY: `127.0.0.1:${proxy.port}` });

    await world.provider.check(uncancelled);
    proxy.close();

    expect(world.log.messages('warn')).toEqual([]);
    expect(world.host.routesAsked().filter((route) => !route.startsWith('GET'))).toEqual([]);
  });
});

describe('the start', () => {
  it('warns of a network that has to be closed, unless the Host is on this machine', async () => {
    const start = async (url: string) => {
      const log = recordingLog();
      const deps = { clock: new FakeClock(), random: seededRandom(1), log, dataFolder: 'none', machinePool: noMachines };
      await hakuriver.create(hakuriver.environment.parse({ HAKURIVER_HOST_URL: url }), deps);
      return log.messages('warn');
    };

    expect(await start('http://10.0.0.1:8000')).toEqual([expect.stringContaining('keep that network closed')]);
    expect(await start('http://127.0.0.1:8000')).toEqual([]);
  });
});

async function startRefusingProxy() {
  const server = net.createServer((socket) => void socket.once('data', () => socket.end("b'ERROR 'Task 0 not found.\n")));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // a TCP server that listens has one
  return { port, close: () => server.close() };
}
