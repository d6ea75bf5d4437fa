import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { createMachinePool } from '../../src/pool/machine-pool.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { PoolError, type MachinePool, type PoolInstance, type PoolSlot } from '../../src/provider/machine-pool.ts';
import { createLocalRunnerLink } from '../../src/runner-protocol/runner-link.ts';
import { machineId } from '../../src/runner/inventory.ts';
import { createRunner } from '../../src/runner/runner.ts';
import { describeProvider } from '../../test/conformance/describe-provider.ts';
import { destroyLeftovers } from '../../test/conformance/run-check.ts';
import type { AccountControls, AccountFault, ConformanceWorld } from '../../test/conformance/world.ts';
import { startFakeDocker, type EngineFault, type FakeDocker } from '../../test/support/fake-docker-socket.ts';
import { recordingLog } from '../../test/support/log.ts';
import { aCreateRequest, aTag, uncancelled } from '../../test/support/provider-calls.ts';
import { Environment, poolSettings } from './environment.ts';
import { pool } from './index.ts';
import { createPoolProvider } from './provider.ts';

/** The whole way from the provider through pool and runner to a Docker socket, with an engine that is ours behind it. */
async function makePoolWorld({ withFaults }: { withFaults: boolean }): Promise<ConformanceWorld> {
  const docker = await startFakeDocker({ cpus: 8, memoryMib: 16_384 });
  const dataFolder = await mkdtemp(join(tmpdir(), 'berth-pool-world-'));
  const settings = poolSettings(Environment.parse({ DOCKER_HOST: docker.dockerHost, POOL_MAX_SESSIONS: '4' }));
  const log = recordingLog();
  const config = { ...settings, callTimeoutMs: 1_000 };
  const handler = createRunner({ dockerHost: docker.dockerHost, clock: systemClock, log, config, run: async () => undefined });
  const link = createLocalRunnerLink(handler);
  const machinePool = createMachinePool({ link, clock: systemClock, log, config: { ...settings, dataFolder } });
  const provider = await pool.create(Environment.parse({}), {
    clock: systemClock,
    random: seededRandom(1),
    log,
    dataFolder,
    machinePool,
  });
  const engineId = machineId({ ID: 'FAKE', DockerRootDir: join(docker.dockerHost.slice('unix://'.length), '..') });
  let tags = 0;
  let foreign = 0;
  const plant = (units: string) => {
    const Id = randomBytes(32).toString('hex');
    const tag = aTag((foreign += 1), { deployment: 'other' });
    const Labels = { 'berth.tag': tag, 'berth.units': units };
    docker.containers.set(Id, { Id, name: tag, body: { Image: 'berth-ssh', Labels }, status: 'running', createdAt: 0 });
    return { id: instanceId(`${engineId}-${Id}`), tag };
  };
  const controls: AccountControls = {
    plantForeign: async () => plant(''),
    pageSize: 5,
    takeOffer: async () => ['cpu:0', 'cpu:1', 'cpu:2', 'cpu:3'].forEach(plant),
    livingWithTag: async (tag) =>
      [...docker.containers.values()].filter((one) => one.name === tag).map(({ Id }) => instanceId(`${engineId}-${Id}`)),
    setUnknownWord: async (id) => {
      const container = docker.containers.get(id.split('-')[1] ?? '');
      if (container !== undefined) container.status = 'hibernating';
    },
    ...(withFaults && faultsOf(docker)),
  };
  const world: ConformanceWorld = {
    provider,
    clock: systemClock,
    advance: (ms) => delay(ms),
    newTag: () => aTag((tags += 1)),
    unknownId: instanceId(`${engineId}-${'0'.repeat(64)}`),
    secrets: [],
    limits: { answerMs: 5_000, bootMs: 5_000, goneMs: 5_000, listLagMs: 0 },
    controls,
    close: async () => {
      await destroyLeftovers(world);
      await docker.close();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
  return world;
}

function faultsOf(docker: FakeDocker): AccountControls {
  const everywhere: Partial<Record<AccountFault, EngineFault>> = {
    unavailable: { status: 500, message: 'the engine is in trouble' },
    rate_limited: { status: 429, message: 'slow down' },
    auth: { status: 403, message: 'not you' },
    unreadable: 'garbage',
    'lost answer': 'cut',
    'no answer': 'hang',
  };
  const atCreate: Partial<Record<AccountFault, EngineFault>> = { 'lost answer': 'cut-after', 'no answer': 'hang-after' };
  return {
    fault: (operation, fault) => {
      const late = operation === 'CreateInstance' ? atCreate[fault] : undefined;
      docker.fault = (_, path) => (late === undefined ? everywhere[fault] : path === '/containers/create' ? late : undefined);
    },
    heal: () => {
      docker.fault = () => undefined;
    },
  };
}

const IN_TROUBLE = [
  'create-lost-answer',
  'create-cut-short',
  'list-throws',
  'offers-throw',
  'get-throws',
  'reads-cut-short',
  'destroy-fails-openly',
  'errors-are-provider-errors',
  'errors-carry-no-secret',
];

describeProvider({
  name: 'the pool',
  make: () => makePoolWorld({ withFaults: false }),
  // an engine has no quota, no account and no funds: definite refusals of a create are its own words, tested at the runner
  leavesOut: [...IN_TROUBLE, 'create-definite-failure', 'check-tells', 'balance-integer'],
  timeoutMs: 20_000,
});
describeProvider({
  name: 'the pool with an engine in trouble',
  make: () => makePoolWorld({ withFaults: true }),
  only: IN_TROUBLE,
  timeoutMs: 20_000,
});

const clock = { now: () => 1_700_000_000_000 };
const slot: PoolSlot = {
  slotId: 'abc-1',
  machineId: 'm1',
  machineName: 'host',
  gpuType: 'NVIDIA GeForce RTX 4090',
  gpuCount: 2,
  vramMib: 24_564,
  cpuCores: 8,
  memoryMib: 32_768,
  diskGb: 200,
  priceMicrosPerHour: 600_000,
  location: 'local',
  cudaVersion: 12.4,
};

function aPool(overrides: Partial<MachinePool>): MachinePool {
  const none = () => Promise.reject(new Error('not asked for'));
  return { listSlots: none, start: none, get: none, list: none, stop: none, preflight: none, ...overrides };
}

describe('an offer of the pool', () => {
  it('is a slot under a normal name, sold once, at the price of all its GPUs', async () => {
    const provider = createPoolProvider({ pool: aPool({ listSlots: async () => [slot] }), clock });

    const { offers, observedAt } = await provider.listOffers({}, uncancelled);

    expect(observedAt).toBe(1_700_000_000_000);
    expect(offers).toEqual([
      {
        id: 'pool-abc-1',
        provider: 'pool',
        providerOfferId: 'abc-1',

        gpuType: 'RTX 4090',
        gpuCount: 2,
        vramMib: 24_564,
        cpuCores: 8,
        memoryMib: 32_768,
        diskGb: 50,
        minDiskGb: 1,
        maxDiskGb: 200,
        priceMicrosPerHour: 600_000,
        diskMicrosPerGbHour: 0,
        location: 'local',
        reliability: 1,
        confidence: 1,
        cudaVersion: 12.4,
        interruptible: false,
        units: 1,
      },
    ]);
  });

  it('without a GPU is of type CPU, with the disk that there is', async () => {
    const cpu = { ...slot, gpuType: 'CPU', gpuCount: 0, vramMib: 0, diskGb: 12 };
    const provider = createPoolProvider({ pool: aPool({ listSlots: async () => [cpu] }), clock });

    expect((await provider.listOffers({}, uncancelled)).offers[0]).toMatchObject({ gpuType: 'CPU', gpuCount: 0, diskGb: 12 });
  });
});

describe('an instance of the pool', () => {
  const instance: PoolInstance = { instanceId: 'i', tag: 't', state: 'running', createdAt: 5 };
  const seen = async (from: PoolInstance) =>
    createPoolProvider({ pool: aPool({ get: async () => from }), clock }).getInstance(instanceId('i'), uncancelled);

  it.each([
    [
      { ...instance, ssh: { host: 'h', port: 22, user: 'root', hostKey: 'k' } },
      { state: 'running', ssh: { user: 'root', hostKey: 'k', routes: [{ host: 'h', port: 22 }] } },
    ],
    [{ ...instance }, { state: 'starting' }],
    [
      { ...instance, state: 'failed' as const, failure: 'ended with 1' },
      { state: 'failed', reason: 'ended with 1' },
    ],
    [{ ...instance, state: 'stopping' as const }, { state: 'stopping' }],
    [
      { ...instance, cpuPercent: 3, gpuPercent: 90 },
      { utilisation: { cpuPercent: 3, gpuPercent: 90, sampledAt: 1_700_000_000_000 } },
    ],
  ])('%j is seen as %j', async (from, expected) => {
    expect(await seen(from)).toMatchObject({ id: 'i', tag: 't', createdAt: 5, ...expected });
  });

  it('that is still there after a destroy is destroying', async () => {
    const provider = createPoolProvider({ pool: aPool({ stop: async () => undefined, get: async () => instance }), clock });

    expect(await provider.destroyInstance(instanceId('i'), uncancelled)).toBe('destroying');
  });
});

describe('a failure of the pool', () => {
  it.each([
    ['full', 'capacity', 'unavailable'],
    ['unreachable', 'unavailable', 'unavailable'],
    ['unknown', 'ambiguous', 'unavailable'],
    ['refused', 'rejected', 'rejected'],
  ] as const)('%s is %s to a create and %s to a destroy', async (kind, create, destroy) => {
    const fail = () => Promise.reject(new PoolError(kind, 'because'));
    const provider = createPoolProvider({ pool: aPool({ listSlots: async () => [slot], start: fail, stop: fail }), clock });
    const [offer] = (await provider.listOffers({}, uncancelled)).offers;
    if (offer === undefined) throw new Error('no offer');

    await expect(provider.createInstance(aCreateRequest(offer), uncancelled)).rejects.toMatchObject({
      name: 'ProviderError',
      kind: create,
      operation: 'CreateInstance',
      message: 'create instance in the pool: because',
    });
    await expect(provider.destroyInstance(instanceId('i'), uncancelled)).rejects.toMatchObject({ kind: destroy });
  });

  it('that nobody foresaw is ambiguous to a create and never carries foreign words', async () => {
    const fail = () => Promise.reject(new TypeError('token=abc'));
    const provider = createPoolProvider({ pool: aPool({ listSlots: async () => [slot], start: fail, list: fail }), clock });
    const [offer] = (await provider.listOffers({}, uncancelled)).offers;
    if (offer === undefined) throw new Error('no offer');

    const failure = provider.createInstance(aCreateRequest(offer), uncancelled);

    await expect(failure).rejects.toMatchObject({ kind: 'ambiguous', message: expect.not.stringContaining('abc') });
    await expect(provider.listInstances(uncancelled)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('of the preflight is what the check says', async () => {
    const provider = createPoolProvider({ pool: aPool({ preflight: async () => 'run "npm run image"' }), clock });

    await expect(provider.check(uncancelled)).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'check the pool: run "npm run image"',
    });
  });
});

describe('the variables of the pool', () => {
  it('have defaults', () => {
    expect(poolSettings(Environment.parse({}))).toEqual({
      image: 'berth-ssh',
      publishHost: '127.0.0.1',
      priceMicrosPerHour: 0,
      pidsLimit: 4_096,
      packageCapabilities: false,
    });
  });

  it('are read', () => {
    const variables = {
      DOCKER_HOST: 'unix:///run/d.sock',
      POOL_IMAGE: 'mine:1',
      POOL_HOST: 'gpu.example',
      POOL_PRICE_PER_HOUR: '0.35',
      POOL_MAX_SESSIONS: '3',
      POOL_PIDS_LIMIT: '512',
      POOL_ALLOW_PACKAGES: 'true',
    };

    expect(poolSettings(Environment.parse(variables))).toEqual({
      dockerHost: 'unix:///run/d.sock',
      image: 'mine:1',
      publishHost: 'gpu.example',
      priceMicrosPerHour: 350_000,
      maxSessions: 3,
      pidsLimit: 512,
      packageCapabilities: true,
    });
  });

  it.each([
    ['PROVIDERS_POOL_ENABLED', 'yes'],
    ['POOL_PRICE_PER_HOUR', '-1'],
    ['POOL_PRICE_PER_HOUR', '1e3'],
    ['POOL_PRICE_PER_HOUR', '99999'],
    ['POOL_MAX_SESSIONS', '0'],
    ['POOL_MAX_SESSIONS', '2.5'],
    ['POOL_HOST', 'a b'],
    ['POOL_PIDS_LIMIT', '1'],
  ])('%s=%s is refused', (name, value) => {
    expect(Environment.safeParse({ [name]: value }).error?.issues.map((issue) => issue.path.join())).toEqual([name]);
  });

  it.each([
    [{}, false],
    [{ POOL_IMAGE: '' }, false],
    [{ POOL_IMAGE: 'mine' }, true],
    [{ PROVIDERS_POOL_ENABLED: 'true' }, true],
    [{ PROVIDERS_POOL_ENABLED: 'false', POOL_IMAGE: 'mine' }, false],
    [{ DOCKER_HOST: 'unix:///var/run/docker.sock' }, false],
  ])('%j turn it on: %s', (variables, isOn) => {
    expect(pool.isOn(Environment.parse(variables), { otherIsOn: false })).toBe(isOn);
  });
});
