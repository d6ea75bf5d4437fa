import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { AttemptState, Session } from '../db/tables.ts';
import type { ProviderErrorKind } from '../provider/provider-error.ts';
import type { Fact } from './fact.ts';
import { PRICE, PROOF, SSH, Story, aMarketOffer, aSession, anInstance, anIntent } from './fixtures/session-records.ts';
import { brokenInvariants } from './invariants.ts';
import type { SessionRecord } from './session-record.ts';
import { FAILURE_REASONS, STOP_REASONS, isEnded, mayExist } from './session-state.ts';
import { step } from './step.ts';

/** Of an instance that only its provider can dial. */
const DIALLED_PROOF = { user: 'root', hostKey: 'ssh-ed25519 AAAAhost', details: {} };
const ordinal = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.integer({ min: 1, max: 4 }) });
const STATES: readonly AttemptState[] = ['intent', 'unknown', 'live', 'destroying', 'verifying', 'gone'];
const ERRORS: readonly ProviderErrorKind[] = [
  'capacity',
  'rate_limited',
  'unavailable',
  'auth',
  'funds',
  'rejected',
  'protocol',
  'ambiguous',
];
const refusal = fc.record({
  kind: fc.constantFrom(...ERRORS),
  message: fc.constant('no'),
  retryAfterMs: fc.integer({ min: 0, max: HOUR_MS }),
});
const by = fc.constantFrom('get', 'list');
const reason = fc.constantFrom(...FAILURE_REASONS);

/** Mostly as it should be; sometimes a twin, a lost or foreign tag, an empty id, another price. */
const sight = fc.record({
  state: fc.constantFrom('starting', 'running', 'running', 'running', 'stopping', 'failed', 'paused'),
  id: fc.constantFrom(undefined, undefined, undefined, undefined, 'twin', ''),
  tag: fc.constantFrom(undefined, undefined, undefined, undefined, null, 'foreign'),
  ssh: fc.constantFrom(SSH, SSH, { user: 'root', routes: 'dial' } as const),
  priceMicrosPerHour: fc.constantFrom(undefined, undefined, PRICE, PRICE + 1, PRICE * 3, Number.NaN, -5, 0.5),
});

type Sight = typeof sight extends fc.Arbitrary<infer Value> ? Value : never;

/** What happens: a fact of an ordinal (0 is the latest), time that passes, or an attempt that is looked for in vain all the while. */
type Happening =
  | { readonly waitMs: number }
  | { readonly vainMinutes: number; readonly ordinal: number }
  | { readonly factOf: (latest: number) => Fact };

const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ vainMinutes: fc.integer({ min: 2, max: 17 }), ordinal }) },
  {
    weight: 4,
    arbitrary: fc.record({ waitMs: fc.oneof(fc.integer({ min: 0, max: 2 * MINUTE_MS }), fc.constant(16 * MINUTE_MS)) }),
  },
  { weight: 4, arbitrary: facts(fc.constantFrom('a', 'b', 'c'), (name) => (latest) => begin(latest + 1, name)) },
  { weight: 1, arbitrary: facts(fc.constantFrom('a', 'b'), (name) => (latest) => begin(latest, name)) },
  { weight: 1, arbitrary: facts(fc.constantFrom(...STOP_REASONS), (why) => () => ({ kind: 'stop_requested', reason: why })) },
  {
    weight: 1,
    arbitrary: facts(fc.integer({ min: -60, max: 600 }), (addedMinutes) => () => ({ kind: 'extended', addedMinutes })),
  },
  { weight: 1, arbitrary: facts(reason, (why) => () => ({ kind: 'no_candidate', reason: why, message: 'nothing is left' })) },
  {
    weight: 5,
    arbitrary: about(sight, (wish, at) => ({ kind: 'create_accepted', ordinal: at, instance: asInstance(wish, at) })),
  },
  { weight: 2, arbitrary: about(refusal, (why, at) => ({ kind: 'create_refused', ordinal: at, refusal: why })) },
  { weight: 2, arbitrary: about(fc.constant(0), (_, at) => ({ kind: 'create_unknown', ordinal: at, message: 'no answer' })) },
  {
    weight: 6,
    arbitrary: about(fc.tuple(by, sight), ([how, wish], at) => ({
      kind: 'seen',
      ordinal: at,
      by: how,
      instance: asInstance(wish, at),
    })),
  },
  { weight: 8, arbitrary: about(by, (how, at) => ({ kind: 'missing', ordinal: at, by: how })) },
  {
    weight: 5,
    arbitrary: about(fc.constantFrom('destroying', 'gone'), (result, at) => ({
      kind: 'destroy_answered',
      ordinal: at,
      result,
    })),
  },
  { weight: 2, arbitrary: about(refusal, (why, at) => ({ kind: 'destroy_failed', ordinal: at, refusal: why })) },
  {
    weight: 2,
    arbitrary: about(fc.constantFrom('connecting', 'driver'), (phase, at) => ({ kind: 'proof_phase', ordinal: at, phase })),
  },
  { weight: 1, arbitrary: about(fc.constant('key'), (hostKey, at) => ({ kind: 'hand_off_begun', ordinal: at, hostKey })) },
  {
    weight: 4,
    arbitrary: about(fc.constantFrom(PROOF, DIALLED_PROOF), (proof, at) => ({ kind: 'proven', ordinal: at, proof })),
  },
  {
    weight: 2,
    arbitrary: about(
      fc.tuple(fc.constantFrom(null, 22_000), fc.integer({ min: 22_000, max: 22_001 })),
      ([replaces, port], at) => ({
        kind: 'tunnel_opened',
        ordinal: at,
        host: 'broker',
        port,
        replaces,
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: about(fc.constant('none is free'), (message, at) => ({ kind: 'tunnel_awaited', ordinal: at, message })),
  },
  {
    weight: 1,
    arbitrary: about(reason, (why, at) => ({ kind: 'attempt_failed', ordinal: at, reason: why, message: 'no use' })),
  },
  {
    weight: 1,
    arbitrary: facts(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: HOUR_MS })), ([idle, ms]) => () => ({
      kind: 'sampled',
      sampledAt: aSession().createdAt + ms,
      idle,
      longestGapMs: MINUTE_MS,
    })),
  },
  { weight: 1, arbitrary: facts(fc.constant(0), (endsAt) => () => ({ kind: 'idle_warned', endsAt })) },
  { weight: 1, arbitrary: facts(fc.nat(9), (costMicros) => () => ({ kind: 'settled', costMicros })) },
  {
    weight: 1,
    arbitrary: about(fc.nat(HOUR_MS), (ms, at) => ({ kind: 'postponed', ordinal: at, untilAt: aSession().createdAt + ms })),
  },
);

function facts<Value>(
  arbitrary: fc.Arbitrary<Value>,
  make: (value: Value) => (latest: number) => Fact,
): fc.Arbitrary<Happening> {
  return arbitrary.map((value) => ({ factOf: make(value) }));
}

function about<Value>(arbitrary: fc.Arbitrary<Value>, make: (value: Value, at: number) => Fact): fc.Arbitrary<Happening> {
  return fc
    .tuple(arbitrary, ordinal)
    .map(([value, wanted]) => ({ factOf: (latest) => make(value, wanted === 0 ? latest : wanted) }));
}

function begin(at: number, name: string): Fact {
  return {
    kind: 'attempt_begun',
    attempt: anIntent(Math.max(1, at), { offer: aMarketOffer(name, { interruptible: name === 'c' }) }),
  };
}

function asInstance({ state, id, tag, ssh, priceMicrosPerHour }: Sight, at: number) {
  const number = Math.max(1, at);
  return anInstance(state, {
    ordinal: tag === 'foreign' ? 99 : number,
    id: id ?? `instance-${number}`,
    ssh,
    ...(tag === null ? { tag: null } : {}),
    ...(priceMicrosPerHour === undefined ? {} : { priceMicrosPerHour }),
  });
}

const asked = fc
  .record({
    autoRetry: fc.boolean(),
    byRequirements: fc.boolean(),
    idleThresholdMinutes: fc.constantFrom(0, 30),
    maxAttempts: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ autoRetry, byRequirements, idleThresholdMinutes, maxAttempts }): Partial<Session> => {
    const { offerId, ...request } = { ...aSession().request, autoRetry };
    const named = byRequirements || offerId === undefined ? request : { ...request, offerId };
    return { request: named, idleThresholdMinutes, maxAttempts };
  });

/** Facts that may come twice; of the others each stands for an act of its own. */
const REPEATABLE = (fact: Fact) => !['extended', 'destroy_answered', 'destroy_failed'].includes(fact.kind);

interface Moment {
  readonly before: SessionRecord;
  readonly after: SessionRecord;
  readonly fact: Fact;
  readonly story: Story;
}

function live(
  [session, happenings]: readonly [Partial<Session>, readonly Happening[]],
  check: (moment: Moment) => void,
): Story {
  const story = new Story({ session: aSession(session), attempts: [] });
  const tell = (fact: Fact): void => {
    const before = story.record;
    story.tell(fact);
    check({ before, after: story.record, fact, story });
  };
  for (const what of happenings) {
    if ('waitMs' in what) story.wait(what.waitMs);
    else if ('factOf' in what) tell(what.factOf(story.session.attemptCount));
    else
      for (let minute = 0; minute < what.vainMinutes; minute += 1) {
        const at = what.ordinal === 0 ? story.session.attemptCount : what.ordinal;
        tell({ kind: 'missing', ordinal: at, by: 'get' });
        tell({ kind: 'missing', ordinal: at, by: 'list' });
        story.wait(MINUTE_MS);
      }
  }
  return story;
}

const history = fc.tuple(asked, fc.array(happening, { minLength: 1, maxLength: 60, size: 'max' }));
const RUNS = { numRuns: 1_000 };

/** Where an attempt may go; only a sight leads back, and only to its next destroy. */
const NEXT: Record<AttemptState, readonly AttemptState[]> = {
  intent: ['intent', 'unknown', 'live', 'destroying', 'gone'],
  unknown: ['unknown', 'live', 'destroying', 'gone'],
  live: ['live', 'destroying', 'gone'],
  destroying: ['destroying', 'verifying', 'gone'],
  verifying: ['verifying', 'gone', 'destroying'],
  gone: ['gone', 'destroying'],
};

describe('whatever happens to a session, in whatever order, twice or late', { timeout: 120_000 }, () => {
  it('no invariant breaks, no end is left, the wish to end is never lost, and no attempt is forgotten', () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(history, (past) => {
        live(past, ({ before, after, fact }) => {
          expect(brokenInvariants(after), JSON.stringify(fact)).toEqual([]);
          if (isEnded(before.session)) {
            const { status, stoppedAt, reason: why } = before.session;
            expect(after.session).toMatchObject({ status, stoppedAt, reason: why });
          }
          if (before.session.desired === 'gone') expect(after.session.desired).toBe('gone');
          if (before.session.runningAt !== null) expect(after.session.status).not.toBe('provisioning');
          expect(after.attempts.length).toBeGreaterThanOrEqual(before.attempts.length);
          for (const [index, { tag, state }] of before.attempts.entries()) {
            expect(after.attempts[index]?.tag).toBe(tag);
            expect(NEXT[state]).toContain(after.attempts[index]?.state);
          }
          reached.add(after.session.status).add(after.session.phase);
          for (const { state } of after.attempts) reached.add(state);
          for (const { outcome } of after.attempts) if (outcome !== null) reached.add(outcome);
        });
      }),
      RUNS,
    );

    // the histories are of some use: they get everywhere
    const statuses = ['pending', 'provisioning', 'running', 'stopping', 'stopped', 'failed'];
    const phases = [
      'creating',
      'resolving',
      'booting',
      'connecting',
      'driver',
      'retrying',
      'destroying',
      'verifying',
      'settled',
    ];
    const outcomes = ['create_lost', 'instance_vanished', 'price_changed', 'instance_stopped', 'preempted'];
    expect([...reached]).toEqual(expect.arrayContaining([...statuses, ...phases, ...STATES, ...outcomes]));
  });

  it('a fact that may come twice changes nothing the second time', () => {
    fc.assert(
      fc.property(history, (past) => {
        live(past, ({ before, after, fact, story }) => {
          const at = 'ordinal' in fact ? fact.ordinal : undefined;
          const stateIn = ({ attempts }: SessionRecord) => attempts.find((attempt) => attempt.ordinal === at)?.state;
          // what is accepted as gone is looked for anew, and the next look is the first of those
          const begunToVerify = stateIn(before) === 'destroying' && stateIn(after) === 'verifying';
          if (REPEATABLE(fact) && !begunToVerify)
            expect(step(after, fact, story.now, story.rules), JSON.stringify(fact)).toBeUndefined();
        });
      }),
      RUNS,
    );
  });

  it('REL-C17: segments do not overlap, are closed when it is gone, and add up; what came back is the operator’s', () => {
    fc.assert(
      fc.property(history, (past) => {
        const story = live(past, ({ after, fact, story: { segments } }) => {
          for (const { ordinal: at, state, billingSince, billingRate, billingSequence } of after.attempts) {
            const own = segments.filter((segment) => segment.ordinal === at);
            const open = own.filter(({ toAt }) => toAt === null);
            expect(open.length, JSON.stringify(fact)).toBe(state === 'live' || state === 'destroying' ? 1 : 0);
            expect(open.map(({ fromAt }) => fromAt)).toEqual(billingSince === null ? [] : [billingSince]);
            expect(open.map(({ priceMicrosPerHour }) => priceMicrosPerHour)).toEqual(billingRate === null ? [] : [billingRate]);
            expect(own.map(({ sequence }) => sequence)).toEqual(own.map((_, index) => index + 1));
            expect(own).toHaveLength(billingSequence);
            for (const [index, { fromAt, toAt, priceMicrosPerHour }] of own.entries()) {
              expect(Number.isSafeInteger(priceMicrosPerHour) && priceMicrosPerHour >= 0).toBe(true);
              expect(toAt ?? fromAt).toBeGreaterThanOrEqual(fromAt);
              if (index > 0) expect(fromAt).toBeGreaterThanOrEqual(own[index - 1]?.toAt ?? Number.POSITIVE_INFINITY);
            }
          }
        });

        for (const { ordinal: at, payer, fromAt } of story.segments) {
          const { goneAcceptedAt } = story.attempt(at);
          const isBack = story.events.includes('instance.reappeared');
          if (payer === 'operator') expect(isBack).toBe(true);
          if (!isBack) expect(payer).toBe('attempt');
          if (goneAcceptedAt === null) expect(fromAt).toBeLessThanOrEqual(story.now);
        }
        for (const { segments, attempts: after } of story.transitions)
          for (const { ordinal: at, payer, toAt } of segments)
            if (toAt === null)
              expect(payer === 'operator').toBe(after.find((attempt) => attempt.ordinal === at)?.goneAcceptedAt !== null);
      }),
      RUNS,
    );
  });

  it('an offer is claimed while an attempt may be on it, and never for longer than the session lives', () => {
    fc.assert(
      fc.property(history, (past) => {
        const claimed = new Set([aSession().offerId]);
        let told = 0;
        live(past, ({ after, fact, story }) => {
          if (story.transitions.length > told && fact.kind === 'attempt_begun') claimed.add(fact.attempt.offerId);
          for (const { releasedOffers } of story.transitions.slice(told)) for (const id of releasedOffers) claimed.delete(id);
          told = story.transitions.length;
          for (const { state, goneAcceptedAt, offerId } of after.attempts)
            if (mayExist(state) && goneAcceptedAt === null) expect(claimed, JSON.stringify(fact)).toContain(offerId);
          if (isEnded(after.session)) expect([...claimed], JSON.stringify(fact)).toEqual([]);
        });
      }),
      RUNS,
    );
  });

  it('a probe key is kept while its attempt may be proven or watched, and shredded once it is not wanted any more', () => {
    fc.assert(
      fc.property(history, (past) => {
        live(past, ({ after, story }) => {
          const shredded = new Set(story.shredded);
          for (const { state, goneAcceptedAt, probeSecretId } of after.attempts) {
            const isWatched = after.session.status !== 'running' || after.session.idleThresholdMinutes > 0;
            if ((state === 'intent' || state === 'unknown' || state === 'live') && isWatched)
              expect(shredded).not.toContain(probeSecretId);
            const isOver = state === 'destroying' || state === 'verifying' || state === 'gone';
            if (isOver || goneAcceptedAt !== null) expect(shredded).toContain(probeSecretId);
          }
        });
      }),
      RUNS,
    );
  });

  it('what may exist is always due again: nobody waits for ever, and nobody is asked without a pause', () => {
    fc.assert(
      fc.property(history, (past) => {
        live(past, ({ before, after, fact, story }) => {
          if (!('ordinal' in fact) || fact.kind === 'postponed') return;
          const [was, is] = [before, after].map(({ attempts }) => attempts.find((attempt) => attempt.ordinal === fact.ordinal));
          if (!was || !is || was.dueAt === is.dueAt) return;
          expect(Number.isSafeInteger(is.dueAt)).toBe(true);
          expect(is.dueAt).toBeLessThanOrEqual(story.now + 5 * MINUTE_MS);
          if (fact.kind === 'destroy_failed') expect(is.dueAt).toBeGreaterThanOrEqual(story.now + SECOND_MS);
        });
      }),
      RUNS,
    );
  });
});
