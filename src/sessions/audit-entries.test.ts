import { describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { AuditEntry } from '../db/audit-chain.ts';
import type { Attempt } from '../db/tables.ts';
import type { Fact } from './fact.ts';
import { adoptedEntry, requestedEntry } from './audit-entries.ts';
import { answered, failed, missing, notDestroyed, refused, seen, stop } from './fixtures/session-facts.ts';
import {
  PRICE,
  START,
  Story,
  aSession,
  anInstance,
  anIntent,
  runningStory,
  storyAt,
  tagOf,
} from './fixtures/session-records.ts';

/** What every row about the first attempt says of it, before its instance is known and afterwards. */
const ABOUT = { attempt: 1, tag: tagOf(1), provider: 'cloud' };
const KNOWN = { ...ABOUT, instance_id: 'instance-1' };

const BEGUN: AuditEntry = {
  actor: 'broker',
  kind: 'attempt.begun',
  data: {
    ...ABOUT,
    offer_id: 'cloud-a',
    price_micros_per_hour: PRICE,
    cap_micros_per_hour: 357_000,
    create_deadline_at: START + 30 * SECOND_MS,
  },
};
const UNKNOWN: AuditEntry = { actor: 'provider', kind: 'attempt.unknown', data: { ...ABOUT, message: 'no answer' } };
const CREATED: AuditEntry = { actor: 'provider', kind: 'instance.created', data: KNOWN };

const rowsOf = (story: Story) => story.transitions.flatMap(({ audit }) => audit);

/** The rows that these facts add. */
function rowsBy(story: Story, ...facts: readonly Fact[]): readonly AuditEntry[] {
  const before = rowsOf(story).length;
  return rowsOf(story.tell(...facts)).slice(before);
}

const missed = (by: string): AuditEntry => ({ actor: 'provider', kind: 'instance.missing', data: { ...KNOWN, by } });

describe('the first row of a session', () => {
  it('tells what decides about machines and money, and no names, keys or environment', () => {
    expect(
      requestedEntry(aSession({ name: 'my machine', request: { ...aSession().request, environment: { A: 'b' } } })),
    ).toEqual({
      actor: 'consumer',
      kind: 'session.requested',
      data: {
        consumer_id: 'alice',
        provider: 'cloud',
        offer_id: 'cloud-a',
        price_micros_per_hour: PRICE,
        reservation_minutes: 120,
        expires_at: START + 2 * HOUR_MS,
        hard_deadline_at: START + 12 * HOUR_MS,
      },
    });
  });

  it('of one that was taken in again tells its last attempt, and whether that ran', () => {
    const deadlines = { consumer_id: 'alice', expires_at: START + 2 * HOUR_MS, hard_deadline_at: START + 12 * HOUR_MS };
    const attempts: Attempt[] = [anIntent(1), anIntent(2)];
    const about = { attempt: 2, tag: tagOf(2), provider: 'cloud', ran: false };

    expect(adoptedEntry({ session: aSession(), attempts })).toEqual({
      actor: 'operator',
      kind: 'session.adopted',
      data: { ...deadlines, ...about },
    });
    expect(adoptedEntry(runningStory().record).data).toEqual({ ...deadlines, ...KNOWN, ran: true });
    expect(adoptedEntry({ session: aSession(), attempts: [] }).data).toEqual(deadlines);
  });
});

describe('the rows of a life', () => {
  it('tell the intent, the create, the proof, each wish, each destroy with its answer, the ends, and the bill', () => {
    const story = runningStory().tell({ kind: 'extended', addedMinutes: 60 }).wait(HOUR_MS).tell(stop).wait(SECOND_MS);
    story.tell(notDestroyed).wait(SECOND_MS);
    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'destroying', askedAt: 5 });
    const answeredAt = story.now;
    story.wait(SECOND_MS).tell(missing('list'), missing('get'), { kind: 'settled', costMicros: 7 });

    expect(rowsOf(story)).toEqual([
      BEGUN,
      CREATED,
      billed({ sequence: 1, price_micros_per_hour: 10_000, from_at: START + SECOND_MS, to_at: START + 2 * SECOND_MS }),
      { actor: 'broker', kind: 'session.running', data: KNOWN },
      { actor: 'consumer', kind: 'session.extended', data: { expires_at: START + 3 * HOUR_MS, added_minutes: 60 } },
      { actor: 'consumer', kind: 'session.stop_requested', data: { reason: 'user_requested' } },
      {
        actor: 'provider',
        kind: 'destroy.failed',
        data: { ...KNOWN, try: 1, error_kind: 'unavailable', message: 'no answer' },
      },
      { actor: 'provider', kind: 'destroy.answered', data: { ...KNOWN, try: 2, asked_at: 5, answer: 'destroying' } },
      missed('list'),
      missed('get'),
      { actor: 'broker', kind: 'instance.gone_accepted', data: KNOWN },
      { actor: 'broker', kind: 'session.stopped', data: { reason: 'user_requested' } },
      billed({ sequence: 2, price_micros_per_hour: PRICE, from_at: START + 2 * SECOND_MS, to_at: answeredAt }),
      { actor: 'broker', kind: 'session.settled', data: { cost_micros: 7 } },
    ]);
  });

  it('tell a refusal and the failure that it is', () => {
    expect(rowsOf(storyAt('intent').tell(refused('capacity')))).toEqual([
      BEGUN,
      { actor: 'provider', kind: 'attempt.refused', data: { ...ABOUT, kind: 'capacity', message: 'create: capacity' } },
      {
        actor: 'broker',
        kind: 'session.stop_requested',
        data: { reason: 'stale_inventory', message: 'create: capacity' },
      },
      { actor: 'broker', kind: 'session.failed', data: { reason: 'stale_inventory', error: 'create: capacity' } },
    ]);
  });

  it('tell an attempt that was of no use', () => {
    expect(rowsBy(storyAt('live'), failed)).toEqual([
      { actor: 'broker', kind: 'attempt.failed', data: { ...KNOWN, reason: 'ssh_verify_timeout', message: 'no login' } },
      { actor: 'broker', kind: 'session.stop_requested', data: { reason: 'ssh_verify_timeout', message: 'no login' } },
    ]);
  });

  it('tell the verdict on a create that nobody answered', () => {
    const rows = rowsOf(storyAt('unknown').missingFor(16 * MINUTE_MS));

    expect(rows.slice(0, 3)).toEqual([
      BEGUN,
      UNKNOWN,
      { actor: 'provider', kind: 'instance.missing', data: { ...ABOUT, by: 'get' } },
    ]);
    expect(rows.at(-1)).toEqual({ actor: 'provider', kind: 'attempt.absent', data: ABOUT });
  });

  it('tell the verdict on an instance that nobody destroyed', () => {
    expect(rowsOf(storyAt('live').missingFor(16 * MINUTE_MS)).find(({ kind }) => kind === 'instance.vanished')).toEqual({
      actor: 'provider',
      kind: 'instance.vanished',
      data: { ...KNOWN, last_seen_at: START + SECOND_MS },
    });
  });

  it('tell that absence became a verdict, of the attempt and of the session', () => {
    expect(rowsOf(storyAt('gone')).slice(-2)).toEqual([
      { actor: 'broker', kind: 'instance.gone_verified', data: KNOWN },
      { actor: 'broker', kind: 'session.gone_verified', data: {} },
    ]);
  });

  it('tell that a destroy is overdue', () => {
    const story = storyAt('destroying');
    const since = story.now - SECOND_MS;
    const rows = rowsBy(story.wait(14 * MINUTE_MS + 58 * SECOND_MS), notDestroyed);

    expect(rows.at(-1)).toEqual({
      actor: 'broker',
      kind: 'instance.destroy_overdue',
      data: { ...KNOWN, tries: 1, requested_at: since },
    });
  });

  it.each([
    ['user_requested', 'consumer'],
    ['drained', 'operator'],
    ['expired', 'broker'],
    ['idle', 'broker'],
  ] as const)('say who wished an end that is %s: the %s', (reason, actor) => {
    expect(rowsBy(storyAt('live'), { kind: 'stop_requested', reason })).toEqual([
      { actor, kind: 'session.stop_requested', data: { reason } },
    ]);
  });

  it.each([
    ['a way in that has moved', runningStory, seen(anInstance('running', { ssh: { user: 'root', routes: [] } }))],
    ['a look at its use', runningStory, { kind: 'sampled', sampledAt: START + DAY_MS, idle: true, longestGapMs: 1 }],
    ['a phase of the proof', () => storyAt('live'), { kind: 'proof_phase', ordinal: 1, phase: 'driver' }],
    ['a pause', () => storyAt('destroying'), { kind: 'postponed', ordinal: 1, untilAt: START + DAY_MS }],
  ] as const)('leave out %s', (_, begin, fact) => {
    const story = begin();
    const before = story.transitions.length;

    story.tell(fact);

    expect(story.transitions.slice(before).map(({ audit }) => audit)).toEqual([[]]);
  });
});

describe('the rows of looks', () => {
  it('tell a look that counted for absence, and none that came too soon to count', () => {
    expect(rowsBy(storyAt('verifying'), missing('get'), missing('get'), missing('list'))).toEqual([
      missed('get'),
      missed('list'),
    ]);
  });

  it('tell no sight of a live instance, whose it may be, since it is seen each minute', () => {
    expect(rowsBy(storyAt('live').tell(missing('get')).wait(MINUTE_MS), seen())).toEqual([
      billed({ sequence: 1, price_micros_per_hour: 10_000, from_at: START + SECOND_MS, to_at: START + 62 * SECOND_MS }),
    ]);
    expect(rowsBy(storyAt('live'), seen(anInstance('running', { tag: 'berth-other' })))).toEqual([]);
  });

  it('tell the sight by which an unknown create is found', () => {
    expect(rowsBy(storyAt('unknown'), seen()).slice(0, 2)).toEqual([
      { actor: 'provider', kind: 'instance.seen', data: { ...ABOUT, ...sight('get', 'running') } },
      CREATED,
    ]);
  });

  it('tell a sight of what is on its way out when it takes absences back, and no other', () => {
    const stopping = seen(anInstance('stopping'), 'list');

    expect(rowsBy(storyAt('destroying').tell(stopping), missing('list'), stopping, stopping)).toEqual([
      missed('list'),
      { actor: 'provider', kind: 'instance.seen', data: { ...KNOWN, ...sight('list', 'stopping') } },
    ]);
  });

  it('tell no look that came too soon to count, though it puts off the next', () => {
    const story = storyAt('verifying').tell(missing('get')).wait(MINUTE_MS);
    const old: Fact = { kind: 'missing', ordinal: 1, by: 'get', askedMsAgo: 30 * SECOND_MS };

    expect(rowsBy(story, old)).toEqual([]);
    expect(story.attempt().dueAt).toBe(story.now + MINUTE_MS);
  });

  it('tell no sight of what is on its way out that shows it in another state, beside its bill', () => {
    expect(rowsBy(storyAt('destroying'), seen()).map(({ kind }) => kind)).toEqual(['cost.billed']);
  });

  it('tell what came back after it was gone', () => {
    expect(rowsBy(storyAt('gone').wait(HOUR_MS), seen(anInstance('stopping'), 'list'))).toEqual([
      { actor: 'provider', kind: 'instance.seen', data: { ...KNOWN, ...sight('list', 'stopping') } },
      { actor: 'provider', kind: 'instance.reappeared', data: KNOWN },
    ]);
  });

  it('REL-B15: tell that an id was seen as somebody else’s', () => {
    expect(rowsBy(storyAt('verifying'), seen(anInstance('running', { tag: 'berth-other' }), 'list'))).toEqual([
      { actor: 'provider', kind: 'instance.missing', data: { ...KNOWN, by: 'list', saw: 'another' } },
    ]);
  });

  it('tell no answer to a destroy that was not asked for any more', () => {
    expect(rowsBy(storyAt('verifying'), answered('gone'), notDestroyed)).toEqual([]);
  });
});

const sight = (by: string, state: string) => ({ by, instance_id: 'instance-1', instance_state: state });

function billed(segment: Readonly<Record<string, unknown>>): AuditEntry {
  return { actor: 'broker', kind: 'cost.billed', data: { attempt: 1, payer: 'attempt', ...segment } };
}
