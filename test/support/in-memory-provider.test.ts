import { describe, expect, it } from 'vitest';
import { instanceId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { FakeClock } from './fake-clock.ts';
import type { AccountSettings } from './in-memory-account.ts';
import { createInMemoryProvider } from './in-memory-provider.ts';
import { aCreateRequest, aTag, uncancelled } from './provider-calls.ts';

async function aMarket(settings: Partial<AccountSettings> = {}) {
  const clock = new FakeClock();
  const { provider, account } = createInMemoryProvider({ clock, settings });
  const [offer] = (await provider.listOffers({}, uncancelled)).offers;
  if (!offer) throw new Error('no offers');
  const create = (from: Offer = offer, count = 1) =>
    provider.createInstance(aCreateRequest(from, { tag: aTag(count) }), uncancelled);
  const list = () => provider.listInstances(uncancelled);
  return { clock, provider, account, offer, create, list };
}

describe('the provider in memory', () => {
  it('boots an instance in its time, sells its offer once, and gives it back when it is gone', async () => {
    const { clock, provider, create, offer } = await aMarket({ bootMs: 500, destroyMs: 200 });
    const offered = async () => (await provider.listOffers({}, uncancelled)).offers.some(({ id }) => id === offer.id);

    const made = await create();
    expect(made).toMatchObject({ state: 'starting', tag: aTag(1), priceMicrosPerHour: 340_000 });
    expect(await offered()).toBe(false);
    await expect(create(offer, 2)).rejects.toMatchObject({ kind: 'capacity' });

    await clock.advance(500);
    expect(await provider.getInstance(made.id, uncancelled)).toMatchObject({ state: 'running', ssh: { user: 'root' } });

    expect(await provider.destroyInstance(made.id, uncancelled)).toBe('destroying');
    expect(await provider.getInstance(made.id, uncancelled)).toMatchObject({ state: 'stopping' });
    await clock.advance(200);
    expect(await provider.destroyInstance(made.id, uncancelled)).toBe('gone');
    expect(await offered()).toBe(true);
  });

  it('refuses a price above the most that the request allows', async () => {
    const { account, create, offer } = await aMarket();
    account.changeOffer(offer, { priceMicrosPerHour: 400_000 });

    await expect(create()).rejects.toMatchObject({ kind: 'capacity' });
    expect(account.living()).toEqual([]);
  });

  it('makes the instance although the answer is lost', async () => {
    const { account, create } = await aMarket();
    account.failNext('CreateInstance', { do: 'lose-answer' });

    await expect(create()).rejects.toMatchObject({ kind: 'ambiguous' });

    expect(account.livingWithTag(aTag(1))).toHaveLength(1);
  });

  it('lands a create late', async () => {
    const { account, clock, create, list } = await aMarket();
    account.failNext('CreateInstance', { do: 'land-late', afterMs: 60_000 });

    await expect(create()).rejects.toMatchObject({ kind: 'ambiguous' });
    await clock.advance(59_999);
    expect(await list()).toEqual([]);

    await clock.advance(1);
    expect(await list()).toMatchObject([{ tag: aTag(1) }]);
  });

  it('hides a new instance from lists, and shows a dead one, for as long as it is told to', async () => {
    const { clock, provider, create, list } = await aMarket({ listLagMs: 100, listStaleMs: 100 });
    const { id } = await create();
    expect(await list()).toEqual([]);
    expect(await provider.getInstance(id, uncancelled)).toBeDefined();
    await clock.advance(100);
    expect(await list()).toHaveLength(1);

    expect(await provider.destroyInstance(id, uncancelled)).toBe('gone');
    expect(await list()).toMatchObject([{ id, state: 'stopping' }]);
    await clock.advance(100);
    expect(await list()).toEqual([]);
  });

  it('lies in lists and on destroy when told to, and tells the truth to the test', async () => {
    const { provider, account, create, list } = await aMarket();
    const { id } = await create();

    account.failNext('ListAllInstances', { do: 'empty' }, { do: 'omit', ids: [id] }, { do: 'break-off' });
    expect(await list()).toEqual([]);
    expect(await list()).toEqual([]);
    await expect(list()).rejects.toMatchObject({ kind: 'unavailable' });

    account.failNext('DestroyInstance', { do: 'ignore' }, { do: 'claim-gone' });
    expect(await provider.destroyInstance(id, uncancelled)).toBe('destroying');
    expect(await provider.destroyInstance(id, uncancelled)).toBe('gone');
    expect(account.living()).toHaveLength(1);

    account.failNext('DestroyInstance', { do: 'lose-answer' });
    await expect(provider.destroyInstance(id, uncancelled)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(account.living()).toEqual([]);
    expect(account.destroyedIds()).toEqual([id]);
  });

  it('fails next calls before lasting faults, counts calls, and heals', async () => {
    const { provider, account } = await aMarket();
    account.failAlways('Check', { do: 'fail', kind: 'auth' });
    account.failNext('Check', { do: 'fail', kind: 'rate_limited', retryAfterMs: 5 });

    await expect(provider.check(uncancelled)).rejects.toMatchObject({ kind: 'rate_limited', retryAfterMs: 5 });
    await expect(provider.check(uncancelled)).rejects.toMatchObject({ kind: 'auth' });
    account.heal();
    await provider.check(uncancelled);
    expect(account.calls('Check')).toBe(3);
  });

  it('shows foreign instances, deaths, failures, unknown words and lost tags', async () => {
    const { account, create, list, offer } = await aMarket();
    const foreign = account.plant();
    const other = account.plant({ tag: 'berth-other-00000000000000000000000001-1' });
    const { id } = await create(offer);

    account.setWord(other, 'hibernating');
    account.break(id, 'no driver');
    account.loseTag(id);
    expect(await list()).toMatchObject([
      { id: foreign, state: 'starting' },
      { id: other, state: 'starting', tag: 'berth-other-00000000000000000000000001-1' },
      { id, state: 'failed', reason: 'no driver' },
    ]);
    expect((await list()).filter(({ tag }) => tag !== undefined)).toHaveLength(1);

    account.vanish(id);
    expect((await list()).map((instance) => instance.id)).toEqual([foreign, other]);
  });

  it('gives a new instance the id of a dead one when told to', async () => {
    const { provider, account, create, offer } = await aMarket();
    const first = await create();
    await provider.destroyInstance(first.id, uncancelled);

    account.reuseId(first.id);
    const second = await create(offer, 2);

    expect(second.id).toBe(first.id);
    expect(await provider.getInstance(first.id, uncancelled)).toMatchObject({ tag: aTag(2) });
  });

  it('leaves a create that is cut short to be found by its tag', async () => {
    const { clock, provider, account, offer } = await aMarket({ createMs: 5_000 });
    const abort = new AbortController();
    const creating = provider.createInstance(aCreateRequest(offer), { signal: abort.signal });
    const outcome = expect(creating).rejects.toMatchObject({ kind: 'ambiguous' });
    await clock.advance(1_000);

    abort.abort();

    await outcome;
    expect(account.livingWithTag(aTag(1))).toHaveLength(1);
    expect(await provider.destroyInstance(instanceId('never-was'), uncancelled)).toBe('gone');
  });
});
