import type { Clock, EpochMs } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { MicroUsd } from '../core/money.ts';
import { billOf } from '../costs/bill.ts';
import type { CostRepository } from '../costs/cost-repository.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { Controller, Report } from './controller.ts';

/** What metering counts; the metrics implement it. */
export interface CostMetrics {
  costAccrued(provider: ProviderId, micros: MicroUsd): void;
}

interface CostMeteringDeps {
  readonly sessions: Pick<SessionRepository, 'findUnsettled'>;
  readonly costs: CostRepository;
  readonly writer: SessionWriter;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  readonly metrics: CostMetrics;
  readonly settings: { readonly periodMs: number };
}

const PAGE = 200;

/** Fixes the cost of ended sessions, rounded once, and counts what has been accrued since the last pass. */
export function createCostMeteringController(deps: CostMeteringDeps): Controller {
  const { sessions, costs, writer, clock, log, metrics, settings } = deps;
  let countedUntil: EpochMs | undefined;

  async function settle(): Promise<Report> {
    const unsettled = await sessions.findUnsettled({ limit: PAGE });
    let changed = 0;
    let failed = 0;
    for (const { id } of unsettled) {
      try {
        const { consumerMicros } = billOf(await costs.segmentsOf(id), 0, clock.now());
        if ((await writer.apply(id, { kind: 'settled', costMicros: consumerMicros })).outcome === 'changed') changed += 1;
      } catch (error) {
        failed += 1;
        log.error({ sessionId: id, error: describeError(error) }, 'session could not be settled');
      }
    }
    const isMoreToDo = unsettled.length === PAGE && changed > 0;
    return { examined: unsettled.length, changed, failed, ...(isMoreToDo ? { wakeAt: clock.now() } : {}) };
  }

  /** Everything that was billed since the last pass, whoever pays: money that left. */
  async function count(): Promise<void> {
    const until = clock.now();
    const from = countedUntil ?? until;
    countedUntil = Math.max(from, until);
    if (until <= from) return;
    const byProvider = new Map<ProviderId, { consumer: MicroUsd; operator: MicroUsd }>();
    const segments = await costs.segmentsIn({ from, until });
    for (const provider of new Set(segments.map((segment) => segment.provider))) {
      const { consumerMicros, operatorMicros } = billOf(
        segments.filter((segment) => segment.provider === provider),
        from,
        until,
      );
      byProvider.set(provider, { consumer: consumerMicros, operator: operatorMicros });
    }
    for (const [provider, { consumer, operator }] of byProvider) metrics.costAccrued(provider, consumer + operator);
  }

  return {
    name: 'session.cost-metering',
    periodMs: settings.periodMs,
    async reconcile() {
      const report = await settle();
      await count();
      return report;
    },
  };
}
