import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { answered, failed, missing, notDestroyed, refused, seen, stop, unanswered } from './fixtures/session-facts.ts';
import { START, Story, anInstance, aSession, runningStory, storyAt } from './fixtures/session-records.ts';
import type { Fact } from './fact.ts';

// What a session's events say, each once and whole: consumers read them, and the audit log is made of them.

/** The events that these facts add. */
function eventsBy(story: Story, ...facts: readonly Fact[]) {
  const before = story.transitions.length;
  return story
    .tell(...facts)
    .transitions.slice(before)
    .flatMap(({ events }) => events);
}

const INSTANCE = { attempt: 1, instance_id: 'instance-1' };
const retried = { request: { ...aSession().request, autoRetry: true } };
const stopped = { kind: 'session.stopped', data: { reason: 'user_requested' } };

describe('the events of an attempt', () => {
  it('say what is asked for, of whom, and what came of it', () => {
    const begun = { kind: 'attempt.begun', data: { attempt: 1, offer_id: 'cloud-a', provider: 'cloud' } };

    expect(storyAt('intent').transitions.flatMap(({ events }) => events)).toEqual([begun]);
    expect(eventsBy(storyAt('intent'), unanswered())).toEqual([
      { kind: 'attempt.unknown', data: { attempt: 1, message: 'no answer' } },
    ]);
    expect(eventsBy(storyAt('intent'), { kind: 'create_accepted', ordinal: 1, instance: anInstance('starting') })).toEqual([
      { kind: 'instance.created', data: { ...INSTANCE, provider: 'cloud' } },
    ]);
  });

  it('say why an answer was none', () => {
    const message = 'the provider answered with an instance that does not bear the tag of this attempt';
    const answer: Fact = { kind: 'create_accepted', ordinal: 1, instance: anInstance('starting', { tag: null }) };
    const story = storyAt('intent');

    expect(eventsBy(story, answer)).toEqual([{ kind: 'attempt.unknown', data: { attempt: 1, message } }]);
    expect(story.attempt().error).toBe(message);
  });

  it('say that it was refused, and when the next is tried, or that the session ends', () => {
    const message = 'create: unavailable';

    expect(eventsBy(storyAt('intent'), refused('unavailable'))).toEqual([
      { kind: 'attempt.refused', data: { attempt: 1, kind: 'unavailable', message } },
      {
        kind: 'session.retrying',
        data: { after_attempt: 1, reason: 'provider_unavailable', not_before_ms: SECOND_MS },
      },
    ]);
    expect(eventsBy(storyAt('intent', { maxAttempts: 1 }), refused('unavailable'))).toEqual([
      { kind: 'attempt.refused', data: { attempt: 1, kind: 'unavailable', message } },
      { kind: 'session.stopping', data: { reason: 'provider_unavailable', message } },
      { kind: 'session.failed', data: { reason: 'provider_unavailable', error: message } },
    ]);
  });

  it('say that it was of no use, and that another offer is tried at once', () => {
    expect(eventsBy(storyAt('live', retried), failed)).toEqual([
      { kind: 'attempt.failed', data: { attempt: 1, reason: 'ssh_verify_timeout', message: 'no login' } },
      { kind: 'session.retrying', data: { after_attempt: 1, reason: 'ssh_verify_timeout', not_before_ms: 0 } },
    ]);
  });

  it('say that it was never made', () => {
    expect(
      eventsBy(
        storyAt('unknown', { maxAttempts: 1 })
          .missingFor(14 * MINUTE_MS)
          .wait(2 * MINUTE_MS),
        missing('list'),
      ),
    ).toEqual([
      { kind: 'attempt.absent', data: { attempt: 1 } },
      {
        kind: 'session.stopping',
        data: {
          reason: 'create_lost',
          message: 'the create call got no answer, and its tag never appeared at the provider',
        },
      },
      {
        kind: 'session.failed',
        data: {
          reason: 'create_lost',
          error: 'the create call got no answer, and its tag never appeared at the provider',
        },
      },
      { kind: 'session.gone_verified', data: {} },
    ]);
  });

  it('say that it vanished, and when it was last seen', () => {
    const [vanished] = eventsBy(
      storyAt('live')
        .missingFor(14 * MINUTE_MS)
        .wait(2 * MINUTE_MS),
      missing('list'),
    );

    expect(vanished).toEqual({ kind: 'instance.vanished', data: { ...INSTANCE, last_seen_at: START + SECOND_MS } });
  });

  it('say what left an unknown create dead, and what a pause was taken for', () => {
    expect(eventsBy(storyAt('unknown'), seen(anInstance('failed'), 'list'))[1]).toMatchObject({
      kind: 'attempt.failed',
      data: { reason: 'create_lost', message: 'what the create left behind has failed: no such image' },
    });
    expect(eventsBy(storyAt('live'), seen(anInstance('failed')))[0]).toMatchObject({
      data: { reason: 'instance_stopped', message: 'the instance failed at the provider: no such image' },
    });
    expect(eventsBy(storyAt('live'), seen(anInstance('paused')))[0]).toMatchObject({
      data: { message: 'the provider paused the instance; it would resume and bill by itself' },
    });
  });
});

describe('the events of a destroy', () => {
  it('say once that it was answered, and once that it failed', () => {
    const story = storyAt('destroying');

    expect(eventsBy(story, answered('destroying'), answered('destroying'))).toEqual([
      { kind: 'instance.destroy_answered', data: INSTANCE },
    ]);
    expect(eventsBy(storyAt('destroying'), notDestroyed, notDestroyed)).toEqual([
      { kind: 'instance.destroy_failed', data: { attempt: 1, kind: 'unavailable', message: 'no answer' } },
    ]);
    expect(eventsBy(storyAt('verifying'), notDestroyed)).toEqual([]);
  });

  it('say that it is overdue, how often it was tried, and since when', () => {
    const story = storyAt('destroying');
    const since = story.now - SECOND_MS;

    expect(eventsBy(story.wait(14 * MINUTE_MS + 58 * SECOND_MS), answered('destroying'))).toEqual([
      { kind: 'instance.destroy_answered', data: INSTANCE },
      { kind: 'instance.destroy_overdue', data: { ...INSTANCE, tries: 1, requested_at: since } },
    ]);
  });

  it('say that it is gone, of the instance, of the session, and by verdict', () => {
    const accepted = { kind: 'instance.gone_accepted', data: INSTANCE };

    expect(eventsBy(storyAt('destroying'), answered('gone'))).toEqual([accepted, stopped]);
    expect(
      eventsBy(
        storyAt('verifying')
          .missingFor(14 * MINUTE_MS)
          .wait(2 * MINUTE_MS),
        missing('list'),
      ),
    ).toEqual([
      { kind: 'instance.gone_verified', data: { attempt: 1 } },
      { kind: 'session.gone_verified', data: {} },
    ]);
    expect(
      eventsBy(
        storyAt('destroying')
          .missingFor(14 * MINUTE_MS)
          .wait(2 * MINUTE_MS),
        missing('list'),
      ),
    ).toEqual([{ kind: 'instance.gone_verified', data: { attempt: 1 } }, stopped, { kind: 'session.gone_verified', data: {} }]);
  });

  it('say that it came back', () => {
    expect(eventsBy(storyAt('gone').wait(HOUR_MS), seen(anInstance('running'), 'list'))).toEqual([
      { kind: 'instance.reappeared', data: { ...INSTANCE, provider: 'cloud' } },
    ]);
  });
});

describe('the events of a session', () => {
  it('say who told it to end, and what they said', () => {
    expect(eventsBy(storyAt('live'), stop)).toEqual([{ kind: 'session.stopping', data: { reason: 'user_requested' } }]);
    expect(eventsBy(storyAt('live'), { ...stop, message: 'bye' } as Fact)).toEqual([
      // the fact of `stop` takes a message
      { kind: 'session.stopping', data: { reason: 'user_requested', message: 'bye' } },
    ]);
  });

  it('say how far it was extended', () => {
    expect(eventsBy(runningStory(), { kind: 'extended', addedMinutes: 60 })).toEqual([
      { kind: 'session.extended', data: { expires_at: START + 3 * HOUR_MS, added_minutes: 60 } },
    ]);
  });

  it('say how to get in, and that the way has moved', () => {
    const moved = anInstance('running', { ssh: { user: 'root', routes: [{ host: '203.0.113.9', port: 1 }] } });
    const story = storyAt('live').tell(seen());

    expect(
      eventsBy(story, {
        kind: 'proven',
        ordinal: 1,
        proof: { user: 'u', hostKey: 'k', host: 'h', port: 2, details: { gpus: 1 } },
      }),
    ).toEqual([{ kind: 'session.running', data: { attempt: 1, ssh_host: 'h', ssh_port: 2, ssh_user: 'u', gpus: 1 } }]);
    expect(eventsBy(runningStory(), seen(moved))).toEqual([
      { kind: 'session.address_changed', data: { ssh_host: '203.0.113.9', ssh_port: 1 } },
    ]);
  });

  it('say that it waits for a port, and got one', () => {
    const ssh = { user: 'root', routes: 'dial' } as const;
    const story = storyAt('live').tell(seen(anInstance('running', { ssh })));

    expect(eventsBy(story, { kind: 'tunnel_awaited', ordinal: 1, message: 'no port is free' })).toEqual([
      { kind: 'session.tunnel_awaited', data: { attempt: 1, message: 'no port is free' } },
    ]);
    expect(eventsBy(story, { kind: 'tunnel_opened', ordinal: 1, host: 'broker', port: 22_000, replaces: null })).toEqual([
      { kind: 'session.tunnel_opened', data: { ssh_host: 'broker', ssh_port: 22_000 } },
    ]);
  });

  it('say when idleness will end it, and what it cost', () => {
    const story = runningStory().tell({ kind: 'sampled', sampledAt: START + HOUR_MS, idle: true, longestGapMs: 1 });

    expect(eventsBy(story, { kind: 'idle_warned', endsAt: 7 })).toEqual([
      { kind: 'session.idle_warned', data: { ends_at: 7 } },
    ]);
    expect(eventsBy(storyAt('gone'), { kind: 'settled', costMicros: 7 })).toEqual([
      { kind: 'session.settled', data: { cost_micros: 7 } },
    ]);
  });
});
