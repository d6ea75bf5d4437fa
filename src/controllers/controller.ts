import type { EpochMs } from '../core/clock.ts';

/** What one pass did: numbers a person can read, and when the next one is due at the latest. */
export interface Report {
  /** Rows or things that were looked at. */
  readonly examined: number;
  /** How many of them were changed, or had work begun for them. */
  readonly changed: number;
  /** How many could not be dealt with; each is in the log, and comes again. */
  readonly failed: number;
  /** The next instant at which there is something to do, if one is known. */
  readonly wakeAt?: EpochMs;
  /** Whatever else is worth telling, by name. */
  readonly details?: Readonly<Record<string, number | string>>;
}

/**
 * One concern of the life cycle. `reconcile` takes no input: it reads what is, does one pass, reports, and never retries inside.
 * It may run at any moment, also right after a crash. Work that outlives a pass is handed to a task pool of its own.
 */
export interface Controller {
  /** `noun.concern`. */
  readonly name: string;
  readonly periodMs: number;
  reconcile(options: { readonly signal: AbortSignal }): Promise<Report>;
  /** Resolves when the work that passes have begun is done. */
  idle?(): Promise<void>;
}
