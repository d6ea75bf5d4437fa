import type { Clock, EpochMs } from '../../src/core/clock.ts';

/** Who is due when; one loop and one sleep for all, however many wait. */
export interface Agenda {
  add(at: EpochMs, id: string): void;
  /** Ends the loop and waits for what it is doing. */
  close(): Promise<void>;
}

/** `handle` is called with each id when its time has come; it must not throw. */
export function startAgenda({ clock, handle }: { clock: Clock; handle: (id: string) => Promise<void> }): Agenda {
  const entries: { readonly at: EpochMs; readonly id: string }[] = []; // by time
  let isClosed = false;
  let wake = new AbortController();

  async function run(): Promise<void> {
    while (!isClosed) {
      const due = takeDue(clock.now());
      if (due.length > 0) {
        await Promise.all(due.map(handle));
        continue;
      }
      await sleepUntilNext();
    }
  }

  /** Each once, so that nobody is handled twice at the same time. */
  function takeDue(now: EpochMs): string[] {
    return [...new Set(entries.splice(0, placeFor(now)).map(({ id }) => id))];
  }

  async function sleepUntilNext(): Promise<void> {
    const first = entries[0];
    wake = new AbortController();
    try {
      await clock.sleep(first === undefined ? Number.MAX_SAFE_INTEGER : Math.max(1, first.at - clock.now()), wake.signal);
    } catch (error) {
      if (!wake.signal.aborted) throw error;
    }
  }

  /** The place behind all entries up to this time. */
  function placeFor(at: EpochMs): number {
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((entries[middle]?.at ?? Infinity) <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const running = run();
  return {
    add(at, id) {
      const place = placeFor(at);
      entries.splice(place, 0, { at, id });
      if (place === 0) wake.abort();
    },
    async close() {
      isClosed = true;
      wake.abort();
      await running;
    },
  };
}
