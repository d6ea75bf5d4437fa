import { describe, expect, it } from 'vitest';
import { FakeClock } from './fake-clock.ts';

describe('FakeClock', () => {
  it('wakes sleepers in the order in which they are due, and lets each run before the next', async () => {
    const clock = new FakeClock('2026-01-01T00:00:00Z');
    const seen: string[] = [];
    const sleepThenSay = async (ms: number, name: string) => {
      await clock.sleep(ms);
      seen.push(`${name}@${clock.monotonicMs()}`);
    };
    const long = sleepThenSay(300, 'long');
    const short = sleepThenSay(100, 'short').then(() => sleepThenSay(100, 'short again'));

    await clock.advance(1_000);

    await Promise.all([long, short]);
    expect(seen).toEqual(['short@100', 'short again@200', 'long@300']);
    expect(clock.now()).toBe(Date.parse('2026-01-01T00:00:01Z'));
    expect(clock.sleeping).toBe(0);
  });

  it('keeps the monotonic clock where it is when wall time jumps', async () => {
    const clock = new FakeClock(1_000_000);

    clock.jumpWall(-500_000);
    await clock.advance(10);

    expect(clock.now()).toBe(500_010);
    expect(clock.monotonicMs()).toBe(10);
  });

  it('rejects a sleep with the reason of the abort and forgets the sleeper', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const sleep = clock.sleep(1_000, abort.signal);

    abort.abort(new Error('enough'));

    await expect(sleep).rejects.toThrow('enough');
    expect(clock.sleeping).toBe(0);
    await expect(clock.sleep(1, abort.signal)).rejects.toThrow('enough');
  });

  it('aborts a time-out signal under fake time, or earlier with its parent', async () => {
    const clock = new FakeClock();
    const parent = new AbortController();
    const alone = clock.timeoutSignal(100);
    const child = clock.timeoutSignal(100, parent.signal);

    parent.abort(new Error('cancelled'));
    await clock.advance(99);
    expect([alone.aborted, child.reason]).toEqual([false, new Error('cancelled')]);

    await clock.advance(1);
    expect(alone.reason).toMatchObject({ name: 'TimeoutError' });
  });

  it('tells when the next sleeper wakes', () => {
    const clock = new FakeClock();
    expect(clock.nextWakeInMs).toBeUndefined();

    void clock.sleep(500);
    void clock.sleep(200);
    clock.timeoutSignal(50);

    expect(clock.nextWakeInMs).toBe(200);
  });
});
