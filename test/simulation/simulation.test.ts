import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { simulateWorld } from './simulate-world.ts';

const SLOW_MS = 120_000;
/** Worlds that once failed, with what they found; they come first for ever. */
const FOUND = z
  .array(z.object({ seed: z.int(), found: z.string() }))
  .parse(JSON.parse(readFileSync(new URL('seeds.json', import.meta.url), 'utf8')));
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
