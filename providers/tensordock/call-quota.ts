import type { Clock } from '../../src/core/clock.ts';
import type { Random } from '../../src/core/random.ts';
import { PacerRefusal } from '../../src/provider/pacer.ts';

/** The limit is one for all calls. Destroys are a lane of their own so that a pause that others brought about does not hold them back. */
export type Lane = 'destroy' | 'other';

export interface Turn {
  readonly lane: Lane;
  /** Who goes first among those that wait: the higher number, then the earlier call. */
  readonly urgency: number;
  readonly signal: AbortSignal;
  /** The longest pause that the caller sits out; beyond it a PacerRefusal says how long it lasts. */
  readonly longestPauseMs: number;
}

/** For a vendor that counts calls by the minute: so many at once as there are left, and then one for each that is no longer counted. */
export interface CallQuota {
  /**
   * Resolves when the call may be sent, which is at once, with what has to be called when it is answered or given up. Rejects with the
   * signal's reason when that aborts first, or with PacerRefusal.
   */
  turn(turn: Turn): Promise<() => void>;
  /** The vendor asked for a wait, milliseconds; up to half as much again is added by chance. Returns the whole wait. */
  pause(lane: Lane, ms: number): number;
}

export interface CallQuotaOptions {
  /** In any stretch of `perMs`. */
  readonly calls: number;
  /** Of these, kept for destroys. */
  readonly keptForDestroys: number;
  readonly perMs: number;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly random: Pick<Random, 'next'>;
}

const JITTER = 0.5;

interface Waiter extends Turn {
  readonly go: (answered: () => void) => void;
  readonly refuse: (error: Error) => void;
}

export function createCallQuota({ calls, keptForDestroys, perMs, clock, random }: CallQuotaOptions): CallQuota {
  const pausedUntil = new Map<Lane, number>();
  /** The last of them, oldest first. A call counts from its sending until `perMs` after its answer, since it reached them somewhere between. */
  let answeredAt: readonly number[] = [];
  let underWay = 0;
  let waiting: readonly Waiter[] = [];
  let alarm: AbortController | undefined;

  const pauseLeftMs = (lane: Lane) => (pausedUntil.get(lane) ?? 0) - clock.monotonicMs();

  /** Infinity while only an answer can make room. */
  function dueAt({ lane }: Waiter): number {
    const free = (lane === 'destroy' ? calls : calls - keptForDestroys) - underWay;
    const oldest = free > 0 ? answeredAt.at(-free) : undefined;
    const roomAt = free <= 0 ? Infinity : oldest === undefined ? 0 : oldest + perMs;
    return Math.max(roomAt, pausedUntil.get(lane) ?? 0);
  }

  function serve(): void {
    for (;;) {
      const next = waiting.find((waiter) => dueAt(waiter) <= clock.monotonicMs());
      if (next === undefined) break;
      waiting = waiting.filter((waiter) => waiter !== next);
      underWay += 1;
      next.go(onceAnswered());
    }
    setAlarm();
  }

  function onceAnswered(): () => void {
    let isUnderWay = true;
    return () => {
      if (!isUnderWay) return;
      isUnderWay = false;
      underWay -= 1;
      answeredAt = [...answeredAt.slice(1 - calls), clock.monotonicMs()];
      serve();
    };
  }

  function setAlarm(): void {
    alarm?.abort();
    alarm = undefined;
    const nextAt = Math.min(...waiting.map(dueAt));
    if (!Number.isFinite(nextAt)) return;
    alarm = new AbortController();
    // It rejects only because another alarm took its place.
    clock.sleep(Math.max(0, nextAt - clock.monotonicMs()), alarm.signal).then(serve, () => {});
  }

  return {
    async turn(asked) {
      const { signal, lane, longestPauseMs } = asked;
      signal.throwIfAborted();
      const leftMs = pauseLeftMs(lane);
      if (leftMs > longestPauseMs) throw new PacerRefusal(leftMs);
      return new Promise((resolve, reject) => {
        const giveUp = () => {
          waiting = waiting.filter((other) => other !== waiter);
          reject(signal.reason as Error); // the reason of an abort is what turn promises to throw
          setAlarm();
        };
        const settled = <Args extends readonly unknown[]>(settle: (...args: Args) => void) => {
          return (...args: Args) => {
            signal.removeEventListener('abort', giveUp);
            settle(...args);
          };
        };
        const waiter: Waiter = { ...asked, go: settled(resolve), refuse: settled(reject) };
        signal.addEventListener('abort', giveUp, { once: true });
        const after = waiting.findIndex((other) => other.urgency < waiter.urgency);
        waiting = after === -1 ? [...waiting, waiter] : waiting.toSpliced(after, 0, waiter);
        serve();
      });
    },
    pause(lane, ms) {
      const waitMs = ms * (1 + JITTER * random.next());
      pausedUntil.set(lane, Math.max(pausedUntil.get(lane) ?? 0, clock.monotonicMs() + waitMs));
      const leftMs = pauseLeftMs(lane);
      const tired = waiting.filter((waiter) => waiter.lane === lane && leftMs > waiter.longestPauseMs);
      waiting = waiting.filter((waiter) => !tired.includes(waiter));
      for (const waiter of tired) waiter.refuse(new PacerRefusal(leftMs));
      setAlarm();
      return waitMs;
    },
  };
}
