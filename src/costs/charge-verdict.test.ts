import { expect, it } from 'vitest';
import { HOUR_MS } from '../core/duration.ts';
import { judgeCharge, type ChargeComparison } from './charge-verdict.ts';

const USD = 1_000_000;
const base: ChargeComparison = {
  oursMicros: 10 * USD,
  chargedMicros: 10 * USD,
  rows: 1,
  roundingMicros: 1_000,
  priceMicrosPerHour: 0,
  endedAgoMs: 2 * HOUR_MS,
};

it.each<[string, Partial<ChargeComparison>, string]>([
  ['the same', {}, 'matches'],
  ['one percent more', { chargedMicros: 10.1 * USD }, 'matches'],
  ['one percent less', { chargedMicros: 9.9 * USD }, 'matches'],
  ['two percent more, at once, since charges only grow', { chargedMicros: 10.2 * USD }, 'differs'],
  ['CONF-C27: two percent less, which may still come', { chargedMicros: 9.8 * USD }, 'awaited'],
  ['two percent less after two days', { chargedMicros: 9.8 * USD, endedAgoMs: 48 * HOUR_MS }, 'differs'],
  ['CONF-C27: nothing yet, which is not nothing', { chargedMicros: 0, rows: 0 }, 'awaited'],
  ['nothing after two days', { chargedMicros: 0, rows: 0, endedAgoMs: 48 * HOUR_MS }, 'missing'],
  ['half of a cent more of a little, by rounding', { oursMicros: 1_400, chargedMicros: 2_000 }, 'matches'],
  ['a rounded amount for each of five days', { oursMicros: 20_000, chargedMicros: 25_000, rows: 5 }, 'matches'],
  ['five rounded amounts off in one', { oursMicros: 20_000, chargedMicros: 25_000, rows: 1 }, 'differs'],
  [
    'half a minute more of a few minutes',
    { oursMicros: 100_000, chargedMicros: 109_000, priceMicrosPerHour: 960_000 },
    'matches',
  ],
  ['a minute more of a few minutes', { oursMicros: 100_000, chargedMicros: 117_000, priceMicrosPerHour: 960_000 }, 'differs'],
  ['one percent of the greater of the two, and no rounding', { chargedMicros: 10.1005 * USD, roundingMicros: 0 }, 'matches'],
  [
    'to the micro-dollar what it costs, where nothing is rounded',
    { oursMicros: 0, chargedMicros: 0, roundingMicros: 0 },
    'matches',
  ],
  ['nothing where it has cost nothing', { oursMicros: 0, chargedMicros: 0, rows: 0 }, 'matches'],
])('billed: %s', (_what, change, verdict) => {
  expect(judgeCharge({ ...base, ...change })).toBe(verdict);
});
