import { describe, expect, it } from 'vitest';
import { MINUTE_MS } from '../core/duration.ts';
import type { MicroUsd } from '../core/money.ts';
import type { BilledSegment } from './bill.ts';
import { judgeSpend, type AccountReading, type SpendVerdict } from './spend-verdict.ts';
import { aSegment as aBilled } from './fixtures/a-segment.ts';

const STEP_MS = 5 * MINUTE_MS;
/** Of wall clocks; the monotonic one begins at 0. */
const EPOCH = 1_767_225_600_000;

/** A reading every five minutes, each this much lower than the one before, micro-dollars. */
function falling(...falls: readonly MicroUsd[]): AccountReading[] {
  let balanceMicros = 50_000_000;
  return [0, ...falls].map((fall, index) => {
    balanceMicros -= fall;
    return { at: EPOCH + index * STEP_MS, monotonicMs: index * STEP_MS, balanceMicros, others: 'none' };
  });
}

/** From the first reading on; 1.20 dollars an hour are 0.10 in five minutes. */
const aSegment = (changes: Partial<BilledSegment> = {}) =>
  aBilled({ priceMicrosPerHour: 1_200_000, fromAt: EPOCH - 60 * MINUTE_MS, toAt: null, ...changes });

/** A dollar in five minutes. */
const aDearSegment = (changes: Partial<BilledSegment>) => aSegment({ priceMicrosPerHour: 12_000_000, ...changes });

const verdictOf = ({ state, why }: SpendVerdict) => (why === undefined ? state : `${state}: ${why}`);
const at = (minutes: number) => EPOCH + minutes * MINUTE_MS;
const withChange = (readings: AccountReading[], index: number, change: Partial<AccountReading>) =>
  readings.map((reading, position) => (position === index ? { ...reading, ...change } : reading));
const later = (readings: AccountReading[], first: number, by: { wallMs?: number; monotonicMs?: number }) =>
  readings.map((reading, index) =>
    index < first
      ? reading
      : { ...reading, at: reading.at + (by.wallMs ?? 0), monotonicMs: reading.monotonicMs + (by.monotonicMs ?? 0) },
  );

describe('judgeSpend', () => {
  it.each<[string, AccountReading[], BilledSegment[], string]>([
    ['nothing where nothing runs', falling(0, 0, 0), [], 'matches'],
    ['what one instance costs', falling(100_000, 100_000, 100_000), [aSegment()], 'matches'],
    [
      'what two cost, one of which the operator pays for',
      falling(200_000, 200_000, 200_000),
      [aSegment(), aSegment({ ordinal: 2, payer: 'operator' })],
      'matches',
    ],
    ['what an attempt costs that never ran', falling(100_000, 100_000, 100_000), [aSegment({ ran: false })], 'matches'],
    ['ten percent more', falling(110_000, 110_000, 110_000), [aSegment()], 'matches'],
    ['REL-B16: fifteen percent more, and all the time', falling(115_000, 115_000, 115_000), [aSegment()], 'possible_leak'],
    ['fifteen percent less', falling(85_000, 85_000, 85_000), [aSegment()], 'less'],
    ['nothing, though something runs', falling(0, 0, 0), [aSegment()], 'less'],
    ['a cent where nothing runs', falling(4_000, 4_000, 4_000), [], 'matches'],
    ['REL-B16: the price of a small GPU where nothing runs', falling(10_000, 10_000, 10_000), [], 'possible_leak'],
    [
      'REL-B16: on, at the price of an instance whose bill was closed: gone was a lie',
      falling(100_000, 100_000, 100_000),
      [aSegment({ toAt: at(-5) })],
      'possible_leak',
    ],
    ['more, but all of it at once', falling(100_000, 700_000, 100_000), [aSegment()], 'cannot_tell: uneven'],
    ['an hour at a time, as some bill', falling(0, 0, 1_200_000), [aSegment()], 'cannot_tell: uneven'],
    ['more since five minutes: too soon to tell', falling(100_000, 100_000, 300_000), [aSegment()], 'cannot_tell: uneven'],
    ['more until five minutes ago', falling(300_000, 300_000, 100_000), [aSegment()], 'cannot_tell: uneven'],
    ['more for ten minutes only', falling(200_000, 200_000), [aSegment()], 'cannot_tell: too_short'],
    ['more, but only long ago', falling(900_000, 100_000, 100_000, 100_000), [aSegment()], 'matches'],
    ['a minute more of one that ended', falling(100_000, 20_000, 0), [aSegment({ toAt: at(5) })], 'matches'],
    ['a minute more of one that began', falling(0, 20_000, 100_000), [aSegment({ fromAt: at(10) })], 'matches'],
    [
      'less, by a rate that went up half a minute late',
      falling(100_000, 190_000, 200_000),
      [aSegment({ toAt: at(5) }), aSegment({ sequence: 2, priceMicrosPerHour: 2_400_000, fromAt: at(5) })],
      'matches',
    ],
    ['what is told from rounding, and not more', falling(5_000, 5_000, 2_500), [], 'matches'],
    ['a micro-dollar more than that', falling(4_167, 4_167, 4_167), [], 'possible_leak'],
    ['less than nothing, by no more than that', falling(-5_000, -5_000, -2_500), [], 'matches'],
    ['less than nothing, by a micro-dollar more', falling(-5_000, -5_000, -2_501), [], 'less'],
    ['half as much in one part as on average', falling(75_000, 150_000, 225_000), [], 'possible_leak'],
    ['less than half as much in one part', falling(74_999, 150_000, 225_001), [], 'cannot_tell: uneven'],
    ['much at once and a little ever after', falling(300_000, 10_000, 10_000), [], 'cannot_tell: uneven'],
    [
      'more than is known, but for the time of one that the operator pays for',
      falling(100_000, 300_000, 300_000),
      [aSegment({ payer: 'operator', toAt: at(5) })],
      'cannot_tell: uneven',
    ],
    ['a minute more of a dear one that ended', falling(1_000_000, 200_000, 0), [aDearSegment({ toAt: at(5) })], 'matches'],
    ['a minute more of a dear one that began', falling(0, 200_000, 1_000_000), [aDearSegment({ fromAt: at(10) })], 'matches'],
    [
      'more, all the time, beside a dear one that neither began nor ended meanwhile',
      falling(1_140_000, 1_140_000, 1_140_000),
      [aDearSegment({ toAt: at(16) })],
      'possible_leak',
    ],
    [
      'more, all the time, beside a dear one that was there just then',
      falling(1_140_000, 1_140_000, 1_140_000),
      [aDearSegment({ fromAt: at(0), toAt: at(15) })],
      'possible_leak',
    ],
    [
      'more, all the time, beside the bill of no time at all',
      falling(50_000, 50_000, 50_000),
      [aDearSegment({ fromAt: at(7), toAt: at(7) })],
      'possible_leak',
    ],
  ])('says of a balance that falls by %s', (_what, readings, segments, verdict) => {
    expect(verdictOf(judgeSpend({ readings, segments, unknownMicrosPerHour: 0 }))).toBe(verdict);
  });

  const leaking = falling(200_000, 200_000, 200_000, 200_000, 200_000, 200_000);
  const gapped = (ms: number) => later(leaking, 6, { wallMs: ms - STEP_MS, monotonicMs: ms - STEP_MS });
  const topped = (first: number, micros: MicroUsd) =>
    leaking.map((reading, index) => (index < first ? reading : { ...reading, balanceMicros: reading.balanceMicros + micros }));
  it.each<[string, AccountReading[], string]>([
    ['nothing is in the way', leaking, 'possible_leak'],
    ['somebody else spends now', withChange(leaking, 6, { others: 'foreign' }), 'cannot_tell: foreign'],
    ['somebody else spent ten minutes ago', withChange(leaking, 4, { others: 'foreign' }), 'cannot_tell: foreign'],
    [
      'somebody else spent twenty minutes ago, and was seen to be gone',
      withChange(leaking, 2, { others: 'foreign' }),
      'possible_leak',
    ],
    ['nobody knows who spent ten minutes ago', withChange(leaking, 4, { others: 'unseen' }), 'cannot_tell: unseen'],
    ['money came in five minutes ago', withChange(leaking, 6, { balanceMicros: 90_000_000 }), 'cannot_tell: top_up'],
    ['a cent came back, as corrections do', falling(200_000, 200_000, -5_000, 500_000), 'cannot_tell: uneven'],

    [
      'half an hour was not watched',
      later(leaking, 5, { wallMs: 30 * MINUTE_MS, monotonicMs: 30 * MINUTE_MS }),
      'cannot_tell: too_short',
    ],
    ['REL-F1: the wall clock jumped meanwhile', later(leaking, 5, { wallMs: 2 * 60 * MINUTE_MS }), 'cannot_tell: too_short'],
    ['twelve minutes were not watched', gapped(12 * MINUTE_MS), 'cannot_tell: uneven'],
    ['a moment more was not watched', gapped(12 * MINUTE_MS + 1), 'cannot_tell: too_short'],
    ['the wall clock was set by five seconds', later(leaking, 5, { wallMs: 5_000 }), 'possible_leak'],
    ['REL-F1: the wall clock was set by more', later(leaking, 5, { wallMs: 5_001 }), 'cannot_tell: too_short'],
    ['money came in a quarter of an hour ago', topped(3, 20_000_000), 'possible_leak'],
    ['a cent came back and no more', topped(5, 210_000), 'cannot_tell: uneven'],
    ['a little more than a cent came back', topped(5, 210_001), 'cannot_tell: top_up'],
    ['one reading is missing', leaking.filter((_, index) => index !== 5), 'possible_leak'],
    ['there is no reading', [], 'cannot_tell: too_short'],
  ])('REL-B16: where the balance falls twice as fast, and %s', (_what, readings, verdict) => {
    expect(verdictOf(judgeSpend({ readings, segments: [aSegment()], unknownMicrosPerHour: 0 }))).toBe(verdict);
  });

  it('allows for what may have been made by creates that got no answer', () => {
    const readings = falling(200_000, 200_000, 200_000);

    expect(judgeSpend({ readings, segments: [aSegment()], unknownMicrosPerHour: 1_200_000 }).state).toBe('matches');
    expect(judgeSpend({ readings, segments: [aSegment()], unknownMicrosPerHour: 300_000 }).state).toBe('possible_leak');
  });

  it('REL-F1: cannot tell while a bill begins in the future, since what it has cost is not known', () => {
    const readings = falling(100_000, 100_000, 100_000);

    const { state, why } = judgeSpend({ readings, segments: [aSegment({ fromAt: at(60) })], unknownMicrosPerHour: 0 });

    expect({ state, why }).toEqual({ state: 'cannot_tell', why: 'misdated' });
  });

  it('takes a bill that begins within a minute for one of now', () => {
    const readings = falling(100_000, 100_000, 100_000);
    const begun = (afterMs: number) => [aSegment(), aSegment({ ordinal: 2, fromAt: at(15) + afterMs })];

    expect(verdictOf(judgeSpend({ readings, segments: begun(MINUTE_MS), unknownMicrosPerHour: 0 }))).toBe('matches');
    expect(verdictOf(judgeSpend({ readings, segments: begun(MINUTE_MS + 1), unknownMicrosPerHour: 0 }))).toBe(
      'cannot_tell: misdated',
    );
  });

  it('tells what it compared: the last quarter of an hour, and not what was before', () => {
    const readings = falling(900_000, 100_000, 200_000, 300_000);

    expect(judgeSpend({ readings, segments: [aSegment()], unknownMicrosPerHour: 0 }).compared).toEqual({
      durationMs: 15 * MINUTE_MS,
      expectedMicros: 300_000,
      observedMicros: 600_000,
    });
  });
});
