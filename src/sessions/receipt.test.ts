import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { chained, NO_HEAD, type AuditEntry, type ChainHead } from '../db/audit-chain.ts';
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
  START,
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

describe('the receipt of rows', () => {
  type Row = readonly [kind: string, data?: Readonly<Record<string, unknown>>, actor?: AuditEntry['actor']];

  /** One row a second. */
  function rowsOf(...told: readonly Row[]): AuditRow[] {
    const rows: AuditRow[] = [];
    for (const [index, [kind, data = {}, actor = 'broker']] of told.entries())
      rows.push(...chained(SESSION_ID, rows.at(-1) ?? NO_HEAD, START + index, [{ actor, kind, data }]));
    return rows;
  }
  const of = (...told: readonly Row[]) => receiptOf(rowsOf(...told));
  const first = (...told: readonly Row[]) => of(...told).attempts[0];
  const about = (data: Readonly<Record<string, unknown>> = {}) => ({ attempt: 1, ...data });
  const nothing = { ordinal: 1, destroys: [], looks: [], reappearedAt: [] };

  it('tells every row of a life', () => {
    const rows = rowsOf(
      ['session.requested', { consumer_id: 'alice' }],
      ['attempt.begun', about({ tag: 'berth-1', provider: 'cloud' })],
      ['instance.created', about({ instance_id: 'i' }), 'provider'],
      ['session.running', about()],
      ['session.stop_requested', { reason: 'drained' }, 'operator'],
      ['destroy.failed', about({ asked_at: 7, error_kind: 'unavailable' }), 'provider'],
      ['destroy.answered', about({ asked_at: 8, answer: 'destroying' }), 'provider'],
      ['instance.missing', about({ by: 'get' }), 'provider'],
      ['instance.gone_accepted', about()],
      ['cost.billed', about({ payer: 'attempt', price_micros_per_hour: 5, from_at: 1, to_at: 2 })],
      ['session.stopped'],
      ['instance.missing', about({ by: 'list' }), 'provider'],
      ['instance.missing', about({ by: 'get', saw: 'another' }), 'provider'],
      ['instance.gone_verified', about()],
      ['session.settled', { cost_micros: 9 }],
    );

    expect(receiptOf(rows)).toEqual({
      consumerId: 'alice',
      requestedAt: START,
      stopRequested: { at: START + 4, by: 'operator', reason: 'drained' },
      ended: { at: START + 10, status: 'stopped' },
      settledMicros: 9,
      attempts: [
        {
          ordinal: 1,
          tag: 'berth-1',
          provider: 'cloud',
          instanceId: 'i',
          begunAt: START + 1,
          create: { verdict: 'created', at: START + 2 },
          ranAt: START + 3,
          destroys: [
            { askedAt: 7, answeredAt: START + 5, answer: 'failed', error: 'unavailable' },
            { askedAt: 8, answeredAt: START + 6, answer: 'destroying' },
          ],
          looks: [
            { at: START + 7, by: 'get', saw: 'nothing' },
            { at: START + 11, by: 'list', saw: 'nothing' },
            { at: START + 12, by: 'get', saw: 'another' },
          ],
          accepted: { at: START + 8, because: 'after an answered destroy the provider did not know it by its id' },
          verified: { at: START + 13, looks: 2 },
          reappearedAt: [],
        },
      ],
      segments: [{ ordinal: 1, payer: 'attempt', ran: true, priceMicrosPerHour: 5, fromAt: 1, toAt: 2 }],
      missing: [],
      head: { seq: 15, hash: rows.at(-1)?.hash },
    });
  });

  it('of none lacks all of it', () => {
    expect(of()).toEqual({
      attempts: [],
      segments: [],
      missing: [
        'the session began before the audit log was kept, or its first rows are gone: what was before is not told here',
        'the session has not ended yet',
        'the cost is not final yet',
      ],
      head: NO_HEAD,
    });
  });

  it('leaves out what older builds did not tell, and rows and kinds that it cannot read', () => {
    expect(
      of(
        ['session.requested'],
        ['session.stop_requested'],
        ['session.settled'],
        ['session.gone_verified'],
        ['attempt.begun', { attempt: 'one' }],
        ['attempt.begun'],
      ),
    ).toMatchObject({ requestedAt: START, stopRequested: { reason: '' }, attempts: [] });
    expect(of(['session.requested'])).not.toHaveProperty('consumerId');
    expect(of(['session.settled'])).not.toHaveProperty('settledMicros');
    expect(first(['something.else', about()])).toEqual(nothing);
  });

  it('says how it ended', () => {
    expect(of(['session.failed']).ended).toEqual({ at: START, status: 'failed' });
  });

  it('tells one that was taken in again: created then, and run where it ran', () => {
    const adopted = { begunAt: START, create: { verdict: 'created', at: START } };

    expect(first(['session.adopted', about({ ran: true })])).toEqual({ ...nothing, ...adopted, ranAt: START });
    expect(first(['session.adopted', about({ ran: false })])).toEqual({ ...nothing, ...adopted });
    expect(of(['session.adopted', { consumer_id: 'alice' }])).toMatchObject({ consumerId: 'alice', requestedAt: START });
  });

  it.each([
    ['attempt.refused', 'refused'],
    ['attempt.unknown', 'unknown'],
    ['attempt.absent', 'absent'],
  ])('tells the verdict of %s', (kind, verdict) => {
    expect(first([kind, about({ message: 'why' })])?.create).toEqual({ verdict, at: START, message: 'why' });
    expect(first([kind, about()])?.create).toEqual({ verdict, at: START });
  });

  it('counts the looks of a verdict since the last sight', () => {
    const look: Row = ['instance.missing', about({ by: 'list' })];
    const sight: Row = ['instance.seen', about({ by: 'get', instance_state: 'running' })];
    const verified = (...told: readonly Row[]) => first(...told)?.verified;

    expect(verified(look, look, ['attempt.absent', about()])).toEqual({ at: START + 2, looks: 2 });
    expect(verified(look, sight, look, ['instance.vanished', about()])).toEqual({ at: START + 3, looks: 1 });
    expect(verified(look, ['instance.missing', { attempt: 2 }], ['instance.gone_verified', about()])?.looks).toBe(1);
    expect(verified(look, ['attempt.refused', about()])).toBeUndefined();
    expect(verified(look, ['attempt.unknown', about()])).toBeUndefined();
    expect(first(sight, ['instance.seen', about()])?.looks).toEqual([
      { at: START, by: 'get', saw: 'running' },
      { at: START + 1, by: '', saw: 'an instance' },
    ]);
    expect(first(['instance.missing', about()])?.looks).toEqual([{ at: START, by: '', saw: 'nothing' }]);
  });

  it('says what an acceptance rests on: the answer or the look before it, or nothing that it has', () => {
    const accepted: Row = ['instance.gone_accepted', about()];

    expect(first(['destroy.answered', about({ answer: 'gone' })], accepted)?.accepted).toEqual({
      at: START + 1,
      because: 'the provider answered the destroy with gone',
    });
    expect(first(['instance.missing', about()], accepted)?.accepted?.because).toMatch(/^after an answered destroy/);
    expect(first(accepted)?.accepted?.because).toBe('');
  });

  it('tells a destroy whose answer is not told', () => {
    expect(first(['destroy.answered', about()])?.destroys).toEqual([{ askedAt: undefined, answeredAt: START, answer: '' }]);
  });

  it('takes acceptance and verdict back when it came back', () => {
    const back = first(
      ['instance.gone_accepted', about()],
      ['instance.gone_verified', about()],
      ['instance.reappeared', about()],
    );

    expect(back).toEqual({ ...nothing, reappearedAt: [START + 2] });
  });

  it('keeps what is known of an attempt: no row takes its instance back', () => {
    const begun: Row = ['attempt.begun', about({ tag: 't', provider: 'p', instance_id: 'i' })];

    expect(first(begun, ['session.running', about({ instance_id: null })])).toMatchObject({
      tag: 't',
      provider: 'p',
      instanceId: 'i',
    });
    expect(first(begun, ['session.running', about()])).toMatchObject({ tag: 't', provider: 'p', instanceId: 'i' });
    expect(first(['attempt.begun', about()])).toEqual({ ...nothing, begunAt: START });
  });

  it('tells the parts of the bill that are whole, and whether their attempt ran', () => {
    const part = { payer: 'operator', from_at: 1, to_at: 2 };
    const { segments } = of(
      ['cost.billed', about(part)],
      ['cost.billed', { ...part, attempt: 2, price_micros_per_hour: 3 }],
      ['session.running', { attempt: 2 }],
      ['cost.billed', about({ ...part, payer: undefined })],
      ['cost.billed', about({ ...part, from_at: undefined })],
      ['cost.billed', about({ ...part, to_at: undefined })],
    );

    expect(segments).toEqual([
      { ordinal: 1, payer: 'operator', ran: false, priceMicrosPerHour: 0, fromAt: 1, toAt: 2 },
      { ordinal: 2, payer: 'operator', ran: true, priceMicrosPerHour: 3, fromAt: 1, toAt: 2 },
    ]);
  });

  it.each<[string, readonly Row[], readonly string[]]>([
    ['a refused create', [['attempt.refused', about()]], []],
    [
      'a refused create that made something all the same',
      [
        ['attempt.refused', about()],
        ['instance.reappeared', about()],
      ],
      ['attempt 1: it came back after it was gone, and the provider has not said gone again yet'],
    ],
    [
      'a create without an answer',
      [['attempt.unknown', about()]],
      ['attempt 1: nobody knows yet whether the create call made an instance'],
    ],
    ['an intent', [['attempt.begun', about()]], ['attempt 1: nobody knows yet whether the create call made an instance']],
    ['a create that was never made', [['attempt.absent', about()]], []],
    ['an instance', [['instance.created', about()]], ['attempt 1: the provider has not said gone yet']],
    [
      'an instance that was accepted as gone',
      [
        ['instance.created', about()],
        ['instance.gone_accepted', about()],
      ],
      ['attempt 1: not verified yet: the provider said gone, and it is still being looked for'],
    ],
    [
      'an instance that came back and was accepted as gone again',
      [
        ['instance.reappeared', about()],
        ['instance.gone_accepted', about()],
      ],
      ['attempt 1: not verified yet: the provider said gone, and it is still being looked for'],
    ],
    [
      'an instance that is verified as gone',
      [
        ['instance.created', about()],
        ['instance.gone_accepted', about()],
        ['instance.gone_verified', about()],
      ],
      [],
    ],
  ])('of %s lacks what it says', (_, told, lacks) => {
    const whole: readonly Row[] = [
      ['session.requested'],
      ...told,
      ['session.stopped'],
      ['session.settled', { cost_micros: 0 }],
    ];

    expect(of(...whole).missing).toEqual(lacks);
  });

  it('names the first fault of its chain', () => {
    const rows = rowsOf(['session.requested'], ['session.stopped'], ['session.settled', { cost_micros: 0 }]);
    const [one, two, three] = rows as [AuditRow, AuditRow, AuditRow]; // three were told

    expect(receiptOf([one, three]).missing).toEqual([
      'its audit chain is broken: row 2 is missing: after row 1 comes row 3',
      'the session has not ended yet',
    ]);
    expect(receiptOf([one, { ...two, data: '{' }, { ...three, kind: 'x' }]).missing[0]).toMatch(/the row was edited$/);
    expect(receiptOf([one, three, { ...two, seq: 9 }]).missing[0]).toMatch(/row 2 is missing/);
  });
});
