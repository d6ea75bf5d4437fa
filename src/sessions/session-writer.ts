import type { Clock } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { notBefore } from './draft.ts';
import type { Fact } from './fact.ts';
import { brokenInvariants } from './invariants.ts';
import type { SessionChanges } from './session-changes.ts';
import type { SessionRecord } from './session-record.ts';
import type { Beside, SessionRepository } from './session-repository.ts';
import type { StepRules } from './step-rules.ts';
import { step, type Transition } from './step.ts';

/** A fact that would have broken an invariant: nothing was written. */
export class InvariantBroken extends Error {
  readonly sessionId: SessionId;

  constructor(sessionId: SessionId, fact: string, sentences: readonly string[]) {
    super(`fact ${fact} would break: ${sentences.join('; ')}`);
    this.name = 'InvariantBroken';
    this.sessionId = sessionId;
  }
}

export type Applied =
  | { readonly outcome: 'changed'; readonly record: SessionRecord; readonly transition: Transition }
  /** The fact says nothing new to the session as it is now. */
  | { readonly outcome: 'unchanged'; readonly record: SessionRecord }
  | { readonly outcome: 'missing' }
  /** What should have been written beside it could not be. */
  | { readonly outcome: 'declined'; readonly record: SessionRecord };

export interface SessionWriter {
  /**
   * Applies a fact to a session as it is now, by compare-and-set; a lost race reads the row again. `known` saves the first read.
   * Throws InvariantBroken, StoreError.
   */
  apply(session: SessionId | SessionRecord, fact: Fact, beside?: Beside): Promise<Applied>;
}

interface SessionWriterDeps {
  readonly sessions: Pick<SessionRepository, 'find' | 'save'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly changes: SessionChanges;
  readonly rules: StepRules;
  readonly log: Log;
}

const MOST_RACES = 20;

/** The one way to change a session. */
export function createSessionWriter({ sessions, clock, changes, rules, log }: SessionWriterDeps): SessionWriter {
  return {
    async apply(session, fact, beside) {
      const id = typeof session === 'string' ? session : session.session.id;
      let record = typeof session === 'string' ? await sessions.find(id) : session;
      let isFresh = typeof session === 'string';
      for (let race = 0; race < MOST_RACES; race += 1) {
        if (!record) return { outcome: 'missing' };
        const now = notBefore(record.session.updatedAt, clock.now());
        const transition = step(record, fact, now, rules);
        if (!transition && isFresh) return { outcome: 'unchanged', record };
        const broken = transition ? brokenInvariants(transition) : [];
        if (!transition || (broken.length > 0 && !isFresh)) {
          record = await sessions.find(id); // what was handed in may be old: only the row itself makes a fact nothing new, or wrong
          isFresh = true;
          continue;
        }
        // a broken row can still be put off, or it would be tried again and again (RULE-R16)
        if (broken.length > 0 && fact.kind !== 'postponed') throw new InvariantBroken(id, fact.kind, broken);
        transition.session.updatedAt = now;
        const after: SessionRecord = { session: transition.session, attempts: transition.attempts };

        const outcome = await sessions.save(record, transition, beside);
        if (outcome === 'declined') return { outcome, record };
        if (outcome === 'saved') {
          transition.session.version = record.session.version + Math.max(1, transition.events.length);
          for (const { kind, data } of transition.events) log.info({ sessionId: id, ...data }, kind);
          const { session: changed, events, failures, releasedOffers } = transition;
          changes.publish({ session: changed, events, failures, releasedOffers });
          return { outcome: 'changed', record: after, transition };
        }
        record = await sessions.find(id);
        isFresh = true;
      }
      throw new Error(`session ${id}: lost ${MOST_RACES} races in a row`);
    },
  };
}
