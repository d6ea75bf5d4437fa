import type { AbsencePolicy, ObservationKind } from '../provider/capabilities.ts';
import type { Absence } from '../db/tables.ts';

/** A provider that never gives one of the kinds must not make the row grow for ever. */
const MOST_KEPT = 64;

/**
 * Adds a look that found nothing. Looks of one kind that come faster than the policy's spacing say nothing new and are left out.
 * The first is kept for ever: the window counts from it.
 */
export function withAbsence(absences: readonly Absence[], look: Absence, policy: AbsencePolicy): readonly Absence[] {
  const last = absences.findLast((absence) => absence.kind === look.kind);
  if (last !== undefined && look.at - last.at < policy.spacingMs) return absences;
  const all = [...absences, look];
  const [first] = all;
  return all.length <= MOST_KEPT || first === undefined ? all : [first, ...all.slice(all.length - MOST_KEPT + 1)];
}

interface Question {
  readonly absences: readonly Absence[];
  readonly policy: AbsencePolicy;
  /** While no id is known nobody can be asked by id, and lists alone have to do. */
  readonly instanceIdKnown: boolean;
}

/** Absence as a verdict (RULE-R6): enough looks, far enough apart, over long enough, by every kind of call that the provider's data names. */
export function isAbsent({ absences, policy, instanceIdKnown }: Question): boolean {
  const kinds: readonly ObservationKind[] = instanceIdKnown ? policy.kinds : ['list'];
  const counted = absences.filter(({ kind }) => kinds.includes(kind));
  const [first, last] = [counted.at(0), counted.at(-1)];
  if (first === undefined || last === undefined || last.at - first.at < policy.windowMs) return false;
  if (!kinds.every((kind) => counted.some((absence) => absence.kind === kind))) return false;
  return countSpaced(counted, policy.spacingMs) >= policy.observations;
}

function countSpaced(absences: readonly Absence[], spacingMs: number): number {
  let count = 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  for (const { at } of absences) {
    if (at - lastAt < spacingMs) continue;
    count += 1;
    lastAt = at;
  }
  return count;
}
