import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Fact } from './fact.ts';
import { answered, failed, missing, notDestroyed, proven, refused, seen, stop, unanswered } from './fixtures/session-facts.ts';
import {
  PROOF,
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
import { whoseIs } from './sights.ts';
import { mayBeginAttempt } from './step.ts';

// Facts at the edge of what counts: too late, at the very moment, about another attempt, said twice.

const retried = { request: { ...aSession().request, autoRetry: true } };

/** Whether a fact changes nothing at all. */
function isIgnored(story: Story, ...facts: readonly Fact[]): boolean {
  const before = story.record;
  return story.tell(...facts).record === before;
}

/** A first attempt that is gone, or about to be, and a second that boots. */
function twoAttempts(): Story {
  const story = storyAt('live', retried).tell(failed, answered('gone')).wait(SECOND_MS);
  story.tell({ kind: 'attempt_begun', attempt: anIntent(2, { offer: aMarketOffer('b') }) });
  return story.tell({ kind: 'create_accepted', ordinal: 2, instance: anInstance('starting', { ordinal: 2 }) }).wait(SECOND_MS);
}

describe('a fact that changes nothing', () => {
  const phase: Fact = { kind: 'proof_phase', ordinal: 1, phase: 'driver' };
  const handOff: Fact = { kind: 'hand_off_begun', ordinal: 1, hostKey: 'k' };
  const sampled: Fact = { kind: 'sampled', sampledAt: START + HOUR_MS, idle: true, longestGapMs: 1 };
  const awaited: Fact = { kind: 'tunnel_awaited', ordinal: 1, message: 'no port is free' };
  const unplaced: Fact = { kind: 'proven', ordinal: 1, proof: { user: 'root', hostKey: 'k', host: 'h', details: {} } };

  it.each<[string, () => Story, Fact]>([
    ['the verdict of a verification of what is in use', () => runningStory(), failed],
    ['the phase of the proof of a former attempt', () => twoAttempts(), phase],
    ['the hand-off to what is being destroyed', () => storyAt('destroying'), handOff],
    ['a proof with a host and no port', () => storyAt('live').tell(seen()), unplaced],
    ['a proof of what was proven', () => runningStory(), proven],
    ['a look at the use of what boots', () => storyAt('live'), sampled],
    ['a wait for a port of what is being destroyed', () => storyAt('live', retried).tell(failed), awaited],
    ['an extension by nothing', () => runningStory(), { kind: 'extended', addedMinutes: 0 }],
    ['an extension of what ends', () => storyAt('destroying'), { kind: 'extended', addedMinutes: 60 }],
    ['a destroy that failed, of what is gone', () => storyAt('gone'), notDestroyed],
    ['a destroy that failed, of what was accepted as gone', () => storyAt('verifying'), notDestroyed],
    ['a twin of what is being destroyed', () => storyAt('destroying'), seen(anInstance('running', { id: 'twin' }))],
    ['that nothing is left to try, while something is tried', () => storyAt('intent'), noCandidate()],
  ])('is %s', (_, story, fact) => {
    expect(isIgnored(story(), fact)).toBe(true);
  });

  it('is a look at the use that was told already, and a warning of what has ended', () => {
    expect(isIgnored(runningStory().tell(sampled), sampled)).toBe(true);
    expect(isIgnored(runningStory().tell(sampled, stop), { kind: 'idle_warned', endsAt: 1 })).toBe(true);
  });
});

describe('that nothing is left to try', () => {
  it('ends a session of which nothing was made, and one whose attempt is on its way out', () => {
    expect(new Story().tell(noCandidate()).session).toMatchObject({ status: 'failed', reason: 'no_capacity', error: 'none' });
    expect(storyAt('live', retried).tell(failed, noCandidate()).session).toMatchObject({
      status: 'stopping',
      reason: 'no_capacity',
    });
  });
});

describe('the next attempt', () => {
  it.each([
    ['in the beginning', {}, true],
    ['after one of three', { status: 'provisioning', attemptCount: 1 }, true],
    ['after the last', { status: 'provisioning', attemptCount: 3 }, false],
    ['of a session in use', { status: 'running' }, false],
    ['of one that is not wanted', { desired: 'gone' }, false],
  ] as const)('begins %s: %o: %s', (_, session, may) => {
    expect(mayBeginAttempt({ session: aSession(session), attempts: [] })).toBe(may);
  });

  it('gives back the offer that the session was asked for, when it is on another', () => {
    const story = new Story().tell({ kind: 'attempt_begun', attempt: anIntent(1, { offer: aMarketOffer('b') }) });

    expect(story.releasedOffers).toEqual(['cloud-a']);
    expect(story.session.offerId).toBe('cloud-b');
  });

  it('has the disk that its offer comes with, or the one that was asked where the offer has no such', () => {
    const begin = (diskGb: number, offer = aMarketOffer()) => {
      const session = aSession({ diskGb, request: { ...aSession().request, diskGb } });
      return new Story({ session, attempts: [] }).tell({ kind: 'attempt_begun', attempt: anIntent(1, { offer }) }).session
        .diskGb;
    };
    const untold = new Story({ session: aSession({ diskGb: 1 }), attempts: [] });

    expect(untold.tell({ kind: 'attempt_begun', attempt: anIntent() }).session.diskGb).toBe(50);
    expect(begin(80)).toBe(80);
    expect(begin(80, aMarketOffer('a', { maxDiskGb: 60 }))).toBe(80);
  });

  it('is never put in place of a machine that was in use, though its account ran dry and another offer would do', () => {
    const dry = { ...anInstance('starting'), state: 'failed', reason: 'no credit', fault: 'funds' } as const;
    const { offerId: _, ...request } = aSession().request;

    expect(runningStory({ request }).tell(seen(dry)).session).toMatchObject({ status: 'stopping', reason: 'provider_funds' });
  });
});

describe('a pause', () => {
  it('of the session puts off the session, to the next millisecond', () => {
    const pause: Fact = { kind: 'postponed', untilAt: START + HOUR_MS + 0.5 };
    const story = storyAt('live').tell(pause);

    expect(story.session.dueAt).toBe(START + HOUR_MS + 1);
    expect(story.attempt().dueAt).not.toBe(START + HOUR_MS + 1);
    expect(isIgnored(story, pause)).toBe(true);
  });

  it('of an attempt puts off that, whatever state it is in unless one is named', () => {
    const story = storyAt('live').tell({ kind: 'postponed', ordinal: 1, untilAt: START + HOUR_MS });

    expect(story.attempt().dueAt).toBe(START + HOUR_MS);
    expect(story.session.dueAt).not.toBe(START + HOUR_MS);
    expect(isIgnored(story, { kind: 'postponed', ordinal: 1, untilAt: START, whileIn: 'destroying' })).toBe(true);
  });
});

describe('a sight', () => {
  it('REL-B8: asked for in the moment of the end is old news', () => {
    const story = storyAt('destroying').tell(answered('gone'));

    expect(
      isIgnored(story, { kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt: story.now }),
    ).toBe(true);
  });

  it('REL-B15: without a tag, made up to a minute after the first sight, is ours; also while ours was never seen', () => {
    const { tag } = anIntent();
    const attempt = {
      tag,
      instanceId: anInstance('running').id,
      instanceMadeAt: null,
      firstSeenAt: START,
      goneAcceptedAt: null,
    };
    const made = (createdAt: number) => ({ ...anInstance('running', { tag: null }), createdAt });

    expect(whoseIs(attempt, made(START + MINUTE_MS))).toBe('ours');
    expect(whoseIs(attempt, made(START + MINUTE_MS + 1))).toBe('others');
    expect(whoseIs({ ...attempt, firstSeenAt: null }, made(START))).toBe('ours');
    expect(whoseIs({ ...attempt, firstSeenAt: null, goneAcceptedAt: START }, made(START))).toBe('others');
  });

  it('is written again after exactly a minute, and takes absences back at once', () => {
    const story = storyAt('live').tell(seen());
    story.wait(MINUTE_MS).tell(seen());
    expect(story.attempt().lastSeenAt).toBe(story.now);

    story.wait(SECOND_MS).tell(missing('get'));
    expect(story.attempt().absences).toHaveLength(1);
    story.wait(SECOND_MS).tell(seen());
    expect(story.attempt().absences).toEqual([]);
  });

  it('of what is being destroyed is written when it shows another state', () => {
    expect(storyAt('destroying').tell(seen()).attempt().instanceState).toBe('running');
  });

  it.each([
    ['another port of the same host', { host: PROOF.host, port: 1 }],
    ['the same port of another host', { host: '203.0.113.9', port: PROOF.port }],
  ])('that shows %s moves the way in', (_, route) => {
    const story = runningStory().tell(seen(anInstance('running', { ssh: { ...SSH, routes: [route] } })));

    expect(story.session).toMatchObject({ sshHost: route.host, sshPort: route.port });
  });

  it('that shows no way in leaves the one that was told', () => {
    const story = runningStory().tell(seen(anInstance('running', { ssh: { ...SSH, routes: [] } })));

    expect(story.session).toMatchObject({ sshHost: PROOF.host, sshPort: PROOF.port });
  });

  it('REL-C6: of what is on its way out is no answer to a destroy that nobody answered', () => {
    const story = storyAt('destroying')
      .wait(10 * MINUTE_MS)
      .tell(seen(anInstance('stopping')));

    expect(story.attempt().destroyAnsweredAt).toBeNull();
  });

  it('REL-C2: of what goes on running is no answer to another destroy', () => {
    const story = storyAt('destroying').tell(answered('destroying'));
    const answeredAt = story.now;

    story
      .wait(10 * MINUTE_MS)
      .tell(seen())
      .wait(MINUTE_MS)
      .tell(seen());

    expect(story.attempt()).toMatchObject({ destroyAnsweredAt: answeredAt, lastSeenAt: story.now });
  });

  it('counts the time to boot as its template needs it, where that is longer', () => {
    const deadline = (bootMinutes: number) => {
      const story = storyAt('intent', { request: { ...aSession().request, templateTerms: { bootMinutes } as never } }); // the rest of the terms is not read
      story.tell({ kind: 'create_accepted', ordinal: 1, instance: anInstance('starting') });
      return (story.session.phaseDeadlineAt ?? 0) - story.now;
    };

    expect([deadline(30), deadline(1)]).toEqual([30 * MINUTE_MS, 8 * MINUTE_MS]);
  });
});

describe('an absence', () => {
  it('counts in the moment of the last sight', () => {
    const story = storyAt('live').tell(seen(), missing('get'));

    expect(story.attempt().absences).toHaveLength(1);
  });

  it('RULE-R8: puts off no destroy', () => {
    const story = storyAt('destroying');
    const { dueAt } = story.attempt();

    expect(story.tell(missing('list')).attempt().dueAt).toBe(dueAt);
  });

  it('puts off the next look in the very moment that it was due', () => {
    const story = storyAt('destroying').tell(answered('gone'), missing('get'));

    expect(story.attempt().dueAt).toBe(story.now + MINUTE_MS);
  });

  it('RULE-R6: of lists alone is a verdict where no id is known, and none where one is', () => {
    const listedFor = (story: Story) => {
      for (let minute = 0; minute <= 16; minute += 1) story.tell(missing('list')).wait(MINUTE_MS);
      return story.states;
    };

    expect(listedFor(storyAt('unknown'))).toEqual(['gone']);
    expect(listedFor(storyAt('live'))).toEqual(['live']);
    expect(listedFor(storyAt('verifying'))).toEqual(['verifying']);
  });

  it('begins anew when the provider says gone, and the phase of verifying goes on', () => {
    const story = storyAt('destroying').tell(missing('list')).wait(MINUTE_MS).tell(answered('gone'));
    const enteredAt = story.now;
    expect(story.attempt().absences).toEqual([]);

    story.wait(MINUTE_MS).tell(missing('list'));
    expect(story.session).toMatchObject({ phase: 'verifying', phaseEnteredAt: enteredAt });
  });
});

describe('the end', () => {
  it('keeps why the attempt failed first', () => {
    expect(
      storyAt('unknown')
        .missingFor(16 * MINUTE_MS)
        .attempt(),
    ).toMatchObject({ outcome: 'create_lost', error: 'no answer' });
    expect(storyAt('live').tell(failed).attempt()).toMatchObject({ outcome: 'ssh_verify_timeout', error: 'no login' });
  });

  it('of a refused create is no destroy, accepted or verified, and its tag is watched for ninety days', () => {
    const story = storyAt('intent').tell(refused('capacity'));

    expect(story.session).toMatchObject({ status: 'failed', destroyAcceptedAt: null, destroyVerifiedAt: null });
    expect(story.attempt().tombstoneUntil).toBe(story.now + 90 * 24 * HOUR_MS);
  });

  it('gives its offer back once', () => {
    expect(storyAt('destroying').tell(answered('gone')).releasedOffers).toEqual(['cloud-a']);
  });

  it('is accepted and verified with the last of its attempts', () => {
    const story = twoAttempts().missingFor(16 * MINUTE_MS);
    story.wait(SECOND_MS).tell(stop, answered('gone', 2));
    const acceptedAt = story.now;
    expect(story.session).toMatchObject({ status: 'stopped', destroyAcceptedAt: acceptedAt });

    story.missingFor(16 * MINUTE_MS, 2);

    const [first = 0, second = 0] = story.record.attempts.map(({ goneVerifiedAt }) => goneVerifiedAt ?? 0);
    expect(first).toBeLessThan(second);
    expect(story.session.destroyVerifiedAt).toBe(second);
  });

  it('by verdict alone is accepted then, and one that was accepted before keeps its time', () => {
    const vanished = storyAt('live')
      .missingFor(14 * MINUTE_MS)
      .wait(2 * MINUTE_MS)
      .tell(missing('list'));
    expect(vanished.attempt()).toMatchObject({ goneAcceptedAt: vanished.now, goneVerifiedAt: vanished.now });

    const story = storyAt('destroying').tell(answered('gone'));
    const acceptedAt = story.now;
    story.wait(SECOND_MS).missingFor(16 * MINUTE_MS);
    expect(story.attempt()).toMatchObject({ state: 'gone', goneAcceptedAt: acceptedAt });
  });
});

describe('idleness', () => {
  const idleAt = (ms: number, longestGapMs = MINUTE_MS): Fact => ({
    kind: 'sampled',
    sampledAt: START + ms,
    idle: true,
    longestGapMs,
  });

  it('goes on over a gap that is just allowed, and its warning with it', () => {
    const story = runningStory().tell(idleAt(HOUR_MS), { kind: 'idle_warned', endsAt: 1 });
    const warnedAt = story.now;

    story.tell(idleAt(HOUR_MS + MINUTE_MS));
    expect(story.session).toMatchObject({ idleSince: START + HOUR_MS, idleWarnedAt: warnedAt });

    story.tell(idleAt(HOUR_MS + 2 * MINUTE_MS + 1));
    expect(story.session).toMatchObject({ idleSince: START + HOUR_MS + 2 * MINUTE_MS + 1, idleWarnedAt: null });
  });
});

describe('the port of the broker', () => {
  const ssh = { user: 'root', routes: 'dial' } as const;
  const opened = (host: string, port: number, replaces: number | null): Fact => ({
    kind: 'tunnel_opened',
    ordinal: 1,
    host,
    port,
    replaces,
  });
  const dialled = () => storyAt('live').tell(seen(anInstance('running', { ssh })), opened('broker', 22_000, null));

  it('is told again only when it is another, or on another host', () => {
    expect(isIgnored(dialled(), opened('broker', 22_000, 22_000))).toBe(true);
    expect(dialled().tell(opened('other', 22_000, 22_000)).session).toMatchObject({ sshHost: 'other', sshPort: 22_000 });
  });
});

it('a create that nobody answered leaves the phase of an end alone', () => {
  expect(storyAt('intent').tell(stop, unanswered()).session.phase).toBe('destroying');
});

function noCandidate(): Fact {
  return { kind: 'no_candidate', reason: 'no_capacity', message: 'none' };
}
