import { DAY_MS, MINUTE_MS } from '../core/duration.ts';
import type { EpochMs } from '../core/clock.ts';
import type { Attempt } from '../db/tables.ts';
import { endBill } from './billing.ts';
import { emit, enterPhase, notBefore, setAttempt, setSession, type Draft } from './draft.ts';
import { blamesOffer, retryAfter } from './retry-rules.ts';
import { isEnded, isStopReason, mayExist, type EndReason, type FailureReason } from './session-state.ts';

/** How long a closed attempt stays watched (RULE-R9). */
export const TOMBSTONE_MS = 90 * DAY_MS;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5 * 60_000;

/** At least as long as the provider asked for, but never longer than the longest pause: no answer may put off a destroy for days. */
export function politePauseMs(tries: number, retryAfterMs = 0): number {
  return Math.min(Math.max(pauseMs(tries), Math.ceil(retryAfterMs)), LONGEST_PAUSE_MS);
}

/** 1 s, doubling, up to 5 minutes. */
export function pauseMs(tries: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(tries, 20), LONGEST_PAUSE_MS);
}

interface Failing {
  readonly reason: FailureReason;
  readonly message: string;
  readonly retryAfterMs?: number;
}

/** The attempt is no use. Whether something of it may still exist is its state's business, not this function's. */
export function blame(draft: Draft, attempt: Attempt, { reason, message }: Failing): void {
  setAttempt(draft, attempt, { outcome: attempt.outcome ?? reason, error: attempt.error ?? message });
  if (!blamesOffer(reason, draft.session)) return;
  // refused for a bid or taken back for one: the market says the same of the offer
  const isLostBid = attempt.offer.interruptible && reason === 'stale_inventory';
  draft.failures.push({
    sessionId: draft.session.id,
    ordinal: attempt.ordinal,
    provider: attempt.provider,
    offerId: attempt.offerId,
    machineId: attempt.machineId,
    gpuType: attempt.offer.gpuType,
    kind: isLostBid ? 'preempted' : reason,
    reason: message,
    at: draft.now,
  });
}

/** After an attempt failed: the session goes on to another one, or ends. */
export function goOnOrEnd(draft: Draft, attempt: Attempt, failing: Failing): void {
  const { session } = draft;
  if (session.desired === 'gone') return;
  const retry = session.status === 'running' ? 'none' : retryAfter(session, failing.reason);
  if (retry === 'none') return requestEnd(draft, failing.reason, failing.message);
  const pause = retry === 'same_offer' ? politePauseMs(session.attemptCount - 1, failing.retryAfterMs) : 0;
  if (retry === 'same_offer') keepClaim(draft, attempt);
  else if (!mayExist(attempt.state)) release(draft, attempt); // else the machine is still taken: its end releases it
  setSession(draft, { sshHost: null, sshPort: null, sshUser: null, sshHostKey: null, dueAt: draft.now + pause });
  enterPhase(draft, 'retrying');
  emit(draft, 'session.retrying', { after_attempt: attempt.ordinal, reason: failing.reason, not_before_ms: pause });
}

/** The wish to end, whoever has it: stored at once, carried out by the termination alone. */
export function requestEnd(draft: Draft, reason: EndReason, message: string | null): void {
  const { session, now } = draft;
  if (session.desired === 'gone') return;
  setSession(draft, {
    desired: 'gone',
    status: 'stopping',
    reason,
    error: isStopReason(reason) ? session.error : message,
    stopRequestedAt: now,
  });
  enterPhase(draft, 'destroying');
  emit(draft, 'session.stopping', { reason, ...(message === null ? {} : { message }) });
  for (const attempt of draft.attempts) if (attempt.state === 'live') beginDestroy(draft, attempt);
}

export function beginDestroy(draft: Draft, attempt: Attempt): void {
  setAttempt(draft, attempt, {
    state: 'destroying',
    destroyRequestedAt: draft.now,
    destroyTries: 0,
    destroyAnsweredAt: null,
    absences: [],
    dueAt: draft.now,
  });
  shredProbe(draft, attempt); // nobody logs in any more, however long the destroy takes
}

/** So long after its answer a destroy may still show nothing; what is seen alive later was not destroyed by it (REL-C2). */
const CARRIED_OUT_WITHIN_MS = MINUTE_MS;

/** Whether the last destroy that was answered has turned out to be none. */
export function isRefuted({ destroyAnsweredAt, lastSeenAt, instanceState }: Attempt): boolean {
  if (destroyAnsweredAt === null || lastSeenAt === null || instanceState === 'stopping') return false;
  return lastSeenAt > destroyAnsweredAt + CARRIED_OUT_WITHIN_MS;
}

/** The last destroy that was answered, or the last sight that refutes it. Null: none was answered. */
export function billedTo(attempt: Attempt): EpochMs | null {
  return isRefuted(attempt) ? attempt.lastSeenAt : attempt.destroyAnsweredAt;
}

/** The provider itself said gone: the bill ends, and the proof over time begins. */
export function acceptGone(draft: Draft, attempt: Attempt): void {
  const { now } = draft;
  endBill(draft, attempt, billedTo(attempt) ?? now);
  releaseOnce(draft, attempt);
  setAttempt(draft, attempt, {
    state: 'verifying',
    goneAcceptedAt: notBefore(attempt.goneAcceptedAt, now),
    absences: [],
    dueAt: now,
  });
  emit(draft, 'instance.gone_accepted', { attempt: attempt.ordinal, instance_id: attempt.instanceId });
}

/** Nothing was ever made. The tag is watched all the same: an answer can be wrong (REL-A5). */
export function closeRefused(draft: Draft, attempt: Attempt): void {
  setAttempt(draft, attempt, { state: 'gone', tombstoneUntil: draft.now + TOMBSTONE_MS });
  shredProbe(draft, attempt);
}

/** Absent by verdict. `billEndsAt`: when it was last known to be there. */
export function verifyGone(draft: Draft, attempt: Attempt, billEndsAt: EpochMs): void {
  const { now } = draft;
  endBill(draft, attempt, billEndsAt);
  releaseOnce(draft, attempt);
  setAttempt(draft, attempt, {
    state: 'gone',
    goneAcceptedAt: attempt.goneAcceptedAt ?? now,
    goneVerifiedAt: now,
    tombstoneUntil: now + TOMBSTONE_MS,
  });
  shredProbe(draft, attempt);
}

/** Not again for one that came back after it was gone: the claim of that offer may by now be a later attempt's. */
function releaseOnce(draft: Draft, attempt: Attempt): void {
  if (attempt.goneAcceptedAt === null) release(draft, attempt);
}

/** The claim on the offer ends with this write. */
export function release(draft: Draft, { offerId }: Pick<Attempt, 'offerId'>): void {
  if (!draft.releasedOffers.includes(offerId)) draft.releasedOffers.push(offerId);
}

/** The next attempt goes to the same offer: nobody may take it in between. */
function keepClaim(draft: Draft, { offerId }: Attempt): void {
  const index = draft.releasedOffers.indexOf(offerId);
  if (index !== -1) draft.releasedOffers.splice(index, 1);
}

function shredProbe(draft: Draft, attempt: Attempt): void {
  if (!draft.shredded.includes(attempt.probeSecretId)) draft.shredded.push(attempt.probeSecretId);
}

/**
 * Draws the session's conclusions from its attempts: an end status once every one of them is accepted as gone or was never made,
 * and the second fact, *verified*, once absence is a verdict for all.
 */
export function conclude(draft: Draft): void {
  const { session, attempts } = draft;
  if (session.desired !== 'gone') return;
  if (attempts.some(({ state }) => mayExist(state))) {
    if (session.destroyVerifiedAt !== null) setSession(draft, { destroyVerifiedAt: null });
    if (isEnded(session)) enterPhase(draft, 'verifying');
    return;
  }
  if (!isEnded(session)) end(draft);
  if (attempts.every(({ state }) => state === 'gone')) settle(draft);
  else enterPhase(draft, 'verifying');
}

function end(draft: Draft): void {
  const { session, attempts, now } = draft;
  const accepted = attempts.map(({ goneAcceptedAt }) => goneAcceptedAt).filter((at) => at !== null);
  const failed = session.runningAt === null && session.reason !== null && !isStopReason(session.reason);
  setSession(draft, {
    status: failed ? 'failed' : 'stopped',
    stoppedAt: now,
    destroyAcceptedAt: accepted.length > 0 ? Math.max(...accepted) : null,
    dueAt: now,
  });
  release(draft, session);
  emit(draft, failed ? 'session.failed' : 'session.stopped', {
    reason: session.reason,
    ...(session.error === null ? {} : { error: session.error }),
  });
}

function settle(draft: Draft): void {
  const { session, attempts } = draft;
  const verified = attempts.map(({ goneVerifiedAt }) => goneVerifiedAt).filter((at) => at !== null);
  enterPhase(draft, 'settled');
  if (session.destroyVerifiedAt !== null || verified.length === 0) return;
  setSession(draft, { destroyVerifiedAt: Math.max(...verified) });
  emit(draft, 'session.gone_verified', {});
}

/** It is of no use: blamed, destroyed, and the next is tried or the session ends. */
export function attemptFailed(draft: Draft, attempt: Attempt, reason: FailureReason, message: string): void {
  if (attempt.state !== 'live') return;
  blame(draft, attempt, { reason, message });
  beginDestroy(draft, attempt);
  emit(draft, 'attempt.failed', { attempt: attempt.ordinal, reason, message });
  goOnOrEnd(draft, attempt, { reason, message });
}
