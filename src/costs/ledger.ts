import type { Clock, EpochMs } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import type { MicroUsd } from '../core/money.ts';
import { billOf, isConsumers, overlapMs, type Bill, type BilledSegment } from './bill.ts';
import type { CostRepository, Period } from './cost-repository.ts';

export interface CostSummary extends Bill {
  readonly sessionCount: number;
  readonly byProvider: Readonly<Record<string, MicroUsd>>;
  readonly byGpuType: Readonly<Record<string, MicroUsd>>;
}

/** What sessions cost: up to now while they are open, for good once every segment is closed. */
export interface Ledger {
  billOfSession(id: SessionId): Promise<Bill>;
  summary(period: Period, consumerId?: string): Promise<CostSummary>;
}

export function createLedger({ costs, clock }: { readonly costs: CostRepository; readonly clock: Pick<Clock, 'now'> }): Ledger {
  return {
    billOfSession: async (id) => billOf(await costs.segmentsOf(id), 0, clock.now()),
    summary: async (period, consumerId) => summarise(await costs.segmentsIn(period, consumerId), period, clock.now()),
  };
}

function summarise(segments: readonly BilledSegment[], { from, until }: Period, now: EpochMs): CostSummary {
  const end = Math.min(until, now);
  const billed = segments.filter((segment) => isConsumers(segment) && overlapMs(segment, from, end) > 0);
  return {
    ...billOf(segments, from, end),
    sessionCount: new Set(billed.map(({ sessionId }) => sessionId)).size,
    byProvider: sums(billed, ({ provider }) => provider, from, end),
    byGpuType: sums(billed, ({ gpuType }) => gpuType, from, end),
  };
}

function sums(segments: readonly BilledSegment[], nameOf: (segment: BilledSegment) => string, from: EpochMs, until: EpochMs) {
  const groups = new Map<string, BilledSegment[]>();
  for (const segment of segments) groups.set(nameOf(segment), [...(groups.get(nameOf(segment)) ?? []), segment]);
  return Object.fromEntries([...groups].map(([name, group]) => [name, billOf(group, from, until).consumerMicros]));
}
