import { describe, expect, it } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Fact } from './fact.ts';
import { PROOF, SSH, START, Story, aSession, anInstance, anIntent, runningStory, storyAt } from './fixtures/session-records.ts';
import { refused, seen, missing, answered, failed, proven, stop } from './fixtures/session-facts.ts';
import { whoseIs } from './sights.ts';

describe('observation', () => {
  it('REL-B5: one 404 is a hint; a sight takes it back, and the window begins anew', () => {
    const story = runningStory().tell(missing('get'), missing('list'));
    expect(story.attempt().absences).toHaveLength(2);

    story.wait(14 * MINUTE_MS).tell(seen());
    expect(story.attempt().absences).toEqual([]);

    story.missingFor(14 * MINUTE_MS);
    expect(story.session.status).toBe('running');
    story.missingFor(2 * MINUTE_MS);
    expect(story.session).toMatchObject({ status: 'stopped', reason: 'instance_vanished' });
  });

  it('REL-B7: a new instance that lists do not show yet is not absent', () => {
    const story = storyAt('live').missingFor(14 * MINUTE_MS);

    expect(story.states).toEqual(['live']);
  });

  it('REL-B11: an instance whose label somebody edited away keeps its session by its id', () => {
    const story = runningStory()
      .wait(HOUR_MS)
      .tell(seen(anInstance('running', { tag: null }), 'list'));

    expect(story.session.status).toBe('running');
    expect(story.attempt()).toMatchObject({ lastSeenAt: story.now, absences: [] });
  });

  it.each(['starting', 'stopping'] as const)('REL-B14: %s, the state of words nobody knows, ends nothing', (state) => {
    expect(runningStory().tell(seen(anInstance(state))).session.status).toBe('running');
  });

  it('REL-B15: an id that now bears another tag is neither adopted nor seen: it counts as a look that found nothing', () => {
    const foreign = anInstance('running', { id: 'instance-1', ordinal: 7 });
    const story = runningStory().tell(seen(foreign, 'get'), seen(foreign, 'list'));

    expect(story.attempt().absences.map(({ kind }) => kind)).toEqual(['get', 'list']);
    expect(storyAt('unknown').tell(seen(foreign)).attempt().instanceId).toBeNull();
  });

  it.each([
    { tag: 'its own', createdAfterMs: HOUR_MS, gone: true, whose: 'ours' },
    { tag: 'another', createdAfterMs: -SECOND_MS, gone: false, whose: 'others' },
    { tag: 'none', createdAfterMs: -SECOND_MS, gone: true, whose: 'ours' },
    { tag: 'none', createdAfterMs: 2 * MINUTE_MS, gone: false, whose: 'others' },
    { tag: 'none', createdAfterMs: undefined, gone: false, whose: 'ours' },
    { tag: 'none', createdAfterMs: undefined, gone: true, whose: 'others' },
  ])(
    'REL-B11, REL-B15: under our id, with $tag tag, made $createdAfterMs ms after the first sight, gone before: $gone: $whose',
    ({ tag, createdAfterMs, gone, whose }) => {
      const { record } = storyAt('live');
      const attempt = { ...record.attempts[0]!, goneAcceptedAt: gone ? record.session.updatedAt : null }; // a live story has one
      const instance = {
        ...anInstance('running', tag === 'none' ? { tag: null } : tag === 'another' ? { id: 'instance-1', ordinal: 7 } : {}),
        ...(createdAfterMs === undefined ? {} : { createdAt: (attempt.firstSeenAt ?? 0) + createdAfterMs }),
      };

      expect(whoseIs(attempt, instance)).toBe(whose);
    },
  );

  it('REL-F1, REL-B11: whose it is does not hang on our clock: an instance that was made by a clock far ahead and loses its label is ours', () => {
    const madeAt = runningStory().now + 3 * HOUR_MS;
    const story = runningStory().tell(seen({ ...anInstance('running'), createdAt: madeAt }, 'list'));
    const unlabelled = anInstance('running', { tag: null });

    expect(whoseIs(story.attempt(), { ...unlabelled, createdAt: madeAt })).toBe('ours');
    expect(whoseIs(story.attempt(), { ...unlabelled, createdAt: madeAt + 2 * MINUTE_MS })).toBe('others');
    story.tell(seen({ ...unlabelled, createdAt: madeAt + 2 * MINUTE_MS }, 'list'));
    expect(story.attempt().instanceMadeAt).toBe(madeAt);
  });

  it('REL-B15: an instance with another id and another tag says nothing at all', () => {
    const story = runningStory();
    const before = story.record;

    story.tell(seen(anInstance('running', { id: 'x', ordinal: 7 })), seen(anInstance('running', { id: 'x', tag: null })));

    expect(story.record).toBe(before);
  });

  it('REL-B8: a list from before the provider said gone is old news, one from after it is a reappearance', () => {
    const story = storyAt('destroying');
    const askedAt = story.now;
    story.wait(SECOND_MS).tell(answered('gone'));
    const goneAt = story.now;

    story.wait(SECOND_MS).tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt });
    expect(story.states).toEqual(['verifying']);
    story.tell({ kind: 'seen', ordinal: 1, by: 'list', instance: anInstance('running'), askedAt: goneAt + 1 });
    expect(story.states).toEqual(['destroying']);
  });

  it('RULE-R8: a look that is put off puts off no destroy of what another look has seen meanwhile', () => {
    const story = storyAt('verifying');
    const putOff = { kind: 'postponed', ordinal: 1, untilAt: story.now + HOUR_MS, whileIn: 'verifying' } satisfies Fact;
    expect(story.tell(putOff).attempt().dueAt).toBe(putOff.untilAt);

    story.tell(seen(anInstance('running'), 'list'), putOff);

    expect(story.attempt()).toMatchObject({ state: 'destroying', dueAt: story.now });
  });

  it('a sight of what is known is written once a minute, also when the fields of its address come in another order', () => {
    const hostKey = 'ssh-ed25519 AAAAvouched';
    const story = storyAt('live').tell(seen(anInstance('running', { ssh: { user: 'root', hostKey, routes: [] } })));
    const before = story.record;

    story.wait(30 * SECOND_MS).tell(seen(anInstance('running', { ssh: { hostKey, routes: [], user: 'root' } })));
    expect(story.record).toBe(before);
    story.wait(31 * SECOND_MS).tell(seen(anInstance('running', { ssh: { user: 'root', hostKey, routes: [] } })));
    expect(story.attempt().lastSeenAt).toBe(story.now);
  });

  it('a way in that moved is told, once, and only of a session that is in use', () => {
    const moved = anInstance('running', { ssh: { user: 'root', routes: [{ host: '203.0.113.9', port: 1 }] } });
    const story = runningStory().tell(seen(moved), seen(moved));

    expect(story.session).toMatchObject({ sshHost: '203.0.113.9', sshPort: 1 });
    expect(story.events.filter((kind) => kind === 'session.address_changed')).toHaveLength(1);
    expect(storyAt('live').tell(seen(), seen(moved)).session.sshHost).toBeNull();
  });

  it('one of several routes that still leads there is kept', () => {
    const [route] = SSH.routes;
    const routes = [{ host: '198.51.100.1', port: 1 }, ...(typeof route === 'object' ? [route] : [])];

    expect(runningStory().tell(seen(anInstance('running', { ssh: { user: 'root', routes } }))).session.sshHost).toBe(
      PROOF.host,
    );
  });
});

describe('the hand-over', () => {
  it('PEER-11.2.15: a proof that comes after the wish to end does not bring the session back', () => {
    const story = storyAt('live').tell(stop);
    const before = story.record;

    story.tell(proven);

    expect(story.record).toBe(before);
  });

  it('tells the way in, pins the host key and ends the deadline', () => {
    const story = runningStory();

    expect(story.session).toMatchObject({
      status: 'running',
      phase: 'running',
      phaseDeadlineAt: null,
      sshHost: PROOF.host,
      sshPort: PROOF.port,
      sshUser: 'root',
      sshHostKey: PROOF.hostKey,
    });
    expect(story.attempt()).toMatchObject({ hostKey: PROOF.hostKey, runningAt: story.session.runningAt });
  });

  it('shreds the probe key at the hand-over, unless idleness is watched with it; then with the wish to end', () => {
    expect(runningStory().shredded).toEqual(['sec_probe1']);
    const watched = runningStory({ idleThresholdMinutes: 30 });
    expect(watched.shredded).toEqual([]);
    expect(watched.tell(stop).shredded).toEqual(['sec_probe1']); // nobody logs in any more, however long the destroy takes
  });

  it('pins the host key before the hand-off, so that a restart in between knows it', () => {
    const story = storyAt('live').tell({ kind: 'hand_off_begun', ordinal: 1, hostKey: 'k' });

    expect(story.attempt().hostKey).toBe('k');
  });

  it('a boot that fails goes through stopping to failed, with its reason from the first moment', () => {
    const story = storyAt('live').tell(failed);
    expect(story.session).toMatchObject({ status: 'stopping', reason: 'ssh_verify_timeout', error: 'no login' });

    story.tell(answered('gone'));
    expect(story.session).toMatchObject({ status: 'failed', reason: 'ssh_verify_timeout', error: 'no login' });
  });
});

describe('claims', () => {
  const retried = { request: { ...aSession().request, autoRetry: true } };

  it('an offer is given back when its machine is accepted as gone, not before: it cannot be rented twice', () => {
    const story = storyAt('live', retried).tell(failed);
    expect(story.releasedOffers).toEqual([]);

    story.tell(answered('gone'));
    expect(story.releasedOffers).toEqual(['cloud-a']);
  });

  it('an offer that refused is given back at once', () => {
    expect(storyAt('intent', retried).tell(refused('capacity')).releasedOffers).toEqual(['cloud-a']);
  });

  it('an offer that is tried again is kept in between', () => {
    expect(storyAt('intent').tell(refused('unavailable')).releasedOffers).toEqual([]);
    expect(storyAt('unknown').missingFor(16 * MINUTE_MS).releasedOffers).toEqual([]);
  });

  it('the end of an earlier attempt that came back does not give away the offer that a later one is on', () => {
    const story = storyAt('unknown').missingFor(16 * MINUTE_MS);
    story.tell(
      { kind: 'attempt_begun', attempt: anIntent(2) },
      { kind: 'create_accepted', ordinal: 2, instance: anInstance('starting', { ordinal: 2 }) },
    );

    story.tell(seen(anInstance('running'), 'list'), answered('gone')).missingFor(16 * MINUTE_MS);

    expect(story.states).toEqual(['gone', 'live']);
    expect(story.releasedOffers).toEqual([]);
  });
});

describe('extend', () => {
  it('PEER-11.2.20: counts from the expiry, and never passes the hard maximum however often it is asked', () => {
    const story = runningStory();
    for (let times = 0; times < 30; times += 1) story.wait(MINUTE_MS).tell({ kind: 'extended', addedMinutes: 60 });

    expect(story.session.expiresAt).toBe(START + 12 * HOUR_MS);
    expect(story.session.reservationMinutes).toBe(12 * 60);
    expect(story.events.filter((kind) => kind === 'session.extended')).toHaveLength(10);
  });

  it.each([0, -60, Number.NaN])('%d minutes are no extension', (addedMinutes) => {
    expect(runningStory().tell({ kind: 'extended', addedMinutes }).session.expiresAt).toBe(START + 2 * HOUR_MS);
  });
});

describe('idleness', () => {
  const sample = (story: Story, idle: boolean): Story =>
    story.tell({ kind: 'sampled', sampledAt: story.now, idle, longestGapMs: 3 * MINUTE_MS });

  it('counts from the first idle look, and begins anew after a busy one', () => {
    const story = runningStory();
    sample(story.wait(MINUTE_MS), true);
    const since = story.now;
    sample(story.wait(MINUTE_MS), true);
    expect(story.session.idleSince).toBe(since);

    sample(story.wait(MINUTE_MS), false);
    expect(story.session.idleSince).toBeNull();
  });

  it('begins anew after a gap in the looks, the warning with it', () => {
    const story = runningStory();
    sample(story.wait(MINUTE_MS), true).tell({ kind: 'idle_warned', endsAt: story.now + HOUR_MS });
    expect(story.session.idleWarnedAt).toBe(story.now);

    sample(story.wait(4 * MINUTE_MS), true);

    expect(story.session).toMatchObject({ idleSince: story.now, idleWarnedAt: null });
  });

  it('warns once, and not of a session that has become busy', () => {
    const story = sample(runningStory(), true).tell({ kind: 'idle_warned', endsAt: 1 }, { kind: 'idle_warned', endsAt: 2 });
    expect(story.events.filter((kind) => kind === 'session.idle_warned')).toHaveLength(1);
    expect(sample(runningStory(), false).tell({ kind: 'idle_warned', endsAt: 1 }).events).not.toContain('session.idle_warned');
  });

  it('a look from before the last one says nothing', () => {
    const story = sample(runningStory(), true);
    const before = story.record;

    story.tell({ kind: 'sampled', sampledAt: story.now - 1, idle: false, longestGapMs: HOUR_MS });

    expect(story.record).toBe(before);
  });
});

describe('settling', () => {
  it('fixes the cost of what has ended, once', () => {
    const story = storyAt('verifying').tell({ kind: 'settled', costMicros: 7 }, { kind: 'settled', costMicros: 8 });

    expect(story.session.settledCostMicros).toBe(7);
    expect(storyAt('destroying').tell({ kind: 'settled', costMicros: 7 }).session.settledCostMicros).toBeNull();
  });
});
