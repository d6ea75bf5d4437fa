import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, EpochMs } from '../../src/core/clock.ts';

const TIMED_OUT = new DOMException('The operation was aborted due to timeout', 'TimeoutError');

interface Sleeper {
  readonly dueAt: number;
  readonly wake: () => void;
  readonly kind: 'sleep' | 'timeout';
}

/**
 * Time that moves only when a test says so. `advance` wakes every sleeper and time-out in the order in which they are due,
 * and lets what they woke run before time goes on; `jumpWall` moves wall time alone, as a bad NTP server would.
 */
export class FakeClock implements Clock {
  #wall: EpochMs;
  #monotonic = 0;
  #sleepers: Sleeper[] = [];

  constructor(startsAt: string | EpochMs = '2026-01-01T00:00:00Z') {
    this.#wall = typeof startsAt === 'number' ? startsAt : Date.parse(startsAt);
  }

  now(): EpochMs {
    return this.#wall;
  }

  machineNow(): EpochMs {
    return this.#wall;
  }

  monotonicMs(): number {
    return this.#monotonic;
  }

  /** How many `sleep`s are waiting; time-outs do not count. */
  get sleeping(): number {
    return this.#sleepers.filter((sleeper) => sleeper.kind === 'sleep').length;
  }

  /** How long until the next `sleep` ends; undefined when nobody sleeps. */
  get nextWakeInMs(): number | undefined {
    const next = this.#sleepers.find((sleeper) => sleeper.kind === 'sleep');
    return next && next.dueAt - this.#monotonic;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (ms <= 0) return;
    await new Promise<void>((resolve, reject) => {
      const cut = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason as Error); // the reason of an abort is what sleep promises to throw
      };
      const wake = () => {
        signal?.removeEventListener('abort', cut);
        resolve();
      };
      const sleeper = this.#add('sleep', ms, wake);
      signal?.addEventListener('abort', cut, { once: true });
    });
  }

  timeoutSignal(ms: number, parent?: AbortSignal): AbortSignal {
    const timeout = new AbortController();
    const expire = () => timeout.abort(TIMED_OUT);
    if (ms <= 0) expire();
    else this.#add('timeout', ms, expire);
    return parent ? AbortSignal.any([timeout.signal, parent]) : timeout.signal;
  }

  /** Moves both clocks forward, stopping at each sleeper on the way. */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const until = this.#monotonic + ms;
    for (let next = this.#sleepers[0]; next && next.dueAt <= until; next = this.#sleepers[0]) {
      this.#sleepers.shift();
      this.#moveTo(next.dueAt);
      next.wake();
      await this.settle();
    }
    if (this.#monotonic >= until) return; // whoever was due then has run, and everything rests
    this.#moveTo(until);
    await this.settle();
  }

  /** Moves wall time alone, in either direction; nobody wakes. */
  jumpWall(ms: number): void {
    this.#wall += ms;
  }

  /** Lets everything run that waits for nothing but its turn. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn += 1) await nextTurn();
  }

  #moveTo(monotonic: number): void {
    this.#wall += Math.max(0, Math.round(monotonic) - Math.round(this.#monotonic));
    this.#monotonic = Math.max(this.#monotonic, monotonic);
  }

  #add(kind: Sleeper['kind'], ms: number, wake: () => void): Sleeper {
    const sleeper = { kind, wake, dueAt: this.#monotonic + ms };
    const after = this.#sleepers.findIndex((other) => other.dueAt > sleeper.dueAt);
    this.#sleepers.splice(after === -1 ? this.#sleepers.length : after, 0, sleeper);
    return sleeper;
  }
}
