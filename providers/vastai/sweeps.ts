import type { Clock } from '../../src/core/clock.ts';
import { MINUTE_MS } from '../../src/core/duration.ts';
import type { InstanceRecord } from './schema.ts';

/** From so many on that ask at once, a list of all instances comes sooner than their turns one by one. */
const CROWD = 3;
const LONGEST_SWEEP_MS = MINUTE_MS;

/** Reads of single instances that share a complete list, since each has to wait two seconds for the one before it. */
export interface Sweeps {
  /**
   * Runs `ask` for one instance or, in a crowd, finds it in a list that was begun after this call. A list that does not name the
   * instance, or that fails, proves nothing: then `ask` is run all the same.
   */
  find(id: string, signal: AbortSignal, ask: () => Promise<InstanceRecord | undefined>): Promise<InstanceRecord | undefined>;
}

export interface SweepsDeps {
  /** All instances, or a throw. */
  readonly readAll: (signal: AbortSignal) => Promise<readonly InstanceRecord[]>;
  readonly clock: Pick<Clock, 'timeoutSignal'>;
}

type Found = ReadonlyMap<string, InstanceRecord>;

export function createSweeps({ readAll, clock }: SweepsDeps): Sweeps {
  let asking = 0;
  let running: Promise<Found | undefined> | undefined;
  let following: Promise<Found | undefined> | undefined;

  /** Its own time-out and nobody's signal: it belongs to all who wait for it. */
  async function sweep(): Promise<Found | undefined> {
    try {
      const records = await readAll(clock.timeoutSignal(LONGEST_SWEEP_MS));
      return new Map(records.map((record) => [record.id, record]));
    } catch {
      return undefined; // those who waited ask one by one, and hear themselves what is wrong
    } finally {
      running = undefined;
    }
  }

  /** The next list to begin: one that is under way may be older than the question. */
  function next(): Promise<Found | undefined> {
    if (running === undefined) return (running = sweep());
    following ??= running.then(() => {
      following = undefined;
      return (running = sweep());
    });
    return following;
  }

  return {
    async find(id, signal, ask) {
      asking += 1;
      try {
        const found = asking >= CROWD ? await unlessAborted(next(), signal) : undefined;
        return found?.get(id) ?? (await ask());
      } finally {
        asking -= 1;
      }
    },
  };
}

async function unlessAborted(found: Promise<Found | undefined>, signal: AbortSignal): Promise<Found | undefined> {
  let leave = () => {};
  const aborted = new Promise<undefined>((resolve) => {
    leave = () => resolve(undefined);
    signal.addEventListener('abort', leave, { once: true });
  });
  try {
    return await Promise.race([found, aborted]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
