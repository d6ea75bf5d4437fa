import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { billOf, isConsumers, overlapMs } from './bill.ts';
import { aSegment } from './fixtures/a-segment.ts';

describe('billOf', () => {
  it('PEER-11.2.8: fifty minutes cost fifty minutes', () => {
    expect(billOf([aSegment()], 0, HOUR_MS)).toEqual({ consumerMicros: 500_000, operatorMicros: 0, hours: 50 / 60 });
  });

  it('PEER-11.2.8: an attempt that never ran costs the consumer nothing; the operator sees what it cost', () => {
    expect(billOf([aSegment({ ran: false })], 0, HOUR_MS)).toEqual({ consumerMicros: 0, operatorMicros: 500_000, hours: 0 });
  });

  it('what came back after it was gone is the operator’s, though it ran once', () => {
    expect(billOf([aSegment({ payer: 'operator' })], 0, HOUR_MS)).toMatchObject({ consumerMicros: 0, operatorMicros: 500_000 });
    expect(isConsumers({ payer: 'operator', ran: true })).toBe(false);
  });

  it('counts an open segment up to now, and only what lies in the period', () => {
    const open = aSegment({ fromAt: HOUR_MS, toAt: null });

    expect(billOf([open], 0, 2 * HOUR_MS).consumerMicros).toBe(600_000);
    expect(billOf([open], 0, HOUR_MS).consumerMicros).toBe(0);
    expect(billOf([open], HOUR_MS + 30 * MINUTE_MS, 2 * HOUR_MS).consumerMicros).toBe(300_000);
  });

  it('rounds once, over all segments: a thousand thirds are not a thousand zeroes', () => {
    const third = aSegment({ priceMicrosPerHour: 1, fromAt: 0, toAt: HOUR_MS / 3 });

    expect(billOf([third], 0, HOUR_MS).consumerMicros).toBe(0);
    expect(
      billOf(
        Array.from({ length: 1_000 }, () => third),
        0,
        HOUR_MS,
      ).consumerMicros,
    ).toBe(333);
  });

  it('costs nothing when there is nothing', () => {
    expect(billOf([], 0, HOUR_MS)).toEqual({ consumerMicros: 0, operatorMicros: 0, hours: 0 });
  });

  it('REL-C17: a time that is cut anywhere costs the same, within the one rounding of each part', () => {
    const instants = fc.array(fc.integer({ min: 0, max: 100 * HOUR_MS }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(instants, fc.integer({ min: 0, max: 20_000_000 }), (unsorted, priceMicrosPerHour) => {
        const cuts = unsorted.toSorted((a, b) => a - b);
        const [first, last] = [cuts[0] ?? 0, cuts.at(-1) ?? 0];
        const pieces = cuts.slice(1).map((toAt, index) => aSegment({ priceMicrosPerHour, fromAt: cuts[index] ?? 0, toAt }));

        const whole = billOf([aSegment({ priceMicrosPerHour, fromAt: first, toAt: last })], 0, 100 * HOUR_MS).consumerMicros;
        expect(billOf(pieces, 0, 100 * HOUR_MS).consumerMicros).toBe(whole);
        const periods = cuts.slice(1).map((until, index) => billOf(pieces, cuts[index] ?? 0, until).consumerMicros);
        expect(Math.abs(periods.reduce((sum, part) => sum + part, 0) - whole)).toBeLessThanOrEqual(cuts.length);
        expect(Number.isSafeInteger(whole)).toBe(true);
      }),
    );
  });
});

describe('overlapMs', () => {
  it.each([
    [0, 10, 0, 10, 10],
    [0, 10, 5, 20, 5],
    [0, 10, 10, 20, 0],
    [0, 10, 20, 30, 0],
    [15, 18, 10, 20, 3],
    [15, null, 10, 20, 5],
    [25, null, 10, 20, 0],
  ])('of %s to %s and %i to %i is %i', (fromAt, toAt, from, until, ms) => {
    expect(overlapMs({ fromAt, toAt }, from, until)).toBe(ms);
  });
});
