import { describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { spinShapes } from '../emulators/vastai/knobs.ts';
import { login } from '../emulators/vastai/test-client.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { describeProvider } from './describe-provider.ts';
import { answer, created, eventually, got, settled } from './steps.ts';
import { makeVastWorld } from './vastai-world.ts';
import type { VastWorld } from './vastai-world.ts';

const TIMEOUT_MS = 20_000;

describeProvider({
  name: 'the adapter of Vast.ai before a vendor that refuses what it does not know',
  make: () => makeVastWorld({ seed: 1, mode: 'strict' }),
  timeoutMs: TIMEOUT_MS,
});

/** Together they have every reading of every place where the sources of the vendor's behaviour conflict. */
const ROULETTE_SEEDS = [0, 7, 19, 84, 216];

describe.each(ROULETTE_SEEDS)('reading %i of the sources:', (seed) => {
  describeProvider({
    name: 'the adapter of Vast.ai',
    make: () => makeVastWorld({ seed, mode: 'lenient', roulette: true }),
    timeoutMs: TIMEOUT_MS,
  });
});

it('is held to every reading of the sources that there is', async () => {
  const readings = async (seed: number) => {
    const world = await makeVastWorld({ seed, mode: 'lenient', roulette: true });
    const { shapes } = world.emulator;
    await world.close();
    return Object.entries(shapes).map(([name, reading]) => `${name}=${String(reading)}`);
  };
  const many = Array.from({ length: 500 }, (_, seed) => Object.entries(spinShapes(seededRandom(seed))));
  const all = new Set(many.flat().map(([name, reading]) => `${name}=${String(reading)}`));

  const held = new Set((await Promise.all(ROULETTE_SEEDS.map(readings))).flat());

  expect([...all].filter((reading) => !held.has(reading))).toEqual([]);
});

describeProvider({
  name: 'the adapter of Vast.ai before a vendor that is slow to show, tells little and has another time',
  make: () =>
    makeVastWorld({
      seed: 2,
      mode: 'strict',
      knobs: {
        listLagMs: 60_000,
        goneLagMs: 300_000,
        everyOptionalNull: true,
        clockSkewMs: 90_000,
        retryAfterHeader: true,
        priceDriftPerMinute: 0.2,
      },
    }),
  timeoutMs: TIMEOUT_MS,
});

describeProvider({
  name: 'the adapter of Vast.ai before a vendor that takes its time for every answer',
  make: () => makeVastWorld({ seed: 3, mode: 'strict', knobs: { latencyMedianMs: 250, latencyP99Ms: 2_000 } }),
  timeoutMs: TIMEOUT_MS,
});

describe('a session at the emulated Vast.ai', () => {
  const consumer = generateSshKeyPair('consumer');
  const probe = generateSshKeyPair('probe');
  const keys = [consumer.publicKey, probe.publicKey];
  const portsOf = async (world: VastWorld, id: string) => {
    const running = await eventually(world, {
      what: 'the instance should run',
      limitMs: world.limits.bootMs,
      probe: async () => {
        const now = await got(world, instanceId(id));
        return now?.state === 'running' ? now : undefined;
      },
    });
    if (running.ssh.routes === 'dial') throw new Error('it can only be dialled');
    return running.ssh.routes.map(({ port }) => port);
  };
  const loginAt = async (ports: readonly number[], { privateKey }: { readonly privateKey: string }) =>
    Promise.all(ports.map((port) => login(port, privateKey, 'whoami')));
  const SSHD_UP_MS = 5_000;
  const KEYS_ARRIVED_MS = 15_000;

  it('is entered on both ways by the keys of the boot script, before any came through the key API', async () => {
    const world = await makeVastWorld({ seed: 1, mode: 'strict' });
    const { instance } = await created(world, { sshPublicKeys: keys, onStart: 'echo hello' });
    const ports = await portsOf(world, instance.id);

    await world.advance(SSHD_UP_MS);

    expect(ports).toHaveLength(2);
    expect(await loginAt(ports, consumer)).toEqual(['root\n', 'root\n']);
    expect(await loginAt(ports, probe)).toEqual(['root\n', 'root\n']);
    expect(await loginAt(ports, generateSshKeyPair())).toEqual(['refused', 'refused']);
    await world.close();
  });

  it('is entered by the keys of the key API where the vendor lost the boot script, and loses the probe key with it', async () => {
    const world = await makeVastWorld({ seed: 1, mode: 'strict', knobs: { onstartLostShare: 1 } });
    const { instance } = await created(world, { sshPublicKeys: keys });
    const ports = await portsOf(world, instance.id);
    await world.advance(SSHD_UP_MS);
    const { ensureSshKeys, removeSshKeys } = world.provider;
    if (!ensureSshKeys || !removeSshKeys) throw new Error('the adapter keeps keys');

    const before = await loginAt(ports, consumer);
    await answer(world, ensureSshKeys.call(world.provider, instance.id, keys, uncancelled));
    await answer(world, ensureSshKeys.call(world.provider, instance.id, keys, uncancelled));
    await world.advance(KEYS_ARRIVED_MS);
    const after = await Promise.all([loginAt(ports, consumer), loginAt(ports, probe)]);
    await answer(world, removeSshKeys.call(world.provider, instance.id, [probe.publicKey], uncancelled));

    expect(before).toEqual(['refused', 'refused']);
    expect(after.flat()).toEqual(['root\n', 'root\n', 'root\n', 'root\n']);
    expect(await loginAt(ports, probe)).toEqual(['refused', 'refused']);
    expect(await loginAt(ports, consumer)).toEqual(['root\n', 'root\n']);
    const attaches = world.emulator.requests().filter(({ method, path }) => method === 'POST' && path.endsWith('/ssh/'));
    expect(attaches).toHaveLength(keys.length);
    await world.close();
  });

  it('fails for want of credit, not for its host, when the account ran dry', async () => {
    const world = await makeVastWorld({ seed: 1, mode: 'strict' });
    const { instance } = await created(world);
    await portsOf(world, instance.id);

    world.emulator.setCredit(0);

    expect(await got(world, instance.id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('run out of credit'),
    });
    expect(await settled(world, world.provider.check(uncancelled))).toMatchObject({ thrown: { kind: 'funds' } });
    await world.close();
  });

  it('fails ten minutes after its host was last heard', async () => {
    const world = await makeVastWorld({ seed: 1, mode: 'strict' });
    const { instance } = await created(world);
    await portsOf(world, instance.id);
    world.emulator.goOffline(Number(instance.id));

    const first = await got(world, instance.id);
    await world.advance(9 * 60_000);
    const later = await got(world, instance.id);
    await world.advance(2 * 60_000);

    expect([first?.state, later?.state]).toEqual(['starting', 'starting']);
    expect(await got(world, instance.id)).toMatchObject({ state: 'failed' });
    await world.close();
  });
});
