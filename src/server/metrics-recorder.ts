import { SECOND_MS } from '../core/duration.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { SessionChange } from '../sessions/session-changes.ts';
import type { FailureReason } from '../sessions/session-state.ts';

const SSH_FAILURES: readonly string[] = ['ssh_verify_timeout', 'wrong_host', 'ssh_address_refused'] satisfies FailureReason[];

/** Counts what changed in a session. Each event is written once, with its change, so that each is counted once. */
export function recordChange(metrics: Metrics, { session, events, failures }: SessionChange): void {
  const { provider, request } = session;
  const scope = request.offerId === undefined ? 'any' : request.retryScope;
  for (const { kind, data } of events) {
    switch (kind) {
      case 'instance.created':
        metrics.sessionCreated({ provider });
        if (session.attemptCount > 1) metrics.retrySucceeded({ provider, scope });
        break;
      case 'session.running':
        metrics.sessionProvisioned({
          provider,
          seconds: ((session.runningAt ?? session.updatedAt) - session.createdAt) / SECOND_MS,
        });
        break;
      case 'session.stopped':
      case 'session.failed':
        metrics.sessionDestroyed({ provider, reason: session.reason ?? 'other' });
        if (kind === 'session.failed' && session.attemptCount > 1) metrics.retryExhausted({ provider, scope });
        break;
      case 'session.stopping':
        if (session.reason === 'hard_max') metrics.hardMaxEnforced();
        break;
      case 'session.retrying':
        metrics.retryAttempted({ provider, scope, reason: String(data['reason']) });
        break;
      case 'attempt.failed':
        if (SSH_FAILURES.includes(String(data['reason']))) metrics.sshVerifyFailed();
        break;
      case 'instance.vanished':
        metrics.ghostDetected();
        break;
      case 'instance.reappeared':
        metrics.orphanDetected();
        metrics.instanceReappeared({ provider: String(data['provider']) });
        break;
    }
  }
  for (const { provider: failed, gpuType, kind } of failures)
    metrics.offerFailed({ provider: failed, gpuType, failureType: kind });
}
