import { setMaxListeners } from 'node:events';
import type { Clock } from '../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

/** Work that outlives a controller's pass: at most one task a key, at most so many at once in a lane, all waited for at the end. */
export interface TaskPool {
  /**
   * False when the key is at work already, its lane is full, or it failed a moment ago: the next pass will come again. Each lane has the
   * pool's whole concurrency to itself, so that calls which hang in one never hold up another (PEER-11.2.22).
   */
  start(key: string, task: (signal: AbortSignal) => Promise<void>, lane?: string): boolean;
  has(key: string): boolean;
  readonly inFlight: number;
  /** Whether a lane is full; the one without a name when none is named. */
  isFull(lane?: string): boolean;
  /** Resolves when nothing is at work. */
  idle(): Promise<void>;
  /** Aborts what is at work; nothing is started any more. */
  stop(reason: Error): void;
}

interface TaskPoolOptions {
  /** How many tasks at once in each lane. */
  readonly concurrency: number;
  readonly log: Log;
  /** With it, a key whose task failed is left alone for a while: 1 s, doubling, up to 5 minutes (REL-D9). */
  readonly clock?: Pick<Clock, 'monotonicMs'>;
  /** A task has ended: there may be room, or more to do. Not told of a failure that nothing would keep from failing again at once. */
  readonly onSettled?: (key: string) => void;
}

interface Failures {
  readonly count: number;
  readonly untilMs: number;
}

const LONGEST_PAUSE_MS = 5 * MINUTE_MS;

export function createTaskPool({ concurrency, log, clock, onSettled }: TaskPoolOptions): TaskPool {
  const tasks = new Map<string, Promise<void>>();
  const lanes = new Map<string, number>();
  const failures = new Map<string, Failures>();
  const stopped = new AbortController();
  setMaxListeners(0, stopped.signal); // every call under way listens

  const inLane = (lane: string) => lanes.get(lane) ?? 0;
  const isResting = (key: string) => (failures.get(key)?.untilMs ?? 0) > (clock?.monotonicMs() ?? 0);

  function noteFailure(key: string, error: unknown): void {
    if (stopped.signal.aborted) return;
    const count = (failures.get(key)?.count ?? 0) + 1;
    const nowMs = clock?.monotonicMs() ?? 0;
    const pauseMs = clock ? Math.min(SECOND_MS * 2 ** Math.min(count - 1, 20), LONGEST_PAUSE_MS) : 0;
    for (const [other, { untilMs }] of failures) if (untilMs + LONGEST_PAUSE_MS < nowMs) failures.delete(other);
    failures.set(key, { count, untilMs: nowMs + pauseMs });
    // whatever it was about stays in the database and comes again
    log.error({ key, error: describeError(error), failures: count, pauseMs }, 'task failed');
  }

  async function guarded(key: string, lane: string, task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    let failed = false;
    try {
      await task(stopped.signal);
      failures.delete(key);
    } catch (error) {
      failed = true;
      noteFailure(key, error);
    } finally {
      tasks.delete(key);
      const left = inLane(lane) - 1;
      if (left > 0) lanes.set(lane, left);
      else lanes.delete(lane);
      if (!failed || clock) onSettled?.(key);
    }
  }

  return {
    start(key, task, lane = '') {
      if (stopped.signal.aborted || tasks.has(key) || inLane(lane) >= concurrency || isResting(key)) return false;
      lanes.set(lane, inLane(lane) + 1);
      tasks.set(key, Promise.resolve()); // so that the task finds itself at work from its first line
      tasks.set(key, guarded(key, lane, task));
      return true;
    },
    has: (key) => tasks.has(key),
    get inFlight() {
      return tasks.size;
    },
    isFull: (lane = '') => inLane(lane) >= concurrency,
    async idle() {
      while (tasks.size > 0) await Promise.all(tasks.values());
    },
    stop: (reason) => stopped.abort(reason),
  };
}
