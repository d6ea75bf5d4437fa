import { AssertionError } from 'node:assert/strict';
import { describe, expect, it } from 'vitest';
import { BROKEN_PROVIDERS } from './broken-providers.ts';
import { CONFORMANCE_CHECKS } from './conformance-checks.ts';
import { makeInMemoryWorld } from './in-memory-world.ts';
import { runCheck } from './run-check.ts';

describe('the conformance suite', () => {
  it.each(BROKEN_PROVIDERS)('catches, by $caughtBy, a provider that $name', async ({ caughtBy, says, wrap }) => {
    const check = CONFORMANCE_CHECKS.find(({ id }) => id === caughtBy);
    if (!check) throw new Error(`there is no check ${caughtBy}`);

    const verdict = await runCheck(check, () => makeInMemoryWorld(wrap));

    expect(verdict).toEqual({ verdict: 'failed', error: expect.any(AssertionError) as AssertionError });
    expect(verdict).toHaveProperty('error.message', expect.stringContaining(says));
  });

  it('has for each check a provider that only breaks what it is about', () => {
    const tested = new Set(BROKEN_PROVIDERS.map(({ caughtBy }) => caughtBy));

    expect(CONFORMANCE_CHECKS.map(({ id }) => id).filter((id) => !tested.has(id))).toEqual([]);
  });

  it('names each check once', () => {
    const ids = CONFORMANCE_CHECKS.map(({ id }) => id);

    expect(ids).toEqual([...new Set(ids)]);
  });

  it('skips a check that the world cannot stage, and says why', async () => {
    const check = CONFORMANCE_CHECKS.find(({ id }) => id === 'list-is-complete');
    if (!check) throw new Error('there is no such check');
    const poorWorld = async () => ({ ...(await makeInMemoryWorld()), controls: {} });

    expect(await runCheck(check, poorWorld)).toEqual({
      verdict: 'skipped',
      why: 'the account cannot be told to plantForeign, pageSize',
    });
  });
});
