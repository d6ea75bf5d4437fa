import { createHash } from 'node:crypto';

/** What happened in a world, effect by effect. */
export interface Trace {
  note(who: string, what: string, outcome?: string): void;
  /** Of everything that was noted: the same seed gives the same hash, or something of the world was not its own. */
  hash(): string;
  readonly length: number;
  /** The last lines, for a failure. */
  tail(): readonly string[];
}

interface TraceDeps {
  readonly clock: { monotonicMs(): number };
  /** Told each line, numbered, as it happens. */
  readonly onLine?: (line: string, step: number) => void;
}

const KEPT = 400;

export function createTrace({ clock, onLine }: TraceDeps): Trace {
  const hash = createHash('sha256');
  const kept: string[] = [];
  let length = 0;
  return {
    note(who, what, outcome = '') {
      length += 1;
      const line = `${(clock.monotonicMs() / 1_000).toFixed(3)} ${who} ${what} ${outcome}`.trimEnd();
      hash.update(line).update('\n');
      onLine?.(line, length);
      kept.push(line);
      if (kept.length > 2 * KEPT) kept.splice(0, KEPT);
    },
    hash: () => hash.copy().digest('hex'),
    get length() {
      return length;
    },
    tail: () => kept.slice(-KEPT),
  };
}
