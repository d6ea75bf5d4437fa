import { Decimal } from 'decimal.js';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { exactCost, fromUsd, roundCost, toUsd } from './money.ts';

const slowly = (usd: number) => new Decimal(usd).times(1_000_000).toDecimalPlaces(0, Decimal.ROUND_HALF_UP).toNumber();

it('reads dollars as exact decimals would, to the micro-dollar, half up', () => {
  fc.assert(fc.property(fc.double({ min: -1e9, max: 1e9, noNaN: true }), (usd) => fromUsd(usd) + 0 === slowly(usd) + 0));
  fc.assert(
    fc.property(fc.integer({ min: -1e9, max: 1e9 }), (tenths) => fromUsd(tenths / 1e7) + 0 === slowly(tenths / 1e7) + 0),
  );
  expect([fromUsd(0.3567), fromUsd('0.34'), fromUsd(0.0000005), fromUsd(1.0000005), fromUsd(0)]).toEqual([
    356_700, 340_000, 1, 1_000_001, 0,
  ]);
});

it('writes them as exact decimals would', () => {
  fc.assert(fc.property(fc.maxSafeInteger(), (micros) => toUsd(micros) === new Decimal(micros).div(1_000_000).toNumber()));
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1e12, noNaN: true }),
      (micros) => toUsd(micros) === new Decimal(micros).div(1_000_000).toNumber(),
    ),
  );
  expect([toUsd(340_000), toUsd(138.5), toUsd(1e-9)]).toEqual([0.34, 0.0001385, 1e-15]);
});

it.each([Number.NaN, Infinity, 1e300, '0.1;', ''])('REL-K3: %s is no amount of money', (usd) => {
  expect(() => fromUsd(usd)).toThrow(new RangeError(`not an amount of money: ${usd}`));
});

it('says why a text is no amount of money', () => {
  expect(() => fromUsd('0.1;')).toThrow(
    expect.objectContaining({ cause: expect.objectContaining({ message: expect.stringContaining('0.1;') }) }),
  );
});

it('a cost is rounded half up, and once: parts add up before', () => {
  const half = exactCost(1, 1_800_000);

  expect([half - 1n, half, half + half, 3n * half].map(roundCost)).toEqual([0, 1, 1, 2]);
  expect(exactCost(340_000, -1)).toBe(0n);
  expect(exactCost(2, 1.4)).toBe(2n);
});

it('REL-K3: a cost that is too large to be exact is none', () => {
  const largest = exactCost(Number.MAX_SAFE_INTEGER, 3_600_000);

  expect(roundCost(largest)).toBe(Number.MAX_SAFE_INTEGER);
  expect(() => roundCost(largest + exactCost(1, 3_600_000))).toThrow(new RangeError('cost is too large to be exact'));
});
