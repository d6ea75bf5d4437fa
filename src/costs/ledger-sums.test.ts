import { describe, expect, it } from 'vitest';
import type { SessionId } from '../core/ids.ts';
import { HOUR_MS } from '../core/duration.ts';
import { providerId } from '../provider/ids.ts';
import type { BilledSegment } from './bill.ts';
import type { CostRepository, Period } from './cost-repository.ts';
import { createLedger } from './ledger.ts';
import { aSegment as aBilled } from './fixtures/a-segment.ts';

// What the ledger makes of segments, without a database; ledger.test.ts has both databases and the life of sessions.

const ONE: SessionId = 'ses_00000000000000000000000001';
const OTHER: SessionId = 'ses_00000000000000000000000002';
const NOW = 100 * HOUR_MS;
const DAY: Period = { from: NOW - 12 * HOUR_MS, until: NOW + 12 * HOUR_MS };

const aSegment = (changes: Partial<BilledSegment> = {}) => aBilled({ fromAt: NOW - 2 * HOUR_MS, toAt: null, ...changes });

/** A ledger over these segments, whoever asks for which. */
function ledgerOf(...segments: BilledSegment[]) {
  const asked: unknown[] = [];
  const costs: CostRepository = {
    segmentsOf: async (id) => {
      asked.push(id);
      return segments;
    },
    segmentsIn: async (...question) => {
      asked.push(question);
      return segments;
    },
  };
  return { ledger: createLedger({ costs, clock: { now: () => NOW } }), asked };
}

describe('the bill of a session', () => {
  it('counts what is open up to now', async () => {
    const { ledger, asked } = ledgerOf(aSegment());

    expect(await ledger.billOfSession(ONE)).toEqual({ consumerMicros: 1_200_000, operatorMicros: 0, hours: 2 });
    expect(asked).toEqual([ONE]);
  });
});

describe('a summary', () => {
  it('asks for the period, and for one consumer where one is named', async () => {
    const { ledger, asked } = ledgerOf();

    expect(await ledger.summary(DAY, 'alice')).toEqual({
      consumerMicros: 0,
      operatorMicros: 0,
      hours: 0,
      sessionCount: 0,
      byProvider: {},
      byGpuType: {},
    });
    await ledger.summary(DAY);
    expect(asked).toEqual([
      [DAY, 'alice'],
      [DAY, undefined],
    ]);
  });

  it('sums by provider and by GPU, and counts a session of several segments once', async () => {
    const { ledger } = ledgerOf(
      aSegment({ toAt: NOW - HOUR_MS }),
      aSegment({ sequence: 2, fromAt: NOW - HOUR_MS, priceMicrosPerHour: 900_000 }),
      aSegment({ sessionId: OTHER, provider: providerId('pool'), gpuType: 'H100', priceMicrosPerHour: 2_000_000 }),
    );

    expect(await ledger.summary(DAY)).toEqual({
      consumerMicros: 5_500_000,
      operatorMicros: 0,
      hours: 4,
      sessionCount: 2,
      byProvider: { cloud: 1_500_000, pool: 4_000_000 },
      byGpuType: { 'RTX 4090': 1_500_000, H100: 4_000_000 },
    });
  });

  it('counts up to now in a period that is not over, and to its end in one that is', async () => {
    const { ledger } = ledgerOf(aSegment());

    expect((await ledger.summary(DAY)).hours).toBe(2);
    expect((await ledger.summary({ from: DAY.from, until: NOW - HOUR_MS })).hours).toBe(1);
  });

  it('shows what the operator pays in the sum alone: it is no session of a consumer', async () => {
    const { ledger } = ledgerOf(aSegment({ ran: false }), aSegment({ sessionId: OTHER, payer: 'operator' }));

    expect(await ledger.summary(DAY)).toEqual({
      consumerMicros: 0,
      operatorMicros: 2_400_000,
      hours: 0,
      sessionCount: 0,
      byProvider: {},
      byGpuType: {},
    });
  });

  it('leaves out a session that ended as the period began', async () => {
    const { ledger } = ledgerOf(aSegment({ toAt: DAY.from, fromAt: DAY.from - HOUR_MS }));

    expect(await ledger.summary(DAY)).toMatchObject({ sessionCount: 0, byProvider: {}, byGpuType: {} });
  });
});
