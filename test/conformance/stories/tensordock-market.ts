import type { z } from 'zod';
import { fromUsd } from '../../../src/core/money.ts';
import { instanceId } from '../../../src/provider/ids.ts';
import { Knobs, SCENARIOS } from '../../emulators/tensordock/knobs.ts';
import type { OpenMarket, Trouble } from './story.ts';
import { makeTensorDockWorld } from '../tensordock-world.ts';

const TROUBLES = {
  'boots never': { stuckShare: 1 },
  'takes no key': { keyNeverShare: 1 },
  'opens no port': { forwardsIgnoredShare: 1 },
  'has less VRAM': { specLie: 'vram' },
} as const satisfies Partial<Record<Trouble, z.input<typeof Knobs>>>;
/** A driver that finds none, or no driver at all. */
const HIDDEN_GPUS = [{ specLie: 'no-gpus' }, { driver: 'missing' }] as const satisfies readonly z.input<typeof Knobs>[];

/** What their 200 may hold besides a new instance: one of each a seed. */
const ODD_ANSWERS = [
  [
    ['an empty id of what was made', 'empty-id', 'adopted'],
    ['an error that made something', 'unexpected-error-created', 'adopted'],
  ],
  [
    ['an empty id of nothing', 'empty-id-not-created', 'create_lost'],
    ['an error that made nothing', 'unexpected-error', 'create_lost'],
    ['no room', 'no-nodes', 'stale_inventory'],
    ['no address', 'no-public-ips', 'stale_inventory'],
    ['no stock', 'out-of-stock', 'stale_inventory'],
  ],
] as const;

const OFFERS = 30;
/** As far as its prices move in the half minute between a list and a create. */
const MOST_DRIFT = 0.1;

/** The emulated TensorDock, read by the roulette; each story's market is another one. */
export const openTensorDockMarket: OpenMarket = async ({ clock, seed, mood }) => {
  const mooded = mood === 'calm' ? { goneLagMs: 10_000, listLagMs: 10_000 } : { ...SCENARIOS[mood] };
  const knobs = Knobs.parse(mooded);
  const account = await makeTensorDockWorld({ clock, seed, mode: 'lenient', roulette: true, offers: OFFERS, knobs });
  const { emulator } = account;
  const troubles = new Map<Trouble, z.input<typeof Knobs>>([
    ...(Object.entries(TROUBLES) as [Trouble, z.input<typeof Knobs>][]), // holds: the table's own entries
    ['hides its GPUs', HIDDEN_GPUS[seed % HIDDEN_GPUS.length] ?? HIDDEN_GPUS[0]],
  ]);
  const nextCreate = (outcome: string) =>
    emulator.injectFault({ method: 'POST', path: '/instances$', kind: 'outcome', outcome });
  return {
    provider: account.provider,
    traffic: account.traffic,
    controls: account.controls,
    books: () =>
      emulator.ledger().map(({ instanceId: id, name, openedAt, closedAt, totalUsd }) => ({
        id: instanceId(id),
        tag: name,
        openedAt,
        ...(closedAt === undefined ? {} : { closedAt }),
        micros: fromUsd(totalUsd.toFixed(9)),
      })),
    ...(knobs.everyOptionalNull && knobs.priceDriftPerMinute > 0 ? { untoldPriceShare: MOST_DRIFT } : {}),
    troubles: [...troubles.keys()],
    trouble: (...wanted) => emulator.setKnobs({ ...knobs, ...Object.assign({}, ...wanted.map((each) => troubles.get(each))) }),
    makeInSpite: (how) => nextCreate(how === 'told' ? 'unexpected-error-created' : 'empty-id'),
    oddAnswers: ODD_ANSWERS.map((kind) => {
      const [title, outcome, means] = kind[seed % kind.length] ?? kind[0];
      return { title, means, makes: means === 'adopted', give: () => nextCreate(outcome) };
    }),
    revokeKey: () => emulator.revokeKey(emulator.apiToken),
    restoreKey: () => emulator.restoreKey(emulator.apiToken),
    emptyAccount: () => emulator.setCredit(0),
    tooFrequent: () => account.tooFrequent(),
    close: () => account.close(),
  };
};
