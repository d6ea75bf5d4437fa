import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { createInMemoryProvider } from '../../../test/support/in-memory-provider.ts';
import { aCreateRequest, aTag, uncancelled } from '../../../test/support/provider-calls.ts';
import { instanceId } from '../ids.ts';
import type { Provider } from '../provider.ts';
import { DEFAULT_LANES, rateLimited } from './rate-limited.ts';

const ID = instanceId('i-1');

function aLimitedMarket({ concurrency = 1, change = {} }: { concurrency?: number; change?: Partial<Provider> } = {}) {
  const clock = new FakeClock();
  const { provider, account } = createInMemoryProvider({ clock });
  const settings = { ...DEFAULT_LANES, concurrency, destroyConcurrency: 1 };
  return { clock, account, provider: rateLimited({ ...provider, ...change }, { clock, settings }) };
}

describe('rateLimited', () => {
  it('runs no more calls at once than it may', async () => {
    let running = 0;
    let most = 0;
    const { clock, provider } = aLimitedMarket({
      concurrency: 2,
      change: {
        check: async () => {
          running += 1;
          most = Math.max(most, running);
          await clock.sleep(10);
          running -= 1;
        },
      },
    });

    const checks = Promise.all(Array.from({ length: 7 }, () => provider.check(uncancelled)));
    await clock.advance(100);

    await checks;
    expect(most).toBe(2);
  });

  it('CONF-C29: serves a session that waits before the sweep, the sweep before new work, and offers last', async () => {
    const served: string[] = [];
    const { clock, account, provider } = aLimitedMarket({
      change: {
        listOffers: async () => (served.push('offers'), { offers: [], observedAt: 0, dropped: 0 }),
        createInstance: async () => (served.push('create'), { id: ID, state: 'starting' }),
        listInstances: async () => (served.push('list'), []),
        getInstance: async () => (served.push('get'), undefined),
        destroyInstance: async () => (served.push('destroy'), 'destroying'),
      },
    });
    account.failNext('Check', { do: 'hang', done: false });
    const abort = new AbortController();
    const holdsTheSlot = expect(provider.check({ signal: abort.signal })).rejects.toMatchObject({ kind: 'unavailable' });
    await clock.settle();

    const all = [
      provider.listOffers({}, uncancelled),
      provider.createInstance(aCreateRequest(anOffer()), uncancelled),
      provider.listInstances(uncancelled),
      provider.getInstance(ID, uncancelled),
      provider.destroyInstance(ID, uncancelled),
    ];
    await clock.settle();
    expect(served).toEqual(['destroy']);
    abort.abort();

    await Promise.all([holdsTheSlot, ...all]);
    expect(served).toEqual(['destroy', 'get', 'list', 'create', 'offers']);
  });

  it('CONF-C6: pauses a lane for as long as the provider said, and no other lane', async () => {
    const { clock, account, provider } = aLimitedMarket();
    account.failNext('ListOffers', { do: 'fail', kind: 'rate_limited', retryAfterMs: 20_000 });
    await expect(provider.listOffers({}, uncancelled)).rejects.toMatchObject({ kind: 'rate_limited' });

    const offers = provider.listOffers({}, uncancelled);
    expect(await provider.listInstances(uncancelled)).toEqual([]);
    expect(await provider.destroyInstance(ID, uncancelled)).toBe('gone');
    await clock.advance(19_999);
    expect(account.calls('ListOffers')).toBe(1);
    await clock.advance(1);

    await offers;
    expect(account.calls('ListOffers')).toBe(2);
  });

  it('pauses also those who stood in the queue when the limit was met', async () => {
    const { clock, account, provider } = aLimitedMarket();
    const id = account.plant();
    account.failNext('GetInstanceStatus', { do: 'fail', kind: 'rate_limited', retryAfterMs: 5_000 });
    const first = expect(provider.getInstance(id, uncancelled)).rejects.toMatchObject({ kind: 'rate_limited' });
    const second = provider.getInstance(id, uncancelled);

    await first;
    await clock.advance(4_999);
    expect(account.calls('GetInstanceStatus')).toBe(1);
    await clock.advance(1);

    expect(await second).toMatchObject({ id });
  });

  it('CONF-C7: refuses at once, unsent, what would wait too long, with the rest of the wait', async () => {
    const { clock, account, provider } = aLimitedMarket();
    account.failNext('ListOffers', { do: 'fail', kind: 'rate_limited', retryAfterMs: 3_600_000 });
    await expect(provider.listOffers({}, uncancelled)).rejects.toMatchObject({ kind: 'rate_limited' });
    await clock.advance(600_000);

    await expect(provider.listOffers({}, uncancelled)).rejects.toMatchObject({ kind: 'rate_limited', retryAfterMs: 3_000_000 });
    expect(account.calls('ListOffers')).toBe(1);
  });

  it('CONF-C16: holds destroys back for a minute at most, whatever the provider asks', async () => {
    const { clock, account, provider } = aLimitedMarket();
    account.failNext('DestroyInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 86_400_000 });
    await expect(provider.destroyInstance(ID, uncancelled)).rejects.toMatchObject({ kind: 'rate_limited' });

    const destroy = provider.destroyInstance(ID, uncancelled);
    await clock.advance(60_000);

    expect(await destroy).toBe('gone');
  });

  it('does not send what was cancelled while it waited, and says that nothing was made', async () => {
    const { clock, account, provider } = aLimitedMarket();
    account.failNext('Check', { do: 'hang', done: false });
    const slot = new AbortController();
    const holdsTheSlot = expect(provider.check({ signal: slot.signal })).rejects.toBeDefined();
    const abort = new AbortController();
    const queued = expect(provider.createInstance(aCreateRequest(anOffer()), { signal: abort.signal })).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'unavailable',
    });
    await clock.settle();

    abort.abort();
    await queued;
    slot.abort();
    await holdsTheSlot;

    expect(account.calls('CreateInstance')).toBe(0);
  });

  it('does not wait for a pause longer than the caller does', async () => {
    const { clock, account, provider } = aLimitedMarket();
    account.failNext('Check', { do: 'fail', kind: 'rate_limited', retryAfterMs: 10_000 });
    await expect(provider.check(uncancelled)).rejects.toMatchObject({ kind: 'rate_limited' });
    const abort = new AbortController();
    const paused = expect(provider.check({ signal: abort.signal })).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'unavailable',
    });
    await clock.advance(10);

    abort.abort();

    await paused;
    expect(clock.sleeping).toBe(0);
  });

  it('CONF-C17: keeps the verdict of a create that was cancelled after it was sent', async () => {
    const { clock, account, provider } = aLimitedMarket();
    account.failNext('CreateInstance', { do: 'hang', done: true });
    const abort = new AbortController();
    const create = expect(provider.createInstance(aCreateRequest(anOffer()), { signal: abort.signal })).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'ambiguous',
    });
    await clock.settle();

    abort.abort();

    await create;
    expect(account.livingWithTag(aTag(1))).toHaveLength(1);
  });
});
