import type { Attempt, AttemptState, Session, SessionStatus } from '../db/tables.ts';

/**
 * The life of a session, in the six words of the wire.
 *
 * - `pending`: stored; no provider has been asked for anything.
 * - `provisioning`: an intent is stored; a create may have happened, an instance may exist, cost money, boot, be proven.
 * - `running`: SSH is proven; the consumer is in charge of a machine.
 * - `stopping`: it shall end; an instance may exist and cost money. Nothing leads back.
 * - `stopped` and `failed`: the end. The provider itself said *gone* of every instance, or was never asked. `failed` never ran.
 *
 * An attempt is one create call and what came of it:
 * - `intent`: committed; the create call may be sent, is under way, or the process died. Only its own process may send it, once.
 * - `unknown`: nobody knows whether it happened. Resolved by looking for the tag, never by another create.
 * - `live`: an instance is known and shall be.
 * - `destroying`: an instance is known, or was, and shall not be. Destroy is repeated until the provider says gone.
 * - `verifying`: the provider said gone (*accepted*). Looked for until absence is a verdict (*verified*).
 * - `gone`: absent by verdict, or a refused create. Watched until its tombstone ends: if it is seen again, it is destroyed again.
 */
export const SESSION_STATUSES = [
  'pending',
  'provisioning',
  'running',
  'stopping',
  'stopped',
  'failed',
] as const satisfies SessionStatus[];

/** Why a session was told to stop by somebody: an end that is no failure. */
export const STOP_REASONS = ['user_requested', 'expired', 'hard_max', 'idle', 'drained'] as const;
/** What ends a session that nobody told to stop. */
export const FAILURE_REASONS = [
  'stale_inventory',
  'no_capacity',
  'price_changed',
  'provider_rejected',
  'provider_auth',
  'provider_funds',
  'provider_unavailable',
  'create_lost',
  'ssh_verify_timeout',
  'ssh_address_refused',
  'gpu_driver_timeout',
  'gpu_mismatch',
  'wrong_host',
  'instance_stopped',
  'instance_vanished',
  'preempted',
] as const;

export type StopReason = (typeof STOP_REASONS)[number];
export type FailureReason = (typeof FAILURE_REASONS)[number];
export type EndReason = StopReason | FailureReason;

export function isStopReason(reason: string): reason is StopReason {
  return (STOP_REASONS as readonly string[]).includes(reason); // widened, so that any text may be asked for
}

export function isEnded(session: Pick<Session, 'status'>): boolean {
  return session.status === 'stopped' || session.status === 'failed';
}

/** Which verbs of the API make sense now. */
export type SessionAction = 'connect' | 'extend' | 'done' | 'delete';

export function actionsOf(session: Pick<Session, 'status'>): SessionAction[] {
  switch (session.status) {
    case 'pending':
    case 'provisioning':
      return ['extend', 'done', 'delete'];
    case 'running':
      return ['connect', 'extend', 'done', 'delete'];
    case 'stopping':
    case 'stopped':
    case 'failed':
      return ['delete'];
  }
}

/** Something may exist at the provider that is not known to be gone. */
export function mayExist(state: AttemptState): boolean {
  return state === 'intent' || state === 'unknown' || state === 'live' || state === 'destroying';
}

/** An attempt that may still become the machine that is handed out. */
export function isHopeful(attempt: Pick<Attempt, 'state'>): boolean {
  return attempt.state === 'intent' || attempt.state === 'unknown' || attempt.state === 'live';
}
