import { describe, it } from 'vitest';
import { CONFORMANCE_CHECKS } from './conformance-checks.ts';
import { runCheck } from './run-check.ts';
import type { MakeWorld } from './world.ts';

interface ProviderUnderTest {
  readonly name: string;
  /** Makes a world for one check. One on a real account or engine calls `destroyLeftovers` in its `close`. */
  readonly make: MakeWorld;
  /** Ids of the checks to run, for a world that is made for them; absent means all. */
  readonly only?: readonly string[];
  /** For a check; more for worlds in real time. */
  readonly timeoutMs?: number;
}

/**
 * Holds a provider to the contract: one test a check, each in a world of its own. A check that the world cannot stage is skipped and says why.
 * A new provider calls this in its own test file; `describe.skip` or `describePart` round it leaves it out where its engine is missing.
 */
export function describeProvider({ name, make, only, timeoutMs = 5_000 }: ProviderUnderTest): void {
  const unknown = only?.filter((wanted) => !CONFORMANCE_CHECKS.some(({ id }) => id === wanted)) ?? [];
  if (unknown.length > 0) throw new Error(`there are no checks ${unknown.join(', ')}`);

  describe(`${name} keeps the provider contract`, () => {
    for (const check of CONFORMANCE_CHECKS) {
      if (only && !only.includes(check.id)) continue;
      it(`${check.scenario ? `${check.scenario}: ` : ''}it ${check.title}`, { timeout: timeoutMs }, async (context) => {
        const verdict = await runCheck(check, make);
        if (verdict.verdict === 'skipped') context.skip(verdict.why);
        if (verdict.verdict === 'failed') throw verdict.error;
      });
    }
  });
}
