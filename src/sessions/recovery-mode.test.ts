import { describe, expect, it } from 'vitest';
import { describeEachStore } from '../../test/support/stores.ts';
import { createIds } from '../core/ids.ts';
import { DAY_MS } from '../core/duration.ts';
import { seededRandom } from '../core/random.ts';
import { createAuditRepository } from '../db/audit-repository.ts';
import { createInstallationRepository } from '../db/installation-repository.ts';
import { createRecoveryMode, parseRecoveryState, rollbackEvidence } from './recovery-mode.ts';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const random = seededRandom(7);
const askedBefore = (ms: number) => createIds({ clock: { now: () => NOW - ms }, random }).session();

describe('evidence that the database is older than reality', () => {
  it.each([
    ['asked for a minute ago, in an empty database', { ageMs: 60_000 }, /would still be kept/],
    ['asked for 89 days ago', { ageMs: 89 * DAY_MS, newestAgeMs: 0 }, /would still be kept/],
    [
      'asked for after the newest one that is known',
      { ageMs: 100 * DAY_MS, newestAgeMs: 200 * DAY_MS },
      /after the newest one/,
    ],
    ['by a clock that was ahead', { ageMs: -DAY_MS }, /would still be kept/],
    [
      'of a known session whose attempt is not',
      { ageMs: 100 * DAY_MS, attemptCount: 1, ordinal: 2 },
      /knows 1 attempts .* not number 2/,
    ],
  ])('is an instance of a session %s', (_, { ageMs, newestAgeMs, attemptCount, ordinal = 1 }: Story, sentence) => {
    expect(evidenceOf({ ageMs, newestAgeMs, attemptCount, ordinal })).toMatch(sentence);
  });

  it.each([
    ['whose row retention has removed', { ageMs: 91 * DAY_MS, newestAgeMs: 0 }],
    ['whose row retention has removed with all others', { ageMs: 91 * DAY_MS }],
  ])('is none of a session %s', (_, story: Story) => {
    expect(evidenceOf(story)).toBeUndefined();
  });
});

interface Story {
  readonly ageMs: number;
  readonly newestAgeMs?: number | undefined;
  readonly attemptCount?: number | undefined;
  readonly ordinal?: number;
}

function evidenceOf({ ageMs, newestAgeMs, attemptCount, ordinal = 1 }: Story): string | undefined {
  return rollbackEvidence({
    sessionId: askedBefore(ageMs),
    ordinal,
    session: attemptCount === undefined ? undefined : { attemptCount },
    newest: newestAgeMs === undefined ? undefined : askedBefore(newestAgeMs),
    now: NOW,
  });
}

describeEachStore('recovery mode', (open) => {
  it('is off until it begins, stays on over restarts with its first reason, and is ended', async () => {
    const store = await open();
    const installation = createInstallationRepository(store);
    const audit = createAuditRepository(store);
    let now = NOW;
    const mode = () => createRecoveryMode({ installation, audit, clock: { now: () => now } });
    expect(await mode().read()).toEqual({ isOn: false });

    expect(await mode().begin('evidence', 'an instance that nobody knows')).toBe(true);
    now += 1;
    expect(await mode().begin('operator', 'another reason')).toBe(false);
    expect(await mode().read()).toEqual({
      isOn: true,
      since: NOW,
      cause: 'evidence',
      reason: 'an instance that nobody knows',
    });

    await mode().end('looked at');
    expect(await mode().read()).toEqual({ isOn: false, endedAt: NOW + 1 });
    expect((await audit.list('installation')).map(({ actor, kind }) => `${actor} ${kind}`)).toEqual([
      'broker recovery.begun',
      'operator recovery.ended',
    ]);
  });
});

it.each(['nonsense', '{"state":"paused","at":1,"cause":"operator","reason":""}'])(
  'recovery mode that cannot be read counts as on: %s',
  (text) => {
    expect(parseRecoveryState(text)).toMatchObject({ isOn: true });
  },
);
