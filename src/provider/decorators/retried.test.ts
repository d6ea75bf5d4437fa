import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { createInMemoryProvider } from '../../../test/support/in-memory-provider.ts';
import { aCreateRequest, uncancelled } from '../../../test/support/provider-calls.ts';
import { instanceId } from '../ids.ts';
import { retried } from './retried.ts';

function aRetriedMarket() {
  const clock = new FakeClock();
  const { provider, account } = createInMemoryProvider({ clock });
  const settings = { retries: 2, firstDelayMs: 500, longestDelayMs: 10_000 };
  return { clock, account, provider: retried(provider, { clock, random: { next: () => 0 }, settings }) };
}

describe('retried', () => {
  it('repeats a read that got no answer, with a growing wait', async () => {
    const { clock, account, provider } = aRetriedMarket();
    account.failNext('ListAllInstances', { do: 'fail', kind: 'unavailable' }, { do: 'fail', kind: 'unavailable' });
    const list = provider.listInstances(uncancelled);

    await clock.advance(500);
    expect(account.calls('ListAllInstances')).toBe(2);
    await clock.advance(999);
    expect(account.calls('ListAllInstances')).toBe(2);
    await clock.advance(1);

    expect(await list).toEqual([]);
  });

  it('gives up after its retries with the last error', async () => {
    const { clock, account, provider } = aRetriedMarket();
    account.failAlways('ListOffers', { do: 'fail', kind: 'unavailable' });
    const outcome = expect(provider.listOffers({}, uncancelled)).rejects.toMatchObject({ kind: 'unavailable' });

    await clock.advance(60_000);

    await outcome;
    expect(account.calls('ListOffers')).toBe(3);
  });

  it('waits as long as a rate limit says, but hands a long wait to the caller', async () => {
    const { clock, account, provider } = aRetriedMarket();
    account.failNext('Check', { do: 'fail', kind: 'rate_limited', retryAfterMs: 7_000 });
    const check = provider.check(uncancelled);
    await clock.advance(6_999);
    expect(account.calls('Check')).toBe(1);
    await clock.advance(1);
    await check;

    account.failNext('Check', { do: 'fail', kind: 'rate_limited', retryAfterMs: 3_600_000 });
    await expect(provider.check(uncancelled)).rejects.toMatchObject({ kind: 'rate_limited', retryAfterMs: 3_600_000 });
  });

  it.each(['auth', 'protocol', 'funds', 'rejected'] as const)('does not repeat a read that failed with %s', async (kind) => {
    const { account, provider } = aRetriedMarket();
    account.failAlways('ListAllInstances', { do: 'fail', kind });

    await expect(provider.listInstances(uncancelled)).rejects.toMatchObject({ kind });
    expect(account.calls('ListAllInstances')).toBe(1);
  });

  it('RULE-R3: never repeats a create or a destroy', async () => {
    const { account, provider } = aRetriedMarket();
    account.failAlways('CreateInstance', { do: 'fail', kind: 'unavailable' });
    account.failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });

    await expect(provider.createInstance(aCreateRequest(anOffer()), uncancelled)).rejects.toMatchObject({
      kind: 'unavailable',
    });
    await expect(provider.destroyInstance(instanceId('i-1'), uncancelled)).rejects.toMatchObject({ kind: 'unavailable' });
    expect([account.calls('CreateInstance'), account.calls('DestroyInstance')]).toEqual([1, 1]);
  });

  it('stops waiting when the caller cancels, with the error that it waited for', async () => {
    const { clock, account, provider } = aRetriedMarket();
    account.failAlways('Check', { do: 'fail', kind: 'unavailable' });
    const abort = new AbortController();
    const outcome = expect(provider.check({ signal: abort.signal })).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'unavailable',
    });
    await clock.advance(100);

    abort.abort();

    await outcome;
    expect(account.calls('Check')).toBe(1);
    expect(clock.sleeping).toBe(0);
  });
});
