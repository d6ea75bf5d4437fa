import { setTimeout as delay } from 'node:timers/promises';
import { whenAborted } from './when-aborted.ts';

/** UTC milliseconds since 1970, an integer. */
export type EpochMs = number;

/**
 * Time as the broker sees it; the one thing every module is handed instead of reading the machine's clock.
 * Instants (`now`) are for records and for people. Durations that decide something use `monotonicMs`, which never jumps.
 */
export interface Clock {
  /** Wall time, integer milliseconds. */
  now(): EpochMs;
  /** What the machine's own wall clock says, where `now` does not believe it: to tell by that time has passed, never what time it is. */
  machineNow(): EpochMs;
  /** Milliseconds since some fixed moment of this process; never goes back, means nothing in another process. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. Any length is allowed. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A signal that aborts with a TimeoutError after `ms`, or with `parent`'s reason when that aborts first. */
  timeoutSignal(ms: number, parent?: AbortSignal): AbortSignal;
}

/** Node fires longer timers at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The machine's own clock. Everything else is handed a Clock; a linter keeps it so. */
export const systemClock: Clock = {
  now: () => Date.now(),
  machineNow: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    for (let left = Math.max(0, ms); ; left -= LONGEST_TIMER_MS) {
      await delayOrReason(Math.min(left, LONGEST_TIMER_MS), signal);
      if (left <= LONGEST_TIMER_MS) return;
    }
  },
  timeoutSignal,
};

/** Not AbortSignal.any over AbortSignal.timeout: that pair is collected as garbage before it fires (Node 20). */
function timeoutSignal(ms: number, parent?: AbortSignal): AbortSignal {
  const controller = new AbortController();
  let release: () => void = () => undefined;
  const onTime = () => {
    release();
    controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
  };
  const timer = setTimeout(onTime, Math.min(Math.max(0, Math.ceil(ms)), LONGEST_TIMER_MS));
  timer.unref();
  if (!parent) return controller.signal;
  release = whenAborted(parent, () => {
    clearTimeout(timer);
    controller.abort(parent.reason);
  });
  return controller.signal;
}

async function delayOrReason(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  try {
    await delay(ms, undefined, signal ? { signal } : {});
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
