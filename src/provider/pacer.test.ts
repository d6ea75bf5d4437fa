import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createPacer, PacerRefusal } from './pacer.ts';

type Endpoint = 'create' | 'destroy' | 'get';
const neverAborted = new AbortController().signal;

function aPacer({ spacingMs = 0, random = 0 } = {}) {
  const clock = new FakeClock();
  const intervalsMs = { create: 5_000, destroy: 3_000, get: 2_000 };
  const pacer = createPacer<Endpoint>({ clock, random: { next: () => random }, intervalsMs, spacingMs });
  const sent: string[] = [];
  /** Answered at once, or when the test says so. */
  const send = async (
    endpoint: Endpoint,
    name: string,
    { isSlow = false, ...more }: { urgency?: number; signal?: AbortSignal; isSlow?: boolean } = {},
  ) => {
    await pacer.turn({ endpoint, urgency: 1, signal: neverAborted, ...more });
    sent.push(`${name}@${clock.monotonicMs()}`);
    if (!isSlow) pacer.exchanged(endpoint);
  };
  return { clock, pacer, sent, send };
}

describe('createPacer', () => {
  it('CONF-C6: lets no two calls of an endpoint go sooner than its interval, and holds up no other endpoint', async () => {
    const { clock, sent, send } = aPacer();
    const calls = [send('create', 'c1'), send('create', 'c2'), send('create', 'c3'), send('get', 'g1')];

    await clock.advance(60_000);
    await Promise.all(calls);

    expect(sent).toEqual(['c1@0', 'g1@0', 'c2@5000', 'c3@10000']);
  });

  it('CONF-C6: counts the interval from the end of a call, since it may have reached the vendor late', async () => {
    const { clock, pacer, sent, send } = aPacer();
    const first = send('get', 'slow', { isSlow: true });
    await clock.advance(1_500);
    pacer.exchanged('get');
    const second = send('get', 'next');

    await clock.advance(60_000);
    await Promise.all([first, second]);

    expect(sent).toEqual(['slow@0', 'next@3500']);
  });

  it('CONF-C6: lets no call overtake one that is under way, which may reach the vendor after it', async () => {
    const { clock, pacer, sent, send } = aPacer();
    const calls = [send('get', 'slow', { isSlow: true }), send('get', 'quick'), send('create', 'elsewhere')];
    await clock.advance(7_000);
    const before = [...sent];

    pacer.exchanged('get');
    await clock.advance(60_000);
    await Promise.all(calls);

    expect(before).toEqual(['slow@0', 'elsewhere@0']);
    expect(sent.at(-1)).toBe('quick@9000');
  });

  it('does not wait for ever for a call that nobody answers, and goes on at its pace when it is answered after all', async () => {
    const { clock, pacer, sent, send } = aPacer();
    const calls = [send('get', 'lost', { isSlow: true }), send('get', 'second'), send('get', 'third')];

    await clock.advance(12_500);
    pacer.exchanged('get');
    await clock.advance(60_000);
    await Promise.all(calls);

    expect(sent).toEqual(['lost@0', 'second@12000', 'third@14500']);
  });

  it('CONF-C29: lets the more urgent go first, then who came first', async () => {
    const { clock, sent, send } = aPacer({ spacingMs: 100 });
    const calls = [
      send('get', 'first'),
      send('get', 'status', { urgency: 1 }),
      send('get', 'status again', { urgency: 1 }),
      send('get', 'after a destroy', { urgency: 9 }),
      send('destroy', 'destroy', { urgency: 9 }),
    ];

    await clock.advance(60_000);
    await Promise.all(calls);

    expect(sent).toEqual(['first@0', 'destroy@100', 'after a destroy@2000', 'status@4000', 'status again@6000']);
  });

  it('keeps an endpoint silent for as long as it was told, and a half more by chance', async () => {
    const { clock, pacer, sent, send } = aPacer({ random: 1 });

    const waitMs = pacer.pause('create', 12_000);
    const calls = [send('create', 'c1'), send('destroy', 'd1')];
    await clock.advance(60_000);
    await Promise.all(calls);

    expect(waitMs).toBe(18_000);
    expect(sent).toEqual(['d1@0', 'c1@18000']);
  });

  it('refuses at once, and those that wait already, when a pause is longer than they may wait', async () => {
    const { clock, pacer, send } = aPacer();
    await send('get', 'first');
    const waits = expect(send('get', 'waits')).rejects.toMatchObject({ waitMs: 3_600_000 });
    await clock.settle();

    pacer.pause('get', 3_600_000);

    await waits;
    await expect(send('get', 'comes later')).rejects.toBeInstanceOf(PacerRefusal);
  });

  it('lets a call that is cancelled go, and gives its turn to the next', async () => {
    const { clock, sent, send } = aPacer();
    const abort = new AbortController();
    const reason = new Error('shut down');
    await send('create', 'c1');
    const cancelled = expect(send('create', 'c2', { signal: abort.signal })).rejects.toBe(reason);
    const last = send('create', 'c3');

    abort.abort(reason);
    await cancelled;
    await clock.advance(5_000);
    await last;

    expect(sent).toEqual(['c1@0', 'c3@5000']);
    await expect(send('create', 'c4', { signal: abort.signal })).rejects.toBe(reason);
  });

  it('sleeps only while somebody waits', async () => {
    const { clock, send } = aPacer();
    const abort = new AbortController();
    await send('create', 'c1');
    const cancelled = send('create', 'c2', { signal: abort.signal }).catch(() => {});
    await clock.settle();
    expect(clock.sleeping).toBe(1);

    abort.abort();
    await cancelled;

    expect(clock.sleeping).toBe(0);
  });
});
