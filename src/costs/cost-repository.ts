import { and, eq, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import { statement } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { CostSegment } from '../db/tables.ts';
import type { BilledSegment } from './bill.ts';

export interface Period {
  readonly from: EpochMs;
  /** Exclusive. */
  readonly until: EpochMs;
}

/** Reads what was billed. Segments are written with the session that they belong to, nowhere else. */
export function createCostRepository(store: Store) {
  const { costSegments, attempts } = store.tables;
  const columns = { segment: costSegments, ranAt: attempts.runningAt };
  const ofAttempt = and(eq(attempts.sessionId, costSegments.sessionId), eq(attempts.ordinal, costSegments.ordinal));

  const bySession = statement('cost.by-session', (query, values: { sessionId: SessionId }) =>
    query.select(columns).from(costSegments).innerJoin(attempts, ofAttempt).where(eq(costSegments.sessionId, values.sessionId)),
  );
  const byPeriod = statement('cost.by-period', (query, values: { from: EpochMs; until: EpochMs; consumerId: string }) =>
    query
      .select(columns)
      .from(costSegments)
      .innerJoin(attempts, ofAttempt)
      .where(
        and(
          sql`${costSegments.fromAt} < ${values.until}`,
          sql`(${costSegments.toAt} is null or ${costSegments.toAt} > ${values.from})`,
          sql`(${values.consumerId} = '' or ${costSegments.consumerId} = ${values.consumerId})`,
        ),
      ),
  );

  const billed = (rows: readonly { segment: CostSegment; ranAt: EpochMs | null }[]): BilledSegment[] =>
    rows.map(({ segment, ranAt }) => ({ ...segment, ran: ranAt !== null }));

  return {
    async segmentsOf(sessionId: SessionId): Promise<BilledSegment[]> {
      return billed(await store.read(bySession({ sessionId })));
    },
    /** Segments of which a part lies in the period; of all consumers when none is named. */
    async segmentsIn({ from, until }: Period, consumerId?: string): Promise<BilledSegment[]> {
      return billed(await store.read(byPeriod({ from, until, consumerId: consumerId ?? '' })));
    },
  };
}

export type CostRepository = ReturnType<typeof createCostRepository>;
