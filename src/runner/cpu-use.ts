import type { Clock } from '../core/clock.ts';
import type { CpuReading } from './docker-engine.ts';

/** A shorter interval says more about the moment of reading than about the session. */
const SHORTEST_INTERVAL_MS = 500;
const NANOS_PER_MS = 1_000_000;

/** Use of the cores that a container rented, in percent, from readings of its counter. */
export interface CpuUse {
  /** Whether it is time for a reading: the engine takes up to a second for one, too long for each look at an instance. */
  isDue(id: string): boolean;
  add(id: string, cores: number, reading: CpuReading): void;
  /** Between the last two readings. Undefined until there are two: one reading of a counter says nothing, and no sample is not idle. */
  percent(id: string): number | undefined;
  /** Forgets every container but these. */
  keepOnly(ids: ReadonlySet<string>): void;
}

export function createCpuUse({ clock, everyMs }: { clock: Pick<Clock, 'monotonicMs'>; everyMs: number }): CpuUse {
  const known = new Map<string, { takenAtMs: number; readAt: number; usedNanos: number; percent?: number }>();
  return {
    isDue(id) {
      const last = known.get(id);
      return last === undefined || clock.monotonicMs() - last.takenAtMs >= everyMs;
    },
    add(id, cores, reading) {
      const readAt = Date.parse(reading.read);
      const now = { takenAtMs: clock.monotonicMs(), readAt, usedNanos: reading.cpu_stats.cpu_usage.total_usage };
      const before = known.get(id);
      if (Number.isNaN(readAt)) {
        known.delete(id);
      } else if (before === undefined || readAt < before.readAt || now.usedNanos < before.usedNanos) {
        known.set(id, now); // the counter starts again when the container does
      } else if (readAt - before.readAt >= SHORTEST_INTERVAL_MS) {
        const share = (now.usedNanos - before.usedNanos) / ((readAt - before.readAt) * NANOS_PER_MS * cores);
        known.set(id, { ...now, percent: Math.min(100, Math.round(share * 1_000) / 10) });
      }
    },
    percent: (id) => known.get(id)?.percent,
    keepOnly(ids) {
      for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
    },
  };
}
