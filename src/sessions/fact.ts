import type { EpochMs } from '../core/clock.ts';
import type { Attempt, AttemptState } from '../db/tables.ts';
import type { ObservationKind } from '../provider/capabilities.ts';
import type { Instance } from '../provider/instance.ts';
import type { ProviderErrorKind } from '../provider/provider-error.ts';
import type { FailureReason, StopReason } from './session-state.ts';

/** An error as a fact: its kind and a sentence fit for the consumer. */
export interface Refusal {
  readonly kind: ProviderErrorKind;
  readonly message: string;
  readonly retryAfterMs?: number;
}

export interface Proof {
  readonly user: string;
  readonly hostKey: string;
  /** The address to hand out; absent where only the provider can dial: the tunnel's stands in the session already. */
  readonly host?: string;
  readonly port?: number;
  /** What the probe found worth telling: GPUs, how the key got in. */
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * What can happen to a session. A fact stays true whatever version of the row it is applied to, so a write that lost its race is not
 * lost itself: the row is read again and the fact applied to what it says now.
 */
export type Fact =
  | { readonly kind: 'stop_requested'; readonly reason: StopReason; readonly message?: string }
  | { readonly kind: 'extended'; readonly addedMinutes: number }
  /** The intent: to be committed before the create call is sent (RULE-R1). */
  | { readonly kind: 'attempt_begun'; readonly attempt: Attempt }
  /** Nothing is left to try. */
  | { readonly kind: 'no_candidate'; readonly reason: FailureReason; readonly message: string }
  | { readonly kind: 'create_accepted'; readonly ordinal: number; readonly instance: Instance }
  /** Proof that nothing was made. */
  | { readonly kind: 'create_refused'; readonly ordinal: number; readonly refusal: Refusal }
  | { readonly kind: 'create_unknown'; readonly ordinal: number; readonly message: string }
  /** `askedAt`: when the provider was asked. What was asked before the provider said gone is old news, not a reappearance. */
  | {
      readonly kind: 'seen';
      readonly ordinal: number;
      readonly by: ObservationKind;
      readonly instance: Instance;
      readonly askedAt?: EpochMs;
    }
  /**
   * The provider answered completely and credibly, and it was not there. Suspect lists are no facts. `askedMsAgo`: who was paused hears of what
   * was then, and no absence counts for longer than it was seen; Infinity when the clocks do not agree on it, and then it is no absence at all.
   */
  | { readonly kind: 'missing'; readonly ordinal: number; readonly by: ObservationKind; readonly askedMsAgo?: number }
  | {
      readonly kind: 'destroy_answered';
      readonly ordinal: number;
      readonly result: 'destroying' | 'gone';
      readonly askedAt?: EpochMs;
    }
  | { readonly kind: 'destroy_failed'; readonly ordinal: number; readonly refusal: Refusal; readonly askedAt?: EpochMs }
  /** The verification went from one phase to the next. */
  | { readonly kind: 'proof_phase'; readonly ordinal: number; readonly phase: 'connecting' | 'driver' }
  /** All but the hand-off has passed, with this host key: from now on the probe key may be gone from the machine. */
  | { readonly kind: 'hand_off_begun'; readonly ordinal: number; readonly hostKey: string }
  | { readonly kind: 'proven'; readonly ordinal: number; readonly proof: Proof }
  /** A port of the broker leads there, for an instance that nobody can dial. Of two brokers that replace the same port, one does. */
  | {
      readonly kind: 'tunnel_opened';
      readonly ordinal: number;
      readonly host: string;
      readonly port: number;
      readonly replaces: number | null;
    }
  /** None could be had; it goes on being tried. */
  | { readonly kind: 'tunnel_awaited'; readonly ordinal: number; readonly message: string }
  /** It exists, or may, but it is no use: it shall be destroyed. */
  | { readonly kind: 'attempt_failed'; readonly ordinal: number; readonly reason: FailureReason; readonly message: string }
  /** One look at its use; a look that saw nothing is not idle. A gap in the looks begins the idle time anew. */
  | { readonly kind: 'sampled'; readonly sampledAt: number; readonly idle: boolean; readonly longestGapMs: number }
  | { readonly kind: 'idle_warned'; readonly endsAt: number }
  | { readonly kind: 'settled'; readonly costMicros: number }
  /**
   * A step that broke an invariant or threw: it waits, others go on (RULE-R16). `whileIn`: the state that was looked at; a look puts off nothing
   * that the attempt has to do since.
   */
  | { readonly kind: 'postponed'; readonly ordinal?: number; readonly untilAt: number; readonly whileIn?: AttemptState };

export type FactKind = Fact['kind'];
