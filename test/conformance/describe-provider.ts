import { describe, expect, it } from 'vitest';
import { CONFORMANCE_CHECKS } from './conformance-checks.ts';
import { runCheck } from './run-check.ts';
import type { MakeWorld } from './world.ts';

interface ProviderUnderTest {
  readonly name: string;
  /** Makes a world for one check. One on a real account or engine calls `destroyLeftovers` in its `close`. */
  readonly make: MakeWorld;
  /** Ids of the checks to run, for a world that is made for them; absent means all. */
  readonly only?: readonly string[];
  /** Ids of checks that mean nothing for the provider, or that its world cannot stage. That this is so is a test of its own. */
  readonly leavesOut?: readonly string[];
  /** For a check; more for worlds in real time. */
  readonly timeoutMs?: number;
}

/**
 * Holds a provider to the contract: one test a check, each in a world of its own. A check that it cannot stage has to be named.
 * A new provider calls this in its own test file; `describe.skip` or `describePart` round it leaves it out where its engine is missing.
 */
export function describeProvider({ name, make, only, leavesOut = [], timeoutMs = 5_000 }: ProviderUnderTest): void {
  const unknown = [...(only ?? []), ...leavesOut].filter((wanted) => !CONFORMANCE_CHECKS.some(({ id }) => id === wanted));
  if (unknown.length > 0) throw new Error(`there are no checks ${unknown.join(', ')}`);
  const wanted = CONFORMANCE_CHECKS.filter(({ id }) => !only || only.includes(id));

  describe(`${name} keeps the provider contract`, () => {
    for (const check of wanted.filter(({ id }) => !leavesOut.includes(id))) {
      it(`${check.scenario ? `${check.scenario}: ` : ''}it ${check.title}`, { timeout: timeoutMs }, async () => {
        const verdict = await runCheck(check, make);
        if (verdict.verdict === 'skipped')
          throw new Error(`check ${check.id} was not held: ${verdict.why}; name it in leavesOut`);
        if (verdict.verdict === 'failed') throw verdict.error;
      });
    }

    if (leavesOut.length === 0) return;
    it('leaves out only what does not apply to it or cannot be staged', { timeout: timeoutMs * leavesOut.length }, async () => {
      for (const check of wanted.filter(({ id }) => leavesOut.includes(id)))
        expect((await runCheck(check, make)).verdict, check.id).toBe('skipped');
    });
  });
}
