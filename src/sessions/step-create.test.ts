import { describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Fact } from './fact.ts';
import {
  PRICE,
  SSH,
  Story,
  aMarketOffer,
  aSession,
  anInstance,
  anIntent,
  runningStory,
  storyAt,
} from './fixtures/session-records.ts';
import { mayBeginAttempt } from './step.ts';
import { accepted, missing, refused, unanswered, seen, answered, failed, proven, stop } from './fixtures/session-facts.ts';

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

  it('REL-A15, RULE-R6: an absence counts from when it was asked, not from when a broker that stood still heard of it', () => {
    const story = storyAt('unknown').missingFor(5 * MINUTE_MS);

    const askedMsAgo = 8 * MINUTE_MS;
    story.wait(12 * MINUTE_MS).tell({ kind: 'missing', ordinal: 1, by: 'list', askedMsAgo });
    expect(story.states).toEqual(['unknown']);

    story.wait(MINUTE_MS).tell(missing('list'));
    expect(story.states).toEqual(['gone']);
  });

  it('REL-F3, RULE-R12: an absence of which nobody can tell when it was is none', () => {
    const story = storyAt('unknown').missingFor(5 * MINUTE_MS);
    const before = story.attempt().absences;

    story.wait(20 * MINUTE_MS).tell({ kind: 'missing', ordinal: 1, by: 'list', askedMsAgo: Number.POSITIVE_INFINITY });

    expect(story.states).toEqual(['unknown']);
    expect(story.attempt().absences).toEqual(before);
    expect(story.attempt().dueAt).toBeGreaterThan(story.now); // or it would be asked again at once, for as long as the clocks disagree
  });

  it('REL-A15: an absence from before it was last seen is old news', () => {
    const story = storyAt('live')
      .wait(HOUR_MS)
      .tell(seen(anInstance('running'), 'list'));

    story.wait(SECOND_MS).tell({ kind: 'missing', ordinal: 1, by: 'get', askedMsAgo: 5 * SECOND_MS });

    expect(story.attempt().absences).toEqual([]);
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

  it('REL-A5, REL-B11: a refusal that created all the same stays ours when it loses its tag', () => {
    const story = storyAt('intent').tell(refused('capacity'));
    const createdAt = story.now;
    story.wait(MINUTE_MS).tell(seen({ ...anInstance('running'), createdAt }, 'list'));
    const { tag: _lost, ...untagged } = anInstance('running');

    story.wait(MINUTE_MS).tell(seen({ ...untagged, createdAt }, 'get'));

    expect(story.attempt()).toMatchObject({ state: 'destroying', absences: [] });
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

  it('REL-A15: an intent of a former ordinal, for an unwanted session, or beside another attempt is not begun', () => {
    const refusedOnce = storyAt('intent').tell(refused('capacity'));
    expect(refusedOnce.tell({ kind: 'attempt_begun', attempt: anIntent(1) }).states).toEqual(['gone']);
    expect(new Story().tell(stop, { kind: 'attempt_begun', attempt: anIntent(1) }).states).toEqual([]);
    expect(new Story().tell({ kind: 'attempt_begun', attempt: anIntent(1, { state: 'live' }) }).states).toEqual([]);
    expect(storyAt('live').tell({ kind: 'attempt_begun', attempt: anIntent(2) }).states).toEqual(['live']);
    expect(storyAt('intent', { maxAttempts: 1 }).tell(refused('unavailable')).session.status).toBe('failed');
  });

  it('REL-B10: leaves out the ordinals that a lost database had used, and counts what it has', () => {
    const story = new Story().tell({ kind: 'attempt_begun', attempt: anIntent(3) });
    expect(story.states).toEqual(['intent']);
    expect(story.session.attemptCount).toBe(1);
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
