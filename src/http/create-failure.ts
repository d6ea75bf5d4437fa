import { assertNever } from '../core/assert-never.ts';
import { BrokerError, type ErrorCode } from '../core/errors.ts';
import type { SessionRecord } from '../sessions/session-record.ts';
import { FAILURE_REASONS, type FailureReason } from '../sessions/session-state.ts';
import { present } from './present.ts';

/**
 * What the client is told when no provider ever accepted a create for its session; undefined while that is open or was not so.
 * `keyed`: the request had an Idempotency-Key, to which this stays the answer.
 */
export function createFailureOf({ session, attempts }: SessionRecord, keyed: boolean): BrokerError | undefined {
  const reason = FAILURE_REASONS.find((known) => known === session.reason);
  if (session.status !== 'failed' || reason === undefined || attempts.some(({ acceptedAt }) => acceptedAt !== null))
    return undefined;
  const { code, retrySuggested, advice } = verdictOn(reason);
  return new BrokerError({
    code,
    message: `create session: ${session.error ?? 'no provider could serve it'}`,
    details: {
      session_id: session.id,
      status: session.status,
      reason,
      offer_id: session.offerId,
      provider: session.provider,
      retry_suggested: retrySuggested,
      message: keyed ? `${advice} That takes a new Idempotency-Key: this one keeps its answer.` : advice,
      tried: attempts.map(({ offerId, provider, outcome, error }) =>
        present({ offer_id: offerId, provider, outcome: outcome ?? undefined, error: error ?? undefined }),
      ),
    },
  });
}

interface Verdict {
  readonly code: ErrorCode;
  /** Whether the same request may succeed if it is sent again (PEER-11.2.29: by what happened, not by words in a text). */
  readonly retrySuggested: boolean;
  readonly advice: string;
}

function verdictOn(reason: FailureReason): Verdict {
  switch (reason) {
    case 'stale_inventory':
      return { code: 'stale_inventory', retrySuggested: true, advice: 'Refresh the inventory and choose another offer.' };
    case 'no_capacity':
      return { code: 'no_capacity', retrySuggested: true, advice: 'Widen the requirements or try again later.' };
    case 'price_changed':
      return { code: 'price_changed', retrySuggested: true, advice: 'Refresh the inventory and decide on the new price.' };
    case 'provider_rejected':
      return {
        code: 'provider_rejected',
        retrySuggested: false,
        advice: 'Change the request: the provider refuses it as it is.',
      };
    case 'provider_auth':
    case 'provider_funds':
      return {
        code: 'provider_unavailable',
        retrySuggested: false,
        advice: 'Ask the operator: the account at the provider is at fault.',
      };
    case 'provider_unavailable':
      return { code: 'provider_unavailable', retrySuggested: true, advice: 'Try again later or at another provider.' };
    case 'create_lost':
    case 'ssh_verify_timeout':
    case 'ssh_address_refused':
    case 'gpu_driver_timeout':
    case 'gpu_mismatch':
    case 'wrong_host':
    case 'instance_stopped':
    case 'instance_vanished':
    case 'preempted':
      return { code: 'provision_failed', retrySuggested: true, advice: 'Try again, with another offer if it happens twice.' };
    default:
      return assertNever(reason, 'reason');
  }
}
