import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { simulated } from '../../providers/simulated/index.ts';
import { systemClock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { recordingLog } from '../support/log.ts';
import { aCreateRequest, aTag, uncancelled } from '../support/provider-calls.ts';
import { countTags, noMachinesAt } from './emulated-vendor.ts';
import { destroyLeftovers } from './run-check.ts';
import type { AccountControls, ConformanceWorld } from './world.ts';

const QUICK = {
  SIMULATED_OFFERS: '40',
  SIMULATED_INTERRUPTIBLE: '0',
  SIMULATED_CREATE_SECONDS: '0.05',
  SIMULATED_BOOT_SECONDS: '0.2',
  SIMULATED_DESTROY_SECONDS: '0.2',
};

interface SimulatedWorldOptions {
  /** Variables of the market that differ from a quick one without faults. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly controls?: AccountControls;
}

/** The market that ships, in real time, in a folder of its own. Its faults are fixed when it opens, so that `fault` is for worlds made to have one. */
export async function makeSimulatedWorld({ variables, controls }: SimulatedWorldOptions = {}): Promise<ConformanceWorld> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'berth-conformance-'));
  const provider = await simulated.create(simulated.environment.parse({ ...QUICK, ...variables }), {
    clock: systemClock,
    random: seededRandom(1),
    log: recordingLog(),
    dataFolder,
    machinePool: noMachinesAt('the simulated market'),
  });
  let foreign = 0;
  const rent = async (tag: ReturnType<typeof aTag>, wanted?: string) => {
    const { offers } = await provider.listOffers({}, uncancelled);
    const offer = offers.find(({ id }) => id === wanted) ?? offers.at(-1);
    if (!offer) throw new Error('the simulated market has no offers');
    return provider.createInstance(aCreateRequest(offer, { tag }), uncancelled);
  };
  const nextForeignTag = () => aTag((foreign += 1), { deployment: 'other' });
  const world: ConformanceWorld = {
    provider,
    clock: systemClock,
    advance: (ms) => delay(ms),
    newTag: countTags(),
    unknownId: instanceId('sim-999999-00000000'),
    secrets: [],
    limits: { answerMs: 5_000, bootMs: 10_000, goneMs: 10_000, listLagMs: 0 },
    controls: {
      plantForeign: async () => {
        const tag = nextForeignTag();
        return { id: (await rent(tag)).id, tag };
      },
      pageSize: 5,
      takeOffer: async ({ id }) => void (await rent(nextForeignTag(), id)),
      // nobody can be told to bid more: with SIMULATED_FAULTS=preempt=1 somebody does so, at a moment that the seed sets
      preempt: async (id) => {
        while ((await provider.getInstance(id, uncancelled))?.state !== 'paused') await delay(20);
      },
      livingWithTag: async (tag) =>
        (await provider.listInstances(uncancelled)).filter((instance) => instance.tag === tag).map(({ id }) => id),
      ...controls,
    },
    close: async () => {
      await destroyLeftovers(world);
      await provider.close?.();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
  return world;
}
