import { isDeepStrictEqual } from 'node:util';
import { assertNever } from '../core/assert-never.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { EpochMs } from '../core/clock.ts';
import { toUsd, type MicroUsd } from '../core/money.ts';
import type { Attempt } from '../db/tables.ts';
import type { Instance } from '../provider/instance.ts';
import { isAbsent, withAbsence } from './absence.ts';
import { bill, rateOf, startingRate } from './billing.ts';
import { emit, enterPhase, hopefulAttempt, setAttempt, setSession, type Draft } from './draft.ts';
import { acceptGone, attemptFailed, beginDestroy, billedTo, blame, goOnOrEnd, isRefuted, verifyGone } from './endings.ts';
import type { Fact } from './fact.ts';
import { needsTunnel } from './session-record.ts';
import type { StepRules } from './step-rules.ts';

const SEEN_EVERY_MS = MINUTE_MS;

/** What a look at the provider makes of an attempt: this one showed an instance. Part of `step`, and as pure. */
export function sight(draft: Draft, attempt: Attempt, fact: Extract<Fact, { kind: 'seen' }>, rules: StepRules): void {
  const { instance, by, askedAt } = fact;
  const whose = whoseIs(attempt, instance);
  if (whose === 'others') return missing(draft, attempt, { by }, rules);
  if (whose === 'unrelated') return;
  const isOldNews = askedAt !== undefined && attempt.goneAcceptedAt !== null && askedAt <= attempt.goneAcceptedAt;
  if (isOldNews) return;
  const { instanceId, goneAcceptedAt } = attempt;
  const wasKnown = by === 'list' && askedAt !== undefined && instanceId !== null && goneAcceptedAt !== null;
  const isPast = wasKnown && askedAt - goneAcceptedAt < LIST_PAST_MS;
  seen(draft, attempt, instance, rules, isPast ? 'found, as it may have been' : 'found');
}

/** For so long a list may show what was there (REL-B8). */
const LIST_PAST_MS = 2 * MINUTE_MS;

/** How it came to be seen: as the answer to its create, by a look, or by a list that may show its own past. */
type Sighting = 'answered' | 'found' | 'found, as it may have been';

/** An instance that is surely the attempt's own. */
export function seen(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules, sighting: Sighting): void {
  if (isTwin(attempt, instance)) return;
  switch (attempt.state) {
    case 'intent':
    case 'unknown':
      return adopt(draft, attempt, instance, rules, sighting);
    case 'live':
      return observe(draft, attempt, instance, rules);
    case 'destroying':
      return stillThere(draft, attempt, instance, rules);
    case 'verifying':
    case 'gone':
      return reappeared(draft, attempt, instance, rules, sighting);
    default:
      return assertNever(attempt.state, 'attempt state');
  }
}

/** The vendor's clock and ours. */
const CLOCK_TOLERANCE_MS = MINUTE_MS;

type Identity = Pick<Attempt, 'tag' | 'instanceId' | 'instanceMadeAt' | 'firstSeenAt' | 'goneAcceptedAt'>;

/**
 * Whose an instance is, by its tag, or, where it bears none, by its id. A tag may have been lost (REL-B11), and ids are reused (REL-B15): without
 * a tag it is ours unless it was made after ours, by the provider's own clock where that has been told; where nobody says when it was made, unless the
 * provider had said that ours is gone.
 */
export function whoseIs(attempt: Identity, { id, tag, createdAt }: Instance): 'ours' | 'others' | 'unrelated' {
  if (tag === attempt.tag) return 'ours';
  if (id !== attempt.instanceId) return 'unrelated';
  if (tag !== undefined) return 'others';
  const madeBy = attempt.instanceMadeAt ?? attempt.firstSeenAt;
  if (createdAt === undefined || madeBy === null) return attempt.goneAcceptedAt === null ? 'ours' : 'others';
  return createdAt > madeBy + CLOCK_TOLERANCE_MS ? 'others' : 'ours';
}

/** A second instance under the same tag (REL-A7): the first is the session's, the orphan sweep ends the other. */
export function isTwin(attempt: Pick<Attempt, 'state' | 'instanceId'>, instance: Instance): boolean {
  return (
    (attempt.state === 'live' || attempt.state === 'destroying') &&
    attempt.instanceId !== null &&
    attempt.instanceId !== instance.id
  );
}

function adopt(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules, sighting: Sighting): void {
  const { session, now } = draft;
  const billing = rules.billingOf(attempt.provider);
  const madeAt = madeBetween(attempt.intentAt, instance.createdAt ?? (sighting === 'answered' ? now : undefined), now);
  setAttempt(draft, attempt, {
    state: 'live',
    instanceId: instance.id,
    acceptedAt: madeAt,
    firstSeenAt: now,
    error: null,
    absences: [],
    dueAt: now,
    ...appearance(attempt, instance, now),
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
  if (sighting !== 'answered' && instance.state === 'failed' && instance.fault === undefined)
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

function appearance(attempt: Attempt, instance: Instance, now: EpochMs): Partial<Attempt> {
  const { state, tag, createdAt } = instance;
  return {
    instanceState: state,
    lastSeenAt: now,
    ...(tag === attempt.tag && createdAt !== undefined ? { instanceMadeAt: createdAt } : {}),
    ...(state === 'running' ? { ssh: instance.ssh } : {}),
  };
}

function observe(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules): void {
  const { session, now } = draft;
  const rate = rateOf(attempt, instance, rules.billingOf(attempt.provider), session.diskGb);
  bill(draft, attempt, rate, now);
  // not as text: PostgreSQL hands JSON back with its fields in an order of its own
  const known =
    attempt.instanceState === instance.state && (instance.state !== 'running' || isDeepStrictEqual(attempt.ssh, instance.ssh));
  const wasDialled = needsTunnel(attempt);
  const isDated = attempt.instanceMadeAt !== null || instance.createdAt === undefined;
  if (!known || !isDated || !isFresh(attempt, now) || attempt.absences.length > 0)
    setAttempt(draft, attempt, { ...appearance(attempt, instance, now), absences: [] });
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

function failIfDead(draft: Draft, attempt: Attempt, instance: Instance): void {
  if (instance.state === 'failed') {
    const reason = instance.fault === 'funds' ? 'provider_funds' : 'instance_stopped';
    return attemptFailed(draft, attempt, reason, `the instance failed at the provider: ${instance.reason}`);
  }
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
  const isTakenNow = instance.state === 'stopping' && isRefuted(attempt); // by a destroy whose answer nobody heard
  setAttempt(draft, attempt, {
    ...appearance(attempt, instance, now),
    absences: [],
    ...(isTakenNow ? { destroyAnsweredAt: now } : {}),
  });
}

/** Where the bill of what was gone had surely ended; of what nobody knew of (REL-A4, REL-A5), where it could have begun. */
function billedUntil(attempt: Attempt, now: EpochMs): EpochMs {
  const { intentAt, destroyRequestedAt, goneAcceptedAt, goneVerifiedAt, billingSequence } = attempt;
  if (goneAcceptedAt === null || billingSequence === 0) return intentAt;
  const isOfThisEnd = destroyRequestedAt !== null && goneAcceptedAt > destroyRequestedAt; // in the same moment it may be the one before
  return isOfThisEnd ? goneAcceptedAt : (goneVerifiedAt ?? now);
}

/**
 * It was gone, and is there: destroyed again, at the operator's cost. The session's status stays what it was. It has been there all along and has
 * cost money; what a list shows just after the end may be the list's own past, and costs from now on.
 */
function reappeared(draft: Draft, attempt: Attempt, instance: Instance, rules: StepRules, sighting: Sighting): void {
  const { session, now } = draft;
  const isSure = sighting !== 'found, as it may have been';
  const unbilledSince = isSure ? madeBetween(billedUntil(attempt, now), instance.createdAt, now) : now;
  setAttempt(draft, attempt, {
    instanceId: instance.id,
    firstSeenAt: attempt.firstSeenAt ?? now, // or it were nobody's once it loses its tag
    goneAcceptedAt: attempt.goneAcceptedAt ?? now,
    goneVerifiedAt: null,
    ...appearance(attempt, instance, now),
  });
  bill(draft, attempt, rateOf(attempt, instance, rules.billingOf(attempt.provider), session.diskGb), unbilledSince);
  beginDestroy(draft, attempt);
  emit(draft, 'instance.reappeared', { attempt: attempt.ordinal, instance_id: instance.id, provider: attempt.provider });
}

/** And this one did not show it. */
export function missing(
  draft: Draft,
  attempt: Attempt,
  { by, askedMsAgo = 0 }: Pick<Extract<Fact, { kind: 'missing' }>, 'by' | 'askedMsAgo'>,
  rules: StepRules,
): void {
  const policy = rules.absenceOf(attempt.provider);
  const { now } = draft;
  if (attempt.state === 'intent' || attempt.state === 'gone') return; // the call may be under way; a tombstone is expected to be missing
  const paced = attempt.state === 'unknown' || attempt.state === 'verifying';
  if (paced && attempt.dueAt <= now) setAttempt(draft, attempt, { dueAt: now + policy.spacingMs });
  if (!Number.isFinite(askedMsAgo)) return; // nobody can tell when it was missing
  const at = now - Math.max(0, Math.round(askedMsAgo));
  const isOldNews = attempt.lastSeenAt !== null && at < attempt.lastSeenAt;
  if (!isOldNews && attempt.state === 'destroying' && by === 'get' && attempt.destroyAnsweredAt !== null)
    return acceptGone(draft, attempt);

  const absences = isOldNews ? attempt.absences : withAbsence(attempt.absences, { at, kind: by }, policy);
  if (absences !== attempt.absences) setAttempt(draft, attempt, { absences });
  if (!isAbsent({ absences, policy, instanceIdKnown: attempt.instanceId !== null })) return;

  switch (attempt.state) {
    case 'unknown':
      return neverMade(draft, attempt);
    case 'live':
      return vanished(draft, attempt);
    case 'destroying': // every destroy failed, but it is absent by verdict all the same
      verifyGone(draft, attempt, billedTo(attempt) ?? attempt.lastSeenAt ?? now);
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
