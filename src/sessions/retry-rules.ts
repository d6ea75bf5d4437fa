import type { Session } from '../db/tables.ts';
import type { ProviderErrorKind } from '../provider/provider-error.ts';
import type { FailureReason } from './session-state.ts';

/** What a refused create means for the session. */
export function reasonOfRefusal(kind: ProviderErrorKind): FailureReason {
  switch (kind) {
    case 'capacity':
      return 'stale_inventory';
    case 'rate_limited':
    case 'unavailable':
      return 'provider_unavailable';
    case 'auth':
      return 'provider_auth';
    case 'funds':
      return 'provider_funds';
    case 'rejected':
      return 'provider_rejected';
    case 'protocol':
    case 'ambiguous':
      return 'create_lost';
  }
}

/** How the next attempt, if any, is chosen. */
export type Retry = 'same_offer' | 'other_offer' | 'none';

/**
 * - A create that nobody answered, or that was surely never made, may go to the same offer again.
 * - An offer that is gone: the next one, when the consumer left the choice to the broker or asked for retries.
 * - A machine that booted badly: the next one only when retries were asked for, since it has cost time and money already.
 * - A request that is itself at fault is at fault everywhere.
 */
export function retryAfter(session: Session, reason: FailureReason): Retry {
  if (session.desired === 'gone' || session.attemptCount >= session.maxAttempts) return 'none';
  const byRequirements = session.request.offerId === undefined;
  switch (reason) {
    case 'create_lost':
    case 'provider_unavailable':
      return 'same_offer';
    case 'stale_inventory':
    case 'no_capacity':
    case 'price_changed':
    case 'provider_auth':
    case 'provider_funds':
      return byRequirements || session.request.autoRetry ? 'other_offer' : 'none';
    case 'ssh_verify_timeout':
    case 'ssh_address_refused':
    case 'gpu_driver_timeout':
    case 'gpu_mismatch':
    case 'wrong_host':
    case 'instance_stopped':
    case 'instance_vanished':
    case 'preempted': // another contract; the one that was taken back is never waited for
      return session.request.autoRetry && session.runningAt === null ? 'other_offer' : 'none';
    case 'provider_rejected':
      return 'none';
  }
}

/**
 * Failures that say something about the offer or its machine, not about us, our account or the network between. A consumer's own image or
 * boot script, or a template, may be what does not start: then a bad boot says nothing against the machine, or one consumer could hide it from all
 * others (PEER-11.2.19).
 */
export function blamesOffer(reason: FailureReason, { request }: Pick<Session, 'request'>): boolean {
  const ownSoftware = request.image !== undefined || request.onStart !== undefined || request.templateHashId !== undefined;
  switch (reason) {
    case 'stale_inventory':
    case 'price_changed':
    case 'gpu_mismatch':
    case 'wrong_host':
    case 'instance_vanished':
    case 'preempted': // of the offer at its price, not of the machine: see failure-memory
      return true;
    case 'ssh_verify_timeout':
    case 'gpu_driver_timeout':
    case 'instance_stopped':
      return !ownSoftware;
    case 'no_capacity':
    case 'provider_rejected':
    case 'provider_auth':
    case 'provider_funds':
    case 'provider_unavailable':
    case 'create_lost':
    case 'ssh_address_refused':
      return false;
  }
}
