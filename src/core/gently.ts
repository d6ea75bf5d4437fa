import type { Clock } from './clock.ts';

/** Work in small pieces: between two yields it takes a fraction of a millisecond. */
export type Piecework<Result> = Generator<undefined, Result, undefined>;

export interface Breather {
  /** Undefined while there is time left; else what to wait for, so that others have their turn. */
  rest(): Promise<void> | undefined;
}

/** A slice of work, and the pause after it in which requests are answered: work in the background gets a fifteenth of the thread. */
const WORK_MS = 2;
const REST_MS = 28;

/** Bounds how long background work keeps the event loop to itself. One for each piece of work: its time begins now. */
export function createBreather(clock: Pick<Clock, 'monotonicMs' | 'sleep'>): Breather {
  let sinceMs = clock.monotonicMs();
  return {
    rest() {
      if (clock.monotonicMs() - sinceMs < WORK_MS) return undefined;
      return clock.sleep(REST_MS).then(() => {
        sinceMs = clock.monotonicMs();
      });
    },
  };
}

/** Does the work at one go. */
export function atOnce<Result>(work: Piecework<Result>): Result {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** Does the work with rests, in which anything may happen: what it reads from elsewhere may have changed at its end. */
export async function gently<Result>(work: Piecework<Result>, breather: Breather): Promise<Result> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    const rest = breather.rest();
    if (rest) await rest;
  }
}
