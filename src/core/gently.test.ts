import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { atOnce, createBreather, gently, type Piecework } from './gently.ts';

function* sums(upTo: number, tick: () => void): Piecework<number> {
  let sum = 0;
  for (let number = 1; number <= upTo; number += 1) {
    sum += number;
    tick();
    yield;
  }
  return sum;
}

/** A clock on which work takes time: a millisecond for each look at it. */
class WorkingClock extends FakeClock {
  #workedMs = 0;
  override monotonicMs(): number {
    return super.monotonicMs() + this.#workedMs;
  }
  work(ms: number): void {
    this.#workedMs += ms;
  }
}

describe('piecework', () => {
  it('has the same result at once and with rests', async () => {
    expect(atOnce(sums(10, () => {}))).toBe(55);
    expect(
      await gently(
        sums(10, () => {}),
        createBreather(new FakeClock()),
      ),
    ).toBe(55);
  });

  it('lets others have their turn after every two milliseconds of work, and far longer than it worked', async () => {
    const clock = new WorkingClock();
    let done = 0;
    const whole = gently(
      sums(10, () => {
        done += 1;
        clock.work(1);
      }),
      createBreather(clock),
    );

    await clock.settle();
    expect(done).toBe(2);
    await clock.advance(27);
    expect(done).toBe(2);
    await clock.advance(1);
    expect(done).toBe(4);
    await clock.advance(200);
    expect(await whole).toBe(55);
  });
});
