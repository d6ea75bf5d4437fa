import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { anOffer, aTemplate } from '../../../test/support/in-memory-account.ts';
import { createInMemoryProvider } from '../../../test/support/in-memory-provider.ts';
import { recordingLog } from '../../../test/support/log.ts';
import { aCreateRequest, aTag, byMonotonic, uncancelled } from '../../../test/support/provider-calls.ts';
import { ProviderError } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { aroundEveryCall } from './around.ts';
import { decorate } from './decorate.ts';
import type { ProviderMetrics } from './instrumented.ts';

function aDecoratedMarket(change: Partial<Provider> = {}) {
  const clock = new FakeClock();
  const { provider, account } = createInMemoryProvider({ clock, settings: { createMs: 2_000 } });
  const log = recordingLog();
  const counted: Parameters<ProviderMetrics['call']>[0][] = [];
  const metrics = { call: (call: (typeof counted)[number]) => void counted.push(call) };
  const decorated = decorate({ ...provider, ...change }, { clock, log, metrics, random: { next: () => 0 } });
  return { clock, account, log, counted, provider: decorated, bare: provider };
}

describe('decorate', () => {
  it('keeps what the provider is, and its optional members only where it has them', () => {
    const { provider, bare } = aDecoratedMarket();
    const { balance: _, ...poorer } = bare;

    expect(provider.id).toBe(bare.id);
    expect(provider.capabilities).toBe(bare.capabilities);
    expect(provider).toHaveProperty('balance');
    for (const absent of ['ensureSshKeys', 'dialSsh', 'close']) expect(provider).not.toHaveProperty(absent);
    expect(aroundEveryCall(poorer, (call, proceed) => proceed(call.options))).not.toHaveProperty('balance');
  });

  it('counts and times each real call under its public name, retries one by one', async () => {
    const { clock, account, counted, provider } = aDecoratedMarket();
    account.failNext('ListAllInstances', { do: 'fail', kind: 'unavailable' });
    const list = provider.listInstances(uncancelled);
    await clock.advance(1_000);
    await list;
    const create = provider.createInstance(aCreateRequest(anOffer()), uncancelled);
    await clock.advance(2_000);
    await create;

    expect(counted).toEqual([
      { provider: 'memory', operation: 'ListAllInstances', status: 'error', seconds: 0 },
      { provider: 'memory', operation: 'ListAllInstances', status: 'success', seconds: 0 },
      { provider: 'memory', operation: 'CreateInstance', status: 'success', seconds: 2 },
    ]);
  });

  it('RULE-R11, REL-A15: does not send a create whose deadline passes while it waits its turn', async () => {
    const { clock, account, counted, provider } = aDecoratedMarket();
    account.failNext('CreateInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 20_000 });
    await expect(provider.createInstance(aCreateRequest(anOffer()), uncancelled)).rejects.toMatchObject({
      kind: 'rate_limited',
    });

    const waiting = expect(
      provider.createInstance(aCreateRequest(anOffer(), { notAfter: byMonotonic(10_000) }), uncancelled),
    ).rejects.toMatchObject({ kind: 'unavailable' });
    await clock.advance(20_000);

    await waiting;
    expect(account.calls('CreateInstance')).toBe(1);
    expect(counted).toHaveLength(1);
  });

  it('CONF-C3: neither repeats a create whose answer is lost nor hides that it may have happened', async () => {
    const { account, provider } = aDecoratedMarket();
    account.failNext('CreateInstance', { do: 'lose-answer' });

    await expect(provider.createInstance(aCreateRequest(anOffer()), uncancelled)).rejects.toMatchObject({ kind: 'ambiguous' });

    expect(account.livingWithTag(aTag(1))).toHaveLength(1);
  });

  it('logs calls with their ids, failures as warnings, and nothing that may be secret', async () => {
    const { clock, log, provider } = aDecoratedMarket({
      check: () => {
        const broken = Object.assign(new Error('https://vendor.example/?api_key=s3cret'), { code: 'ECONNRESET' });
        throw new ProviderError({
          kind: 'auth',
          provider: provider.id,
          operation: 'Check',
          message: 'check at memory: credentials refused',
          cause: broken,
        });
      },
    });
    const request = aCreateRequest(anOffer(), {
      sshPublicKeys: ['ssh-ed25519 AAAAKEY consumer'],
      environment: { HF_TOKEN: 's3cret' },
    });
    const create = provider.createInstance(request, uncancelled);
    await clock.advance(2_000);
    const { id } = await create;
    await provider.getInstance(id, uncancelled);
    await provider.check(uncancelled).catch(() => {});

    expect(log.entries).toEqual([
      {
        level: 'debug',
        message: 'provider call answered',
        fields: { provider: 'memory', operation: 'CreateInstance', tag: aTag(1), offerId: 'memory-ask-1', tookMs: 2_000 },
      },
      {
        level: 'debug',
        message: 'provider call answered',
        fields: { provider: 'memory', operation: 'GetInstanceStatus', instanceId: id, tookMs: 0 },
      },
      {
        level: 'warn',
        message: 'provider call failed',
        fields: {
          provider: 'memory',
          operation: 'Check',
          tookMs: 0,
          kind: 'auth',
          reason: 'check at memory: credentials refused',
          causes: ['Error ECONNRESET'],
        },
      },
    ]);
    expect(JSON.stringify(log.entries)).not.toMatch(/s3cret|AAAAKEY/);
  });

  it('does not warn of what we cancelled ourselves', async () => {
    const { clock, account, log, provider } = aDecoratedMarket();
    account.failNext('Check', { do: 'hang', done: false });
    const abort = new AbortController();
    const check = expect(provider.check({ signal: abort.signal })).rejects.toMatchObject({ kind: 'unavailable' });
    await clock.settle();

    abort.abort();

    await check;
    expect(log.messages('warn')).toEqual([]);
    expect(log.messages('debug')).toEqual(['provider call cancelled']);
  });

  it('hands on the optional members with the provider as their owner', async () => {
    const closed: unknown[] = [];
    const { provider, account } = aDecoratedMarket({
      ensureSshKeys: async (...args) => void closed.push(args.slice(0, 2)),
      close: async () => void closed.push('closed'),
      charges: async ({ until }) => ({ charges: [], observedAt: until, dropped: 0, roundingMicros: 0 }),
    });
    const id = account.plant();
    account.templates = [aTemplate()];

    await provider.ensureSshKeys?.(id, ['ssh-ed25519 AAAA'], uncancelled);
    expect(await provider.balance?.(uncancelled)).toBe(100_000_000);
    expect(await provider.templates?.({ hashId: 'abcd0001' }, uncancelled)).toMatchObject({ templates: [{ id: 1 }] });
    expect(await provider.charges?.({ from: 1, until: 2 }, uncancelled)).toMatchObject({ observedAt: 2 });
    await provider.close?.();

    expect(closed).toEqual([[id, ['ssh-ed25519 AAAA']], 'closed']);
  });
});
