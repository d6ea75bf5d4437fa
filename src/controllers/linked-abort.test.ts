import { describe, expect, it } from 'vitest';
import { inParallel } from './in-parallel.ts';
import { linkedAbort } from './linked-abort.ts';

describe('linkedAbort', () => {
  it('aborts with any parent, for its reason, also with one that was aborted before', () => {
    const parents = [new AbortController(), new AbortController()] as const;
    const linked = linkedAbort(parents.map(({ signal }) => signal));
    parents[1].abort(new Error('second'));

    expect(linked.signal.reason).toEqual(new Error('second'));
    expect(linkedAbort([parents[1].signal]).signal.aborted).toBe(true);
  });

  it('by itself leaves its parents alone, and after a release they leave it alone', () => {
    const parent = new AbortController();
    const first = linkedAbort([parent.signal]);
    first.abort(new Error('own'));
    expect(parent.signal.aborted).toBe(false);

    const second = linkedAbort([parent.signal]);
    second.release();
    parent.abort();
    expect(second.signal.aborted).toBe(false);
  });
});

describe('inParallel', () => {
  it('works on so many at once, on each of them, and on no more', async () => {
    let atWork = 0;
    let most = 0;
    const done: number[] = [];
    await inParallel([1, 2, 3, 4, 5], 2, async (item) => {
      atWork += 1;
      most = Math.max(most, atWork);
      await Promise.resolve();
      atWork -= 1;
      done.push(item);
    });

    expect(most).toBe(2);
    expect(done.toSorted((one, other) => one - other)).toEqual([1, 2, 3, 4, 5]);
  });

  it('passes a rejection on when the others have ended', async () => {
    const done: number[] = [];
    const work = inParallel([1, 2, 3], 2, async (item) => {
      if (item === 1) throw new Error('one');
      await Promise.resolve();
      done.push(item);
    });

    await expect(work).rejects.toThrow('one');
    expect(done).toEqual([2, 3]);
  });
});
