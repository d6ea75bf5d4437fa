import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { chained, NO_HEAD, type ChainHead } from '../db/audit-chain.ts';
import type { AuditRow } from '../db/tables.ts';
import { requestedEntry } from './audit-entries.ts';
import { answered, missing, notDestroyed, seen, stop, unanswered } from './fixtures/session-facts.ts';
import {
  aSession,
  anInstance,
  anIntent,
  PRICE,
  runningStory,
  SESSION_ID,
  Story,
  storyAt,
  tagOf,
} from './fixtures/session-records.ts';
import { receiptOf } from './receipt.ts';

/** The chain that the database would have of a story. */
function chainOf(story: Story): AuditRow[] {
  const rows = chained(SESSION_ID, NO_HEAD, story.session.createdAt, [requestedEntry(aSession())]);
  for (const { audit, session } of story.transitions)
    rows.push(...chained(SESSION_ID, rows.at(-1) ?? (NO_HEAD satisfies ChainHead), session.updatedAt, audit));
  return rows;
}

const told = (story: Story) => receiptOf(chainOf(story));

describe('the receipt of a session', () => {
  it('tells a plain life: created, ran, destroyed, accepted, verified, paid', () => {
    const story = runningStory()
      .wait(HOUR_MS)
      .tell(stop)
      .wait(SECOND_MS)
      .tell(answered('gone'))
      .wait(SECOND_MS)
      .missingFor(16 * MINUTE_MS);
    const open = told(story);
    expect(open.missing).toEqual(['the cost is not final yet']);

    const receipt = told(story.tell({ kind: 'settled', costMicros: PRICE }));

    expect(receipt).toMatchObject({
      stopRequested: { by: 'consumer', reason: 'user_requested' },
      ended: { status: 'stopped' },
      settledMicros: PRICE,
      missing: [],
      attempts: [
        {
          ordinal: 1,
          tag: tagOf(1),
          create: { verdict: 'created' },
          destroys: [{ answer: 'gone' }],
          accepted: { because: 'the provider answered the destroy with gone' },
          verified: { looks: expect.any(Number) },
          reappearedAt: [],
        },
      ],
      head: { seq: chainOf(story).length },
    });
    expect(receipt.attempts[0]?.verified?.looks).toBeGreaterThanOrEqual(6); // three by get and three by list at least
    expect(receipt.attempts[0]?.ranAt).toBeDefined();
  });

  it('tells each destroy with its answer, and the look that the acceptance rests on', () => {
    const story = runningStory()
      .tell(stop)
      .tell(notDestroyed)
      .wait(MINUTE_MS)
      .tell(answered('destroying'))
      .wait(MINUTE_MS)
      .tell(missing('get'));

    const [attempt] = told(story).attempts;

    expect(attempt?.destroys.map(({ answer }) => answer)).toEqual(['failed', 'destroying']);
    expect(attempt?.accepted?.because).toBe('after an answered destroy the provider did not know it by its id');
    expect(told(story).missing).toContain(
      'attempt 1: not verified yet: the provider said gone, and it is still being looked for',
    );
  });

  it('tells an attempt that nobody heard of, its verdict, and the one after it', () => {
    const story = storyAt('intent')
      .tell(unanswered())
      .missingFor(16 * MINUTE_MS)
      .wait(SECOND_MS);
    story.tell({ kind: 'attempt_begun', attempt: anIntent(2) }).wait(SECOND_MS);
    story.tell({ kind: 'create_accepted', ordinal: 2, instance: anInstance('starting', { ordinal: 2 }) });

    const { attempts, missing: lacks } = told(story);

    expect(attempts).toMatchObject([
      { ordinal: 1, tag: tagOf(1), create: { verdict: 'absent' }, destroys: [] },
      { ordinal: 2, tag: tagOf(2), create: { verdict: 'created' } },
    ]);
    expect(lacks).toContain('attempt 2: the provider has not said gone yet');
  });

  it('is not complete again when what was gone comes back', () => {
    const story = storyAt('gone')
      .wait(HOUR_MS)
      .tell(seen(anInstance('running'), 'list'));

    const receipt = told(story);

    expect(receipt.attempts[0]?.reappearedAt).toHaveLength(1);
    expect(receipt.attempts[0]?.verified).toBeUndefined();
    expect(receipt.missing).toContain(
      'attempt 1: it came back after it was gone, and the provider has not said gone again yet',
    );
  });

  it('REL-B15: tells that an id was seen as somebody else’s', () => {
    const story = storyAt('verifying').wait(MINUTE_MS);
    story.tell(seen(anInstance('running', { tag: 'berth-other-00000000000000000000000009-1' }), 'get'));

    expect(told(story).attempts[0]?.looks.at(-1)).toMatchObject({ by: 'get', saw: 'another' });
  });

  it('says when its chain is broken, and when it begins late', () => {
    const rows = chainOf(storyAt('gone'));
    const edited = rows.map((row, index) => (index === 2 ? { ...row, kind: 'attempt.refused' } : row));

    expect(receiptOf(edited).missing[0]).toMatch(/^its audit chain is broken: .*the row was edited$/);
    expect(receiptOf(rows.slice(1)).missing).toContainEqual(expect.stringMatching(/its first rows are gone/));
    expect(receiptOf([]).missing).not.toEqual([]);
  });
});
