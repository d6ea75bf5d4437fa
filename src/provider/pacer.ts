import type { Clock } from '../core/clock.ts';
import type { Random } from '../core/random.ts';

/** An endpoint was told to wait longer than the caller would. Nothing was sent. */
export class PacerRefusal extends Error {
  readonly waitMs: number;

  constructor(waitMs: number) {
    super('the endpoint is paused for longer than this call may wait');
    this.name = 'PacerRefusal';
    this.waitMs = waitMs;
  }
}

export interface Turn<Endpoint extends string> {
  readonly endpoint: Endpoint;
  /** Who goes first among those that wait: the higher number, then the earlier call. */
  readonly urgency: number;
  readonly signal: AbortSignal;
  /** The longest pause of the endpoint that the caller sits out; beyond it a PacerRefusal says how long it lasts. */
  readonly longestPauseMs?: number;
}

/** The pace of one account at one vendor: who may send when. */
export interface Pacer<Endpoint extends string> {
  /** Resolves when the call may be sent, which is at once. Rejects with the signal's reason when that aborts first, or with PacerRefusal. */
  turn(turn: Turn<Endpoint>): Promise<void>;
  /**
   * A call of this endpoint has been answered, or given up: the interval counts from here. The vendor counts from when a call reached it, which
   * lies somewhere before, so that a call that took long and a quick one after it are not too close at its end.
   */
  exchanged(endpoint: Endpoint): void;
  /** The vendor asked for a wait at this endpoint, milliseconds; up to half as much again is added by chance. Returns the whole wait. */
  pause(endpoint: Endpoint, ms: number): number;
}

export interface PacerOptions<Endpoint extends string> {
  /** The shortest time between two calls of an endpoint. */
  readonly intervalsMs: Readonly<Record<Endpoint, number>>;
  /** The shortest time between any two calls of the account. */
  readonly spacingMs?: number;
  /** How much longer than its interval an endpoint waits for a call that has not been answered: a slow one may yet reach the vendor after a quick one. */
  readonly patienceMs?: number;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly random: Pick<Random, 'next'>;
}

const JITTER = 0.5;
const LONGEST_PAUSE_MS = 30_000;
const PATIENCE_MS = 10_000;

interface Waiter<Endpoint extends string> extends Turn<Endpoint> {
  readonly go: () => void;
  readonly refuse: (error: Error) => void;
}

/** For vendors that measure time between calls rather than counting them. Calls that wait are kept in order of urgency; a refusal of one endpoint holds up no other. */
export function createPacer<Endpoint extends string>(options: PacerOptions<Endpoint>): Pacer<Endpoint> {
  const { intervalsMs, spacingMs = 0, patienceMs = PATIENCE_MS, clock, random } = options;
  const readyAt = new Map<Endpoint, number>();
  const pausedUntil = new Map<Endpoint, number>();
  const underWay = new Map<Endpoint, number>();
  let accountReadyAt = Number.NEGATIVE_INFINITY;
  let waiting: readonly Waiter<Endpoint>[] = [];
  let alarm: AbortController | undefined;

  const pauseLeftMs = (endpoint: Endpoint) => (pausedUntil.get(endpoint) ?? 0) - clock.monotonicMs();
  const dueAt = ({ endpoint }: Waiter<Endpoint>) =>
    Math.max(
      accountReadyAt,
      readyAt.get(endpoint) ?? Number.NEGATIVE_INFINITY,
      pausedUntil.get(endpoint) ?? Number.NEGATIVE_INFINITY,
    );

  function serve(): void {
    for (;;) {
      const now = clock.monotonicMs();
      const next = waiting.find((waiter) => dueAt(waiter) <= now);
      if (next === undefined) break;
      waiting = waiting.filter((waiter) => waiter !== next);
      readyAt.set(next.endpoint, now + intervalsMs[next.endpoint] + patienceMs);
      underWay.set(next.endpoint, (underWay.get(next.endpoint) ?? 0) + 1);
      accountReadyAt = now + spacingMs;
      next.go();
    }
    setAlarm();
  }

  function setAlarm(): void {
    alarm?.abort();
    alarm = undefined;
    if (waiting.length === 0) return;
    const nextAt = Math.min(...waiting.map(dueAt));
    alarm = new AbortController();
    // It rejects only because another alarm took its place.
    clock.sleep(Math.max(0, nextAt - clock.monotonicMs()), alarm.signal).then(serve, () => {});
  }

  function refuseThePatienceless(endpoint: Endpoint): void {
    const leftMs = pauseLeftMs(endpoint);
    const tired = waiting.filter(
      (waiter) => waiter.endpoint === endpoint && leftMs > (waiter.longestPauseMs ?? LONGEST_PAUSE_MS),
    );
    waiting = waiting.filter((waiter) => !tired.includes(waiter));
    for (const waiter of tired) waiter.refuse(new PacerRefusal(leftMs));
  }

  return {
    async turn(asked) {
      const { signal, endpoint, longestPauseMs = LONGEST_PAUSE_MS } = asked;
      signal.throwIfAborted();
      const leftMs = pauseLeftMs(endpoint);
      if (leftMs > longestPauseMs) throw new PacerRefusal(leftMs);
      await new Promise<void>((resolve, reject) => {
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
        const waiter: Waiter<Endpoint> = { ...asked, go: settled(() => resolve()), refuse: settled(reject) };
        signal.addEventListener('abort', giveUp, { once: true });
        const after = waiting.findIndex((other) => other.urgency < waiter.urgency);
        waiting = after === -1 ? [...waiting, waiter] : waiting.toSpliced(after, 0, waiter);
        serve();
      });
    },
    exchanged(endpoint) {
      const others = Math.max(0, (underWay.get(endpoint) ?? 0) - 1);
      underWay.set(endpoint, others);
      const afterThis = clock.monotonicMs() + intervalsMs[endpoint];
      // one that was too slow to be waited for says nothing of those that were sent after it
      readyAt.set(endpoint, others === 0 ? afterThis : Math.max(readyAt.get(endpoint) ?? 0, afterThis));
      setAlarm();
    },
    pause(endpoint, ms) {
      const waitMs = ms * (1 + JITTER * random.next());
      pausedUntil.set(endpoint, Math.max(pausedUntil.get(endpoint) ?? 0, clock.monotonicMs() + waitMs));
      refuseThePatienceless(endpoint);
      setAlarm();
      return waitMs;
    },
  };
}
