import { appendFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { nameOf, stagedBy, tell, tellingsOf } from './stories.ts';
import type { OpenMarket } from './story.ts';

/** How many seeds, and from which on: 200 an adapter unless `npm run conformance` asks for others. */
const { CONFORMANCE_SEEDS = '200', CONFORMANCE_FROM = '0', CONFORMANCE_REPORT } = process.env;
const SLOWEST_MS = 180_000;

interface AdapterUnderTest {
  readonly adapter: string;
  readonly open: OpenMarket;
  /** `C5 …`: the stories that its vendor cannot stage, by their ids; the adapter's README says why. */
  readonly leavesOut: readonly string[];
}

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
      async (_name, telling) => {
        const { seed, story, mood } = telling;
        const result = await tell(telling, open);
        if (CONFORMANCE_REPORT !== undefined)
          await appendFile(CONFORMANCE_REPORT, `${JSON.stringify({ adapter, seed, story: story.id, mood, ...result })}\n`);
      },
    );
  });
}
