import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { createInMemoryProvider } from '../../../test/support/in-memory-provider.ts';
import { aCreateRequest, aTag, uncancelled } from '../../../test/support/provider-calls.ts';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { ProviderError } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { guarded } from './guarded.ts';

function aGuardedMarket(change: Partial<Provider> = {}) {
  const clock = new FakeClock();
  const { provider, account } = createInMemoryProvider({ clock, capabilities: { createTimeoutMs: 10_000 } });
  return { clock, account, provider: guarded({ ...provider, ...change }, { clock }) };
}

const never = () => new Promise<never>(() => {});

describe('guarded', () => {
  it('makes ambiguous of what a create throws that is no ProviderError, and keeps its words out of the message', async () => {
    const { provider, account } = aGuardedMarket();
    account.failNext('CreateInstance', { do: 'throw', error: new TypeError('key=s3cret') });

    const error = await provider.createInstance(aCreateRequest(anOffer()), uncancelled).catch((thrown: unknown) => thrown);

    expect(error).toMatchObject({ name: 'ProviderError', kind: 'ambiguous', operation: 'CreateInstance' });
    expect(error).toHaveProperty('message', 'create instance at memory: failed in an unforeseen way; it may have happened');
  });

  it('makes protocol of what the other calls throw, even when they throw at once', async () => {
    const { provider, account } = aGuardedMarket({
      check: () => {
        throw new Error('not even a promise');
      },
    });
    account.failAlways('ListAllInstances', { do: 'throw', error: 'a bare word' });

    await expect(provider.listInstances(uncancelled)).rejects.toMatchObject({ name: 'ProviderError', kind: 'protocol' });
    await expect(provider.check(uncancelled)).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'protocol',
      operation: 'Check',
    });
  });

  it('passes on what a provider says itself', async () => {
    const { provider, account } = aGuardedMarket();
    account.failNext('CreateInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 9 });

    await expect(provider.createInstance(aCreateRequest(anOffer()), uncancelled)).rejects.toMatchObject({
      kind: 'rate_limited',
      retryAfterMs: 9,
    });
  });

  it('ends a create after the time that the provider declares as ambiguous, and it is found by its tag', async () => {
    const { clock, provider, account } = aGuardedMarket();
    account.failNext('CreateInstance', { do: 'hang', done: true });
    const outcome = expect(provider.createInstance(aCreateRequest(anOffer()), uncancelled)).rejects.toMatchObject({
      kind: 'ambiguous',
    });

    await clock.advance(10_000);

    await outcome;
    expect(account.livingWithTag(aTag(1))).toHaveLength(1);
  });

  it('gives up a create whose provider ignores its signal, and calls it ambiguous', async () => {
    const { clock, provider } = aGuardedMarket({ createInstance: never });
    const abort = new AbortController();
    const create = expect(provider.createInstance(aCreateRequest(anOffer()), { signal: abort.signal })).rejects.toMatchObject({
      kind: 'ambiguous',
      message: 'create instance at memory: cancelled; it may have happened',
    });
    await clock.settle();

    abort.abort();
    await clock.advance(1_000);

    await create;
  });

  it('lets a provider say itself what became of a call that was cut short', async () => {
    const { clock, provider } = aGuardedMarket({
      createInstance: async (_request, { signal }) => {
        await clock.sleep(60_000, signal).catch(() => {});
        await clock.sleep(500);
        throw new ProviderError({
          kind: 'capacity',
          provider: provider.id,
          operation: 'CreateInstance',
          message: 'create instance at memory: taken',
        });
      },
    });
    const abort = new AbortController();
    const create = expect(provider.createInstance(aCreateRequest(anOffer()), { signal: abort.signal })).rejects.toMatchObject({
      kind: 'capacity',
    });
    await clock.settle();

    abort.abort();
    await clock.advance(500);

    await create;
  });

  it('says of a read that it was cancelled, or that there was no answer in time', async () => {
    const { clock, provider } = aGuardedMarket({ listInstances: never, check: never });
    const abort = new AbortController();
    const cancelled = expect(provider.listInstances({ signal: abort.signal })).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'list instances at memory: cancelled',
    });
    const late = expect(provider.check(uncancelled)).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'check at memory: no answer within 30 s',
    });

    abort.abort();
    await clock.advance(31_000);

    await Promise.all([cancelled, late]);
  });

  it('sends nothing when the caller has cancelled before, and so proves that nothing was made', async () => {
    let sent = 0;
    const { provider } = aGuardedMarket({ createInstance: () => ((sent += 1), never()) });

    const create = provider.createInstance(aCreateRequest(anOffer()), { signal: AbortSignal.abort() });

    await expect(create).rejects.toMatchObject({ kind: 'unavailable' });
    expect(sent).toBe(0);
  });

  it('leaves no timer running after a last word', async () => {
    const { clock, provider, account } = aGuardedMarket();
    account.failNext('Check', { do: 'hang', done: false });
    const abort = new AbortController();
    const check = expect(provider.check({ signal: abort.signal })).rejects.toMatchObject({ kind: 'unavailable' });
    await clock.settle();

    abort.abort();

    await check;
    expect(clock.sleeping).toBe(0);
  });

  it('leaves no timer running after an answer', async () => {
    const { clock, provider } = aGuardedMarket();

    await provider.listInstances(uncancelled);

    expect(clock.sleeping).toBe(0);
  });
});
