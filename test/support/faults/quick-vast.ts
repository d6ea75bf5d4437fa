import { expect } from 'vitest';
import { startVastEmulator, type VastEmulator, type VastEmulatorOptions } from '../../../providers/vastai/emulator.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { HOUR_MS } from '../../../src/core/duration.ts';
import type { WireSession } from '../wire-session.ts';

/** The market's own behaviour, without most of the waiting, and without its limits: a killed broker forgets when it called last. */
const QUICK = {
  bootScale: 0.02,
  sshdDelayMs: 300,
  keyDelayMs: 200,
  stopMs: 200,
  listLagMs: 500,
  goneLagMs: 500,
  heartbeatMs: 1_000,
  limits: false,
} as const;

export function openQuickVast(options: Partial<VastEmulatorOptions> = {}): Promise<VastEmulator> {
  return startVastEmulator({
    clock: systemClock,
    seed: 20_261,
    mode: 'strict',
    creditUsd: 10_000,
    offers: 400,
    shapes: { searchCap: 'none' },
    ...options,
    knobs: { ...QUICK, ...options.knobs },
  });
}

export const A_VAST_GPU = { provider: 'vastai', gpu_count: 1, reservation_hours: 1 } as const;

export function vastSettings(market: VastEmulator): Readonly<Record<string, string>> {
  return {
    VASTAI_API_KEY: market.apiKey,
    VASTAI_BASE_URL: market.url,
    VASTAI_INTERRUPTIBLE_OFFERS: '0',
    VASTAI_OFFERS_PER_SEARCH: '400',
    LIFECYCLE_CHECK_INTERVAL: '1s',
    LIFECYCLE_RECONCILIATION_INTERVAL: '2s',
    SSH_CHECK_INTERVAL: '1s',
  };
}

/** Of every create that reached the market, the tag that it bore. */
export function tagsOfCreates(market: VastEmulator): string[] {
  return market
    .requests()
    .filter(({ method, path }) => method === 'PUT' && path.startsWith('/api/v0/asks/'))
    .map(({ body }) => String((body as { label?: unknown }).label)); // every create of ours has a label
}

/** Instances that the market bills now, those that a test has planted left out. */
export function livingAt(market: VastEmulator, planted: readonly number[] = []) {
  return market.instances().filter(({ id, isAlive }) => isAlive && !planted.includes(id));
}

/** No create was sent twice, and no session ever had two instances of one attempt. */
export function expectEachTagOnce(market: VastEmulator): void {
  const sent = tagsOfCreates(market);
  expect(sent.filter((tag, index) => sent.indexOf(tag) !== index)).toEqual([]);
  const labels = market.instances().flatMap(({ label }) => (label === null ? [] : [label]));
  expect(labels.filter((label, index) => labels.indexOf(label) !== index)).toEqual([]);
}

export interface Invoice {
  readonly billedUsd: number;
  readonly invoicedUsd: number;
  /** By how many seconds of its price the bill of a session is above the invoice at most, and below it. */
  readonly mostAboveSeconds: number;
  readonly mostBelowSeconds: number;
}

/** Our bills of ended sessions, consumers' and operator's parts together, beside the market's own books. */
export function compareBills(market: VastEmulator, sessions: readonly WireSession[], planted: readonly number[] = []): Invoice {
  const invoices = market.ledger().filter(({ contractId }) => !planted.includes(contractId));
  const billedUsd = sessions.reduce((sum, { cost, operator_cost: operator }) => sum + cost + operator, 0);
  const invoicedUsd = invoices.reduce((sum, { totalUsd }) => sum + totalUsd, 0);
  const offBySeconds = sessions.map(({ id, cost, operator_cost: operator, price_per_hour: price }) => {
    const suffix = id.replace(/^ses_/, '');
    const theirs = invoices.filter(({ label }) => label?.includes(suffix)).reduce((sum, { totalUsd }) => sum + totalUsd, 0);
    return ((cost + operator - theirs) / price) * (HOUR_MS / 1_000);
  });
  return {
    billedUsd,
    invoicedUsd,
    mostAboveSeconds: Math.max(0, ...offBySeconds),
    mostBelowSeconds: Math.max(0, ...offBySeconds.map((seconds) => -seconds)),
  };
}
