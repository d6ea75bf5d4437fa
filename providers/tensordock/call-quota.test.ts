import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { PacerRefusal } from '../../src/provider/pacer.ts';
import { createCallQuota, type Turn } from './call-quota.ts';

const MINUTE_MS = 60_000;

/** Four calls a minute, one of them for destroys. */
function aQuota({ calls = 4, keptForDestroys = 1, random = 0 } = {}) {
  const clock = new FakeClock();
  const quota = createCallQuota({ calls, keptForDestroys, perMs: MINUTE_MS, clock, random: { next: () => random } });
  const sent: string[] = [];
  const send = async (name: string, { takesMs = 0, ...turn }: Partial<Turn> & { readonly takesMs?: number } = {}) => {
    const signal = new AbortController().signal;
    const answered = await quota.turn({ lane: 'other', urgency: 1, longestPauseMs: MINUTE_MS, signal, ...turn });
    sent.push(`${name}@${clock.monotonicMs() / 1_000}`);
    if (takesMs > 0) await clock.sleep(takesMs);
    answered();
  };
  return { clock, quota, sent, send };
}

describe('a quota of calls', () => {
  it('REL-B17: lets as many go at once as there are left, and later one for each that is no longer counted', async () => {
    const { clock, sent, send } = aQuota();
    const calls = ['a', 'b', 'c', 'd', 'e'].map((name, nth) => send(name, { takesMs: nth * 1_000 }));

    await clock.advance(5 * MINUTE_MS);
    await Promise.all(calls);

    expect(sent).toEqual(['a@0', 'b@0', 'c@0', 'd@60', 'e@61']);
  });

  it('REL-B17: counts a call from its sending until a minute after its answer, so that a slow one is never counted too little', async () => {
    const { clock, sent, send } = aQuota();
    const calls = [send('slow', { takesMs: 100_000 }), send('b'), send('c'), send('d'), send('e'), send('f')];

    await clock.advance(10 * MINUTE_MS);
    await Promise.all(calls);

    expect(sent).toEqual(['slow@0', 'b@0', 'c@0', 'd@60', 'e@60', 'f@120']);
  });

  it('CONF-C29: keeps some for destroys, and lets the more urgent go first, then the earlier', async () => {
    const { clock, sent, send } = aQuota();
    const calls = [
      ...['a', 'b', 'c', 'low'].map((name) => send(name)),
      send('high', { urgency: 5 }),
      send('high too', { urgency: 5 }),
      send('destroy', { lane: 'destroy', urgency: 6 }),
      send('second destroy', { lane: 'destroy', urgency: 6 }),
    ];

    await clock.advance(10 * MINUTE_MS);
    await Promise.all(calls);

    expect(sent).toEqual(['a@0', 'b@0', 'c@0', 'destroy@0', 'second destroy@60', 'high@60', 'high too@60', 'low@120']);
  });

  it('keeps to its number in any minute, whatever comes and however long it takes', async () => {
    const { clock, sent, send } = aQuota({ calls: 90, keptForDestroys: 10 });
    const calls = Array.from({ length: 500 }, (_, nth) => send(String(nth), { takesMs: (nth * 7_919) % 20_000 }));

    await clock.advance(60 * MINUTE_MS);
    await Promise.all(calls);

    const at = sent.map((entry) => Number(entry.split('@')[1]));
    const most = Math.max(...at.map((start) => at.filter((each) => each >= start && each < start + 60).length));
    expect(at).toHaveLength(500);
    expect(most).toBe(80);
  });

  it('gives a turn back that was cancelled while it waited', async () => {
    const { clock, sent, send } = aQuota();
    const abort = new AbortController();
    const first = ['a', 'b', 'c'].map((name) => send(name));
    const cancelled = send('cancelled', { signal: abort.signal });
    const next = send('next');
    await clock.advance(1_000);

    abort.abort(new Error('no more'));
    await expect(cancelled).rejects.toThrow('no more');
    await clock.advance(MINUTE_MS);
    await Promise.all([...first, next]);

    expect(sent.at(-1)).toBe('next@60');
    await expect(send('late', { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
  });

  it('CONF-C6: pauses a lane for what was asked and up to half as much again, and turns those away who would not wait', async () => {
    const { clock, quota, sent, send } = aQuota({ random: 0.5 });
    expect(quota.pause('other', 20_000)).toBe(25_000);

    await expect(send('hasty', { longestPauseMs: 10_000 })).rejects.toBeInstanceOf(PacerRefusal);
    const calls = [send('patient', { longestPauseMs: 30_000 }), send('destroy', { lane: 'destroy' })];
    await clock.advance(MINUTE_MS);
    await Promise.all(calls);

    expect(sent).toEqual(['destroy@0', 'patient@25']);
  });

  it('CONF-C6: turns those away who already wait when the pause becomes too long for them', async () => {
    const { clock, quota, send } = aQuota();
    quota.pause('other', 10_000);
    const waiting = expect(send('a', { longestPauseMs: 15_000 })).rejects.toMatchObject({ waitMs: 40_000 });
    await clock.settle();

    quota.pause('other', 40_000);

    await waiting;
  });
});
