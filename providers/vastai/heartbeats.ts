import type { Clock, EpochMs } from '../../src/core/clock.ts';
import { MINUTE_MS } from '../../src/core/duration.ts';
import type { InstanceRecord } from './schema.ts';

/** How long a host may be without contact before its instance counts as failed. */
const LONGEST_SILENCE_MS = 10 * MINUTE_MS;

/**
 * What their record does not say: when the host last reported, and since when it has not. A record shows the last values for ever, so a
 * report is new only when something in it has changed; a machine that is idle to the last digit is told by its uptime.
 */
export interface Heartbeats {
  note(record: InstanceRecord, seen: { readonly isSilent: boolean; readonly now: EpochMs }): void;
  /** When the last new report was seen; undefined before the second one, since the first may have been frozen for hours. */
  beatAt(id: string): EpochMs | undefined;
  isSilentForLong(id: string): boolean;
  forget(id: string): void;
  /** Drops everything about instances that a complete list does not name. */
  keepOnly(ids: ReadonlySet<string>): void;
}

interface Pulse {
  readonly print: string;
  readonly beatAt?: EpochMs;
  readonly silentSinceMs?: number;
}

export function createHeartbeats({ clock }: { readonly clock: Pick<Clock, 'monotonicMs'> }): Heartbeats {
  const pulses = new Map<string, Pulse>();
  return {
    note(record, { isSilent, now }) {
      const before = pulses.get(record.id);
      const print = printOf(record);
      const beatAt = before && !isSilent && before.print !== print ? now : before?.beatAt;
      const silentSinceMs = isSilent ? (before?.silentSinceMs ?? clock.monotonicMs()) : undefined;
      pulses.set(record.id, {
        print,
        ...(beatAt !== undefined && { beatAt }),
        ...(silentSinceMs !== undefined && { silentSinceMs }),
      });
    },
    beatAt: (id) => pulses.get(id)?.beatAt,
    isSilentForLong(id) {
      const since = pulses.get(id)?.silentSinceMs;
      return since !== undefined && clock.monotonicMs() - since >= LONGEST_SILENCE_MS;
    },
    forget: (id) => void pulses.delete(id),
    keepOnly(ids) {
      for (const id of pulses.keys()) if (!ids.has(id)) pulses.delete(id);
    },
  };
}

function printOf(record: InstanceRecord): string {
  const { uptime_mins, gpu_util, gpu_temp, cpu_util, mem_usage, vmem_usage, disk_usage } = record;
  return JSON.stringify([uptime_mins, gpu_util, gpu_temp, cpu_util, mem_usage, vmem_usage, disk_usage]);
}
