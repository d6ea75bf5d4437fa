import type { z } from 'zod';
import { HOUR_MS } from '../../../src/core/duration.ts';
import { seededRandom } from '../../../src/core/random.ts';
import { instanceId } from '../../../src/provider/ids.ts';
import { Knobs, SCENARIOS } from '../../emulators/hakuriver/knobs.ts';
import type { LedgerEntry } from '../../emulators/hakuriver/truth.ts';
import type { NodeSpec } from '../../emulators/hakuriver/world.ts';
import { makeHakuWorld } from '../hakuriver-world.ts';
import type { Book, OpenMarket, Trouble } from './story.ts';

const TROUBLES = {
  'boots never': { crashLoopShare: 1 },
  'boots and fails': { neverStartsShare: 1 },
  'takes no key': { keyNeverShare: 1 },
  'hides its GPUs': { specLie: 'no-gpus' },
  'has less VRAM': { specLie: 'vram' },
} as const satisfies Partial<Record<Trouble, z.input<typeof Knobs>>>;

const DIALECTS = ['P', 'S', 'K'] as const;
const MODELS = [
  { name: 'NVIDIA GeForce RTX 4090', vramMib: 24_564 },
  { name: 'NVIDIA A100-SXM4-80GB', vramMib: 81_920 },
  { name: 'NVIDIA L40S', vramMib: 46_068 },
] as const;
/** A create and a destroy ask five to seven things each, all of which have to be answered. */
const FEWER_REFUSALS = {
  resetBeforeShare: 0.03,
  htmlShare: 0.03,
  errorShare: 0.03,
  throttleShare: 0.02,
} satisfies z.input<typeof Knobs>;
const MACHINES = 10;
const GPUS_OF_A_MACHINE = 4;
const PRICE_MICROS_PER_GPU_HOUR = 500_000;
const UNTIL_RESTORED = 1_000_000;

/** The emulated cluster of HakuRiver; each story's is another one, of another version. Nobody pays there, so that its price is what its operator says. */
export const openHakuMarket: OpenMarket = async ({ clock, seed, mood }) => {
  const knobs = Knobs.parse({ ...SCENARIOS[mood], ...(mood === 'stress' && FEWER_REFUSALS) });
  const random = seededRandom(seed);
  const dialect = DIALECTS[Math.floor(random.next() * DIALECTS.length)] ?? 'P';
  const model = () => MODELS[Math.floor(random.next() * MODELS.length)] ?? MODELS[0];
  const account = await makeHakuWorld({
    clock,
    seed,
    dialect,
    auth: dialect === 'K',
    knobs,
    nodes: Array.from({ length: MACHINES }, (_, index) => machine(index + 1, model())),
    withFaults: true,
    environment: { HAKURIVER_PRICE_PER_HOUR: String(PRICE_MICROS_PER_GPU_HOUR / 1_000_000) },
  });
  const { emulator } = account;
  const troubles = new Map<Trouble, z.input<typeof Knobs>>(Object.entries(TROUBLES) as [Trouble, z.input<typeof Knobs>][]); // holds: the table's own entries
  return {
    provider: account.provider,
    traffic: account.traffic,
    controls: {
      ...account.controls,
      // somebody who may do so ends it on its machine, and its Runner tells the Host
      async preempt(id) {
        emulator.stopContainer(id);
        emulator.setStatus(id, 'failed');
      },
    },
    books: () => emulator.ledger().flatMap((entry) => bookOf(entry, clock.now())),
    isBeyondReach: (id) =>
      emulator.ledger().some(({ taskId, isLiving, isForgotten }) => taskId === id && isLiving && isForgotten),
    troubles: [...troubles.keys()],
    trouble: (...wanted) => emulator.setKnobs({ ...knobs, ...Object.assign({}, ...wanted.map((each) => troubles.get(each))) }),
    // whatever went wrong after the machine had started it, the Host says this, and never an id
    makeInSpite: () =>
      emulator.injectFault({ method: 'POST', path: CREATE, kind: 'status-after', status: 500, text: 'Internal Server Error' }),
    // the Host's own, or a proxy's before one that asks nobody
    revokeKey: () =>
      emulator.injectFault({
        path: '^/',
        kind: 'status-before',
        status: 401,
        json: { detail: 'Authentication required' },
        times: UNTIL_RESTORED,
      }),
    restoreKey: () => emulator.clearFaults(),
    provesEndsLate: mood !== 'calm',
    tooFrequent: () => [],
    close: () => account.close(),
  };
};

const CREATE = '^(/submit|/api/vps/create)$';

function machine(number: number, model: (typeof MODELS)[number]): NodeSpec {
  return { hostname: `node-${number}`, cores: 32, gpus: { ...model, count: GPUS_OF_A_MACHINE } };
}

/** What lived, and what still may; a container that was made and never ran is nothing to anybody. */
function bookOf({ taskId, tags, gpus, state, fromAt, toAt, livedMs }: LedgerEntry, now: number): Book[] {
  if (fromAt === undefined && state !== 'starting') return [];
  return [
    {
      id: instanceId(taskId),
      tag: tags.find((tag) => tag.startsWith('berth-')),
      openedAt: fromAt ?? now,
      ...(toAt === undefined ? {} : { closedAt: toAt }),
      micros: Math.round((livedMs * Math.max(1, gpus.length) * PRICE_MICROS_PER_GPU_HOUR) / HOUR_MS),
    },
  ];
}
