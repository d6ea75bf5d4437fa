import { HOUR_MS, MINUTE_MS } from '../../../src/core/duration.ts';
import { fromUsd } from '../../../src/core/money.ts';
import { instanceId } from '../../../src/provider/ids.ts';
import { Knobs, SCENARIOS } from '../../emulators/vastai/knobs.ts';
import { makeVastWorld } from '../vastai-world.ts';
import type { OpenMarket, Trouble } from './story.ts';
import type { z } from 'zod';

const TROUBLES = {
  'boots never': { stuckShare: 1 },
  'boots and fails': { ociFailureShare: 1 },
  'takes no key': { keyNeverShare: 1, onstartLostShare: 1 },
  'first route dead': { proxyDeadShare: 1 },
  'second route dead': { directDeadShare: 1 },
  'hides its GPUs': { specLie: 'no-gpus' },
  'has less VRAM': { specLie: 'vram' },
  'doubles its price': { createPriceFactor: 2 },
  'bills late': { chargesLagMs: 3 * HOUR_MS },
} as const satisfies Partial<Record<Trouble, z.input<typeof Knobs>>>;

const OFFERS = 60;

/** The emulated Vast.ai, read by the roulette; each story's market is another one. */
export const openVastMarket: OpenMarket = async ({ clock, seed, mood }) => {
  const mooded = mood === 'calm' ? { goneLagMs: 10_000, listLagMs: 10_000 } : { ...SCENARIOS[mood] };
  const knobs = Knobs.parse({ ...mooded, dailyRows: 1_000_000 });
  const account = await makeVastWorld({ clock, seed, mode: 'lenient', roulette: true, offers: OFFERS, knobs });
  const { emulator } = account;
  const troubles = new Map<Trouble, z.input<typeof Knobs>>(Object.entries(TROUBLES) as [Trouble, z.input<typeof Knobs>][]); // holds: the table's own entries
  return {
    provider: account.provider,
    traffic: account.traffic,
    controls: account.controls,
    books: () =>
      emulator.ledger().map(({ contractId, label, openedAt, closedAt, gpuUsd, diskUsd }) => ({
        id: instanceId(String(contractId)),
        tag: label ?? undefined,
        openedAt,
        ...(closedAt === undefined ? {} : { closedAt }),
        micros: fromUsd(gpuUsd + diskUsd),
      })),
    silenceMs: 10 * MINUTE_MS,
    troubles: [...troubles.keys()],
    trouble: (...wanted) => emulator.setKnobs({ ...knobs, ...Object.assign({}, ...wanted.map((each) => troubles.get(each))) }),
    makeInSpite: (how) =>
      emulator.injectFault({
        method: 'PUT',
        path: '^/api/v0/asks/',
        kind: 'outcome',
        outcome: how === 'told' ? 'refused-with-contract' : 'refused-without-id',
      }),
    queueStart: (id) => emulator.queueStart(Number(id)),
    revokeKey: () => emulator.revokeKey(emulator.apiKey),
    restoreKey: () => emulator.restoreKey(emulator.apiKey),
    spendQuota: () => account.spendQuota(),
    emptyAccount: () => emulator.setCredit(0),
    tooFrequent: () => account.tooFrequent(),
    close: () => account.close(),
  };
};
