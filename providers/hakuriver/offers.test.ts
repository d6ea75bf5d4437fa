import { afterEach, describe, expect, it } from 'vitest';
import type { Offer } from '../../src/provider/offer.ts';
import { aCreateRequest, uncancelled } from '../../test/support/provider-calls.ts';
import {
  ACTIVE,
  aGpu,
  LISTED,
  NODE,
  NODES,
  NO_SUCH_ROUTE,
  noRoom,
  OPENAPI_OF_THE_REWRITE,
  STATUS,
  SUBMITTED,
  TASK,
} from './fixtures/bodies.ts';
import { KEYS, makeWorld, TAG, type HakuWorld, type Reply } from './fixtures/scripted-host.ts';

const worlds: HakuWorld[] = [];
afterEach(() => worlds.splice(0).forEach(({ host }) => host.close()));

async function aWorld(routes: Readonly<Record<string, Reply>>, environment: Readonly<Record<string, string>> = {}) {
  const world = await makeWorld(routes, environment);
  worlds.push(world);
  return world;
}

const listed = async (routes: Readonly<Record<string, Reply>>, environment = {}) =>
  (await (await aWorld(routes, environment)).provider.listOffers({}, uncancelled)).offers;
const sizes = (offers: readonly Offer[]) =>
  offers.map(({ gpuType, gpuCount, cpuCores, memoryMib, units }) => [gpuType, gpuCount, cpuCores, memoryMib, units]);

const BIG = {
  ...NODES[0],
  total_cores: 64,
  available_cores: 64,
  numa_topology: { '0': { memory_bytes: 128 * 2 ** 30 }, '1': { memory_bytes: 128 * 2 ** 30 } },
  gpu_info: [0, 1, 2, 3].map((id) => aGpu(id)),
};
const nodes = (...rows: readonly object[]): Record<string, Reply> => ({ 'GET /nodes': { json: rows } });

describe('offers', () => {
  it('are each a free machine as a whole, where it has no GPU', async () => {
    const offers = await listed({}, { HAKURIVER_PRICE_PER_HOUR: '0.5' });

    expect(offers).toEqual([
      {
        id: 'hakuriver-node-1-cpu-x0',
        provider: 'hakuriver',
        providerOfferId: 'node-1-cpu-x0',
        machineId: NODE,
        gpuType: 'CPU',
        gpuCount: 0,
        vramMib: 0,
        cpuCores: 2,
        memoryMib: 6_362,
        diskGb: 50,
        minDiskGb: 1,
        maxDiskGb: 50,
        priceMicrosPerHour: 500_000,
        diskMicrosPerGbHour: 0,
        location: NODE,
        reliability: 1,
        confidence: 1,
        interruptible: false,
        units: 1,
      },
    ]);
  });

  it('are GPUs in powers of two, with cores and memory in proportion, at a price for each', async () => {
    const offers = await listed(nodes(BIG), { HAKURIVER_PRICE_PER_HOUR: '0.5' });

    expect(sizes(offers)).toEqual([
      ['RTX 4090', 1, 16, 65_536, 4],
      ['RTX 4090', 2, 32, 131_072, 2],
      ['RTX 4090', 4, 64, 262_144, 1],
    ]);
    expect(offers.map(({ priceMicrosPerHour }) => priceMicrosPerHour)).toEqual([500_000, 1_000_000, 2_000_000]);
    expect(offers.map(({ vramMib }) => vramMib)).toEqual([24_564, 24_564, 24_564]);
    expect(offers.map(({ providerOfferId }) => providerOfferId)).toEqual([
      'node-1-rtx4090-x1',
      'node-1-rtx4090-x2',
      'node-1-rtx4090-x4',
    ]);
  });

  it('keep models apart, and give none more than its part', async () => {
    const gpu_info = [aGpu(0), aGpu(1), aGpu(2), aGpu(3, 'Tesla T4')];

    expect(sizes(await listed(nodes({ ...BIG, gpu_info })))).toEqual([
      ['RTX 4090', 1, 16, 65_536, 3],
      ['RTX 4090', 2, 32, 131_072, 1],
      ['T4', 1, 16, 65_536, 1],
    ]);
  });

  it('leave out GPUs that a VPS or a command task has been given, which no machine says itself', async () => {
    const offers = await listed({
      ...nodes({ ...BIG, available_cores: 20 }),
      'GET /vps/status': {
        json: [
          { ...ACTIVE, required_gpus: [1] },
          { ...ACTIVE, assigned_node: 'node-2', required_gpus: [0] },
        ],
      },
      'GET /tasks': {
        json: [
          { ...LISTED, status: 'running', required_gpus: [3] },
          { ...LISTED, status: 'completed', required_gpus: [2] },
        ],
      },
    });

    expect(sizes(offers)).toEqual([
      ['RTX 4090', 1, 10, 65_536, 2],
      ['RTX 4090', 2, 20, 131_072, 1],
    ]);
  });

  it.each([
    ['is offline', { status: 'offline', available_cores: 0, cores_in_use: 'N/A' }],
    ['has no core left', { available_cores: 0 }],
    ['cannot be named as a target', { hostname: 'node_1' }],
  ])('are none of a machine that %s', async (_, change) => {
    expect(await listed(nodes({ ...BIG, ...change }))).toEqual([]);
  });

  it('go on without a machine or a GPU that cannot be read', async () => {
    const world = await aWorld(nodes({ hostname: 7 }, { ...BIG, gpu_info: [{ gpu_id: 'x' }, aGpu(1)] }));

    const { offers, dropped } = await world.provider.listOffers({}, uncancelled);

    expect(dropped).toBe(1);
    expect(offers.map(({ gpuCount }) => gpuCount)).toEqual([1]);
  });

  it('go on when the list of all tasks has grown past reading, and so do creates, since the Host looks itself', async () => {
    const made = { json: { ...STATUS, command: `ssh-ed25519 ${'A'.repeat(40)} ${TAG}` } };
    const world = await aWorld({
      ...nodes(BIG),
      'GET /tasks': { text: '[{"task_id":' },
      [`GET /status/${TASK}`]: made,
      'POST /submit': { status: 202, json: { ...SUBMITTED, runner_response: { ssh_port: 32_796 } } },
    });

    const { offers } = await world.provider.listOffers({}, uncancelled);
    const [offer] = offers;
    if (offer === undefined) throw new Error('there is no offer');
    await world.provider.createInstance(aCreateRequest(offer, { tag: TAG, sshPublicKeys: KEYS }), uncancelled);

    expect(offers).toHaveLength(3);
    expect(world.log.messages('warn')).toHaveLength(1);
  });

  it('HAKU-9.30: never look at /health, which is dead or frozen', async () => {
    const world = await aWorld({});
    await world.offer();

    expect(world.host.routesAsked().some((route) => route.includes('/health'))).toBe(false);
  });
});

describe('the Host is recognised', () => {
  it('as the seed’s without assuming /api, once', async () => {
    const world = await aWorld({});
    await world.offer();
    await world.offer();

    expect(world.host.routesAsked().filter((route) => route === 'GET /openapi.json')).toHaveLength(1);
    expect(world.host.routesAsked().some((route) => route.includes('/api/'))).toBe(false);
  });

  it('as KohakuRiver below /api, whose free memory counts', async () => {
    const gone: Reply = { status: 404, json: NO_SUCH_ROUTE };
    const row = { ...BIG, memory_total_bytes: 100 * 2 ** 30, memory_used_bytes: 20 * 2 ** 30 };
    const world = await aWorld({
      'GET /nodes': gone,
      'GET /api/auth/status': { json: { auth_enabled: false } },
      'GET /api/nodes': { json: [row] },
      'GET /api/tasks': { json: [] },
      'GET /api/vps/status': { json: [{ ...ACTIVE, required_memory_bytes: 60 * 2 ** 30 }] },
    });
    // 100 GiB less the 60 that are promised, nine tenths of it, a quarter for one of four GPUs
    expect(sizes((await world.provider.listOffers({}, uncancelled)).offers)[0]).toEqual(['RTX 4090', 1, 16, 9_216, 4]);
  });

  it('behind a proxy that puts /api before the older routes', async () => {
    const page: Reply = { text: '<html></html>' };
    const world = await aWorld({
      'GET /nodes': page,
      'GET /api/nodes': { json: NODES },
      'GET /api/openapi.json': { json: { paths: { '/vps/status': {} } } },
      'GET /api/tasks': { json: [] },
      'GET /api/vps/status': { json: [] },
    });

    expect((await world.offer()).machineId).toBe(NODE);
  });

  it('anew when its routes are gone, since somebody may have installed another version', async () => {
    const world = await aWorld({});
    await world.offer();
    world.host.say({ 'GET /nodes': { status: 404, json: NO_SUCH_ROUTE } });

    await expect(world.provider.listOffers({}, uncancelled)).rejects.toMatchObject({ kind: 'protocol' });
    world.host.say({ 'GET /nodes': { json: NODES } });
    await world.offer();

    expect(world.host.routesAsked().filter((route) => route === 'GET /openapi.json')).toHaveLength(2);
  });

  it('as none when something else answers there', async () => {
    const world = await aWorld({ 'GET /nodes': { text: '<html>nginx</html>' } });

    await expect(world.provider.check(uncancelled)).rejects.toMatchObject({
      kind: 'protocol',
      message: expect.stringContaining('HAKURIVER_HOST_URL'),
    });
  });

  it('as HakuRiver 0.4.0, which gives no tag back: nothing is offered nor made there, and the check says why', async () => {
    const world = await aWorld({ 'GET /openapi.json': { json: OPENAPI_OF_THE_REWRITE } });
    const [offer] = await listed({});
    if (offer === undefined) throw new Error('there is no offer');

    expect((await world.provider.listOffers({}, uncancelled)).offers).toEqual([]);
    await expect(world.provider.check(uncancelled)).rejects.toMatchObject({
      kind: 'rejected',
      message: expect.stringContaining('neither the keys nor the name'),
    });
    await expect(
      world.provider.createInstance(aCreateRequest(offer, { sshPublicKeys: KEYS }), uncancelled),
    ).rejects.toMatchObject({ kind: 'rejected' });
    expect(world.host.routesAsked().filter((route) => route.startsWith('POST'))).toEqual([]);
  });
});

describe('a place is chosen at the create', () => {
  const made = { json: { ...STATUS, command: `ssh-ed25519 ${'A'.repeat(40)} ${TAG}` } };
  const routes = {
    [`GET /status/${TASK}`]: made,
    'POST /submit': { status: 202, json: { ...SUBMITTED, runner_response: { ssh_port: 32_796 } } },
  };

  it('by naming GPUs that are free now, and the machine, as the Host demands', async () => {
    const world = await aWorld({ ...nodes(BIG), ...routes });
    const offers = (await world.provider.listOffers({}, uncancelled)).offers;
    world.host.say({ 'GET /vps/status': { json: [{ ...ACTIVE, required_gpus: [0] }] } });

    const two = offers.find(({ gpuCount }) => gpuCount === 2);
    if (two === undefined) throw new Error('there is no offer of two');
    await world.provider.createInstance(aCreateRequest(two, { tag: TAG, sshPublicKeys: KEYS }), uncancelled);

    expect(world.host.bodyOf('POST /submit')).toMatchObject({ targets: [NODE], required_gpus: [[1, 2]], required_cores: 32 });
  });

  it('never the same GPU for two creates at once, which the Host itself would not notice in time', async () => {
    const waiting: ((reply: { status: number; json: unknown }) => void)[] = [];
    const hold: Reply = () => new Promise((resolve) => waiting.push(resolve));
    const world = await aWorld({ ...nodes(BIG), ...routes, 'POST /submit': hold });
    const [one] = (await world.provider.listOffers({}, uncancelled)).offers;
    if (one === undefined) throw new Error('there is no offer');

    const creating = [1, 2].map(() =>
      world.provider.createInstance(aCreateRequest(one, { tag: TAG, sshPublicKeys: KEYS }), uncancelled),
    );
    while (waiting.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const answer of waiting) answer({ status: 202, json: { ...SUBMITTED, runner_response: { ssh_port: 1_024 } } });
    await Promise.all(creating);

    const given = world.host.asked
      .filter(({ route }) => route === 'POST /submit')
      .map(({ text }) => JSON.parse(text) as { required_gpus: unknown });
    expect(given.map(({ required_gpus: gpus }) => gpus)).toEqual([[[0]], [[1]]]);
  });

  it.each([
    ['is full', { available_cores: 1 }, /not enough free cores: 1 of the 2/],
    ['is offline', { status: 'offline' }, /offline/],
    ['is gone', { hostname: 'another' }, /no longer in the cluster/],
  ])('HAKU-9.3: and where the machine %s, nothing is sent and the reason told', async (_, change, why) => {
    const world = await aWorld(routes);
    const offer = await world.offer();
    world.host.say(nodes({ ...NODES[0], ...change }));

    await expect(
      world.provider.createInstance(aCreateRequest(offer, { sshPublicKeys: KEYS }), uncancelled),
    ).rejects.toMatchObject({ kind: 'capacity', message: expect.stringMatching(why) });
    expect(world.host.routesAsked()).not.toContain('POST /submit');
  });

  it('HAKU-9.10: and a GPU that the machine does not report is never asked for', async () => {
    const world = await aWorld({ ...nodes(BIG), ...routes });
    const offer = await world.offer();
    world.host.say(nodes({ ...BIG, gpu_info: [] }));

    await expect(
      world.provider.createInstance(aCreateRequest(offer, { sshPublicKeys: KEYS }), uncancelled),
    ).rejects.toMatchObject({ kind: 'capacity', message: expect.stringContaining('0 of the 1 RTX 4090') });
  });

  it.each([
    ['Insufficient available cores', 'not enough free cores'],
    ['Requested GPUs not available', 'in use by others'],
    ['Node status is offline', 'offline'],
    ['Node not registered', 'no longer in the cluster'],
    ['Invalid GPU IDs: [7]', 'no longer has the GPUs'],
  ])('HAKU-9.3: and the Host’s refusal "%s" is told in plain words', async (reason, words) => {
    const world = await aWorld({ ...routes, 'POST /submit': { status: 503, json: noRoom(reason) } });

    await expect(
      world.provider.createInstance(aCreateRequest(await world.offer(), { sshPublicKeys: KEYS }), uncancelled),
    ).rejects.toMatchObject({ kind: 'capacity', message: expect.stringContaining(words) });
  });
});
