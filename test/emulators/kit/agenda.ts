import type { EpochMs } from '../../../src/core/clock.ts';

/**
 * What the vendor's world will do by itself, in order of time. Nothing happens until somebody looks: `settle` runs all that is due, and
 * during each entry `now()` is the moment for which it was planned, so that what it writes (a bill, a state) bears the exact time.
 */
export interface Agenda {
  now(): EpochMs;
  /** Returns how to call it off. */
  at(dueAt: EpochMs, run: () => void): () => void;
  settle(): void;
  /** When the next entry is due; undefined when nothing is planned. */
  nextDueAt(): EpochMs | undefined;
  clear(): void;
}

interface Entry {
  readonly dueAt: EpochMs;
  readonly order: number;
  readonly run: () => void;
}

export function createAgenda(clockNow: () => EpochMs): Agenda {
  let entries: Entry[] = [];
  let order = 0;
  let within: EpochMs | undefined;
  return {
    now: () => within ?? clockNow(),
    at(dueAt, run) {
      const entry = { dueAt, order: (order += 1), run };
      const place = entries.findIndex((other) => other.dueAt > dueAt);
      entries.splice(place < 0 ? entries.length : place, 0, entry);
      return () => {
        entries = entries.filter((other) => other !== entry);
      };
    },
    settle() {
      if (within !== undefined) return;
      const until = clockNow();
      for (let next = entries[0]; next !== undefined && next.dueAt <= until; next = entries[0]) {
        entries.shift();
        within = next.dueAt;
        try {
          next.run();
        } finally {
          within = undefined;
        }
      }
    },
    nextDueAt: () => entries[0]?.dueAt,
    clear() {
      entries = [];
    },
  };
}
