import { describe, expect, it } from 'vitest';
import { START, anIntent, runningStory, storyAt } from './fixtures/session-records.ts';
import { brokenInvariants } from './invariants.ts';
import type { SessionRecord } from './session-record.ts';

// made by the test that needs them: mutation testing cannot tell whose work it is when a file makes them as it is read
const running = () => runningStory().record;
const ended = () => storyAt('gone').record;

function of(
  { session, attempts }: SessionRecord,
  changes: Partial<SessionRecord['session']>,
  ...others: Partial<SessionRecord['attempts'][number]>[]
): SessionRecord {
  return {
    session: { ...session, ...changes },
    attempts: attempts.map((attempt, index) => ({ ...attempt, ...others[index] })),
  };
}

describe('brokenInvariants', () => {
  it('finds nothing in sessions as they should be', () => {
    for (const state of ['intent', 'unknown', 'live', 'destroying', 'verifying', 'gone'] as const)
      expect(brokenInvariants(storyAt(state).record)).toEqual([]);
    expect(brokenInvariants(running())).toEqual([]);
  });

  it('finds nothing in a session whose first attempt is gone and whose second is in use, up to the hard maximum', () => {
    const { session, attempts } = running();
    const [live] = attempts;
    const gone = { ...anIntent(1), state: 'gone' as const };
    const record = {
      session: { ...session, attemptCount: 2, expiresAt: session.hardDeadlineAt },
      attempts: live ? [gone, { ...live, ordinal: 2 }] : [],
    };

    expect(brokenInvariants(record)).toEqual([]);
  });

  it.each<[string, () => SessionRecord]>([
    [
      'a session has at most one open attempt',
      () => ({ session: { ...running().session, attemptCount: 2 }, attempts: [...running().attempts, anIntent(2)] }),
    ],
    ['attempts are counted', () => of(running(), { attemptCount: 2 })],
    ['attempts are numbered in their order', () => of(running(), {}, { ordinal: 0 })],
    [
      'an end status means that the provider said gone of everything',
      () => of(ended(), {}, { state: 'destroying', goneAcceptedAt: null }),
    ],
    ['a session is stopping or ended exactly when it is not wanted any more', () => of(ended(), { desired: 'run' })],
    [
      'a session is stopping or ended exactly when it is not wanted any more',
      () => of(running(), { desired: 'gone', reason: 'idle' }),
    ],
    [
      'an unwanted session keeps no instance alive',
      () => of(ended(), { status: 'stopping', stoppedAt: null }, { state: 'live' }),
    ],
    ['an end has its time, and only an end', () => of(ended(), { stoppedAt: null })],
    ['an end has its time, and only an end', () => of(running(), { stoppedAt: START })],
    ['an unwanted session says why', () => of(ended(), { reason: null })],
    ['a running session has a live attempt', () => of(running(), {}, { state: 'unknown' })],
    ['the expiry lies before the hard maximum', () => of(running(), { expiresAt: running().session.hardDeadlineAt + 1 })],
    ['a live attempt knows its instance', () => of(running(), {}, { instanceId: null })],
    ['nothing is billed that is gone', () => of(ended(), {}, { billingSince: START })],
    ['verified means that every attempt is gone by verdict', () => of(ended(), {}, { state: 'verifying' })],
    ['nothing is billed that is gone', () => of(ended(), {}, { state: 'verifying', billingSince: START })],
  ])('RULE-R16: %s', (sentence, record) => {
    expect(brokenInvariants(record())).toContain(sentence);
  });

  it.each<[string, Partial<SessionRecord['session']>, Partial<SessionRecord['attempts'][number]>]>([
    ['attempts are numbered in their order', {}, { ordinal: 1 }],
    ['an end status means that the provider said gone of everything', {}, { state: 'destroying', goneAcceptedAt: null }],
    ['an unwanted session keeps no instance alive', { status: 'stopping', stoppedAt: null }, { state: 'live' }],
    ['a live attempt knows its instance', { desired: 'run' }, { state: 'live', instanceId: null }],
    ['nothing is billed that is gone', {}, { billingSince: START }],
    ['verified means that every attempt is gone by verdict', {}, { state: 'verifying' }],
  ])('RULE-R16: one attempt as it should be excuses no other: %s', (sentence, session, second) => {
    const record = ended();
    const attempts = record.attempts.flatMap((attempt) => [attempt, { ...attempt, ordinal: 2, ...second }]);

    expect(brokenInvariants({ session: { ...record.session, attemptCount: 2, ...session }, attempts })).toContain(sentence);
  });
});
