import type { z } from 'zod';
import { fromUsd } from '../../src/core/money.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { Knobs, SCENARIOS } from '../emulators/tensordock/knobs.ts';
import type { OpenMarket, Trouble } from './stories/story.ts';
import { makeTensorDockWorld } from './tensordock-world.ts';

const TROUBLES = {
  'boots never': { stuckShare: 1 },
  'takes no key': { keyNeverShare: 1 },
  'hides its GPUs': { driver: 'missing' },
} as const satisfies Partial<Record<Trouble, z.input<typeof Knobs>>>;

const OFFERS = 30;

/** The emulated TensorDock, read by the roulette; each story's market is another one. */
export const openTensorDockMarket: OpenMarket = async ({ clock, seed, mood }) => {
  const mooded = mood === 'calm' ? { goneLagMs: 10_000, listLagMs: 10_000 } : { ...SCENARIOS[mood] };
  const knobs = Knobs.parse(mooded);
  const account = await makeTensorDockWorld({ clock, seed, mode: 'lenient', roulette: true, offers: OFFERS, knobs });
  const { emulator } = account;
  const troubles = new Map<Trouble, z.input<typeof Knobs>>(Object.entries(TROUBLES) as [Trouble, z.input<typeof Knobs>][]); // holds: the table's own entries
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
    troubles: [...troubles.keys()],
    trouble: (...wanted) => emulator.setKnobs({ ...knobs, ...Object.assign({}, ...wanted.map((each) => troubles.get(each))) }),
    makeInSpite: (how) =>
      emulator.injectFault({
        method: 'POST',
        path: '/instances$',
        kind: 'outcome',
        outcome: how === 'told' ? 'unexpected-error-created' : 'empty-id',
      }),
    revokeKey: () => emulator.revokeKey(emulator.apiToken),
    restoreKey: () => emulator.restoreKey(emulator.apiToken),
    tooFrequent: () => account.tooFrequent(),
    close: () => account.close(),
  };
};
