import { Decimal } from 'decimal.js';

/** Millionths of a US dollar, a safe integer. Inside Berth money is only ever this; dollars exist on the wire. */
export type MicroUsd = number;

const MICROS_PER_USD = 1_000_000;
const MS_PER_HOUR = 3_600_000n;
const SURELY_EXACT = 1e12;

/** Dollars as a JSON number, exact to the micro-dollar: 340_000 → 0.34. */
export function toUsd(micros: MicroUsd): number {
  if (Number.isSafeInteger(micros)) return micros / MICROS_PER_USD; // a division of two exact numbers is rounded once, to the nearest
  const written = String(micros); // a rate may have a fraction
  if (!written.includes('e')) return Number(`${written}e-6`);
  return new Decimal(micros).div(MICROS_PER_USD).toNumber();
}

/** Dollars (a number or decimal text) as micro-dollars, half up. Throws RangeError for what is no finite amount or too large to be exact. */
export function fromUsd(usd: number | string): MicroUsd {
  if (typeof usd === 'number') {
    const scaled = usd * MICROS_PER_USD;
    const nearest = Math.round(scaled);
    // far enough from a half that what the product lost in binary cannot matter
    if (Math.abs(scaled) < SURELY_EXACT && Math.abs(scaled - nearest) < 0.499) return nearest;
  }
  let amount: Decimal;
  try {
    amount = new Decimal(usd).times(MICROS_PER_USD).toDecimalPlaces(0, Decimal.ROUND_HALF_UP);
  } catch (cause) {
    throw new RangeError(`not an amount of money: ${String(usd)}`, { cause });
  }
  const micros = amount.toNumber();
  if (!Number.isSafeInteger(micros)) throw new RangeError(`not an amount of money: ${String(usd)}`);
  return micros;
}

/** Price (micro-dollars an hour) × time in micro-dollar-milliseconds-per-hour: exact, so that parts add up before the one rounding. */
export function exactCost(priceMicrosPerHour: MicroUsd, durationMs: number): bigint {
  return BigInt(priceMicrosPerHour) * BigInt(Math.max(0, Math.round(durationMs)));
}

/** Rounds a sum of exact costs, half up, once: at settlement or at display. */
export function roundCost(exact: bigint): MicroUsd {
  const micros = (exact + MS_PER_HOUR / 2n) / MS_PER_HOUR;
  if (micros > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError('cost is too large to be exact');
  return Number(micros);
}
