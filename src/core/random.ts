import { randomBytes } from 'node:crypto';

/** Chance, handed in so that a run can be repeated. Keys and secrets never come from here: they use node:crypto where they are made. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  bytes(count: number): Uint8Array;
}

const POOL_BYTES = 4_096;
let pool: Uint8Array = new Uint8Array(0);

/** Asks the system for many bytes at once: a call for each id would be a tenth of a request. */
function pooledBytes(count: number): Uint8Array {
  if (pool.length < count) pool = randomBytes(Math.max(POOL_BYTES, count));
  const taken = pool.subarray(0, count);
  pool = pool.subarray(count);
  return taken;
}

export const systemRandom: Random = {
  next: () => Math.random(),
  bytes: pooledBytes,
};

/** The same sequence for the same seed (mulberry32): for the simulated market and for tests, never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, bytes: (count) => Uint8Array.from({ length: count }, () => Math.floor(next() * 256)) };
}
