import { describe, expect, it } from 'vitest';
import { MINUTE_MS } from '../core/duration.ts';
import type { Attempt, AttemptState, Session, SessionStatus } from '../db/tables.ts';
import type { AbsencePolicy } from '../provider/capabilities.ts';
import { isAbsent } from './absence.ts';
import type { Fact, FactKind } from './fact.ts';
import { PROOF, RULES, START, aMarketOffer, aSession, anInstance, anIntent } from './fixtures/session-records.ts';
import { brokenInvariants } from './invariants.ts';
import type { SessionRecord } from './session-record.ts';
import { isEnded, isHopeful, isStopReason } from './session-state.ts';
import type { StepRules } from './step-rules.ts';
import { step, type Transition } from './step.ts';

// Every order of facts up to a depth, from a session of which nothing has happened yet: small, but nothing in it is left out. What differs only in
// when it happened long ago counts as the same state and is gone on from once.

/** Two looks of each kind, a minute apart: a verdict fits into the depth. */
const ABSENCE: AbsencePolicy = { observations: 2, spacingMs: MINUTE_MS, windowMs: MINUTE_MS, kinds: ['get', 'list'] };
const rules: StepRules = { ...RULES, absenceOf: () => ABSENCE };
/** Older than this is old: no rule of these tells it from older. */
const OLD_MS = 3 * MINUTE_MS;
const MOST_ATTEMPTS = 2;

interface Moment {
  readonly record: SessionRecord;
  readonly now: number;
}

type Happening = { readonly kind: 'wait'; readonly ms: number } | Fact;

const refusal = (kind: 'capacity' | 'unavailable' | 'rejected' | 'ambiguous') => ({ kind, message: 'no' }) as const;
const dialled = { user: 'root', routes: 'dial' } as const;

/** Everything that can be said of one attempt, and of none. */
function factsAbout(ordinal: number): readonly Fact[] {
  const id = `instance-${ordinal}`;
  const sights = [
    anInstance('starting', { ordinal }),
    anInstance('running', { ordinal }),
    anInstance('running', { ordinal, ssh: dialled }),
    anInstance('stopping', { ordinal }),
    anInstance('failed', { ordinal }),
    anInstance('paused', { ordinal }),
    anInstance('running', { ordinal, priceMicrosPerHour: 9_000_000 }),
    anInstance('running', { ordinal, id: 'twin' }),
    anInstance('running', { id, tag: null }),
    anInstance('running', { id, ordinal: 99 }),
  ];
  return [
    ...sights.flatMap((instance): Fact[] => [
      { kind: 'seen', ordinal, by: 'get', instance },
      { kind: 'create_accepted', ordinal, instance },
    ]),
    { kind: 'seen', ordinal, by: 'list', instance: anInstance('running', { ordinal }), askedAt: START },
    { kind: 'missing', ordinal, by: 'get' },
    { kind: 'missing', ordinal, by: 'list' },
    { kind: 'create_unknown', ordinal, message: 'no answer' },
    ...(['capacity', 'unavailable', 'rejected', 'ambiguous'] as const).map((kind): Fact => ({
      kind: 'create_refused',
      ordinal,
      refusal: refusal(kind),
    })),
    { kind: 'destroy_answered', ordinal, result: 'destroying' },
    { kind: 'destroy_answered', ordinal, result: 'gone' },
    { kind: 'destroy_failed', ordinal, refusal: refusal('unavailable') },
    { kind: 'proof_phase', ordinal, phase: 'connecting' },
    { kind: 'proof_phase', ordinal, phase: 'driver' },
    { kind: 'hand_off_begun', ordinal, hostKey: PROOF.hostKey },
    { kind: 'proven', ordinal, proof: PROOF },
    { kind: 'proven', ordinal, proof: { user: 'root', hostKey: PROOF.hostKey, details: {} } },
    { kind: 'tunnel_opened', ordinal, host: 'broker', port: 22_000, replaces: null },
    { kind: 'tunnel_awaited', ordinal, message: 'no port is free' },
    { kind: 'attempt_failed', ordinal, reason: 'ssh_verify_timeout', message: 'no use' },
    { kind: 'postponed', ordinal, untilAt: START + MINUTE_MS },
    { kind: 'postponed', ordinal, untilAt: START + MINUTE_MS, whileIn: 'verifying' },
  ];
}

/** What a life is mostly made of, for longer ones. */
function mainFactsAbout(ordinal: number): readonly Fact[] {
  const instance = anInstance('running', { ordinal });
  return [
    { kind: 'create_accepted', ordinal, instance },
    { kind: 'create_unknown', ordinal, message: 'no answer' },
    { kind: 'create_refused', ordinal, refusal: refusal('unavailable') },
    { kind: 'seen', ordinal, by: 'list', instance },
    { kind: 'missing', ordinal, by: 'get' },
    { kind: 'missing', ordinal, by: 'list' },
    { kind: 'proven', ordinal, proof: PROOF },
    { kind: 'attempt_failed', ordinal, reason: 'ssh_verify_timeout', message: 'no use' },
    { kind: 'destroy_answered', ordinal, result: 'destroying' },
    { kind: 'destroy_answered', ordinal, result: 'gone' },
  ];
}

const ORDINALS = [1, 2, 3];
const ABOUT = ORDINALS.map(factsAbout);
const MAINLY_ABOUT = ORDINALS.map(mainFactsAbout);
const INTENTS = ORDINALS.map((ordinal) => anIntent(ordinal, { offer: aMarketOffer(ordinal === 1 ? 'a' : 'b') }));
const WAIT: Happening = { kind: 'wait', ms: MINUTE_MS };
const STOP: Happening = { kind: 'stop_requested', reason: 'user_requested' };

/** Those of ordinals that are there, or of the first, which is not. */
function about(facts: readonly (readonly Fact[])[], { attemptCount }: Session): readonly Fact[] {
  return facts.slice(0, Math.max(1, attemptCount)).flat();
}

function begin(ordinal: number): readonly Fact[] {
  const attempt = INTENTS[ordinal - 1];
  return attempt ? [{ kind: 'attempt_begun', attempt }] : [];
}

function mainHappeningsAt({ record: { session } }: Moment): readonly Happening[] {
  return [WAIT, STOP, ...begin(session.attemptCount + 1), ...about(MAINLY_ABOUT, session)];
}

function happeningsAt({ record: { session }, now }: Moment): readonly Happening[] {
  return [
    WAIT,
    STOP,
    ...begin(session.attemptCount + 1),
    ...begin(session.attemptCount),
    { kind: 'stop_requested', reason: 'expired' },
    { kind: 'no_candidate', reason: 'no_capacity', message: 'nothing is left' },
    { kind: 'extended', addedMinutes: 60 },
    { kind: 'extended', addedMinutes: 60_000 },
    { kind: 'sampled', sampledAt: now, idle: true, longestGapMs: MINUTE_MS },
    { kind: 'idle_warned', endsAt: now + MINUTE_MS },
    { kind: 'settled', costMicros: 7 },
    { kind: 'postponed', untilAt: START + MINUTE_MS },
    ...about(ABOUT, session),
  ];
}

/** A state without its history: what no rule asks for is left out, and instants are how long ago they were. */
function keyOf({ record: { session, attempts }, now }: Moment): string {
  const ago = (at: number | null) => (at === null ? null : Math.max(-OLD_MS, Math.min(OLD_MS, now - at)));
  const of = (attempt: Attempt) => [
    attempt.state,
    attempt.instanceId,
    attempt.instanceState,
    attempt.hostKey,
    'routes' in attempt.ssh ? attempt.ssh.routes : null,
    attempt.outcome,
    attempt.billingRate,
    attempt.destroyTries,
    attempt.runningAt !== null,
    attempt.goneVerifiedAt !== null,
    ago(attempt.lastSeenAt),
    ago(attempt.destroyAnsweredAt),
    ago(attempt.goneAcceptedAt),
    attempt.absences.map(({ at, kind }) => [kind, ago(at)]),
    attempt.dueAt <= now,
  ];
  return JSON.stringify([
    session.status,
    session.phase,
    session.desired,
    session.reason,
    session.error,
    session.sshPort,
    session.runningAt !== null,
    session.destroyVerifiedAt !== null,
    session.settledCostMicros,
    session.reservationMinutes,
    session.idleSince === null,
    session.idleWarnedAt === null,
    ago(session.idleSampledAt),
    attempts.map(of),
  ]);
}

/** A step that wrote into what it was given would throw. */
function frozen({ session, attempts }: SessionRecord): SessionRecord {
  for (const attempt of attempts) Object.freeze(Object.freeze(attempt).absences);
  return { session: Object.freeze(session), attempts: Object.freeze(attempts) };
}

const NEXT_STATUS: Record<SessionStatus, readonly SessionStatus[]> = {
  pending: ['pending', 'provisioning', 'stopping', 'stopped', 'failed'],
  provisioning: ['provisioning', 'running', 'stopping', 'stopped', 'failed'],
  running: ['running', 'stopping', 'stopped'],
  stopping: ['stopping', 'stopped', 'failed'],
  stopped: ['stopped'],
  failed: ['failed'],
};

/** Where an attempt may go, and by which facts; what is not here is forbidden. */
const NEXT_STATE: Record<AttemptState, Partial<Record<AttemptState, readonly FactKind[]>>> = {
  intent: {
    unknown: ['create_unknown', 'create_refused', 'create_accepted'],
    live: ['create_accepted', 'seen'],
    destroying: ['create_accepted', 'seen'], // not wanted any more, dead, or too dear
    gone: ['create_refused'],
  },
  unknown: { live: ['create_accepted', 'seen'], destroying: ['create_accepted', 'seen'], gone: ['missing', 'seen'] },
  live: {
    destroying: ['stop_requested', 'no_candidate', 'seen', 'create_accepted', 'attempt_failed'],
    gone: ['missing', 'seen'], // a sight of somebody else's under its id is a look in vain
  },
  destroying: { verifying: ['destroy_answered', 'missing', 'seen'], gone: ['missing', 'seen'] },
  verifying: { gone: ['missing', 'seen'], destroying: ['seen', 'create_accepted'] },
  gone: { destroying: ['seen', 'create_accepted'] },
};

/** Each stands for an act of its own. */
const COMES_ANEW: readonly FactKind[] = ['extended', 'destroy_answered', 'destroy_failed'];

function judge(before: Moment, fact: Fact, transition: Transition): void {
  const { now } = before;
  const [was, is] = [before.record.session, transition.session];
  const must = (holds: boolean, sentence: string) => {
    if (!holds) throw new Error(sentence);
  };

  must(brokenInvariants(transition).length === 0, brokenInvariants(transition).join('; '));
  must(NEXT_STATUS[was.status].includes(is.status), `from ${was.status} to ${is.status}`);
  must(was.desired === 'run' || is.desired === 'gone', 'the wish to end is never taken back');
  must(was.desired === 'run' || is.reason === was.reason, 'the first reason stays');
  const hasAddress = is.sshHost !== null && is.sshPort !== null;
  must(was.status === 'running' || is.status !== 'running' || hasAddress, 'not running before there is an address to tell');
  must(was.status === 'running' || is.status !== 'running' || fact.kind === 'proven', 'running only by proof');
  must(was.settledCostMicros === null || is.settledCostMicros === was.settledCostMicros, 'a settled cost is final');
  must(was.settledCostMicros === is.settledCostMicros || isEnded(was), 'only what has ended is settled');
  must(was.stoppedAt === null || is.stoppedAt === was.stoppedAt, 'an end has one time');
  if (!isEnded(was) && isEnded(is)) {
    const failed = is.runningAt === null && !isStopReason(is.reason ?? '');
    must(is.status === (failed ? 'failed' : 'stopped'), `${is.reason} after ${is.runningAt} ends as ${is.status}`);
  }
  const isNew = transition.attempts.length > before.record.attempts.length;
  must(
    !isNew || (fact.kind === 'attempt_begun' && was.desired === 'run'),
    'an attempt begins only by its intent, and while it is wanted',
  );

  for (const after of transition.attempts) {
    const earlier = before.record.attempts.find(({ ordinal }) => ordinal === after.ordinal);
    if (!earlier) {
      must(
        before.record.attempts.every(({ state }) => state === 'gone' || state === 'verifying'),
        'one open attempt at a time (RULE-R4)',
      );
      continue;
    }
    if (earlier.state !== after.state) {
      const by = NEXT_STATE[earlier.state][after.state];
      must(by?.includes(fact.kind) ?? false, `from ${earlier.state} to ${after.state} by ${fact.kind}`);
    }
    if (earlier.state === 'destroying' && after.state === 'verifying')
      must(after.destroyAnsweredAt !== null, 'gone is accepted only after a destroy that the provider answered');
    must(after.tag === earlier.tag, 'a tag is for ever');
    if (after.state === 'destroying' && earlier.state !== 'destroying') {
      const another = transition.attempts.some((other) => other !== after && isHopeful(other));
      const isAskedFor = is.desired === 'gone' || after.outcome !== null || after.goneAcceptedAt !== null || another;
      must(isAskedFor && after.destroyRequestedAt === now, 'nothing is destroyed that nobody wished to end');
    }
    if (after.goneVerifiedAt !== null && earlier.goneVerifiedAt === null) {
      const looked = { absences: after.absences, policy: ABSENCE, instanceIdKnown: after.instanceId !== null };
      must(isAbsent(looked), 'verified only by verdict (RULE-R6)');
    }
    must(
      earlier.goneVerifiedAt === null || after.goneVerifiedAt !== null || after.state === 'destroying',
      'verified is taken back only by a sight',
    );
    must(earlier.goneAcceptedAt === null || after.goneAcceptedAt !== null, 'accepted is never taken back');
    must(
      after.billingSince === null || after.state === 'live' || after.state === 'destroying',
      'only what may be there is billed',
    );
  }
}

interface Known {
  readonly moment: Moment;
  /** How it came to be. */
  readonly after?: { readonly known: Known; readonly what: Happening };
}

interface Search {
  readonly root: Partial<Session>;
  readonly depth: number;
  readonly happeningsAt: (moment: Moment) => readonly Happening[];
}

function search({ root, depth, happeningsAt: happeningsOf }: Search) {
  const session = aSession({ ...root, maxAttempts: MOST_ATTEMPTS });
  const start: Known = { moment: { record: frozen({ session, attempts: [] }), now: START } };
  const known = new Set([keyOf(start.moment)]);
  const reached = new Set<string>();
  let frontier: Known[] = [start];
  let transitions = 0;
  for (let level = 0; level < depth; level += 1) {
    const next: Known[] = [];
    for (const from of frontier)
      for (const what of happeningsOf(from.moment)) {
        transitions += 1;
        const moment = happen(from, what);
        const key = moment && keyOf(moment);
        if (!moment || !key || known.has(key)) continue;
        known.add(key);
        reached.add(moment.record.session.status);
        for (const { state } of moment.record.attempts) reached.add(state);
        next.push({ moment, after: { known: from, what } });
      }
    frontier = next;
  }
  return { states: known.size, transitions, reached };
}

/** What becomes of a moment; undefined when nothing does. */
function happen(from: Known, what: Happening): Moment | undefined {
  const { record, now } = from.moment;
  if (what.kind === 'wait') return { record, now: now + what.ms };
  try {
    const transition = step(record, what, now, rules);
    if (!transition) return undefined;
    judge(from.moment, what, transition);
    const after = frozen({ session: transition.session, attempts: transition.attempts });
    const ordinal = 'ordinal' in what ? what.ordinal : undefined;
    const stateIn = ({ attempts }: SessionRecord) => attempts.find((attempt) => attempt.ordinal === ordinal)?.state;
    // what is accepted as gone is looked for anew, and the next look is the first of those
    const beganToVerify = stateIn(record) === 'destroying' && stateIn(after) === 'verifying';
    if (!COMES_ANEW.includes(what.kind) && !beganToVerify && step(after, what, now, rules))
      throw new Error('a fact that may come twice changes something the second time');
    return { record: after, now };
  } catch (error) {
    const story = [...historyOf(from), what].map((each) => JSON.stringify(each)).join('\n');
    throw new Error(`${error instanceof Error ? error.message : String(error)}, after\n${story}`, { cause: error });
  }
}

function historyOf({ after }: Known): readonly Happening[] {
  return after ? [...historyOf(after.known), after.what] : [];
}

const { offerId: _, ...byRequirements } = aSession().request;

const ANY_OFFER: Partial<Session> = { request: { ...byRequirements, autoRetry: true } };
const EVERYWHERE = ['running', 'stopping', 'stopped', 'failed', 'intent', 'unknown', 'live', 'destroying', 'verifying', 'gone'];

describe('every order of facts, up to a depth', { timeout: 300_000 }, () => {
  it.each<[string, Search, number]>([
    ['all that can be said, a named offer', { root: {}, depth: 6, happeningsAt }, 40_000],
    ['all that can be said, any offer', { root: ANY_OFFER, depth: 6, happeningsAt }, 40_000],
    ['all that can be said, watched for idleness', { root: { idleThresholdMinutes: 1 }, depth: 5, happeningsAt }, 8_000],
    ['the main course, any offer', { root: ANY_OFFER, depth: 10, happeningsAt: mainHappeningsAt }, 30_000],
  ])('%s', (name, request, atLeast) => {
    const { states, transitions, reached } = search(request);

    process.stdout.write(`step: ${name}: ${states} states, ${transitions} transitions, to a depth of ${request.depth}\n`);
    expect(states).toBeGreaterThanOrEqual(atLeast);
    expect([...reached]).toEqual(expect.arrayContaining(EVERYWHERE));
  });
});
