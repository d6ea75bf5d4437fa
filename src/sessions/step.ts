import { assertNever } from '../core/assert-never.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import type { EpochMs } from '../core/clock.ts';
import type { AuditEntry } from '../db/audit-chain.ts';
import type { Attempt } from '../db/tables.ts';
import type { Instance } from '../provider/instance.ts';
import { auditOf } from './audit-entries.ts';
import { createDraft, emit, enterPhase, hopefulAttempt, setAttempt, setSession, type Draft } from './draft.ts';
import {
  acceptGone,
  attemptFailed,
  blame,
  closeRefused,
  conclude,
  goOnOrEnd,
  pauseMs,
  politePauseMs,
  release,
  requestEnd,
} from './endings.ts';
import type { Fact, Proof, Refusal } from './fact.ts';
import { reasonOfRefusal } from './retry-rules.ts';
import { needsTunnel, type SessionRecord } from './session-record.ts';
import { isEnded } from './session-state.ts';
import { missing, seen, sight } from './sights.ts';
import type { StepRules } from './step-rules.ts';
import { termsOf } from './terms.ts';

export type Transition = Omit<Draft, 'changed' | 'now'> & {
  /** What the audit log tells of it; the rows are written with the change. */
  readonly audit: readonly AuditEntry[];
};

/** After so long a destroy is overdue; it is told then, and again each hour. */
const OVERDUE_MS = 15 * MINUTE_MS;
const OVERDUE_AGAIN_MS = HOUR_MS;

/**
 * What a fact makes of a session: pure, total over every state and fact, and idempotent where the fact may come twice.
 * Undefined when it changes nothing. The rules R1–R16 of the life cycle are the law of this function; everything round it may crash anywhere.
 */
export function step(record: SessionRecord, fact: Fact, now: EpochMs, rules: StepRules): Transition | undefined {
  const draft = createDraft(record, now);
  apply(draft, fact, rules);
  if (!draft.changed) return undefined;
  conclude(draft);
  const { changed: _, now: __, ...transition } = draft;
  return { ...transition, audit: auditOf(record, fact, transition) };
}

function apply(draft: Draft, fact: Fact, rules: StepRules): void {
  switch (fact.kind) {
    case 'stop_requested':
      return requestEnd(draft, fact.reason, fact.message ?? null);
    case 'extended':
      return extend(draft, fact.addedMinutes);
    case 'attempt_begun':
      return beginAttempt(draft, fact.attempt);
    case 'no_candidate':
      return hopefulAttempt(draft) ? undefined : requestEnd(draft, fact.reason, fact.message);
    case 'sampled':
      return sampled(draft, fact);
    case 'idle_warned':
      return idleWarned(draft, fact.endsAt);
    case 'settled':
      return settled(draft, fact.costMicros);
    case 'postponed':
      return postponed(draft, fact);
    case 'create_accepted':
      return withAttempt(draft, fact.ordinal, (attempt) => createAccepted(draft, attempt, fact.instance, rules));
    case 'create_refused':
      return withAttempt(draft, fact.ordinal, (attempt) => createRefused(draft, attempt, fact.refusal));
    case 'create_unknown':
      return withAttempt(draft, fact.ordinal, (attempt) => createUnknown(draft, attempt, fact.message));
    case 'seen':
      return withAttempt(draft, fact.ordinal, (attempt) => sight(draft, attempt, fact, rules));
    case 'missing':
      return withAttempt(draft, fact.ordinal, (attempt) => missing(draft, attempt, fact, rules));
    case 'destroy_answered':
      return withAttempt(draft, fact.ordinal, (attempt) => destroyAnswered(draft, attempt, fact.result));
    case 'destroy_failed':
      return withAttempt(draft, fact.ordinal, (attempt) => destroyFailed(draft, attempt, fact.refusal));
    case 'proof_phase':
      return withAttempt(draft, fact.ordinal, (attempt) => proofPhase(draft, attempt, fact.phase, rules));
    case 'hand_off_begun':
      return withAttempt(draft, fact.ordinal, (attempt) => {
        if (attempt.state === 'live' && attempt.hostKey !== fact.hostKey) setAttempt(draft, attempt, { hostKey: fact.hostKey });
      });
    case 'proven':
      return withAttempt(draft, fact.ordinal, (attempt) => proven(draft, attempt, fact.proof));
    case 'tunnel_opened':
      return withAttempt(draft, fact.ordinal, (attempt) => tunnelOpened(draft, attempt, fact));
    case 'tunnel_awaited':
      return withAttempt(draft, fact.ordinal, (attempt) => tunnelAwaited(draft, attempt, fact.message));
    case 'attempt_failed': // the verification's verdict: it comes too late for a session that another replica has proven
      if (draft.session.status !== 'provisioning') return;
      return withAttempt(draft, fact.ordinal, (attempt) => attemptFailed(draft, attempt, fact.reason, fact.message));
    default:
      return assertNever(fact, 'fact');
  }
}

function withAttempt(draft: Draft, ordinal: number, act: (attempt: Attempt) => void): void {
  const attempt = draft.attempts.find((candidate) => candidate.ordinal === ordinal);
  if (attempt) act(attempt);
}

function postponed(draft: Draft, fact: Extract<Fact, { kind: 'postponed' }>): void {
  const { ordinal, whileIn } = fact;
  const untilAt = Math.ceil(fact.untilAt);
  if (ordinal === undefined) {
    if (draft.session.dueAt !== untilAt) setSession(draft, { dueAt: untilAt });
    return;
  }
  withAttempt(draft, ordinal, (attempt) => {
    if (whileIn !== undefined && attempt.state !== whileIn) return;
    if (attempt.dueAt !== untilAt) setAttempt(draft, attempt, { dueAt: untilAt });
  });
}

function extend(draft: Draft, addedMinutes: number): void {
  const { session } = draft;
  if (session.desired === 'gone' || !(addedMinutes > 0)) return;
  const expiresAt = session.expiresAt + addedMinutes * MINUTE_MS;
  if (expiresAt > session.hardDeadlineAt) return;
  setSession(draft, { expiresAt, reservationMinutes: session.reservationMinutes + addedMinutes });
  emit(draft, 'session.extended', { expires_at: expiresAt, added_minutes: addedMinutes });
}

/** One open attempt a session (RULE-R4): the next only after the former is proven absent, or accepted as gone. */
export function mayBeginAttempt(record: Pick<SessionRecord, 'session' | 'attempts'>): boolean {
  const { session, attempts } = record;
  if (session.desired === 'gone' || (session.status !== 'pending' && session.status !== 'provisioning')) return false;
  return session.attemptCount < session.maxAttempts && attempts.every(({ state }) => state === 'gone' || state === 'verifying');
}

function beginAttempt(draft: Draft, attempt: Attempt): void {
  const { session, attempts } = draft;
  if (!mayBeginAttempt(draft) || attempt.ordinal <= (attempts.at(-1)?.ordinal ?? 0) || attempt.state !== 'intent') return;
  attempts.push({ ...attempt });
  const { offer } = attempt;
  if (session.offerId !== attempt.offerId) release(draft, session); // no attempt is on the former offer any more
  setSession(draft, {
    diskGb: termsOf(offer, session.request)?.diskGb ?? session.diskGb,
    status: 'provisioning',
    attemptCount: session.attemptCount + 1,
    provider: attempt.provider,
    offerId: attempt.offerId,
    offer,
    gpuType: offer.gpuType,
    gpuCount: offer.gpuCount,
    vramMib: offer.vramMib,
    priceMicrosPerHour: attempt.priceMicrosPerHour,
  });
  enterPhase(draft, 'creating', attempt.createDeadlineAt);
  emit(draft, 'attempt.begun', { attempt: attempt.ordinal, offer_id: attempt.offerId, provider: attempt.provider });
}

/** An answer without the tag, or with another one, is no answer: only a list that shows the tag is believed (REL-A6). */
function createAccepted(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules): void {
  if (instance.tag !== attempt.tag || instance.id.length === 0)
    return createUnknown(draft, attempt, 'the provider answered with an instance that does not bear the tag of this attempt');
  seen(draft, attempt, instance, rules, 'answered');
}

function createRefused(draft: Draft, attempt: Attempt, refusal: Refusal): void {
  if (attempt.state !== 'intent') return;
  // no proof that nothing was made, whoever thought so (RULE-R3)
  if (refusal.kind === 'ambiguous' || refusal.kind === 'protocol') return createUnknown(draft, attempt, refusal.message);
  const reason = reasonOfRefusal(refusal.kind);
  const failing = {
    reason,
    message: refusal.message,
    ...(refusal.retryAfterMs === undefined ? {} : { retryAfterMs: refusal.retryAfterMs }),
  };
  blame(draft, attempt, failing);
  closeRefused(draft, attempt);
  emit(draft, 'attempt.refused', { attempt: attempt.ordinal, kind: refusal.kind, message: refusal.message });
  goOnOrEnd(draft, attempt, failing);
}

function createUnknown(draft: Draft, attempt: Attempt, message: string): void {
  if (attempt.state !== 'intent') return;
  setAttempt(draft, attempt, { state: 'unknown', error: message, dueAt: draft.now });
  if (draft.session.desired === 'run') enterPhase(draft, 'resolving');
  emit(draft, 'attempt.unknown', { attempt: attempt.ordinal, message });
}

function tunnelOpened(draft: Draft, attempt: Attempt, fact: Extract<Fact, { kind: 'tunnel_opened' }>): void {
  const { host, port, replaces } = fact;
  const { session } = draft;
  if (attempt.state !== 'live' || session.desired === 'gone' || !needsTunnel(attempt)) return;
  if (session.sshPort !== replaces || (session.sshHost === host && session.sshPort === port)) return;
  const isMoved = session.status === 'running';
  setSession(draft, { sshHost: host, sshPort: port, error: null });
  emit(draft, isMoved ? 'session.address_changed' : 'session.tunnel_opened', { ssh_host: host, ssh_port: port });
}

/** Told once; it waits with its reason where the consumer looks. */
function tunnelAwaited(draft: Draft, attempt: Attempt, message: string): void {
  const { session } = draft;
  if (attempt.state !== 'live' || session.desired === 'gone' || session.sshPort !== null || session.error === message) return;
  setSession(draft, { error: message });
  emit(draft, 'session.tunnel_awaited', { attempt: attempt.ordinal, message });
}

function destroyAnswered(draft: Draft, attempt: Attempt, result: 'destroying' | 'gone'): void {
  if (attempt.state !== 'destroying') return;
  const { now } = draft;
  const first = attempt.destroyAnsweredAt === null;
  setAttempt(draft, attempt, {
    destroyAnsweredAt: now,
    destroyTries: attempt.destroyTries + 1,
    dueAt: now + pauseMs(attempt.destroyTries),
  });
  if (result === 'gone') return acceptGone(draft, attempt);
  if (first) emit(draft, 'instance.destroy_answered', { attempt: attempt.ordinal, instance_id: attempt.instanceId });
  tellIfOverdue(draft, attempt);
}

/** Never a reason to stop (RULE-R8): it is only asked again later. */
function destroyFailed(draft: Draft, attempt: Attempt, refusal: Refusal): void {
  if (attempt.state !== 'destroying') return;
  const pause = politePauseMs(attempt.destroyTries, refusal.retryAfterMs);
  setAttempt(draft, attempt, { destroyTries: attempt.destroyTries + 1, dueAt: draft.now + pause });
  if (attempt.destroyTries === 1)
    emit(draft, 'instance.destroy_failed', { attempt: attempt.ordinal, kind: refusal.kind, message: refusal.message });
  tellIfOverdue(draft, attempt);
}

/** Whether its destroys fail or are answered and do nothing: somebody has to look (REL-C1). Told by the last try before each such instant. */
function tellIfOverdue(draft: Draft, { ordinal, instanceId, destroyTries, destroyRequestedAt, dueAt }: Attempt): void {
  const since = destroyRequestedAt ?? draft.now;
  if (timesOverdue(dueAt - since) <= timesOverdue(draft.now - since)) return;
  emit(draft, 'instance.destroy_overdue', {
    attempt: ordinal,
    instance_id: instanceId,
    tries: destroyTries,
    requested_at: since,
  });
}

function timesOverdue(ms: number): number {
  return ms < OVERDUE_MS ? 0 : 1 + Math.floor((ms - OVERDUE_MS) / OVERDUE_AGAIN_MS);
}

function proofPhase(draft: Draft, attempt: Attempt, phase: 'connecting' | 'driver', rules: StepRules): void {
  const { session, now } = draft;
  if (attempt.state !== 'live' || session.status !== 'provisioning' || session.desired === 'gone') return;
  if (session.phase !== 'booting' && !(session.phase === 'connecting' && phase === 'driver')) return; // never back: a deadline would begin anew
  // connecting goes on with booting's deadline: what was promised is a time for both
  enterPhase(draft, phase, phase === 'driver' ? now + rules.driverTimeoutMs : session.phaseDeadlineAt);
}

function proven(draft: Draft, attempt: Attempt, proof: Proof): void {
  const { session, now } = draft;
  if (attempt.state !== 'live' || session.desired === 'gone' || session.status !== 'provisioning') return;
  const { sshHost, sshPort } = proof.host === undefined ? session : { sshHost: proof.host, sshPort: proof.port ?? null };
  if (sshHost === null || sshPort === null) return; // not running before there is an address to tell
  setAttempt(draft, attempt, { runningAt: now, hostKey: proof.hostKey, absences: [] });
  setSession(draft, {
    status: 'running',
    runningAt: now,
    reason: null,
    error: null,
    sshHost,
    sshPort,
    sshUser: proof.user,
    sshHostKey: proof.hostKey,
  });
  enterPhase(draft, 'running');
  if (session.idleThresholdMinutes === 0) draft.shredded.push(attempt.probeSecretId); // its line is removed; nobody will ask again
  emit(draft, 'session.running', {
    attempt: attempt.ordinal,
    ssh_host: sshHost,
    ssh_port: sshPort,
    ssh_user: proof.user,
    ...proof.details,
  });
}

function sampled(draft: Draft, { sampledAt, idle, longestGapMs }: Extract<Fact, { kind: 'sampled' }>): void {
  const { session } = draft;
  const last = session.idleSampledAt;
  if (session.status !== 'running' || session.desired === 'gone' || (last !== null && sampledAt <= last)) return;
  const unbroken = last !== null && sampledAt - last <= longestGapMs;
  const idleSince = idle ? (unbroken ? (session.idleSince ?? sampledAt) : sampledAt) : null;
  setSession(draft, { idleSampledAt: sampledAt, idleSince, idleWarnedAt: idle && unbroken ? session.idleWarnedAt : null });
}

function idleWarned(draft: Draft, endsAt: EpochMs): void {
  const { status, idleSince, idleWarnedAt } = draft.session;
  if (status !== 'running' || idleSince === null || idleWarnedAt !== null) return;
  setSession(draft, { idleWarnedAt: draft.now });
  emit(draft, 'session.idle_warned', { ends_at: endsAt });
}

function settled(draft: Draft, costMicros: number): void {
  if (!isEnded(draft.session) || draft.session.settledCostMicros !== null) return;
  setSession(draft, { settledCostMicros: costMicros });
  emit(draft, 'session.settled', { cost_micros: costMicros });
}
