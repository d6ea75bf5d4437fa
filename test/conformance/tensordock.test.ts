import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { createSshVerifier } from '../../src/ssh/verifier.ts';
import { spinShapes } from '../emulators/tensordock/shapes.ts';
import { recordingLog } from '../support/log.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { describeProvider } from './describe-provider.ts';
import { answer, created, createRequest, eventually, got, listed, listOffers, settled } from './steps.ts';
import { makeTensorDockWorld } from './tensordock-world.ts';
import type { TensorDockWorld } from './tensordock-world.ts';

const TIMEOUT_MS = 20_000;
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
/** Its balance cannot be read, and it has neither bids nor templates. */
const leavesOut = ['balance-integer'];

describeProvider({
  name: 'the adapter of TensorDock before a vendor that refuses what it does not know',
  make: () => makeTensorDockWorld({ seed: 1, mode: 'strict' }),
  leavesOut,
  timeoutMs: TIMEOUT_MS,
});

/** Together they have every reading of every place where the sources of the vendor's behaviour conflict. */
const ROULETTE_SEEDS = [1, 178, 234, 658, 1294, 1511];

describe.each(ROULETTE_SEEDS)('reading %i of the sources:', (seed) => {
  describeProvider({
    name: 'the adapter of TensorDock',
    make: () => makeTensorDockWorld({ seed, mode: 'lenient', roulette: true }),
    leavesOut,
    timeoutMs: TIMEOUT_MS,
  });
});

it('is held to every reading of the sources that there is', async () => {
  const readings = async (seed: number) => {
    const world = await makeTensorDockWorld({ seed, mode: 'lenient', roulette: true });
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
  name: 'the adapter of TensorDock before a vendor that is slow to show, tells little and has another time',
  make: () =>
    makeTensorDockWorld({
      seed: 2,
      mode: 'strict',
      knobs: {
        listLagMs: 60_000,
        goneLagMs: 300_000,
        everyOptionalNull: true,
        clockSkewMs: 90_000,
        priceDriftPerMinute: 0.02,
      },
    }),
  leavesOut,
  timeoutMs: TIMEOUT_MS,
});

describe('a session at the emulated TensorDock', () => {
  const consumer = generateSshKeyPair('consumer');
  const probe = generateSshKeyPair('berth-test-probe-1');
  const keys = [consumer.publicKey, probe.publicKey];
  /** Both keys are in, at the latest. */
  const BOOTED_MS = 2.5 * MINUTE_MS;

  async function running(world: TensorDockWorld, id: string) {
    return eventually(world, {
      what: 'the instance should run',
      limitMs: world.limits.bootMs,
      probe: async () => {
        const now = await got(world, instanceId(id));
        return now?.state === 'running' ? now : undefined;
      },
    });
  }

  /** As the broker proves it, over real SSH. */
  async function prove({ ssh }: Extract<Instance, { state: 'running' }>, offer: Offer) {
    const verifier = createSshVerifier({ clock: systemClock, log: recordingLog() });
    return verifier.prove(
      {
        access: ssh,
        privateAddresses: true,
        probe: { privateKey: probe.privateKey, publicKey: probe.publicKey },
        consumerPublicKey: consumer.publicKey.split(' ').slice(0, 2).join(' '),
        gpu: { count: offer.gpuCount, type: offer.gpuType, vramMib: offer.vramMib },
        probeAfter: { kind: 'remove' },
        budgetMs: 15_000,
      },
      uncancelled,
    );
  }

  const wayOf = ({ providerOfferId }: Offer) => providerOfferId.split('/')[3] ?? '';
  const offerOf = async (world: TensorDockWorld, isWanted: (offer: Offer) => boolean) => {
    const offer = (await listOffers(world)).offers.find(isWanted);
    if (!offer) throw new Error('the emulated market has no such offer');
    return offer;
  };

  it.each([
    ['a location, at its own address', ({ machineId }: Offer, way: string) => machineId === undefined && way === 'ip'],
    ['a location, behind a port', (_: Offer, way: string) => way === 'forward'],
    ['a host node, behind one of its ports', ({ machineId }: Offer, way: string) => machineId !== undefined && /^\d/.test(way)],
    ['several GPUs', ({ gpuCount }: Offer) => gpuCount > 1],
  ] as const)(
    'CONF-C1, EMU-TE5: is entered by both keys and has the GPUs that were sold, at the price that was offered: %s',
    { timeout: TIMEOUT_MS },
    async (_, isWanted) => {
      const world = await makeTensorDockWorld({ seed: 1, mode: 'strict' });
      const offer = await offerOf(world, (each) => isWanted(each, wayOf(each)));
      const { instance } = await created(world, { offer, sshPublicKeys: keys, onStart: 'echo hello' });
      await world.advance(BOOTED_MS);
      const told = await running(world, instance.id);

      const proof = await world.traffic.during(() => prove(told, offer));

      expect(proof).toMatchObject({ kind: 'proven', warnings: [] });
      expect(proof.kind === 'proven' && proof.gpus).toHaveLength(offer.gpuCount);
      expect(told.priceMicrosPerHour).toBeCloseTo(offer.priceMicrosPerHour, -2);
      const [machine] = world.emulator.instances();
      expect(machine?.authorizedKeys.user.some((line) => line.includes(probe.publicKey.split(' ')[1] ?? '-'))).toBe(false);
      await world.close();
    },
  );

  it('TD-7.2.T5, EMU-TE12: is entered where the vendor forgets the key of the create', { timeout: TIMEOUT_MS }, async () => {
    const world = await makeTensorDockWorld({ seed: 1, mode: 'strict', knobs: { keyFieldIgnoredShare: 1 } });
    const { instance, offer } = await created(world, { sshPublicKeys: keys });
    await world.advance(BOOTED_MS);

    const proof = await prove(await running(world, instance.id), offer);

    expect(proof).toMatchObject({ kind: 'proven' });
    const [machine] = world.emulator.instances();
    const inRoot = machine?.authorizedKeys.root.filter((line) => keys.some((key) => line.includes(key.split(' ')[1] ?? '-')));
    expect(inRoot).toHaveLength(2);
    expect(machine?.authorizedKeys.user.some((line) => line.includes(consumer.publicKey.split(' ')[1] ?? '-'))).toBe(true);
    await world.close();
  });

  it('TD-7.2.T4, CONF-C22, EMU-TE4: fails within minutes when its port never comes, and needs none at an address of its own', async () => {
    const world = await makeTensorDockWorld({ seed: 1, mode: 'strict', knobs: { forwardsIgnoredShare: 1 } });
    const forwarded = await created(world, { offer: await offerOf(world, (each) => wayOf(each) === 'forward') });
    const own = await created(world, { offer: await offerOf(world, (each) => wayOf(each) === 'ip') });

    await running(world, own.instance.id);
    const failed = await eventually(world, {
      what: 'it should fail',
      limitMs: 6 * MINUTE_MS,
      probe: async () => {
        const now = await got(world, forwarded.instance.id);
        expect(now?.state).not.toBe('running');
        return now?.state === 'failed' ? now : undefined;
      },
    });

    expect(failed.reason).toContain('never opened the port');
    await world.close();
  });

  it('TD-7.2.T11, CONF-C14, EMU-TE11: fails when its GPU is taken back, and can still be destroyed', async () => {
    const world = await makeTensorDockWorld({ seed: 1, mode: 'strict', knobs: { goneLagMs: 0 } });
    const { instance } = await created(world);
    await running(world, instance.id);

    world.emulator.preempt(instance.id);

    expect(await got(world, instance.id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('GPU back') as string,
    });
    expect(await answer(world, world.provider.destroyInstance(instance.id, uncancelled))).toBe('gone');
    await world.close();
  });

  it('EMU-TE14: fails when the account runs dry', async () => {
    const world = await makeTensorDockWorld({ seed: 1, mode: 'strict' });
    const { instance, offer } = await created(world);
    await running(world, instance.id);

    world.emulator.setCredit(0);
    await world.advance(10 * SECOND_MS);

    expect(await got(world, instance.id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('ran dry') as string,
    });
    const again = createRequest(world, offer);
    expect(await settled(world, world.provider.createInstance(again, uncancelled))).toMatchObject({
      thrown: { kind: 'funds' },
    });
    await world.close();
  });

  it.each(['no-nodes', 'no-public-ips', 'insufficient-capacity', 'out-of-stock', 'resource-unavailable'])(
    'TD-7.2.T7, EMU-TE1, EMU-TE6, EMU-TE9: %s is a matter of the offer',
    async (outcome) => {
      const world = await makeTensorDockWorld({ seed: 1, mode: 'strict' });
      const offer = await offerOf(world, () => true);
      world.emulator.injectFault({ kind: 'outcome', method: 'POST', path: 'instances$', outcome });

      const refused = await settled(world, world.provider.createInstance(createRequest(world, offer), uncancelled));

      expect(refused).toMatchObject({ thrown: { kind: 'capacity' } });
      await world.close();
    },
  );

  it.each([
    ['empty-id', 1],
    ['empty-id-not-created', 0],
    ['unexpected-error', 0],
    ['unexpected-error-created', 1],
  ])('CONF-C21, EMU-TE16: %s is unknown, and what was made is found by its name', async (outcome, made) => {
    const world = await makeTensorDockWorld({ seed: 1, mode: 'strict' });
    const request = createRequest(world, await offerOf(world, () => true));
    world.emulator.injectFault({ kind: 'outcome', method: 'POST', path: 'instances$', outcome });

    const unknown = await settled(world, world.provider.createInstance(request, uncancelled));
    await world.advance(world.limits.listLagMs);

    expect(unknown).toMatchObject({ thrown: { kind: 'ambiguous' } });
    expect((await listed(world)).filter(({ tag }) => tag === request.tag)).toHaveLength(made);
    await world.close();
  });

  it.each([
    ['error-but-deleted', 'gone'],
    ['not-deleted', 'destroying'],
  ])('TD-7.2.T9, EMU-TE10: looks what became of a delete that was answered with %s, and repeats it', async (outcome, first) => {
    const world = await makeTensorDockWorld({ seed: 1, mode: 'strict', knobs: { goneLagMs: 0 } });
    const { instance } = await created(world);
    const destroy = () => answer(world, world.provider.destroyInstance(instance.id, uncancelled));
    world.emulator.injectFault({ kind: 'outcome', method: 'DELETE', path: 'instances', outcome });

    expect(await destroy()).toBe(first);

    expect(await destroy()).toBe('gone');
    await world.close();
  });

  it(
    'CONF-C6, CONF-C29, EMU-TE17: stays under the limit in a crowd, where destroys go first',
    { timeout: TIMEOUT_MS },
    async () => {
      const world = await makeTensorDockWorld({
        seed: 1,
        mode: 'strict',
        knobs: { goneLagMs: 0, latencyMedianMs: 2_000, latencyP99Ms: 9_000 },
      });
      const { instance } = await created(world);
      let answered = 0;
      const crowd = Array.from({ length: 250 }, async () => {
        await world.provider.getInstance(instance.id, uncancelled);
        answered += 1;
      });

      const gone = await settled(world, world.provider.destroyInstance(instance.id, uncancelled));

      expect(gone).toEqual({ value: 'gone' });
      expect(answered).toBeLessThan(90);
      await world.advance(6 * MINUTE_MS);
      await Promise.all(crowd);
      expect(world.tooFrequent()).toEqual([]);
      await world.close();
    },
  );
});
