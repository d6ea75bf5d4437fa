import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { whenAborted } from './when-aborted.ts';

describe('whenAborted', () => {
  it('calls everybody who waits, once, in their order, through one listener', () => {
    const abort = new AbortController();
    const called: number[] = [];
    for (let i = 0; i < 1_000; i += 1) whenAborted(abort.signal, () => called.push(i));

    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1);
    abort.abort();
    abort.abort();

    expect(called).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
  });

  it('does not call who took it back, and calls at once who comes late', () => {
    const abort = new AbortController();
    const called: string[] = [];
    whenAborted(abort.signal, () => called.push('first'))();
    const act = () => called.push('twice');
    whenAborted(abort.signal, act);
    whenAborted(abort.signal, act);

    abort.abort();
    whenAborted(abort.signal, () => called.push('late'))();

    expect(called).toEqual(['twice', 'twice', 'late']);
  });
});
