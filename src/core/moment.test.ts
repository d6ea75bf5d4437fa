import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { isPast, later, momentOf, msSince } from './moment.ts';

describe('moment', () => {
  it('RULE-R12: is past as soon as either clock says so', async () => {
    const clock = new FakeClock();
    const deadline = later(momentOf(clock), 1_000);
    await clock.advance(1_000);
    expect(isPast(deadline, clock)).toBe(false);

    clock.jumpWall(1);
    expect(isPast(deadline, clock)).toBe(true);

    clock.jumpWall(-60_000);
    expect(isPast(deadline, clock)).toBe(false);
    await clock.advance(1);
    expect(isPast(deadline, clock)).toBe(true);
  });

  it('REL-F3: is some time ago where both clocks agree on it, and nobody knows how long where they do not', async () => {
    const clock = new FakeClock();
    const moment = momentOf(clock);
    await clock.advance(90_000);
    expect(msSince(moment, clock)).toBe(90_000);

    clock.jumpWall(-5_000);
    expect(msSince(moment, clock)).toBe(90_000);
    clock.jumpWall(-1);
    expect(msSince(moment, clock)).toBe(Number.POSITIVE_INFINITY);
    clock.jumpWall(10_002);
    expect(msSince(moment, clock)).toBe(Number.POSITIVE_INFINITY);
  });
});
