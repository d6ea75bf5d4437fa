import { afterEach, describe, expect, it } from 'vitest';
import { instanceId } from '../../src/provider/ids.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { aCreateRequest, uncancelled } from '../../test/support/provider-calls.ts';
import { aGpu, NODE, NODES, NO_SUCH_ROUTE, TASK } from './fixtures/bodies.ts';
import { KEYS, makeWorld, openPort, startScriptedHost, TAG, type HakuWorld, type Reply } from './fixtures/scripted-host.ts';

// KohakuRiver was never recorded: its bodies here follow the description of its routes.

const MINUTE_MS = 60_000;
const GIB = 2 ** 30;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const node = (change = {}) => ({
  ...NODES[0],
  total_cores: 8,
  available_cores: 8,
  gpu_info: [aGpu(0), aGpu(1)],
  memory_total_bytes: 64 * GIB,
  memory_used_bytes: 24 * GIB,
  ...change,
});
const row = (change = {}) => ({
  task_id: TASK,
  task_type: 'vps',
  name: TAG,
  command: 'vps',
  required_cores: 4,
  required_gpus: [0],
  required_memory_bytes: 18 * GIB,
  status: 'running',
  assigned_node: NODE,
  ssh_port: 32_796,
  exit_code: null,
  error_message: null,
  started_at: '2026-11-22T03:33:02.935813',
  completed_at: null,
  ...change,
});
const rows = (change = {}, of = {}): Record<string, Reply> => ({
  'GET /api/nodes': { json: [node(of)] },
  'GET /api/vps': { json: [row(change)] },
  'GET /api/vps/status': { json: [row(change)] },
  [`GET /api/status/${TASK}`]: { json: row(change) },
});
const created = {
  message: 'VPS created successfully.',
  task_id: TASK,
  ssh_key_mode: 'upload',
  ssh_port: 2_222,
  assigned_node: { hostname: NODE, url: 'http://127.0.0.1:44529' },
  runner_response: { success: true, ssh_port: 32_796, container_name: `kohakuriver-vps-${TASK}` },
};
const STOP = `POST /api/vps/stop/${TASK}`;
const CREATE = 'POST /api/vps/create';

async function aWorld(routes: Readonly<Record<string, Reply>> = {}, environment: Readonly<Record<string, string>> = {}) {
  const world = await makeWorld(
    {
      'GET /nodes': { status: 404, json: NO_SUCH_ROUTE },
      'GET /api/auth/status': { json: { auth_enabled: false } },
      'GET /api/nodes': { json: [node()] },
      'GET /api/tasks': { json: [] },
      'GET /api/vps': { json: [] },
      'GET /api/vps/status': { json: [] },
      [CREATE]: { json: created },
      ...routes,
    },
    environment,
  );
  closers.push(world.host.close);
  return world;
}

async function create(world: HakuWorld, overrides: Partial<CreateRequest> = {}) {
  const request = aCreateRequest(await world.offer(), { tag: TAG, sshPublicKeys: KEYS, ...overrides });
  return world.provider.createInstance(request, uncancelled);
}
const got = async (world: HakuWorld) => (await world.provider.getInstance(instanceId(TASK), uncancelled))?.state;
const destroy = (world: HakuWorld) => world.provider.destroyInstance(instanceId(TASK), uncancelled);

describe('a create at KohakuRiver', () => {
  it('names the machine, the GPUs, the memory to the byte and the tag, and never asks for a root without a key', async () => {
    const world = await aWorld(rows({}, {}), { HAKURIVER_CONTAINER: 'torch' });
    world.host.say({ 'GET /api/vps/status': { json: [] } });

    expect(await create(world)).toMatchObject({ id: TASK, tag: TAG, state: 'running', ssh: { routes: 'dial' } });

    const [consumer, probe] = KEYS.map((key) => key.split(' ').slice(0, 2).join(' '));
    expect(world.host.bodyOf(CREATE)).toEqual({
      name: TAG,
      required_cores: 4,
      required_gpus: [0],
      required_memory_bytes: 18 * GIB,
      target_hostname: NODE,
      container_name: 'torch',
      ssh_key_mode: 'upload',
      ssh_public_key: `${consumer}\n${probe} ${TAG}`,
      vps_backend: 'docker',
    });
  });

  it('takes an image, which its machines can pull', async () => {
    const world = await aWorld(rows(), { HAKURIVER_CONTAINER: 'torch' });
    world.host.say({ 'GET /api/vps/status': { json: [] } });

    await create(world, { image: 'ubuntu:24.04' });

    expect(world.host.bodyOf(CREATE)).toMatchObject({ registry_image: 'ubuntu:24.04' });
    expect(world.host.bodyOf(CREATE)).not.toHaveProperty('container_name');
    await expect(create(world, { image: "x'; reboot" })).rejects.toMatchObject({ kind: 'rejected' });
  });

  it('carries the token, of which a Host with users wants one', async () => {
    const world = await aWorld(rows(), { HAKURIVER_TOKEN: '0123456789abcdef' });
    await world.offer();

    expect(world.host.asked.every(({ headers }) => headers.authorization === 'Bearer 0123456789abcdef')).toBe(true);
  });

  it('goes elsewhere when the machine refused to start it, or none fits', async () => {
    const world = await aWorld({ [CREATE]: { status: 502, json: { detail: 'Runner rejected VPS creation.' } } });
    await expect(create(world)).rejects.toMatchObject({ kind: 'capacity' });

    world.host.say({ [CREATE]: { status: 503, json: { detail: 'No suitable node available for this VPS.' } } });
    await expect(create(world)).rejects.toMatchObject({ kind: 'capacity' });
  });

  it('is starting while the Host waits for the machine to tell', async () => {
    const { runner_response: _, ...waiting } = created;
    const world = await aWorld({
      ...rows({ status: 'assigning', ssh_port: 2_222, started_at: null }),
      [CREATE]: { json: { ...waiting, status: 'assigning' } },
    });
    world.host.say({ 'GET /api/vps/status': { json: [] } });

    expect(await create(world)).toMatchObject({ id: TASK, state: 'starting' });
  });

  it('has failed when the machine started it without SSH', async () => {
    const world = await aWorld({
      ...rows({ ssh_port: null }),
      [CREATE]: { json: { ...created, runner_response: { success: true, ssh_port: 0 } } },
    });
    world.host.say({ 'GET /api/vps/status': { json: [] } });

    expect(await create(world)).toMatchObject({ state: 'failed', reason: 'the VPS was started without SSH' });
  });

  it('is found again by its name when its answer was lost', async () => {
    const world = await aWorld({ ...rows(), [CREATE]: async () => 'cut' });
    const request = aCreateRequest({ ...(await world.offer()), gpuCount: 0, cpuCores: 1 }, { tag: TAG, sshPublicKeys: KEYS });

    await expect(world.provider.createInstance(request, uncancelled)).rejects.toMatchObject({ kind: 'ambiguous' });

    expect(await world.provider.listInstances(uncancelled)).toMatchObject([{ id: TASK, tag: TAG, state: 'running' }]);
  });
});

describe('an instance at KohakuRiver', () => {
  it('HAKU-9.25: that is lost may return for ten minutes, since a Runner that starts again takes it back', async () => {
    const world = await aWorld(rows({ status: 'lost' }));

    expect(await got(world)).toBe('starting');
    world.host.say(rows());
    expect(await got(world)).toBe('running');
    world.host.say(rows({ status: 'lost' }));
    await got(world);
    await world.clock.advance(10 * MINUTE_MS);

    expect(await got(world)).toBe('failed');
  });

  it('is not taken for alive because something listens at the port that the Host made up before the machine told its own', async () => {
    const somebody = await openPort();
    closers.push(somebody.close);
    const world = await aWorld(
      rows({ status: 'failed', ssh_port: somebody.port, started_at: null, error_message: 'Runner rejected VPS creation.' }),
    );
    await got(world);
    await world.clock.advance(MINUTE_MS);

    expect(await got(world)).toBeUndefined();
  });

  it('costs nothing when its machine refused to start it, although its row stays', async () => {
    const refused = { started_at: null, error_message: 'Runner rejected VPS creation.' };
    const world = await aWorld(rows({ status: 'failed', ...refused }), { HAKURIVER_PRICE_PER_HOUR: '0.5' });
    const price = async () => (await world.provider.getInstance(instanceId(TASK), uncancelled))?.priceMicrosPerHour;

    expect(await price()).toBe(0);
    world.host.say(rows({ status: 'failed', error_message: 'Container exited.' }));
    expect(await price()).toBe(500_000);
  });

  it('HAKU-9.34: leaves no copy of its disk behind: its snapshots are deleted, once, when it is gone', async () => {
    const container = await openPort();
    const deletion = `DELETE /api/vps/snapshots/${TASK}`;
    const world = await aWorld({ ...rows({ ssh_port: container.port }), [deletion]: { json: { message: 'deleted' } } });
    world.host.say({
      [STOP]: async () => {
        world.host.say({
          ...rows({ status: 'stopped', ssh_port: container.port }),
          [STOP]: { status: 409, json: { detail: 'x' } },
        });
        return { status: 202, json: { message: 'x' } };
      },
    });

    expect(await destroy(world)).toBe('destroying');
    expect(world.host.routesAsked()).not.toContain(deletion);
    await container.close();
    expect([await destroy(world), await destroy(world)]).toEqual(['gone', 'gone']);

    expect(world.host.routesAsked().filter((route) => route === deletion)).toHaveLength(1);
  });

  it('that is lost is ended by its machine’s own route', async () => {
    const runner = await startScriptedHost({ [STOP]: { json: { message: 'x' } } });
    closers.push(runner.close);
    const world = await aWorld({
      ...rows({ status: 'lost' }, { url: runner.url }),
      [STOP]: { status: 409, json: { detail: 'x' } },
    });

    await destroy(world);

    expect(runner.routesAsked()).toEqual([STOP]);
  });
});
