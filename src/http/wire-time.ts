import type { EpochMs } from '../core/clock.ts';

/** An instant as the wire has it: RFC 3339, UTC. */
export function wireTime(at: EpochMs): string {
  return new Date(at).toISOString();
}

/** The same for an instant that may not have come yet. */
export function wireTimeIfAny(at: EpochMs | null | undefined): string | undefined {
  return at === null || at === undefined ? undefined : wireTime(at);
}
