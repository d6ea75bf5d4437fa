import { describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Fact } from './fact.ts';
import { RULES, START, Story, aSession, anInstance, anIntent, runningStory, storyAt } from './fixtures/session-records.ts';
import { accepted, refused, unanswered, seen, missing, answered, notDestroyed, stop } from './fixtures/session-facts.ts';

describe('destroy', () => {
  it('RULE-R8, REL-C1: a destroy that fails for days is asked for again, at most five minutes later', () => {
    const story = storyAt('destroying');
    const pauses: number[] = [];
    for (let tries = 0; tries < 400; tries += 1) {
      story.tell(notDestroyed);
      pauses.push((story.attempt().dueAt - story.now) / SECOND_MS);
      story.wait(5 * MINUTE_MS);
    }

    expect(pauses.slice(0, 10)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    expect(Math.max(...pauses)).toBe(300);
    expect(story.session.status).toBe('stopping');
    expect(story.events.filter((kind) => kind === 'instance.destroy_failed')).toHaveLength(1);
  });

  it.each([
    ['fails', notDestroyed],
    ['is answered and does nothing', answered('destroying')],
  ])('REL-C1: a destroy that %s is told as overdue after a quarter of an hour, and then every hour', (_, fact) => {
    const story = storyAt('destroying');
    const from = story.now;
    const overdueAt: number[] = [];
    while (story.now - from < 200 * MINUTE_MS) {
      const before = story.transitions.length;
      story.tell(fact);
      const events = story.transitions.slice(before).flatMap((transition) => transition.events);
      if (events.some(({ kind }) => kind === 'instance.destroy_overdue')) overdueAt.push((story.now - from) / MINUTE_MS);
      story.wait(story.attempt().dueAt - story.now);
    }

    expect(overdueAt.map(Math.round)).toEqual([14, 74, 134, 194]);
  });

  it('RULE-R8: no answer of a provider puts a destroy off for longer than that', () => {
    const story = storyAt('destroying').tell({
      kind: 'destroy_failed',
      ordinal: 1,
      refusal: { kind: 'rate_limited', message: 'come back in a month', retryAfterMs: 30 * DAY_MS },
    });

    expect(story.attempt().dueAt - story.now).toBe(5 * MINUTE_MS);
  });

  it('REL-C2: a destroy that was answered and did nothing leaves the session stopping, and is repeated', () => {
    const story = storyAt('destroying').tell(answered('destroying')).wait(MINUTE_MS).tell(seen());

    expect(story.states).toEqual(['destroying']);
    expect(story.session.status).toBe('stopping');
    expect(story.attempt().dueAt).toBeLessThanOrEqual(story.now);
  });

  it.each(['paused', 'stopping', 'failed'] as const)('REL-C3: %s after the destroy is not gone, and still billed', (state) => {
    const story = storyAt('destroying').tell(answered('destroying'), seen(anInstance(state)));

    expect(story.states).toEqual(['destroying']);
    expect(story.session.status).toBe('stopping');
    expect(story.segments.at(-1)).toMatchObject({ toAt: null });
  });

  it('REL-C5: that it is not to be found before any destroy was answered proves nothing', () => {
    const story = storyAt('destroying').tell(missing('get'));
    expect(story.states).toEqual(['destroying']);

    story.tell(answered('destroying'));
    expect(story.states).toEqual(['destroying']);
    story.tell(missing('get'));
    expect(story.states).toEqual(['verifying']);
    expect(story.session).toMatchObject({ status: 'stopped', destroyAcceptedAt: story.now, destroyVerifiedAt: null });
  });

  it('REL-C5: a list alone accepts nothing', () => {
    expect(storyAt('destroying').tell(answered('destroying'), missing('list')).states).toEqual(['destroying']);
  });

  it('REL-C6: a destroy whose answer was lost is repeated, and ends it all the same', () => {
    const story = storyAt('destroying').tell(notDestroyed).wait(SECOND_MS).tell(answered('gone'));

    expect(story.session.status).toBe('stopped');
  });

  it('accepted and verified are two facts: the second comes after the window', () => {
    const story = storyAt('verifying');
    expect(story.session).toMatchObject({ status: 'stopped', phase: 'verifying', destroyVerifiedAt: null });

    story.missingFor(14 * MINUTE_MS);
    expect(story.session.destroyVerifiedAt).toBeNull();
    story.missingFor(2 * MINUTE_MS);

    expect(story.session).toMatchObject({
      status: 'stopped',
      phase: 'settled',
      destroyVerifiedAt: story.attempt().goneVerifiedAt,
    });
    expect(story.events.filter((kind) => kind === 'session.gone_verified')).toHaveLength(1);
  });

  it.each(['verifying', 'unknown'] as const)(
    'looks for what is %s are paced by the provider’s own spacing, not in a hot loop',
    (state) => {
      const story = storyAt(state).wait(MINUTE_MS).tell(missing('get'));
      expect(story.attempt().dueAt).toBe(story.now + MINUTE_MS);
      story.tell(missing('list'));
      expect(story.attempt().dueAt).toBe(story.now + MINUTE_MS);

      const before = story.record;
      story.wait(SECOND_MS).tell(missing('get'), missing('list'));
      expect(story.record).toBe(before);
    },
  );

  it('REL-C10: deleted while the create is under way: told at once, resolved first, destroyed then', () => {
    const story = storyAt('intent').tell(stop);
    expect(story.session).toMatchObject({
      status: 'stopping',
      desired: 'gone',
      phase: 'destroying',
      stopRequestedAt: story.now,
    });
    expect(story.states).toEqual(['intent']);

    story.tell(accepted());
    expect(story.states).toEqual(['destroying']);
    story.tell(answered('gone'));
    expect(story.session).toMatchObject({ status: 'stopped', reason: 'user_requested' });
  });

  it('REL-C10: deleted while the create is under way, and nobody answers: ended only by a verdict', () => {
    const story = storyAt('intent').tell(stop, unanswered());
    expect(story.session).toMatchObject({ status: 'stopping', phase: 'destroying' });

    story.missingFor(16 * MINUTE_MS);

    expect(story.session).toMatchObject({ status: 'stopped', phase: 'settled', reason: 'user_requested' });
    expect(story.segments).toEqual([]);
  });

  it('REL-C10: deleted while the create is under way, which is refused: ended, and not tried again', () => {
    const story = storyAt('intent', { request: { ...aSession().request, autoRetry: true } }).tell(stop, refused('capacity'));

    expect(story.session).toMatchObject({ status: 'stopped', reason: 'user_requested', phase: 'settled' });
  });

  it('deleted before anything was asked for: ended at once', () => {
    const story = new Story().tell(stop);

    expect(story.session).toMatchObject({ status: 'stopped', stoppedAt: START, phase: 'settled', destroyAcceptedAt: null });
    expect(story.releasedOffers).toEqual(['cloud-a']);
  });

  it('REL-C11, PEER-11.2.11: deadlines count from the phase, whatever the session’s age', () => {
    const story = new Story().wait(DAY_MS).tell({ kind: 'attempt_begun', attempt: anIntent(1, { intentAt: START + DAY_MS }) });
    expect(story.session).toMatchObject({ phaseEnteredAt: START + DAY_MS, phaseDeadlineAt: START + DAY_MS + 30 * SECOND_MS });

    story.wait(20 * SECOND_MS).tell(accepted());
    const bootsAt = story.now;
    expect(story.session).toMatchObject({ phaseEnteredAt: bootsAt, phaseDeadlineAt: bootsAt + RULES.bootTimeoutMs });

    story.wait(HOUR_MS).tell(stop);
    expect(story.session).toMatchObject({ phase: 'destroying', phaseEnteredAt: story.now, phaseDeadlineAt: null });
  });

  it('PEER-11.2.12: a request’s own time for SSH is the deadline, however long', () => {
    const story = storyAt('intent', { request: { ...aSession().request, sshTimeoutMinutes: 30 } }).tell(accepted());

    expect(story.session.phaseDeadlineAt).toBe(story.now + 30 * MINUTE_MS);
  });

  it('the phases of the proof only go forward: connecting keeps booting’s deadline, the driver has one of its own, once', () => {
    const phase = (name: 'connecting' | 'driver'): Fact => ({ kind: 'proof_phase', ordinal: 1, phase: name });
    const story = storyAt('live');
    const bootDeadline = story.session.phaseDeadlineAt;

    story.wait(MINUTE_MS).tell(phase('connecting'));
    expect(story.session).toMatchObject({ phase: 'connecting', phaseDeadlineAt: bootDeadline });
    story.wait(MINUTE_MS).tell(phase('driver'));
    const driverDeadline = story.now + RULES.driverTimeoutMs;
    expect(story.session).toMatchObject({ phase: 'driver', phaseDeadlineAt: driverDeadline });

    story.wait(MINUTE_MS).tell(phase('connecting'), phase('driver'));
    expect(story.session).toMatchObject({ phase: 'driver', phaseDeadlineAt: driverDeadline });
  });

  it('REL-C12: a second wish to end changes nothing, neither does one after the end', () => {
    for (const story of [storyAt('destroying'), storyAt('verifying'), storyAt('gone')]) {
      const before = story.record;
      story.tell({ kind: 'stop_requested', reason: 'expired' });
      expect(story.record).toBe(before);
    }
  });

  it('REL-C15: what is gone by itself ends the session only by the verdict; the consumer is told why', () => {
    const story = runningStory().tell(missing('get'), missing('list'));
    expect(story.session.status).toBe('running');

    story.missingFor(16 * MINUTE_MS);

    expect(story.session).toMatchObject({
      status: 'stopped',
      reason: 'instance_vanished',
      error: 'the provider no longer knows the instance',
    });
    expect(story.events).toContain('instance.vanished');
    expect(story.transitions.flatMap(({ failures }) => failures)).toMatchObject([
      { kind: 'instance_vanished', machineId: 'machine-a' },
    ]);
  });

  it('REL-C16, RULE-R9: seen again days after the end: destroyed again, reported, at the operator’s cost; the status stays', () => {
    const story = storyAt('gone').tell({ kind: 'settled', costMicros: 5 });
    const end = story.session;
    expect(story.attempt().tombstoneUntil).toBe((story.attempt().goneVerifiedAt ?? 0) + 90 * DAY_MS);

    story.wait(3 * DAY_MS).tell(seen(anInstance('running'), 'list'));
    expect(story.states).toEqual(['destroying']);
    expect(story.session).toMatchObject({
      status: 'stopped',
      stoppedAt: end.stoppedAt,
      settledCostMicros: 5,
      destroyVerifiedAt: null,
      phase: 'verifying',
    });
    expect(story.segments.at(-1)).toMatchObject({ payer: 'operator' });
    expect(story.events.at(-1)).toBe('instance.reappeared');

    story.tell(answered('gone')).missingFor(16 * MINUTE_MS);
    expect(story.session).toMatchObject({
      status: 'stopped',
      phase: 'settled',
      destroyVerifiedAt: story.attempt().goneVerifiedAt,
    });
    expect(story.events.filter((kind) => kind === 'session.stopped')).toHaveLength(1);
  });
});
