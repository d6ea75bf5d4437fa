import { describe, expect, it } from 'vitest';
import { seededRandom } from '../core/random.ts';
import { retry, type Patience } from './retry.ts';
import { StoreError } from './store-error.ts';

const lost = () => new StoreError('commit', Object.assign(new Error('lost'), { code: '40001' }));

/** A clock on which sleeping is the only thing that takes time, and each attempt what it is told to. */
function patience(attemptMs = 0): Patience & { slept: number[]; spend(): void } {
  let now = 0;
  const slept: number[] = [];
  return {
    slept,
    spend: () => void (now += attemptMs),
    random: seededRandom(1),
    clock: {
      monotonicMs: () => now,
      sleep: async (ms) => {
        slept.push(ms);
        now += ms;
      },
    },
  };
}

describe('retry', () => {
  it('repeats what lost against another transaction, after a pause that varies', async () => {
    const waiting = patience();
    let tries = 0;

    const result = await retry(waiting, () => {
      tries += 1;
      if (tries < 5) throw lost();
      return tries;
    });

    expect(result).toBe(5);
    expect(new Set(waiting.slept).size).toBe(4);
  });

  it('gives up after twelve attempts with the last error', async () => {
    let tries = 0;

    const attempts = retry(patience(), () => {
      tries += 1;
      throw lost();
    });

    await expect(attempts).rejects.toMatchObject({ kind: 'try-again' });
    expect(tries).toBe(12);
  });

  it('gives up sooner when each attempt is slow', async () => {
    const waiting = patience(2_000);
    let tries = 0;

    const attempts = retry(waiting, () => {
      tries += 1;
      waiting.spend();
      throw lost();
    });

    await expect(attempts).rejects.toMatchObject({ kind: 'try-again' });
    expect(tries).toBe(3);
  });

  it('does not repeat any other failure', async () => {
    let tries = 0;

    const attempts = retry(patience(), () => {
      tries += 1;
      throw new Error('a mistake');
    });

    await expect(attempts).rejects.toThrow('a mistake');
    expect(tries).toBe(1);
  });
});
