import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { exactCost } from '../core/money.ts';
import { rateOf } from './billing.ts';
import { refused } from './fixtures/session-facts.ts';
import { DISK_PRICE, PRICE, START, Story, anInstance, anIntent, runningStory, storyAt } from './fixtures/session-records.ts';

const full = { starting: 'full', paused: 'full' } as const;
const disk = { starting: 'disk', paused: 'disk' } as const;
const none = { starting: 'none', paused: 'none' } as const;

describe('rateOf', () => {
  it.each([
    ['starting', full, PRICE],
    ['starting', disk, DISK_PRICE],
    ['starting', none, 0],
    ['paused', full, PRICE],
    ['paused', disk, DISK_PRICE],
    ['paused', none, 0],
    ['running', none, PRICE],
    ['stopping', none, PRICE],
    ['failed', none, PRICE],
  ] as const)('an instance that is %s under %j costs %i an hour', (state, billing, rate) => {
    expect(rateOf(anIntent(), anInstance(state), billing, 50)).toBe(rate);
  });

  it('takes the provider’s own word before any rule', () => {
    expect(rateOf(anIntent(), anInstance('starting', { priceMicrosPerHour: 7 }), full, 50)).toBe(7);
    expect(rateOf(anIntent(), anInstance('running', { priceMicrosPerHour: 0 }), full, 50)).toBe(0);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5, 2 ** 60])(
    'REL-C17: %d is no price, the offered one holds',
    (priceMicrosPerHour) => {
      expect(rateOf(anIntent(), anInstance('running', { priceMicrosPerHour }), full, 50)).toBe(PRICE);
    },
  );
});

describe('the bill of an attempt', () => {
  it('begins when the create is accepted, not with the intent, and changes with the state of the instance', () => {
    const story = runningStory();

    expect(story.segments).toMatchObject([
      { sequence: 1, priceMicrosPerHour: DISK_PRICE, fromAt: START + SECOND_MS, toAt: START + 2 * SECOND_MS, payer: 'attempt' },
      { sequence: 2, priceMicrosPerHour: PRICE, fromAt: START + 2 * SECOND_MS, toAt: null, payer: 'attempt' },
    ]);
  });

  it('ends at the last destroy that the provider answered, not when it was seen to be gone', () => {
    const story = runningStory().tell({ kind: 'stop_requested', reason: 'user_requested' });

    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'destroying' });
    const answeredAt = story.now;
    story.wait(5 * MINUTE_MS).tell({ kind: 'missing', ordinal: 1, by: 'get' });

    expect(story.attempt().state).toBe('verifying');
    expect(story.segments.at(-1)).toMatchObject({ toAt: answeredAt });
  });

  it.each([
    { seen: 'running', billed: 'until it was last seen so', more: 10 * MINUTE_MS },
    { seen: 'stopping', billed: 'until that answer', more: 0 },
  ] as const)('REL-C2: what is $seen after a destroy was answered, and gone later, is billed $billed', ({ seen, more }) => {
    const story = runningStory().tell({ kind: 'stop_requested', reason: 'user_requested' });
    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'destroying' });
    const answeredAt = story.now;

    story.wait(10 * MINUTE_MS).tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance(seen) });
    story.tell({ kind: 'destroy_failed', ordinal: 1, refusal: { kind: 'unavailable', message: 'no answer' } });
    story.wait(5 * MINUTE_MS).tell({ kind: 'missing', ordinal: 1, by: 'get' });

    expect(story.segments.at(-1)).toMatchObject({ toAt: answeredAt + more });
  });

  it('REL-C2, REL-C6: what is on its way out, ten minutes after an answer that was a lie, is billed until it is seen so', () => {
    const story = runningStory().tell({ kind: 'stop_requested', reason: 'user_requested' });
    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'destroying' });
    story.wait(10 * MINUTE_MS).tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance('running') });
    story.tell({ kind: 'destroy_failed', ordinal: 1, refusal: { kind: 'unavailable', message: 'no answer' } });

    story.wait(MINUTE_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('stopping') });
    const seenAt = story.now;
    story.wait(5 * MINUTE_MS).tell({ kind: 'missing', ordinal: 1, by: 'get' });

    expect(story.segments.at(-1)).toMatchObject({ toAt: seenAt });
  });

  it('keeps charging while every destroy fails', () => {
    const story = runningStory().tell({ kind: 'stop_requested', reason: 'user_requested' });

    story.tell({ kind: 'destroy_failed', ordinal: 1, refusal: { kind: 'unavailable', message: 'no answer' } }).wait(HOUR_MS);

    expect(story.segments.at(-1)).toMatchObject({ toAt: null });
  });

  it('when no destroy was ever answered, ends when it was last seen, also after its end was wished', () => {
    const story = runningStory().tell({ kind: 'stop_requested', reason: 'user_requested' });
    story.wait(HOUR_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running') });
    const lastSeenAt = story.now;

    story.wait(MINUTE_MS).missingFor(16 * MINUTE_MS);

    expect(story.attempt().state).toBe('gone');
    expect(story.segments.at(-1)).toMatchObject({ toAt: lastSeenAt });
  });

  it('REL-C15: what vanished was billed until it was last seen', () => {
    const story = runningStory();
    story.wait(HOUR_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running') });
    const lastSeenAt = story.now;

    story.wait(MINUTE_MS).missingFor(16 * MINUTE_MS);

    expect(story.session).toMatchObject({ status: 'stopped', reason: 'instance_vanished' });
    expect(story.segments.at(-1)).toMatchObject({ toAt: lastSeenAt });
  });

  it.each([
    { by: 'list', when: 'an hour later', since: 'it was believed gone', afterMs: HOUR_MS, gapMs: 0 },
    { by: 'list', when: 'at once', since: 'it is listed again, since lists are late', afterMs: MINUTE_MS, gapMs: MINUTE_MS },
    { by: 'get', when: 'at once', since: 'it was believed gone, since its id was never free', afterMs: MINUTE_MS, gapMs: 0 },
  ] as const)(
    'REL-C16: what came back after it was gone, seen $when by $by, is the operator’s from when $since',
    ({ by, afterMs, gapMs }) => {
      const story = storyAt('verifying');
      const goneAt = story.attempt().goneAcceptedAt ?? 0;
      const firstSegments = story.segments.length;

      story
        .wait(goneAt + afterMs - story.now)
        .tell({ kind: 'seen', ordinal: 1, by, instance: anInstance('running'), askedAt: goneAt + afterMs })
        .wait(MINUTE_MS)
        .tell({ kind: 'destroy_answered', ordinal: 1, result: 'gone' });

      expect(story.segments.slice(firstSegments)).toEqual([
        expect.objectContaining({ payer: 'operator', fromAt: goneAt + gapMs, toAt: goneAt + afterMs + MINUTE_MS }),
      ]);
    },
  );

  it('REL-C16: a list may show its own past for two minutes, and no longer', () => {
    const billedFrom = (afterMs: number) => {
      const story = storyAt('verifying');
      const goneAt = story.attempt().goneAcceptedAt ?? 0;
      story.wait(goneAt + afterMs - story.now);
      story.tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt: story.now });
      return (story.segments.at(-1)?.fromAt ?? 0) - goneAt;
    };

    expect([2 * MINUTE_MS - 1, 2 * MINUTE_MS].map(billedFrom)).toEqual([2 * MINUTE_MS - 1, 0]);
  });

  it('REL-C16: what came back again, though no destroy was ever answered since, is billed since the second verdict', () => {
    const story = storyAt('gone')
      .wait(HOUR_MS)
      .tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance('running') });
    story.wait(HOUR_MS).missingFor(16 * MINUTE_MS);
    const { state, goneAcceptedAt, goneVerifiedAt } = story.attempt();
    expect(state).toBe('gone');
    expect(goneAcceptedAt).toBeLessThan((goneVerifiedAt ?? 0) - HOUR_MS);

    story.wait(HOUR_MS).tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance('running') });

    expect(story.segments.at(-1)).toMatchObject({ payer: 'operator', fromAt: goneVerifiedAt, toAt: null });
  });

  it('REL-C16: what was accepted in the moment that its destroy was asked for costs from when it is seen again', () => {
    const story = storyAt('live').tell(
      { kind: 'stop_requested', reason: 'idle' },
      { kind: 'destroy_answered', ordinal: 1, result: 'gone' },
    );

    story.wait(HOUR_MS).tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance('running') });

    expect(story.segments.at(-1)).toMatchObject({ payer: 'operator', fromAt: story.now, toAt: null });
  });

  it('REL-A4: what nobody knew of and a list shows at once has cost money since its call', () => {
    const story = storyAt('unknown')
      .missingFor(14 * MINUTE_MS)
      .wait(2 * MINUTE_MS);
    story.tell({ kind: 'missing', ordinal: 1, by: 'list' });
    expect(story.attempt().state).toBe('gone');

    story.wait(MINUTE_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt: story.now });

    expect(story.segments).toMatchObject([{ payer: 'operator', fromAt: story.attempt().intentAt, toAt: null }]);
  });

  it('REL-C2: what is seen a minute after its destroy was answered, and no later, is billed until that answer', () => {
    const billedMs = (afterMs: number) => {
      const story = runningStory().tell({ kind: 'stop_requested', reason: 'user_requested' });
      story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'destroying' });
      const answeredAt = story.now;
      story.wait(afterMs).tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance('running') });
      story.wait(SECOND_MS).tell({ kind: 'missing', ordinal: 1, by: 'get' });
      return (story.segments.at(-1)?.toAt ?? 0) - answeredAt;
    };

    expect([MINUTE_MS, MINUTE_MS + 1].map(billedMs)).toEqual([0, MINUTE_MS + 1]);
  });

  it('REL-A4, REL-A5: what nobody knew of has cost money since its call', () => {
    for (const story of [storyAt('unknown').missingFor(16 * MINUTE_MS), storyAt('intent').tell(refused('capacity'))]) {
      const { intentAt } = story.attempt();

      story.wait(MINUTE_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt: story.now });

      expect(story.segments).toMatchObject([{ payer: 'operator', fromAt: intentAt, toAt: null }]);
    }
  });

  it('REL-C16: what was made only after it was gone has cost nothing before', () => {
    const story = storyAt('gone').wait(HOUR_MS);
    const createdAt = story.now - 5 * MINUTE_MS;

    story.tell({ kind: 'seen', ordinal: 1, by: 'get', instance: { ...anInstance('running'), createdAt } });

    expect(story.segments.at(-1)).toMatchObject({ payer: 'operator', fromAt: createdAt, toAt: null });
  });

  it('REL-C17: a price that changes in use makes a new segment; segments touch, and their sum is the cost', () => {
    const price = fc.oneof(fc.integer({ min: 0, max: 5_000_000 }), fc.constant(Number.NaN));
    const change = fc.record({ afterMs: fc.integer({ min: 0, max: 3 * HOUR_MS }), price });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), fc.integer({ min: 0, max: HOUR_MS }), (changes, lastMs) => {
        const story = runningStory();
        let cost = exactCost(DISK_PRICE, SECOND_MS);
        let rate = PRICE;
        let since = START + 2 * SECOND_MS;
        for (const { afterMs, price: told } of changes) {
          story
            .wait(afterMs)
            .tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running', { priceMicrosPerHour: told }) });
          cost += exactCost(rate, story.now - since);
          since = story.now;
          rate = Number.isNaN(told) ? PRICE : told;
        }
        story
          .wait(lastMs)
          .tell({ kind: 'stop_requested', reason: 'user_requested' }, { kind: 'destroy_answered', ordinal: 1, result: 'gone' });
        cost += exactCost(rate, story.now - since);

        const { segments } = story;
        expect(
          segments.every(({ toAt, priceMicrosPerHour }) => toAt !== null && Number.isSafeInteger(priceMicrosPerHour)),
        ).toBe(true);
        expect(segments.slice(1).map(({ fromAt }) => fromAt)).toEqual(segments.slice(0, -1).map(({ toAt }) => toAt));
        expect(
          segments.reduce(
            (sum, { priceMicrosPerHour, fromAt, toAt }) => sum + exactCost(priceMicrosPerHour, (toAt ?? 0) - fromAt),
            0n,
          ),
        ).toBe(cost);
      }),
    );
  });

  it('no segment begins before the one before it ended, even where the clock is said to have gone back', () => {
    const story = new Story();
    story.tell(
      { kind: 'attempt_begun', attempt: anIntent() },
      { kind: 'create_accepted', ordinal: 1, instance: anInstance('starting') },
    );

    story.wait(-HOUR_MS).tell({ kind: 'seen', ordinal: 1, by: 'get', instance: anInstance('running') });

    expect(story.segments).toMatchObject([
      { fromAt: START, toAt: START },
      { fromAt: START, toAt: null },
    ]);
  });
});
