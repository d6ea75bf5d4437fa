import { isDeepStrictEqual } from 'node:util';
import { assertNever } from '../core/assert-never.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import type { EpochMs } from '../core/clock.ts';
import { toUsd, type MicroUsd } from '../core/money.ts';
import type { Attempt } from '../db/tables.ts';
import type { AbsencePolicy, Capabilities, ObservationKind } from '../provider/capabilities.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { isAbsent, withAbsence } from './absence.ts';
import { bill, rateOf, startingRate } from './billing.ts';
import { createDraft, emit, enterPhase, hopefulAttempt, setAttempt, setSession, type Draft } from './draft.ts';
import {
  acceptGone,
  beginDestroy,
  blame,
  closeRefused,
  conclude,
  goOnOrEnd,
  pauseMs,
  politePauseMs,
  release,
  requestEnd,
  verifyGone,
} from './endings.ts';
import type { Fact, Proof, Refusal } from './fact.ts';
import { reasonOfRefusal } from './retry-rules.ts';
import { needsTunnel, type SessionRecord } from './session-record.ts';
import { isEnded, type FailureReason } from './session-state.ts';
import { termsOf } from './terms.ts';

/** What the decision has to know besides the row; plain look-ups. */
export interface StepRules {
  absenceOf(provider: ProviderId): AbsencePolicy;
  billingOf(provider: ProviderId): Capabilities['billing'];
  /** From the create's acceptance until SSH is proven, unless the request says otherwise. */
  readonly bootTimeoutMs: number;
  /** From the first login until the GPU driver answers. */
  readonly driverTimeoutMs: number;
}

export type Transition = Omit<Draft, 'changed' | 'now'>;

const SEEN_EVERY_MS = MINUTE_MS;
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
  return transition;
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
      return postponed(draft, fact.ordinal, Math.ceil(fact.untilAt));
    case 'create_accepted':
      return withAttempt(draft, fact.ordinal, (attempt) => createAccepted(draft, attempt, fact.instance, rules));
    case 'create_refused':
      return withAttempt(draft, fact.ordinal, (attempt) => createRefused(draft, attempt, fact.refusal));
    case 'create_unknown':
      return withAttempt(draft, fact.ordinal, (attempt) => createUnknown(draft, attempt, fact.message));
    case 'seen':
      return withAttempt(draft, fact.ordinal, (attempt) => sight(draft, attempt, fact, rules));
    case 'missing':
      return withAttempt(draft, fact.ordinal, (attempt) => missing(draft, attempt, fact.by, rules));
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

function postponed(draft: Draft, ordinal: number | undefined, untilAt: EpochMs): void {
  if (ordinal === undefined) {
    if (draft.session.dueAt !== untilAt) setSession(draft, { dueAt: untilAt });
    return;
  }
  withAttempt(draft, ordinal, (attempt) => {
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
  if (!mayBeginAttempt(draft) || attempt.ordinal !== session.attemptCount + 1 || attempt.state !== 'intent') return;
  attempts.push({ ...attempt });
  const { offer } = attempt;
  if (session.offerId !== attempt.offerId) release(draft, session); // no attempt is on the former offer any more
  setSession(draft, {
    diskGb: termsOf(offer, session.request)?.diskGb ?? session.diskGb,
    status: 'provisioning',
    attemptCount: attempt.ordinal,
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

function sight(draft: Draft, attempt: Attempt, fact: Extract<Fact, { kind: 'seen' }>, rules: StepRules): void {
  const { instance, by, askedAt } = fact;
  if (isSomebodyElses(attempt, instance)) return missing(draft, attempt, by, rules);
  if (!isOurs(attempt, instance)) return;
  const isOldNews = askedAt !== undefined && attempt.goneAcceptedAt !== null && askedAt <= attempt.goneAcceptedAt;
  if (isOldNews) return;
  seen(draft, attempt, instance, rules);
}

type FirstSight = 'answered' | 'found';

function seen(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules, firstSight: FirstSight = 'found'): void {
  if (isTwin(attempt, instance)) return;
  switch (attempt.state) {
    case 'intent':
    case 'unknown':
      return adopt(draft, attempt, instance, rules, firstSight);
    case 'live':
      return observe(draft, attempt, instance, rules);
    case 'destroying':
      return stillThere(draft, attempt, instance, rules);
    case 'verifying':
    case 'gone':
      return reappeared(draft, attempt, instance, rules);
    default:
      return assertNever(attempt.state, 'attempt state');
  }
}

/** Ids are reused: what answers to our id under another tag is not ours (REL-B15). A tag that was lost is another matter (REL-B11). */
function isSomebodyElses(attempt: Attempt, instance: Instance): boolean {
  return attempt.instanceId === instance.id && instance.tag !== undefined && instance.tag !== attempt.tag;
}

function isOurs(attempt: Attempt, instance: Instance): boolean {
  return instance.tag === undefined ? attempt.instanceId === instance.id : attempt.tag === instance.tag;
}

/** A second instance under the same tag (REL-A7): the first is the session's, the orphan sweep ends the other. */
export function isTwin(attempt: Pick<Attempt, 'state' | 'instanceId'>, instance: Instance): boolean {
  return (
    (attempt.state === 'live' || attempt.state === 'destroying') &&
    attempt.instanceId !== null &&
    attempt.instanceId !== instance.id
  );
}

function adopt(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules, firstSight: FirstSight): void {
  const { session, now } = draft;
  const billing = rules.billingOf(attempt.provider);
  const madeAt = firstSight === 'answered' ? now : madeBetween(attempt.intentAt, instance.createdAt, now);
  setAttempt(draft, attempt, {
    state: 'live',
    instanceId: instance.id,
    acceptedAt: madeAt,
    firstSeenAt: now,
    error: null,
    absences: [],
    dueAt: now,
    ...appearance(instance, now),
  });
  const rate = rateOf(attempt, instance, billing, session.diskGb);
  if (madeAt < now) bill(draft, attempt, startingRate(attempt, billing, session.diskGb), madeAt);
  bill(draft, attempt, rate, now);
  emit(draft, 'instance.created', { attempt: attempt.ordinal, instance_id: instance.id, provider: attempt.provider });
  const unwanted = session.desired === 'gone' || hopefulAttempt(draft) !== attempt;
  if (unwanted) return beginDestroy(draft, attempt);
  enterPhase(draft, 'booting', now + bootTimeoutMs(draft, rules));
  if (failIfTooDear(draft, attempt, rate)) return;
  // found dead behind a create that nobody answered: the create did not work, which says nothing of the offer
  if (firstSight === 'found' && instance.state === 'failed')
    return attemptFailed(draft, attempt, 'create_lost', `what the create left behind has failed: ${instance.reason}`);
  failIfDead(draft, attempt, instance);
}

/** A create that nobody answered has cost money since it was made, not since it was found: as the provider dates it, else since the call. */
function madeBetween(intentAt: EpochMs, createdAt: EpochMs | undefined, now: EpochMs): EpochMs {
  return Math.min(now, Math.max(intentAt, createdAt ?? intentAt));
}

/** The cap holds for the real price, which some providers tell only when it boots (REL-A10). Who runs keeps running, at the new price. */
function failIfTooDear(draft: Draft, attempt: Attempt, rate: MicroUsd): boolean {
  if (draft.session.status !== 'provisioning' || rate <= attempt.capMicrosPerHour) return false;
  const message = `the provider charges ${toUsd(rate)} USD an hour, more than the ${toUsd(attempt.capMicrosPerHour)} USD that were agreed`;
  attemptFailed(draft, attempt, 'price_changed', message);
  return true;
}

function bootTimeoutMs({ session }: Draft, rules: StepRules): number {
  const { sshTimeoutMinutes, templateTerms } = session.request;
  if (sshTimeoutMinutes !== undefined) return sshTimeoutMinutes * MINUTE_MS;
  return Math.max(rules.bootTimeoutMs, (templateTerms?.bootMinutes ?? 0) * MINUTE_MS);
}

function appearance(instance: Instance, now: EpochMs): Partial<Attempt> {
  return { instanceState: instance.state, lastSeenAt: now, ...(instance.state === 'running' ? { ssh: instance.ssh } : {}) };
}

function observe(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules): void {
  const { session, now } = draft;
  const rate = rateOf(attempt, instance, rules.billingOf(attempt.provider), session.diskGb);
  bill(draft, attempt, rate, now);
  // not as text: PostgreSQL hands JSON back with its fields in an order of its own
  const known =
    attempt.instanceState === instance.state && (instance.state !== 'running' || isDeepStrictEqual(attempt.ssh, instance.ssh));
  const wasDialled = needsTunnel(attempt);
  if (!known || !isFresh(attempt, now) || attempt.absences.length > 0)
    setAttempt(draft, attempt, { ...appearance(instance, now), absences: [] });
  if (!wasDialled && needsTunnel(attempt)) dropAddress(draft);
  if (!known && session.status === 'running') moveAddress(draft, instance);
  if (!failIfTooDear(draft, attempt, rate)) failIfDead(draft, attempt, instance);
}

function isFresh({ lastSeenAt }: Attempt, now: EpochMs): boolean {
  return lastSeenAt !== null && now - lastSeenAt < SEEN_EVERY_MS;
}

/** A restarted container or a proxy that moved: the consumer is told the new way in. */
function moveAddress(draft: Draft, instance: Instance): void {
  if (instance.state !== 'running' || instance.ssh.routes === 'dial') return;
  const { session } = draft;
  if (instance.ssh.routes.some(({ host, port }) => host === session.sshHost && port === session.sshPort)) return;
  const [route] = instance.ssh.routes;
  if (route === undefined) return;
  setSession(draft, { sshHost: route.host, sshPort: route.port });
  emit(draft, 'session.address_changed', { ssh_host: route.host, ssh_port: route.port });
}

/** What could be reached directly can only be dialled now: its old address is none of the tunnel's ports, which has to find one. */
function dropAddress(draft: Draft): void {
  if (draft.session.sshPort !== null) setSession(draft, { sshHost: null, sshPort: null });
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

function failIfDead(draft: Draft, attempt: Attempt, instance: Instance): void {
  if (instance.state === 'failed')
    attemptFailed(draft, attempt, 'instance_stopped', `the instance failed at the provider: ${instance.reason}`);
  if (instance.state === 'paused' && attempt.offer.interruptible) return preempted(draft, attempt);
  if (instance.state === 'paused')
    attemptFailed(draft, attempt, 'instance_stopped', 'the provider paused the instance; it would resume and bill by itself');
}

/**
 * Somebody bids more. The paused instance keeps its disk, bills it, and would go on by itself, and bill all of it, once it is the highest again:
 * so it ends at the first sight, and what it is seen as afterwards changes nothing any more. A pause between two looks that is over is nothing
 * that was seen: who uses the machine has it, and keeps it.
 */
function preempted(draft: Draft, attempt: Attempt): void {
  emit(draft, 'instance.preempted', { attempt: attempt.ordinal, instance_id: attempt.instanceId });
  const message =
    'the provider took the interruptible instance back for a higher bid; it is destroyed, so that it cannot resume';
  attemptFailed(draft, attempt, 'preempted', message);
}

function stillThere(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules): void {
  const { session, now } = draft;
  bill(draft, attempt, rateOf(attempt, instance, rules.billingOf(attempt.provider), session.diskGb), now);
  if (attempt.instanceState === instance.state && isFresh(attempt, now) && attempt.absences.length === 0) return;
  setAttempt(draft, attempt, { ...appearance(instance, now), absences: [] });
}

/** It was gone, and is there: destroyed again, at the operator's cost. The session's status stays what it was. */
function reappeared(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules): void {
  const { session, now } = draft;
  setAttempt(draft, attempt, {
    instanceId: instance.id,
    goneAcceptedAt: attempt.goneAcceptedAt ?? now,
    goneVerifiedAt: null,
    ...appearance(instance, now),
  });
  bill(draft, attempt, rateOf(attempt, instance, rules.billingOf(attempt.provider), session.diskGb), now);
  beginDestroy(draft, attempt);
  emit(draft, 'instance.reappeared', { attempt: attempt.ordinal, instance_id: instance.id });
}

function missing(draft: Draft, attempt: Attempt, by: ObservationKind, rules: StepRules): void {
  const policy = rules.absenceOf(attempt.provider);
  const { now } = draft;
  if (attempt.state === 'intent' || attempt.state === 'gone') return; // the call may be under way; a tombstone is expected to be missing
  if (attempt.state === 'destroying' && by === 'get' && attempt.destroyAnsweredAt !== null) return acceptGone(draft, attempt);

  const absences = withAbsence(attempt.absences, { at: now, kind: by }, policy);
  if (absences !== attempt.absences) setAttempt(draft, attempt, { absences });
  const paced = attempt.state === 'unknown' || attempt.state === 'verifying';
  if (paced && attempt.dueAt <= now) setAttempt(draft, attempt, { dueAt: now + policy.spacingMs });
  if (!isAbsent({ absences, policy, instanceIdKnown: attempt.instanceId !== null })) return;

  switch (attempt.state) {
    case 'unknown':
      return neverMade(draft, attempt);
    case 'live':
      return vanished(draft, attempt);
    case 'destroying': // every destroy failed, but it is absent by verdict all the same
      verifyGone(draft, attempt, attempt.destroyAnsweredAt ?? attempt.lastSeenAt ?? now);
      return emit(draft, 'instance.gone_verified', { attempt: attempt.ordinal });
    case 'verifying':
      verifyGone(draft, attempt, attempt.destroyAnsweredAt ?? now);
      return emit(draft, 'instance.gone_verified', { attempt: attempt.ordinal });
    default:
      return assertNever(attempt.state, 'attempt state');
  }
}

function neverMade(draft: Draft, attempt: Attempt): void {
  const failing = {
    reason: 'create_lost',
    message: 'the create call got no answer, and its tag never appeared at the provider',
  } as const;
  blame(draft, attempt, failing);
  verifyGone(draft, attempt, draft.now);
  emit(draft, 'attempt.absent', { attempt: attempt.ordinal });
  goOnOrEnd(draft, attempt, failing);
}

/** Gone on its own: billed until it was last seen alive (REL-C15). */
function vanished(draft: Draft, attempt: Attempt): void {
  const failing = { reason: 'instance_vanished', message: 'the provider no longer knows the instance' } as const;
  blame(draft, attempt, failing);
  verifyGone(draft, attempt, attempt.lastSeenAt ?? draft.now);
  emit(draft, 'instance.vanished', {
    attempt: attempt.ordinal,
    instance_id: attempt.instanceId,
    last_seen_at: attempt.lastSeenAt,
  });
  goOnOrEnd(draft, attempt, failing);
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

function attemptFailed(draft: Draft, attempt: Attempt, reason: FailureReason, message: string): void {
  if (attempt.state !== 'live') return;
  blame(draft, attempt, { reason, message });
  beginDestroy(draft, attempt);
  emit(draft, 'attempt.failed', { attempt: attempt.ordinal, reason, message });
  goOnOrEnd(draft, attempt, { reason, message });
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
