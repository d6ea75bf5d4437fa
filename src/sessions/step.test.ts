import { describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { AttemptState } from '../db/tables.ts';
import type { ProviderErrorKind } from '../provider/provider-error.ts';
import type { Fact, FactKind } from './fact.ts';
import {
  PRICE,
  PROOF,
  RULES,
  SSH,
  START,
  Story,
  aMarketOffer,
  aSession,
  anInstance,
  anIntent,
  runningStory,
  storyAt,
} from './fixtures/session-records.ts';
import { brokenInvariants } from './invariants.ts';
import { mayBeginAttempt, step } from './step.ts';

const STATES = ['intent', 'unknown', 'live', 'destroying', 'verifying', 'gone'] as const satisfies readonly AttemptState[];
const accepted = (instance = anInstance('starting')): Fact => ({ kind: 'create_accepted', ordinal: 1, instance });
const refused = (kind: ProviderErrorKind, ordinal = 1): Fact => ({
  kind: 'create_refused',
  ordinal,
  refusal: { kind, message: `create: ${kind}` },
});
const unanswered = (ordinal = 1): Fact => ({ kind: 'create_unknown', ordinal, message: 'no answer' });
const seen = (instance = anInstance('running'), by: 'get' | 'list' = 'get', ordinal = 1): Fact => ({
  kind: 'seen',
  ordinal,
  by,
  instance,
});
const missing = (by: 'get' | 'list', ordinal = 1): Fact => ({ kind: 'missing', ordinal, by });
const answered = (result: 'destroying' | 'gone', ordinal = 1): Fact => ({ kind: 'destroy_answered', ordinal, result });
const notDestroyed: Fact = { kind: 'destroy_failed', ordinal: 1, refusal: { kind: 'unavailable', message: 'no answer' } };
const failed: Fact = { kind: 'attempt_failed', ordinal: 1, reason: 'ssh_verify_timeout', message: 'no login' };
const proven: Fact = { kind: 'proven', ordinal: 1, proof: PROOF };
const stop: Fact = { kind: 'stop_requested', reason: 'user_requested' };

/** Every kind of fact, with the state that it leads each attempt state to; the compiler sees that none is missing. */
const TABLE: Record<FactKind, readonly (readonly [name: string, fact: Fact, ...after: AttemptState[]])[]> = {
  //                                                                             intent     unknown       live          destroying    verifying     gone
  stop_requested: [
    [
      '',
      stop,
      /*                                              */ 'intent',
      'unknown',
      'destroying',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  extended: [
    [
      '',
      { kind: 'extended', addedMinutes: 60 },
      /*                  */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  attempt_begun: [
    [
      'of the same ordinal',
      { kind: 'attempt_begun', attempt: anIntent(1) },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'of the next ordinal',
      { kind: 'attempt_begun', attempt: anIntent(2) },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  no_candidate: [
    [
      '',
      { kind: 'no_candidate', reason: 'no_capacity', message: 'nothing' },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  create_accepted: [
    [
      'with the tag',
      accepted(),
      /*                                           */ 'live',
      'live',
      'live',
      'destroying',
      'destroying',
      'destroying',
    ],
    [
      'without a tag',
      accepted(anInstance('starting', { tag: null })),
      /*     */ 'unknown',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'with a foreign tag',
      accepted(anInstance('starting', { ordinal: 7 })),
      /**/ 'unknown',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'without an id',
      accepted(anInstance('starting', { id: '' })),
      /*        */ 'unknown',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'of a twin',
      accepted(anInstance('starting', { id: 'twin' })),
      /*        */ 'live',
      'live',
      'live',
      'destroying',
      'destroying',
      'destroying',
    ],
  ],
  create_refused: [
    [
      'for capacity',
      refused('capacity'),
      /*                                  */ 'gone',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'for nothing definite',
      refused('ambiguous'),
      /*                         */ 'unknown',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'by what nobody can read',
      refused('protocol'),
      /*                       */ 'unknown',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  create_unknown: [
    [
      '',
      unanswered(),
      /*                                      */ 'unknown',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  seen: [
    [
      'running',
      seen(),
      /*                                                    */ 'live',
      'live',
      'live',
      'destroying',
      'destroying',
      'destroying',
    ],
    [
      'stopping',
      seen(anInstance('stopping')),
      /*                             */ 'live',
      'live',
      'live',
      'destroying',
      'destroying',
      'destroying',
    ],
    [
      'failed',
      seen(anInstance('failed')),
      /*                                 */ 'destroying',
      'destroying',
      'destroying',
      'destroying',
      'destroying',
      'destroying',
    ],
    [
      'paused',
      seen(anInstance('paused')),
      /*                                 */ 'destroying',
      'destroying',
      'destroying',
      'destroying',
      'destroying',
      'destroying',
    ],
    [
      'our id, the tag lost',
      seen(anInstance('running', { tag: null })),
      /*   */ 'intent',
      'unknown',
      'live',
      'destroying',
      'destroying',
      'destroying',
    ],
    [
      'our id, another tag',
      seen(anInstance('running', { id: 'instance-1', ordinal: 7 })),
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'another id, no tag',
      seen(anInstance('running', { id: 'x', tag: null })),
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'another id, another tag',
      seen(anInstance('running', { id: 'x', ordinal: 7 })),
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  missing: [
    [
      'by get',
      missing('get'),
      /*                                             */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'by list',
      missing('list'),
      /*                                           */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  destroy_answered: [
    [
      'destroying',
      answered('destroying'),
      /*                                 */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'gone',
      answered('gone'),
      /*                                             */ 'intent',
      'unknown',
      'live',
      'verifying',
      'verifying',
      'gone',
    ],
  ],
  destroy_failed: [
    [
      '',
      notDestroyed,
      /*                                      */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  proof_phase: [
    [
      'connecting',
      { kind: 'proof_phase', ordinal: 1, phase: 'connecting' },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
    [
      'driver',
      { kind: 'proof_phase', ordinal: 1, phase: 'driver' },
      /*       */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  hand_off_begun: [
    [
      '',
      { kind: 'hand_off_begun', ordinal: 1, hostKey: 'key' },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  tunnel_opened: [
    [
      '',
      { kind: 'tunnel_opened', ordinal: 1, host: 'broker', port: 22_000, replaces: null },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  tunnel_awaited: [
    [
      '',
      { kind: 'tunnel_awaited', ordinal: 1, message: 'no port is free' },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  proven: [
    [
      '',
      proven,
      /*                                                    */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  attempt_failed: [
    [
      '',
      failed,
      /*                                            */ 'intent',
      'unknown',
      'destroying',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  sampled: [
    [
      '',
      { kind: 'sampled', sampledAt: START + HOUR_MS, idle: true, longestGapMs: 1 },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  idle_warned: [
    [
      '',
      { kind: 'idle_warned', endsAt: START },
      /*               */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  settled: [
    [
      '',
      { kind: 'settled', costMicros: 0 },
      /*                       */ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
  postponed: [
    [
      '',
      { kind: 'postponed', ordinal: 1, untilAt: START + HOUR_MS },
      /**/ 'intent',
      'unknown',
      'live',
      'destroying',
      'verifying',
      'gone',
    ],
  ],
};

const rows = Object.entries(TABLE).flatMap(([kind, facts]) =>
  facts.flatMap(([name, fact, ...after]) =>
    STATES.map((state, index) => ({ state, fact, after: after[index], title: `${kind} ${name}`.trim() })),
  ),
);

describe('every state × every fact', () => {
  it.each(rows)('$state, then $title: $after', ({ state, fact, after }) => {
    const story = storyAt(state);
    expect(story.attempt().state).toBe(state);

    story.tell(fact);

    expect(story.attempt().state).toBe(after);
    expect(brokenInvariants(story.record)).toEqual([]);
  });

  it.each(rows)(
    '$state, then $title, without its attempt: nothing is made of an ordinal that is not there',
    ({ state, fact }) => {
      const story = storyAt(state);
      const before = story.record;

      if ('ordinal' in fact && fact.ordinal !== undefined) story.tell({ ...fact, ordinal: 9 });

      expect(story.record).toBe(before);
    },
  );

  const comesAnew: readonly FactKind[] = ['extended', 'destroy_answered', 'destroy_failed'];
  it.each(rows.filter(({ fact }) => !comesAnew.includes(fact.kind)))(
    '$state, then $title twice: the second time changes nothing',
    ({ state, fact }) => {
      const story = storyAt(state).tell(fact);
      const after = story.record;

      story.tell(fact);

      expect(story.record).toBe(after);
    },
  );

  it.each(STATES)('%s: the row that was read is never changed, only its next version', (state) => {
    for (const { fact } of rows) {
      const { record, now } = storyAt(state);
      const before = structuredClone(record);
      step(record, fact, now, RULES);
      expect(record).toEqual(before);
    }
  });
});

describe('create', () => {
  it('REL-A1: an intent whose process died is unknown, proven absent, and tried again under a new ordinal, never before', () => {
    const story = storyAt('intent').tell(unanswered());
    expect(story.session).toMatchObject({ status: 'provisioning', phase: 'resolving' });

    story.missingFor(14 * MINUTE_MS);
    expect(story.states).toEqual(['unknown']);
    story.tell({ kind: 'attempt_begun', attempt: anIntent(2) });
    expect(story.states).toEqual(['unknown']);

    story.missingFor(2 * MINUTE_MS);
    expect(story.states).toEqual(['gone']);
    expect(story.session).toMatchObject({ status: 'provisioning', phase: 'retrying', desired: 'run' });
    story.tell({ kind: 'attempt_begun', attempt: anIntent(2) });
    expect(story.states).toEqual(['gone', 'intent']);
    expect(story.attempt(2).tag).not.toBe(story.attempt(1).tag);
  });

  it('REL-A1: an intent is never absent: its call may be under way', () => {
    expect(storyAt('intent').missingFor(DAY_MS).states).toEqual(['intent']);
  });

  it('REL-A2: what an unknown create made is found by its tag and adopted while it is wanted', () => {
    const story = storyAt('unknown').tell(seen(anInstance('running'), 'list'));

    expect(story.attempt()).toMatchObject({ state: 'live', instanceId: 'instance-1', ssh: SSH, error: null });
    expect(story.session).toMatchObject({ status: 'provisioning', phase: 'booting' });
  });

  it('REL-A2: what an unknown create made and is dead means that the create did not work, and the offer is tried again', () => {
    const found = storyAt('unknown').tell(seen(anInstance('failed'), 'list'));
    const answered = storyAt('intent').tell({ kind: 'create_accepted', ordinal: 1, instance: anInstance('failed') });

    expect(found.attempt()).toMatchObject({ state: 'destroying', outcome: 'create_lost' });
    expect(found.session).toMatchObject({ status: 'provisioning', phase: 'retrying', desired: 'run' });
    expect(answered.attempt()).toMatchObject({ state: 'destroying', outcome: 'instance_stopped' });
    expect(answered.session).toMatchObject({ status: 'stopping', reason: 'instance_stopped' });
  });

  it('REL-A2: what an unknown create made is destroyed when nobody wants it any more', () => {
    const story = storyAt('unknown').tell(stop, seen(anInstance('running'), 'list'));

    expect(story.attempt()).toMatchObject({ state: 'destroying', instanceId: 'instance-1' });
    expect(story.session.status).toBe('stopping');
    expect(story.segments.filter(({ toAt }) => toAt === null)).toMatchObject([{ payer: 'attempt' }]);
  });

  it('REL-A2: what an unknown create made has cost money since the call, or since the provider says that it was made', () => {
    const since = (createdAt?: number) => {
      const story = storyAt('unknown').wait(MINUTE_MS);
      const { intentAt } = story.attempt();
      story.tell(
        seen({ ...anInstance('running'), ...(createdAt !== undefined && { createdAt: intentAt + createdAt }) }, 'list'),
      );
      return story.segments.map(({ fromAt, toAt, priceMicrosPerHour }) => [
        fromAt - intentAt,
        toAt === null ? 'open' : toAt - intentAt,
        priceMicrosPerHour,
      ]);
    };
    const foundAt = since().at(-1)?.[0];

    expect(since()).toEqual([
      [0, foundAt, 10_000],
      [foundAt, 'open', 340_000],
    ]);
    expect(since(20_000)[0]).toEqual([20_000, foundAt, 10_000]);
    expect(since(-HOUR_MS)[0]).toEqual([0, foundAt, 10_000]); // a clock that is behind makes nobody pay for what was before the call
    expect(since(HOUR_MS)).toEqual([[foundAt, 'open', 340_000]]);
  });

  it('REL-A4: a late landing after the verdict is destroyed at the operator’s cost and never handed out', () => {
    const story = storyAt('unknown').missingFor(16 * MINUTE_MS);
    story.tell({ kind: 'attempt_begun', attempt: anIntent(2) });

    story.wait(HOUR_MS).tell(seen(anInstance('running'), 'list'), proven);

    expect(story.states).toEqual(['destroying', 'intent']);
    expect(story.session).toMatchObject({ status: 'provisioning', desired: 'run', sshHost: null });
    expect(story.segments).toMatchObject([{ ordinal: 1, payer: 'operator' }]);
    expect(story.events).toContain('instance.reappeared');
  });

  it('REL-A5: a refusal that created all the same is destroyed when it is seen', () => {
    const story = storyAt('intent').tell(refused('capacity'));
    expect(story.session).toMatchObject({ status: 'failed', reason: 'stale_inventory' });

    story.wait(MINUTE_MS).tell(seen(anInstance('running'), 'list'));

    expect(story.states).toEqual(['destroying']);
    expect(story.session).toMatchObject({ status: 'failed', phase: 'verifying' });
    expect(story.segments).toMatchObject([{ payer: 'operator', toAt: null }]);
  });

  it.each([
    ['without a tag', anInstance('starting', { tag: null })],
    ['with a foreign tag', anInstance('starting', { ordinal: 7 })],
    ['without an id', anInstance('starting', { id: '' })],
  ])('REL-A6: an answer %s is no answer: unknown until a list shows the tag', (_, instance) => {
    const story = storyAt('intent').tell(accepted(instance));
    expect(story.attempt()).toMatchObject({ state: 'unknown', instanceId: null });
    expect(story.segments).toEqual([]);

    story.tell(seen(anInstance('starting'), 'list'));

    expect(story.attempt()).toMatchObject({ state: 'live', instanceId: 'instance-1' });
  });

  it('REL-A7: of two instances under one tag the first is the session’s; the other changes nothing', () => {
    const story = storyAt('live');
    const before = story.record;

    story.tell(seen(anInstance('running', { id: 'twin' }), 'list'), accepted(anInstance('starting', { id: 'twin' })));

    expect(story.record).toBe(before);
  });

  it('REL-A10: an instance that turns out dearer than agreed is destroyed', () => {
    const story = storyAt('intent').tell(accepted(anInstance('starting', { priceMicrosPerHour: PRICE * 2 })));

    expect(story.attempt()).toMatchObject({ state: 'destroying', outcome: 'price_changed' });
    expect(story.session).toMatchObject({ status: 'stopping', reason: 'price_changed' });
    expect(story.session.error).toContain('0.68 USD an hour');
  });

  it('REL-A10: also when the real price shows only once it boots', () => {
    const story = storyAt('live').tell(seen(anInstance('running', { priceMicrosPerHour: PRICE * 2 })));

    expect(story.attempt()).toMatchObject({ state: 'destroying', outcome: 'price_changed' });
  });

  it('REL-A10: the agreed maximum itself is not above it', () => {
    const { capMicrosPerHour } = anIntent();

    expect(storyAt('intent').tell(accepted(anInstance('starting', { priceMicrosPerHour: capMicrosPerHour }))).states).toEqual([
      'live',
    ]);
    expect(
      storyAt('intent').tell(accepted(anInstance('starting', { priceMicrosPerHour: capMicrosPerHour + 1 }))).states,
    ).toEqual(['destroying']);
  });

  it('a price that rises in use is billed, and takes the machine from nobody', () => {
    const story = runningStory().tell(seen(anInstance('running', { priceMicrosPerHour: PRICE * 2 })));

    expect(story.session.status).toBe('running');
    expect(story.segments.at(-1)).toMatchObject({ priceMicrosPerHour: PRICE * 2, toAt: null });
  });

  it.each(['paused', 'failed'] as const)('REL-A11: an instance that is %s is destroyed, in use or not', (state) => {
    expect(
      storyAt('live')
        .tell(seen(anInstance(state)))
        .attempt(),
    ).toMatchObject({ state: 'destroying', outcome: 'instance_stopped' });
    const story = runningStory().tell(seen(anInstance(state)));
    expect(story.attempt().state).toBe('destroying');
    expect(story.session).toMatchObject({ status: 'stopping', reason: 'instance_stopped' });
  });

  it('REL-A12: an empty account ends the session and is not tried again', () => {
    const story = storyAt('intent').tell(refused('funds'));

    expect(story.session).toMatchObject({ status: 'failed', reason: 'provider_funds', error: 'create: funds' });
    expect(story.transitions.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('REL-A13: a create that was not sent for a rate limit waits as long as was asked, five minutes at most', () => {
    const limited = (retryAfterMs: number): Fact => ({
      kind: 'create_refused',
      ordinal: 1,
      refusal: { kind: 'rate_limited', message: 'slow down', retryAfterMs },
    });
    const waits = [10, 40_000.4, DAY_MS].map((retryAfterMs) => {
      const story = storyAt('intent').tell(limited(retryAfterMs));
      expect(story.session.phase).toBe('retrying');
      return story.session.dueAt - story.now;
    });

    expect(waits).toEqual([SECOND_MS, 40_001, 5 * MINUTE_MS]);
  });

  it('REL-A15: an intent of the wrong ordinal, for an unwanted session, or beside another attempt is not begun', () => {
    expect(new Story().tell({ kind: 'attempt_begun', attempt: anIntent(2) }).states).toEqual([]);
    expect(new Story().tell(stop, { kind: 'attempt_begun', attempt: anIntent(1) }).states).toEqual([]);
    expect(new Story().tell({ kind: 'attempt_begun', attempt: anIntent(1, { state: 'live' }) }).states).toEqual([]);
    expect(storyAt('live').tell({ kind: 'attempt_begun', attempt: anIntent(2) }).states).toEqual(['live']);
    expect(storyAt('intent', { maxAttempts: 1 }).tell(refused('unavailable')).session.status).toBe('failed');
  });

  it('RULE-R4: the next attempt begins only after the former was accepted as gone', () => {
    const story = storyAt('live', { request: { ...aSession().request, autoRetry: true } }).tell(failed);
    expect(story.session.phase).toBe('retrying');
    expect(mayBeginAttempt(story.record)).toBe(false);
    story.tell({ kind: 'attempt_begun', attempt: anIntent(2) });
    expect(story.states).toEqual(['destroying']);

    story.tell(answered('gone'));
    expect(mayBeginAttempt(story.record)).toBe(true);
    story.tell({ kind: 'attempt_begun', attempt: anIntent(2, { offer: aMarketOffer('b') }) });

    expect(story.states).toEqual(['verifying', 'intent']);
    expect(story.session).toMatchObject({ offerId: 'cloud-b', status: 'provisioning', phase: 'creating', attemptCount: 2 });
  });
});

describe('observation', () => {
  it('REL-B5: one 404 is a hint; a sight takes it back, and the window begins anew', () => {
    const story = runningStory().tell(missing('get'), missing('list'));
    expect(story.attempt().absences).toHaveLength(2);

    story.wait(14 * MINUTE_MS).tell(seen());
    expect(story.attempt().absences).toEqual([]);

    story.missingFor(14 * MINUTE_MS);
    expect(story.session.status).toBe('running');
    story.missingFor(2 * MINUTE_MS);
    expect(story.session).toMatchObject({ status: 'stopped', reason: 'instance_vanished' });
  });

  it('REL-B7: a new instance that lists do not show yet is not absent', () => {
    const story = storyAt('live').missingFor(14 * MINUTE_MS);

    expect(story.states).toEqual(['live']);
  });

  it('REL-B11: an instance whose label somebody edited away keeps its session by its id', () => {
    const story = runningStory()
      .wait(HOUR_MS)
      .tell(seen(anInstance('running', { tag: null }), 'list'));

    expect(story.session.status).toBe('running');
    expect(story.attempt()).toMatchObject({ lastSeenAt: story.now, absences: [] });
  });

  it.each(['starting', 'stopping'] as const)('REL-B14: %s, the state of words nobody knows, ends nothing', (state) => {
    expect(runningStory().tell(seen(anInstance(state))).session.status).toBe('running');
  });

  it('REL-B15: an id that now bears another tag is neither adopted nor seen: it counts as a look that found nothing', () => {
    const foreign = anInstance('running', { id: 'instance-1', ordinal: 7 });
    const story = runningStory().tell(seen(foreign, 'get'), seen(foreign, 'list'));

    expect(story.attempt().absences.map(({ kind }) => kind)).toEqual(['get', 'list']);
    expect(storyAt('unknown').tell(seen(foreign)).attempt().instanceId).toBeNull();
  });

  it('REL-B15: an instance with another id and another tag says nothing at all', () => {
    const story = runningStory();
    const before = story.record;

    story.tell(seen(anInstance('running', { id: 'x', ordinal: 7 })), seen(anInstance('running', { id: 'x', tag: null })));

    expect(story.record).toBe(before);
  });

  it('REL-B8: a list from before the provider said gone is old news, one from after it is a reappearance', () => {
    const story = storyAt('destroying');
    const askedAt = story.now;
    story.wait(SECOND_MS).tell(answered('gone'));
    const goneAt = story.now;

    story.wait(SECOND_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt });
    expect(story.states).toEqual(['verifying']);
    story.tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt: goneAt + 1 });
    expect(story.states).toEqual(['destroying']);
  });

  it('a sight of what is known is written once a minute, also when the fields of its address come in another order', () => {
    const hostKey = 'ssh-ed25519 AAAAvouched';
    const story = storyAt('live').tell(seen(anInstance('running', { ssh: { user: 'root', hostKey, routes: [] } })));
    const before = story.record;

    story.wait(30 * SECOND_MS).tell(seen(anInstance('running', { ssh: { hostKey, routes: [], user: 'root' } })));
    expect(story.record).toBe(before);
    story.wait(31 * SECOND_MS).tell(seen(anInstance('running', { ssh: { user: 'root', hostKey, routes: [] } })));
    expect(story.attempt().lastSeenAt).toBe(story.now);
  });

  it('a way in that moved is told, once, and only of a session that is in use', () => {
    const moved = anInstance('running', { ssh: { user: 'root', routes: [{ host: '203.0.113.9', port: 1 }] } });
    const story = runningStory().tell(seen(moved), seen(moved));

    expect(story.session).toMatchObject({ sshHost: '203.0.113.9', sshPort: 1 });
    expect(story.events.filter((kind) => kind === 'session.address_changed')).toHaveLength(1);
    expect(storyAt('live').tell(seen(), seen(moved)).session.sshHost).toBeNull();
  });

  it('one of several routes that still leads there is kept', () => {
    const [route] = SSH.routes;
    const routes = [{ host: '198.51.100.1', port: 1 }, ...(typeof route === 'object' ? [route] : [])];

    expect(runningStory().tell(seen(anInstance('running', { ssh: { user: 'root', routes } }))).session.sshHost).toBe(
      PROOF.host,
    );
  });
});

describe('destroy', () => {
  it('RULE-R8, REL-C1: a destroy that fails for days is asked for again, at most five minutes later', () => {
    const story = storyAt('destroying');
    const pauses: number[] = [];
    for (let tries = 0; tries < 400; tries += 1) {
      story.tell(notDestroyed);
      pauses.push((story.attempt().dueAt - story.now) / SECOND_MS);
      story.wait(5 * MINUTE_MS);
    }

    expect(pauses.slice(0, 10)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    expect(Math.max(...pauses)).toBe(300);
    expect(story.session.status).toBe('stopping');
    expect(story.events.filter((kind) => kind === 'instance.destroy_failed')).toHaveLength(1);
  });

  it.each([
    ['fails', notDestroyed],
    ['is answered and does nothing', answered('destroying')],
  ])('REL-C1: a destroy that %s is told as overdue after a quarter of an hour, and then every hour', (_, fact) => {
    const story = storyAt('destroying');
    const from = story.now;
    const overdueAt: number[] = [];
    while (story.now - from < 200 * MINUTE_MS) {
      const before = story.transitions.length;
      story.tell(fact);
      const events = story.transitions.slice(before).flatMap((transition) => transition.events);
      if (events.some(({ kind }) => kind === 'instance.destroy_overdue')) overdueAt.push((story.now - from) / MINUTE_MS);
      story.wait(story.attempt().dueAt - story.now);
    }

    expect(overdueAt.map(Math.round)).toEqual([14, 74, 134, 194]);
  });

  it('RULE-R8: no answer of a provider puts a destroy off for longer than that', () => {
    const story = storyAt('destroying').tell({
      kind: 'destroy_failed',
      ordinal: 1,
      refusal: { kind: 'rate_limited', message: 'come back in a month', retryAfterMs: 30 * DAY_MS },
    });

    expect(story.attempt().dueAt - story.now).toBe(5 * MINUTE_MS);
  });

  it('REL-C2: a destroy that was answered and did nothing leaves the session stopping, and is repeated', () => {
    const story = storyAt('destroying').tell(answered('destroying')).wait(MINUTE_MS).tell(seen());

    expect(story.states).toEqual(['destroying']);
    expect(story.session.status).toBe('stopping');
    expect(story.attempt().dueAt).toBeLessThanOrEqual(story.now);
  });

  it.each(['paused', 'stopping', 'failed'] as const)('REL-C3: %s after the destroy is not gone, and still billed', (state) => {
    const story = storyAt('destroying').tell(answered('destroying'), seen(anInstance(state)));

    expect(story.states).toEqual(['destroying']);
    expect(story.session.status).toBe('stopping');
    expect(story.segments.at(-1)).toMatchObject({ toAt: null });
  });

  it('REL-C5: that it is not to be found before any destroy was answered proves nothing', () => {
    const story = storyAt('destroying').tell(missing('get'));
    expect(story.states).toEqual(['destroying']);

    story.tell(answered('destroying'));
    expect(story.states).toEqual(['destroying']);
    story.tell(missing('get'));
    expect(story.states).toEqual(['verifying']);
    expect(story.session).toMatchObject({ status: 'stopped', destroyAcceptedAt: story.now, destroyVerifiedAt: null });
  });

  it('REL-C5: a list alone accepts nothing', () => {
    expect(storyAt('destroying').tell(answered('destroying'), missing('list')).states).toEqual(['destroying']);
  });

  it('REL-C6: a destroy whose answer was lost is repeated, and ends it all the same', () => {
    const story = storyAt('destroying').tell(notDestroyed).wait(SECOND_MS).tell(answered('gone'));

    expect(story.session.status).toBe('stopped');
  });

  it('accepted and verified are two facts: the second comes after the window', () => {
    const story = storyAt('verifying');
    expect(story.session).toMatchObject({ status: 'stopped', phase: 'verifying', destroyVerifiedAt: null });

    story.missingFor(14 * MINUTE_MS);
    expect(story.session.destroyVerifiedAt).toBeNull();
    story.missingFor(2 * MINUTE_MS);

    expect(story.session).toMatchObject({
      status: 'stopped',
      phase: 'settled',
      destroyVerifiedAt: story.attempt().goneVerifiedAt,
    });
    expect(story.events.filter((kind) => kind === 'session.gone_verified')).toHaveLength(1);
  });

  it.each(['verifying', 'unknown'] as const)(
    'looks for what is %s are paced by the provider’s own spacing, not in a hot loop',
    (state) => {
      const story = storyAt(state).wait(MINUTE_MS).tell(missing('get'));
      expect(story.attempt().dueAt).toBe(story.now + MINUTE_MS);
      story.tell(missing('list'));
      expect(story.attempt().dueAt).toBe(story.now + MINUTE_MS);

      const before = story.record;
      story.wait(SECOND_MS).tell(missing('get'), missing('list'));
      expect(story.record).toBe(before);
    },
  );

  it('REL-C10: deleted while the create is under way: told at once, resolved first, destroyed then', () => {
    const story = storyAt('intent').tell(stop);
    expect(story.session).toMatchObject({
      status: 'stopping',
      desired: 'gone',
      phase: 'destroying',
      stopRequestedAt: story.now,
    });
    expect(story.states).toEqual(['intent']);

    story.tell(accepted());
    expect(story.states).toEqual(['destroying']);
    story.tell(answered('gone'));
    expect(story.session).toMatchObject({ status: 'stopped', reason: 'user_requested' });
  });

  it('REL-C10: deleted while the create is under way, and nobody answers: ended only by a verdict', () => {
    const story = storyAt('intent').tell(stop, unanswered());
    expect(story.session).toMatchObject({ status: 'stopping', phase: 'destroying' });

    story.missingFor(16 * MINUTE_MS);

    expect(story.session).toMatchObject({ status: 'stopped', phase: 'settled', reason: 'user_requested' });
    expect(story.segments).toEqual([]);
  });

  it('REL-C10: deleted while the create is under way, which is refused: ended, and not tried again', () => {
    const story = storyAt('intent', { request: { ...aSession().request, autoRetry: true } }).tell(stop, refused('capacity'));

    expect(story.session).toMatchObject({ status: 'stopped', reason: 'user_requested', phase: 'settled' });
  });

  it('deleted before anything was asked for: ended at once', () => {
    const story = new Story().tell(stop);

    expect(story.session).toMatchObject({ status: 'stopped', stoppedAt: START, phase: 'settled', destroyAcceptedAt: null });
    expect(story.releasedOffers).toEqual(['cloud-a']);
  });

  it('REL-C11, PEER-11.2.11: deadlines count from the phase, whatever the session’s age', () => {
    const story = new Story().wait(DAY_MS).tell({ kind: 'attempt_begun', attempt: anIntent(1, { intentAt: START + DAY_MS }) });
    expect(story.session).toMatchObject({ phaseEnteredAt: START + DAY_MS, phaseDeadlineAt: START + DAY_MS + 30 * SECOND_MS });

    story.wait(20 * SECOND_MS).tell(accepted());
    const bootsAt = story.now;
    expect(story.session).toMatchObject({ phaseEnteredAt: bootsAt, phaseDeadlineAt: bootsAt + RULES.bootTimeoutMs });

    story.wait(HOUR_MS).tell(stop);
    expect(story.session).toMatchObject({ phase: 'destroying', phaseEnteredAt: story.now, phaseDeadlineAt: null });
  });

  it('PEER-11.2.12: a request’s own time for SSH is the deadline, however long', () => {
    const story = storyAt('intent', { request: { ...aSession().request, sshTimeoutMinutes: 30 } }).tell(accepted());

    expect(story.session.phaseDeadlineAt).toBe(story.now + 30 * MINUTE_MS);
  });

  it('the phases of the proof only go forward: connecting keeps booting’s deadline, the driver has one of its own, once', () => {
    const phase = (name: 'connecting' | 'driver'): Fact => ({ kind: 'proof_phase', ordinal: 1, phase: name });
    const story = storyAt('live');
    const bootDeadline = story.session.phaseDeadlineAt;

    story.wait(MINUTE_MS).tell(phase('connecting'));
    expect(story.session).toMatchObject({ phase: 'connecting', phaseDeadlineAt: bootDeadline });
    story.wait(MINUTE_MS).tell(phase('driver'));
    const driverDeadline = story.now + RULES.driverTimeoutMs;
    expect(story.session).toMatchObject({ phase: 'driver', phaseDeadlineAt: driverDeadline });

    story.wait(MINUTE_MS).tell(phase('connecting'), phase('driver'));
    expect(story.session).toMatchObject({ phase: 'driver', phaseDeadlineAt: driverDeadline });
  });

  it('REL-C12: a second wish to end changes nothing, neither does one after the end', () => {
    for (const story of [storyAt('destroying'), storyAt('verifying'), storyAt('gone')]) {
      const before = story.record;
      story.tell({ kind: 'stop_requested', reason: 'expired' });
      expect(story.record).toBe(before);
    }
  });

  it('REL-C15: what is gone by itself ends the session only by the verdict; the consumer is told why', () => {
    const story = runningStory().tell(missing('get'), missing('list'));
    expect(story.session.status).toBe('running');

    story.missingFor(16 * MINUTE_MS);

    expect(story.session).toMatchObject({
      status: 'stopped',
      reason: 'instance_vanished',
      error: 'the provider no longer knows the instance',
    });
    expect(story.events).toContain('instance.vanished');
    expect(story.transitions.flatMap(({ failures }) => failures)).toMatchObject([
      { kind: 'instance_vanished', machineId: 'machine-a' },
    ]);
  });

  it('REL-C16, RULE-R9: seen again days after the end: destroyed again, reported, at the operator’s cost; the status stays', () => {
    const story = storyAt('gone').tell({ kind: 'settled', costMicros: 5 });
    const end = story.session;
    expect(story.attempt().tombstoneUntil).toBe((story.attempt().goneVerifiedAt ?? 0) + 90 * DAY_MS);

    story.wait(3 * DAY_MS).tell(seen(anInstance('running'), 'list'));
    expect(story.states).toEqual(['destroying']);
    expect(story.session).toMatchObject({
      status: 'stopped',
      stoppedAt: end.stoppedAt,
      settledCostMicros: 5,
      destroyVerifiedAt: null,
      phase: 'verifying',
    });
    expect(story.segments.at(-1)).toMatchObject({ payer: 'operator' });
    expect(story.events.at(-1)).toBe('instance.reappeared');

    story.tell(answered('gone')).missingFor(16 * MINUTE_MS);
    expect(story.session).toMatchObject({
      status: 'stopped',
      phase: 'settled',
      destroyVerifiedAt: story.attempt().goneVerifiedAt,
    });
    expect(story.events.filter((kind) => kind === 'session.stopped')).toHaveLength(1);
  });
});

describe('the hand-over', () => {
  it('PEER-11.2.15: a proof that comes after the wish to end does not bring the session back', () => {
    const story = storyAt('live').tell(stop);
    const before = story.record;

    story.tell(proven);

    expect(story.record).toBe(before);
  });

  it('tells the way in, pins the host key and ends the deadline', () => {
    const story = runningStory();

    expect(story.session).toMatchObject({
      status: 'running',
      phase: 'running',
      phaseDeadlineAt: null,
      sshHost: PROOF.host,
      sshPort: PROOF.port,
      sshUser: 'root',
      sshHostKey: PROOF.hostKey,
    });
    expect(story.attempt()).toMatchObject({ hostKey: PROOF.hostKey, runningAt: story.session.runningAt });
  });

  it('shreds the probe key at the hand-over, unless idleness is watched with it; then with the wish to end', () => {
    expect(runningStory().shredded).toEqual(['sec_probe1']);
    const watched = runningStory({ idleThresholdMinutes: 30 });
    expect(watched.shredded).toEqual([]);
    expect(watched.tell(stop).shredded).toEqual(['sec_probe1']); // nobody logs in any more, however long the destroy takes
  });

  it('pins the host key before the hand-off, so that a restart in between knows it', () => {
    const story = storyAt('live').tell({ kind: 'hand_off_begun', ordinal: 1, hostKey: 'k' });

    expect(story.attempt().hostKey).toBe('k');
  });

  it('a boot that fails goes through stopping to failed, with its reason from the first moment', () => {
    const story = storyAt('live').tell(failed);
    expect(story.session).toMatchObject({ status: 'stopping', reason: 'ssh_verify_timeout', error: 'no login' });

    story.tell(answered('gone'));
    expect(story.session).toMatchObject({ status: 'failed', reason: 'ssh_verify_timeout', error: 'no login' });
  });
});

describe('claims', () => {
  const retried = { request: { ...aSession().request, autoRetry: true } };

  it('an offer is given back when its machine is accepted as gone, not before: it cannot be rented twice', () => {
    const story = storyAt('live', retried).tell(failed);
    expect(story.releasedOffers).toEqual([]);

    story.tell(answered('gone'));
    expect(story.releasedOffers).toEqual(['cloud-a']);
  });

  it('an offer that refused is given back at once', () => {
    expect(storyAt('intent', retried).tell(refused('capacity')).releasedOffers).toEqual(['cloud-a']);
  });

  it('an offer that is tried again is kept in between', () => {
    expect(storyAt('intent').tell(refused('unavailable')).releasedOffers).toEqual([]);
    expect(storyAt('unknown').missingFor(16 * MINUTE_MS).releasedOffers).toEqual([]);
  });

  it('the end of an earlier attempt that came back does not give away the offer that a later one is on', () => {
    const story = storyAt('unknown').missingFor(16 * MINUTE_MS);
    story.tell(
      { kind: 'attempt_begun', attempt: anIntent(2) },
      { kind: 'create_accepted', ordinal: 2, instance: anInstance('starting', { ordinal: 2 }) },
    );

    story.tell(seen(anInstance('running'), 'list'), answered('gone')).missingFor(16 * MINUTE_MS);

    expect(story.states).toEqual(['gone', 'live']);
    expect(story.releasedOffers).toEqual([]);
  });
});

describe('extend', () => {
  it('PEER-11.2.20: counts from the expiry, and never passes the hard maximum however often it is asked', () => {
    const story = runningStory();
    for (let times = 0; times < 30; times += 1) story.wait(MINUTE_MS).tell({ kind: 'extended', addedMinutes: 60 });

    expect(story.session.expiresAt).toBe(START + 12 * HOUR_MS);
    expect(story.session.reservationMinutes).toBe(12 * 60);
    expect(story.events.filter((kind) => kind === 'session.extended')).toHaveLength(10);
  });

  it.each([0, -60, Number.NaN])('%d minutes are no extension', (addedMinutes) => {
    expect(runningStory().tell({ kind: 'extended', addedMinutes }).session.expiresAt).toBe(START + 2 * HOUR_MS);
  });
});

describe('idleness', () => {
  const sample = (story: Story, idle: boolean): Story =>
    story.tell({ kind: 'sampled', sampledAt: story.now, idle, longestGapMs: 3 * MINUTE_MS });

  it('counts from the first idle look, and begins anew after a busy one', () => {
    const story = runningStory();
    sample(story.wait(MINUTE_MS), true);
    const since = story.now;
    sample(story.wait(MINUTE_MS), true);
    expect(story.session.idleSince).toBe(since);

    sample(story.wait(MINUTE_MS), false);
    expect(story.session.idleSince).toBeNull();
  });

  it('begins anew after a gap in the looks, the warning with it', () => {
    const story = runningStory();
    sample(story.wait(MINUTE_MS), true).tell({ kind: 'idle_warned', endsAt: story.now + HOUR_MS });
    expect(story.session.idleWarnedAt).toBe(story.now);

    sample(story.wait(4 * MINUTE_MS), true);

    expect(story.session).toMatchObject({ idleSince: story.now, idleWarnedAt: null });
  });

  it('warns once, and not of a session that has become busy', () => {
    const story = sample(runningStory(), true).tell({ kind: 'idle_warned', endsAt: 1 }, { kind: 'idle_warned', endsAt: 2 });
    expect(story.events.filter((kind) => kind === 'session.idle_warned')).toHaveLength(1);
    expect(sample(runningStory(), false).tell({ kind: 'idle_warned', endsAt: 1 }).events).not.toContain('session.idle_warned');
  });

  it('a look from before the last one says nothing', () => {
    const story = sample(runningStory(), true);
    const before = story.record;

    story.tell({ kind: 'sampled', sampledAt: story.now - 1, idle: false, longestGapMs: HOUR_MS });

    expect(story.record).toBe(before);
  });
});

describe('settling', () => {
  it('fixes the cost of what has ended, once', () => {
    const story = storyAt('verifying').tell({ kind: 'settled', costMicros: 7 }, { kind: 'settled', costMicros: 8 });

    expect(story.session.settledCostMicros).toBe(7);
    expect(storyAt('destroying').tell({ kind: 'settled', costMicros: 7 }).session.settledCostMicros).toBeNull();
  });
});
