import type { SecretId } from '../core/ids.ts';
import type { EpochMs } from '../core/clock.ts';
import type { Attempt, CostSegment, OfferFailure, Session, SessionPhase } from '../db/tables.ts';
import type { OfferId } from '../provider/ids.ts';
import type { SessionRecord } from './session-record.ts';
import { isHopeful } from './session-state.ts';

export interface EventDraft {
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A record on its way to its next version: the only place where a decision writes. It never leaves `step`. */
export interface Draft {
  readonly now: EpochMs;
  readonly session: Session;
  readonly attempts: Attempt[];
  readonly events: EventDraft[];
  readonly segments: CostSegment[];
  readonly releasedOffers: OfferId[];
  readonly failures: OfferFailure[];
  readonly shredded: SecretId[];
  changed: boolean;
}

export function createDraft(record: SessionRecord, now: EpochMs): Draft {
  return {
    now,
    session: { ...record.session },
    attempts: record.attempts.map((attempt) => ({ ...attempt })),
    events: [],
    segments: [],
    releasedOffers: [],
    failures: [],
    shredded: [],
    changed: false,
  };
}

/** Timestamps of a row never go back (REL-F2). */
export function notBefore(previous: EpochMs | null, now: EpochMs): EpochMs {
  return previous === null ? now : Math.max(previous, now);
}

export function setSession(draft: Draft, changes: Partial<Session>): void {
  Object.assign(draft.session, changes);
  draft.changed = true;
}

export function setAttempt(draft: Draft, attempt: Attempt, changes: Partial<Attempt>): void {
  Object.assign(attempt, changes);
  draft.changed = true;
}

export function emit(draft: Draft, kind: string, data: EventDraft['data'] = {}): void {
  draft.events.push({ kind, data });
  draft.changed = true;
}

export function enterPhase(draft: Draft, phase: SessionPhase, deadlineAt: EpochMs | null = null): void {
  if (draft.session.phase === phase) return;
  setSession(draft, { phase, phaseEnteredAt: draft.now, phaseDeadlineAt: deadlineAt });
}

export function hopefulAttempt(draft: Draft): Attempt | undefined {
  return draft.attempts.find(isHopeful);
}
