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

  it.each<[string, () => SessionRecord]>([
    [
      'a session has at most one open attempt',
      () => ({ session: { ...running().session, attemptCount: 2 }, attempts: [...running().attempts, anIntent(2)] }),
    ],
    ['attempts are counted', () => of(running(), { attemptCount: 2 })],
    ['attempts are numbered without gaps', () => of(running(), {}, { ordinal: 2 })],
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
  ])('RULE-R16: %s', (sentence, record) => {
    expect(brokenInvariants(record())).toContain(sentence);
  });
});
