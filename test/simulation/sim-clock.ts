import { setImmediate as nextTurn } from 'node:timers/promises';
import { FakeClock } from '../support/fake-clock.ts';
import type { Clock } from '../../src/core/clock.ts';

/** Turns of the event loop in which nothing may be under way before time goes on. */
const QUIET_TURNS = 2;
/** What is due within so long of each other wakes together, as timers of a real machine do; it also has more happen at once. */
const TICK_MS = 50;
const TIMEOUT_TICK_MS = 500;
const MOST_TURNS = 50_000;
/** Reads of the databases at one moment: far more than any work needs. */
const MOST_READS = 20_000;

/** The time of a world. It goes on when everything that does not wait for time has come to rest; the only real waits are those for SQLite's write queue. */
export class SimClock extends FakeClock {
  /** How much is under way that does not wait for this clock. */
  readonly busy: (() => number)[] = [];

  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return super.sleep(this.#toNext(TICK_MS, ms), signal);
  }

  override timeoutSignal(ms: number, parent?: AbortSignal): AbortSignal {
    return super.timeoutSignal(this.#toNext(TIMEOUT_TICK_MS, ms), parent);
  }

  #reads = 0;
  #readsAtMs = -1;

  /** Told of each read of a database: a broker that goes round without time passing never comes to the end of a turn, where `settle` would see it. */
  noteRead(): void {
    const now = this.monotonicMs();
    this.#reads = now === this.#readsAtMs ? this.#reads + 1 : 1;
    this.#readsAtMs = now;
    if (this.#reads > MOST_READS)
      throw new Error(`a broker goes round without time passing: ${MOST_READS} reads at one moment`);
  }

  #toNext(tickMs: number, ms: number): number {
    if (ms <= 0) return ms;
    const now = this.monotonicMs();
    return Math.ceil((now + ms) / tickMs) * tickMs - now;
  }

  override async settle(): Promise<void> {
    for (let turn = 0, quiet = 0; quiet < QUIET_TURNS; turn += 1) {
      if (turn > MOST_TURNS) throw new Error('the world does not come to rest: something goes round without time passing');
      await nextTurn();
      quiet = this.busy.some((busy) => busy() > 0) ? 0 : quiet + 1;
    }
  }
}

/** The clock of one machine: its wall clock may stand wrong, and its monotonic clock stands still while it is suspended, as Linux's does. */
export interface MachineClock extends Clock {
  jump(ms: number): void;
  /** As a machine's time service does. */
  setRight(): void;
  suspend(): void;
  resume(): void;
}

export function machineClock(clock: Clock): MachineClock {
  let offMs = 0;
  let suspendedMs = 0;
  let suspendedAt: number | undefined;
  const monotonicMs = () => (suspendedAt ?? clock.monotonicMs()) - suspendedMs;
  return {
    now: () => clock.now() + offMs,
    machineNow: () => clock.machineNow() + offMs,
    monotonicMs,
    async sleep(ms, signal) {
      const dueMs = monotonicMs() + ms;
      do await clock.sleep(dueMs - monotonicMs(), signal);
      while (dueMs - monotonicMs() > 0);
    },
    timeoutSignal: (ms, parent) => clock.timeoutSignal(ms, parent),
    jump: (ms) => {
      offMs += Math.round(ms);
    },
    setRight: () => {
      offMs = 0;
    },
    suspend: () => {
      suspendedAt ??= clock.monotonicMs();
    },
    resume: () => {
      if (suspendedAt !== undefined) suspendedMs += clock.monotonicMs() - suspendedAt;
      suspendedAt = undefined;
    },
  };
}
