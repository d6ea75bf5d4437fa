import { afterAll, describe, expect, it } from 'vitest';
import { POSITIONS } from './effects.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { playRound } from './round.ts';
import type { Story } from './story.ts';

/** Long stories on a machine that others use too. */
const TIMEOUT_MS = 600_000;

/**
 * Every story once without a death, then once for each of its effects and each position of a death there (REL §2: XC). That a round did the same
 * up to its death as the one before, in the same order, is what makes sure that none is left out.
 */
export function describeCrashPoints(title: string, stories: readonly Story[], { atLeast }: { readonly atLeast: number }): void {
  describe(title, { timeout: TIMEOUT_MS }, () => {
    const memory = openMemoryStore();
    let points = 0;
    afterAll(() => memory.store.close());

    it.each(stories)('$name', async (story) => {
      const undisturbed = await playRound(story, memory);
      expect(undisturbed.length).toBeGreaterThan(0);
      for (let effect = 0; effect < undisturbed.length; effect += 1)
        for (const position of POSITIONS) {
          await playRound(story, memory, { point: { effect, position }, undisturbed });
          points += 1;
        }
    });

    it(`counts at least ${atLeast} crash points`, () => {
      process.stdout.write(`crash points: ${title}: ${points} in ${stories.length} stories\n`);
      expect(points).toBeGreaterThanOrEqual(atLeast);
    });
  });
}
