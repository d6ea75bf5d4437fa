import { describe, expect, it } from 'vitest';
import type { AdapterUnderTest } from './adapters.ts';
import { nameOf, stagedBy, tell, tellingsOf } from './stories.ts';

/** How many seeds, and from which on; `npm run conformance` tells more of them. */
const { CONFORMANCE_SEEDS = '200', CONFORMANCE_FROM = '0' } = process.env;
const SLOWEST_MS = 180_000;

/** The conformance scenarios with the product's own broker: one test a seed, each another story, another day, another reading of the sources. */
export async function describeStories({ adapter, open, leavesOut }: AdapterUnderTest): Promise<void> {
  const { staged, leftOut } = await stagedBy(open);
  const tellings = tellingsOf(staged, { seeds: Number(CONFORMANCE_SEEDS), from: Number(CONFORMANCE_FROM) });

  describe(`sessions at the emulated ${adapter}`, () => {
    it('leave out only the stories that their vendor cannot stage', () => {
      expect([...new Set(leftOut.map(({ id }) => id))]).toEqual(leavesOut);
    });

    it.each(tellings.map((telling) => [nameOf(telling), telling] as const))(
      '%s',
      { timeout: SLOWEST_MS },
      async (_name, telling) => void (await tell(telling, open)),
    );
  });
}
