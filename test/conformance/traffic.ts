import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock, type Clock } from '../../src/core/clock.ts';

/** For what is left without an answer: then time goes on all the same. */
const LONGEST_QUIET_MS = 20;

/** What is under way between an adapter and its emulated vendor, so that a world's time stands still meanwhile. */
export interface Traffic {
  /** Exchanges and proofs that have not ended, less those that the vendor holds back on purpose; 0 when nothing has moved for a while. */
  busy(): number;
  /** The clock for the vendor: an answer that it delays by sleeping waits for time, and time need not wait for it. */
  vendorClock(clock: Clock): Clock;
  /** Counts work that goes over sockets of its own: an SSH proof. */
  during<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Until what the last answer set off has run, too. */
  untilQuiet(): Promise<void>;
  stopWatching(): void;
}

/** Watches the exchanges of global fetch, all of this process: one world at a time. */
export function watchTraffic(): Traffic {
  const underWay = new Set<unknown>();
  let held = 0;
  let proofs = 0;
  let movedAt = systemClock.monotonicMs();
  const moved = () => {
    movedAt = systemClock.monotonicMs();
  };
  // undici publishes an object with the request on each of these channels
  const requestOf = (message: unknown) => (message as { readonly request: unknown }).request;
  const begin = (message: unknown) => {
    underWay.add(requestOf(message));
    moved();
  };
  const end = (message: unknown) => {
    underWay.delete(requestOf(message));
    moved();
  };
  subscribe('undici:request:create', begin);
  subscribe('undici:request:trailers', end);
  subscribe('undici:request:error', end);

  const busy = () => {
    const open = Math.max(0, underWay.size - held) + proofs;
    return open > 0 && systemClock.monotonicMs() - movedAt < LONGEST_QUIET_MS ? open : 0;
  };
  return {
    busy,
    vendorClock: (clock) => ({
      now: () => clock.now(),
      machineNow: () => clock.machineNow(),
      monotonicMs: () => clock.monotonicMs(),
      timeoutSignal: (ms, parent) => clock.timeoutSignal(ms, parent),
      async sleep(ms, signal) {
        if (ms <= 0) return;
        held += 1;
        moved();
        try {
          await clock.sleep(ms, signal);
        } finally {
          held -= 1;
          moved();
        }
      },
    }),
    async during(work) {
      proofs += 1;
      moved();
      try {
        return await work();
      } finally {
        proofs -= 1;
        moved();
      }
    },
    async untilQuiet() {
      moved();
      for (let quietTurns = 0; quietTurns < 3;) {
        await nextTurn();
        quietTurns = busy() === 0 ? quietTurns + 1 : 0;
      }
    },
    stopWatching() {
      unsubscribe('undici:request:create', begin);
      unsubscribe('undici:request:trailers', end);
      unsubscribe('undici:request:error', end);
    },
  };
}
