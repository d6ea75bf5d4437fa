import { describe, expect, it } from 'vitest';
import { simulateWorld } from './simulate-world.ts';

const SLOW_MS = 120_000;
/** Worlds that once failed, with what they found; they come first for ever. */
const FOUND = [
  { seed: 2, found: 'the id of what was gone was given to a stranger without a tag, and the broker destroyed it (REL-B15)' },
  { seed: 6, found: 'the same, and a session that waited for ever for the stranger to end' },
  { seed: 19, found: 'a verification that asked for the probe key of a session that another broker had ended' },
] as const;
const WORLDS = Array.from({ length: 12 }, (_, index) => 101 + index);

describe('the product in a hostile world', () => {
  it.each(FOUND)('world $seed holds: $found', { timeout: SLOW_MS }, async ({ seed }) => {
    expect((await simulateWorld(seed)).failures).toEqual([]);
  });

  it.each(WORLDS)(
    'world %i: nothing leaks, nothing is stuck, nothing of others is touched',
    { timeout: SLOW_MS },
    async (seed) => {
      expect((await simulateWorld(seed)).failures).toEqual([]);
    },
  );

  it('is the same world from the same seed', { timeout: SLOW_MS }, async () => {
    const [first, second] = [await simulateWorld(7), await simulateWorld(7)];

    expect(second.hash).toBe(first.hash);
    expect(first.steps).toBeGreaterThan(500);
  });

  it('is another world from another seed', { timeout: SLOW_MS }, async () => {
    const [first, second] = [await simulateWorld(7), await simulateWorld(8)];

    expect(second.hash).not.toBe(first.hash);
  });
});
