import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { HOUR_MS } from './duration.ts';
import { createSteadyClock } from './steady-clock.ts';

function setUp({ witness, settleMs = 600_000 }: { witness?: () => Promise<number>; settleMs?: number } = {}) {
  const raw = new FakeClock();
  const startedAt = raw.now();
  const told: string[] = [];
  const clock = createSteadyClock({
    clock: raw,
    settleMs,
    ...(witness ? { witness: { now: witness } } : {}),
    onFreeze: (jumpMs) => void told.push(`frozen ${jumpMs}`),
    onThaw: (adoptedMs) => void told.push(`thawed ${adoptedMs}`),
  });
  return { raw, clock, startedAt, told };
}

describe('steady clock', () => {
  it('follows the machine’s clock, small corrections included', async () => {
    const { raw, clock, startedAt } = setUp();
    await raw.advance(10_000);
    raw.jumpWall(4_000);

    expect(clock.now()).toBe(startedAt + 14_000);
    expect(clock.frozen).toBe(false);
  });

  it('REL-F1: a jump of two hours freezes it, and time goes on from before the jump', async () => {
    const { raw, clock, startedAt, told } = setUp();
    raw.jumpWall(2 * HOUR_MS);
    expect(clock.now()).toBe(startedAt);
    await raw.advance(60_000);

    expect(clock.now()).toBe(startedAt + 60_000);
    expect(clock.frozen).toBe(true);
    expect(clock.disagreementMs).toBe(2 * HOUR_MS);
    expect(told).toEqual([`frozen ${2 * HOUR_MS}`]);
  });

  it('REL-F1: without a witness the new time is believed when it has run evenly for the settling time, and no sooner', async () => {
    const { raw, clock, startedAt, told } = setUp();
    raw.jumpWall(2 * HOUR_MS);
    await clock.tick();
    await raw.advance(599_000);
    await clock.tick();
    expect(clock.frozen).toBe(true);
    await raw.advance(1_000);
    await clock.tick();

    expect(clock.frozen).toBe(false);
    expect(clock.now()).toBe(startedAt + 600_000 + 2 * HOUR_MS);
    expect(told.at(-1)).toBe(`thawed ${2 * HOUR_MS}`);
  });

  it('REL-F1: a jump that is taken back ends it at once', async () => {
    const { raw, clock, startedAt } = setUp();
    raw.jumpWall(2 * HOUR_MS);
    clock.now();
    raw.jumpWall(-2 * HOUR_MS);
    await raw.advance(1_000);

    expect(clock.now()).toBe(startedAt + 1_000);
    expect(clock.frozen).toBe(false);
  });

  it('REL-F1: a witness has to agree twice', async () => {
    const { raw, clock, startedAt } = setUp({ witness: async () => startedAt + 2 * HOUR_MS });
    raw.jumpWall(2 * HOUR_MS);
    await clock.tick();
    expect(clock.frozen).toBe(true);
    await clock.tick();

    expect(clock.frozen).toBe(false);
    expect(clock.now()).toBe(startedAt + 2 * HOUR_MS);
  });

  it('REL-F1: a witness that disagrees keeps it frozen, however long', async () => {
    const { raw, clock, startedAt } = setUp({ witness: async () => raw.now() - 2 * HOUR_MS });
    raw.jumpWall(2 * HOUR_MS);
    for (let hour = 0; hour < 5; hour += 1) {
      await raw.advance(HOUR_MS);
      await clock.tick();
    }

    expect(clock.frozen).toBe(true);
    expect(clock.now()).toBe(startedAt + 5 * HOUR_MS);
  });

  it('REL-F1: a second jump while it is frozen lets the settling begin anew', async () => {
    const { raw, clock } = setUp();
    raw.jumpWall(2 * HOUR_MS);
    await clock.tick();
    await raw.advance(500_000);
    raw.jumpWall(HOUR_MS);
    await clock.tick();
    await raw.advance(500_000);
    await clock.tick();
    expect(clock.frozen).toBe(true);
    await raw.advance(100_000);
    await clock.tick();

    expect(clock.frozen).toBe(false);
  });

  it('REL-F2: a backward jump is held back in the same way', async () => {
    const { raw, clock, startedAt } = setUp();
    raw.jumpWall(-2 * HOUR_MS);
    await raw.advance(1_000);

    expect(clock.now()).toBe(startedAt + 1_000);
    await clock.tick();
    await raw.advance(600_000);
    await clock.tick();
    expect(clock.now()).toBe(raw.now());
  });

  it('a witness that cannot be asked is heard of, and nothing is believed meanwhile', async () => {
    const { raw, clock } = setUp({ witness: () => Promise.reject(new Error('connection refused')) });
    raw.jumpWall(2 * HOUR_MS);

    await expect(clock.tick()).rejects.toThrow('connection refused');
    expect(clock.frozen).toBe(true);
  });
});
