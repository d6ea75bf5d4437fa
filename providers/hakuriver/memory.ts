import type { Clock } from '../../src/core/clock.ts';
import type { Generation } from './dialect.ts';
import { phaseOf, type Phase } from './mapping.ts';
import type { TaskRow } from './schema.ts';

/** What this process knows of a VPS besides its row. All of it may be lost at a restart: then the waits begin anew. */
export interface Remembered {
  /** Null for a stranger's; undefined until it was read. The keys of a VPS never change. */
  readonly tag?: string | null;
  /** The machine's name in the cluster, and the port of its sshd there, as long as it was not restarted. */
  readonly node?: string;
  readonly port?: number;
  readonly phase: Phase;
  /** When this process first heard of it, and when its phase was first seen; monotonic. */
  readonly firstSeenMs: number;
  readonly phaseSinceMs: number;
  /** The Host's answer to the create proves that the machine could not start it, although its row says `pending` for ever. */
  readonly startFailure?: string;
  /** We asked for its end. */
  readonly isStopAsked?: boolean;
  /** The Host closed the row without a word to the machine, so that only the machine's own route can end the container. */
  readonly isUntold?: boolean;
  /** Our kill was taken while it ran, so that the Host told its machine. */
  readonly isStopTold?: boolean;
  /** When the machine's own route first said that the container is no more, monotonic. */
  readonly endedByRunnerMs?: number;
  /** It said so because it ended the container itself, not because it knows of none. */
  readonly isEndedByRunner?: boolean;
  /** Since when its machine's own route has failed each time that it was asked, monotonic, and how often. */
  readonly runnerFailures?: { readonly sinceMs: number; readonly count: number } | undefined;
  /** Its port was seen open after its end: then a refusal is the moment at which the container went. */
  readonly wasOpenAfterEnd?: boolean;
  /** The Host did not hear its machine at some time after its end, which then may not have heard the kill. */
  readonly wasUnheard?: boolean;
  /** Since when the Host has not heard its machine, at any look after its end, monotonic. */
  readonly silentSinceMs?: number | undefined;
  /** Since when it counts as gone, monotonic. */
  readonly goneSinceMs?: number | undefined;
  readonly areSnapshotsForgotten?: boolean;
}

/** One entry for each VPS that the Host has a row of, which is for ever; a few hundred bytes each. */
export interface VpsMemory {
  of(id: string): Remembered | undefined;
  /** Takes in what a row says. */
  note(row: TaskRow, generation: Generation): Remembered;
  /** What else came to be known; for an id that was never noted, it is as good as starting. */
  add(id: string, more: Partial<Omit<Remembered, 'phase' | 'firstSeenMs' | 'phaseSinceMs'>>): Remembered;
  /** How long the phase has been seen. */
  phaseAgeMs(remembered: Remembered): number;
  forget(id: string): void;
}

export function createVpsMemory({ clock }: { readonly clock: Pick<Clock, 'monotonicMs'> }): VpsMemory {
  const known = new Map<string, Remembered>();

  function put(id: string, remembered: Remembered): Remembered {
    known.set(id, remembered);
    return remembered;
  }

  return {
    of: (id) => known.get(id),

    note(row, generation) {
      const before = known.get(row.task_id);
      const phase = phaseOf(row);
      const port = isPortReal(row, generation) ? row.ssh_port : undefined;
      return put(row.task_id, {
        ...before,
        ...(row.assigned_node !== undefined && { node: row.assigned_node }),
        ...(port !== undefined && { port }),
        ...(before?.phase !== phase && { wasOpenAfterEnd: false }),
        // a word that nobody knows, shown in between, makes no machine hear
        ...(before?.phase !== phase && before?.phase !== 'unknown' && phase !== 'unknown' && { wasUnheard: false }),
        firstSeenMs: before?.firstSeenMs ?? clock.monotonicMs(),
        phaseSinceMs: before !== undefined && isSameSpell(before.phase, phase) ? before.phaseSinceMs : clock.monotonicMs(),
        phase,
      });
    },

    add(id, more) {
      const now = clock.monotonicMs();
      const before = known.get(id) ?? { phase: 'starting', firstSeenMs: now, phaseSinceMs: now };
      return put(id, { ...before, ...more });
    },

    phaseAgeMs: ({ phaseSinceMs }) => clock.monotonicMs() - phaseSinceMs,
    forget: (id) => void known.delete(id),
  };
}

/** The later versions put a number of their own there until the machine has told the true one. */
function isPortReal({ status, started_at: startedAt }: TaskRow, generation: Generation): boolean {
  return generation === 'seed' || status === 'running' || status === 'paused' || startedAt !== undefined;
}

/** A start during which a word shows that nobody knows is still the same start, and its deadlines go on. */
function isSameSpell(before: Phase, now: Phase): boolean {
  const mayBeStarting = (phase: Phase) => phase === 'starting' || phase === 'unknown';
  return before === now || (mayBeStarting(before) && mayBeStarting(now));
}
