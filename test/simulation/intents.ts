import { parseOwnershipTag, type DeploymentId } from '../../src/provider/ownership-tag.ts';
import type { SimClock } from './sim-clock.ts';

/** What brokers were about to create, in the world's own time: their machines may be wrong about it. */
export interface Intents {
  /** Before the attempt is written. */
  begin(tag: string, fenceMs: number): void;
  /** Until when its create may be sent. */
  deadlineOf(tag: string): number;
  /** Whether it was begun before that moment. */
  isBefore(tag: string, monotonicMs: number): boolean;
  /** A database that knew of them was lost, and nobody has said so: what this deployment has begun by now may be begun again. */
  forget(deployment: DeploymentId): void;
  mayComeAgain(tag: string): boolean;
}

export function createIntents(clock: SimClock): Intents {
  const forgotten = new Set<string>();
  const begun = new Map<string, { readonly at: number; readonly deadline: number }>();
  return {
    begin: (tag, fenceMs) => void begun.set(tag, { at: clock.monotonicMs(), deadline: clock.monotonicMs() + fenceMs }),
    deadlineOf: (tag) => begun.get(tag)?.deadline ?? Number.NEGATIVE_INFINITY,
    forget(deployment) {
      for (const tag of begun.keys()) if (parseOwnershipTag(tag)?.deployment === deployment) forgotten.add(tag);
    },
    mayComeAgain: (tag) => forgotten.has(tag),
    isBefore: (tag, monotonicMs) => (begun.get(tag)?.at ?? monotonicMs) < monotonicMs,
  };
}
