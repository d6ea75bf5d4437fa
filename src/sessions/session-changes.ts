import { EventEmitter } from 'node:events';
import { describeError } from '../core/errors.ts';
import type { SessionId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OfferFailure, Session } from '../db/tables.ts';
import type { OfferId } from '../provider/ids.ts';
import type { EventDraft } from './draft.ts';

export interface SessionChange {
  readonly session: Session;
  readonly events: readonly EventDraft[];
  /** What the change says against offers. */
  readonly failures: readonly OfferFailure[];
  /** Offers whose claim by this session ended. */
  readonly releasedOffers: readonly OfferId[];
}

type Listener = (change: SessionChange) => void;

/**
 * Says inside this process that a session has changed. A hint that saves waiting, never the truth: whoever listens reads the row,
 * and looks again by itself from time to time, since another replica may have written it.
 */
export interface SessionChanges {
  publish(change: SessionChange): void;
  /** Every change of every session. Hands back how to stop listening. */
  onAny(listener: Listener): () => void;
  on(id: SessionId, listener: Listener): () => void;
}

const ANY = 'any';

/** Who listens cannot harm who has written: its error is logged (without a log it is thrown outside of everybody's turn) and the others still hear. */
export function createSessionChanges({ log }: { readonly log?: Pick<Log, 'error'> } = {}): SessionChanges {
  const emitter = new EventEmitter();
  emitter.setMaxListeners(0);
  const subscribe = (name: string, listener: Listener) => {
    const guarded: Listener = (change) => {
      try {
        listener(change);
      } catch (error) {
        if (log) log.error({ sessionId: change.session.id, error: describeError(error) }, 'listener to session changes failed');
        else
          queueMicrotask(() => {
            throw error;
          });
      }
    };
    emitter.on(name, guarded);
    return () => void emitter.off(name, guarded);
  };
  return {
    publish: (change) => {
      emitter.emit(change.session.id, change);
      emitter.emit(ANY, change);
    },
    onAny: (listener) => subscribe(ANY, listener),
    on: (id, listener) => subscribe(id, listener),
  };
}
