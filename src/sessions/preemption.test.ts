import { describe, expect, it } from 'vitest';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Session, StoredRequest } from '../db/tables.ts';
import type { Instance } from '../provider/instance.ts';
import type { Fact } from './fact.ts';
import { aMarketOffer, anInstance, anIntent, aSession, DISK_PRICE, PROOF, Story } from './fixtures/session-records.ts';

// Interruptible instances: what becomes of a session when somebody bids more.

const FLOOR = 200_000;
const BID_PRICE = 230_000;
const offer = aMarketOffer('a-bid', {
  interruptible: true,
  minBidMicrosPerHour: FLOOR,
  priceMicrosPerHour: FLOOR + DISK_PRICE,
});
const { request } = aSession();

const seen = (instance: Instance): Fact => ({ kind: 'seen', ordinal: 1, by: 'list', instance });
const refused = (kind: 'capacity' | 'rejected'): Fact => ({
  kind: 'create_refused',
  ordinal: 1,
  refusal: { kind, message: 'the bid was too low' },
});

function intended(changes: Partial<StoredRequest> = {}, session: Partial<Session> = {}): Story {
  const asked: StoredRequest = { ...request, offerId: offer.id, ...changes };
  const story = new Story({ session: aSession({ offer, offerId: offer.id, request: asked, ...session }), attempts: [] });
  const attempt = anIntent(1, { offer, offerId: offer.id, priceMicrosPerHour: BID_PRICE, capMicrosPerHour: BID_PRICE * 1.05 });
  return story.tell({ kind: 'attempt_begun', attempt }).wait(SECOND_MS);
}

const booting = (changes: Partial<StoredRequest> = {}) =>
  intended(changes)
    .tell({ kind: 'create_accepted', ordinal: 1, instance: anInstance('starting') })
    .wait(SECOND_MS);

const running = (changes: Partial<StoredRequest> = {}) =>
  booting(changes)
    .tell(seen(anInstance('running')))
    .wait(SECOND_MS)
    .tell({ kind: 'proof_phase', ordinal: 1, phase: 'connecting' }, { kind: 'proven', ordinal: 1, proof: PROOF })
    .wait(MINUTE_MS);

const failures = (story: Story) => story.transitions.flatMap((transition) => transition.failures);

describe('an interruptible session whose instance is paused', () => {
  it('CONF-C14, REL-A11: is stopping for that at once, its contract is being destroyed, and its events say so', () => {
    const story = running().tell(seen(anInstance('paused')));

    expect(story.session).toMatchObject({ status: 'stopping', desired: 'gone', reason: 'preempted' });
    expect(story.session.error).toContain('higher bid');
    expect(story.attempt()).toMatchObject({ state: 'destroying', outcome: 'preempted', dueAt: story.now });
    expect(story.events.slice(-3)).toEqual(['instance.preempted', 'attempt.failed', 'session.stopping']);
    const [first, last] = [0, -1].map((index) => story.transitions.at(-1)?.events.at(index));
    expect(first).toEqual({ kind: 'instance.preempted', data: { attempt: 1, instance_id: 'instance-1' } });
    expect(last).toMatchObject({ kind: 'session.stopping', data: { reason: 'preempted' } });
  });

  it('CONF-C14: ends the same way while it boots, with the end of one that never ran', () => {
    const story = booting().tell(seen(anInstance('paused')));

    expect(story.session).toMatchObject({ status: 'stopping', reason: 'preempted' });
    expect(story.attempt().state).toBe('destroying');
    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'gone' });
    expect(story.session).toMatchObject({ status: 'failed', reason: 'preempted' });
  });

  it('REL-A11: stays ended when it resumes by itself, and is destroyed until it is gone', () => {
    const story = running()
      .tell(seen(anInstance('paused')))
      .wait(SECOND_MS);

    story.tell({ kind: 'destroy_failed', ordinal: 1, refusal: { kind: 'unavailable', message: 'no' } }).wait(MINUTE_MS);
    story.tell(seen(anInstance('running'))).wait(MINUTE_MS);

    expect(story.session).toMatchObject({ status: 'stopping', reason: 'preempted' });
    expect(story.attempt().state).toBe('destroying');
    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'gone' });
    expect(story.session).toMatchObject({ status: 'stopped', reason: 'preempted' });
    expect(story.states).toEqual(['verifying']);
  });

  it('is destroyed again when it comes back after the market said that it is gone, and ends no differently', () => {
    const story = running().tell(seen(anInstance('paused')), { kind: 'destroy_answered', ordinal: 1, result: 'gone' });

    story.wait(MINUTE_MS).tell(seen(anInstance('running')));

    expect(story.session).toMatchObject({ status: 'stopped', reason: 'preempted' });
    expect(story.states).toEqual(['destroying']);
  });

  it('goes on when the pause is over before anybody looked: who uses the machine keeps it', () => {
    const story = running().tell(seen(anInstance('running')));

    expect(story.session.status).toBe('running');
    expect(story.events).not.toContain('instance.preempted');
  });

  it('is billed the disk alone from the first sight of the pause on, and all of it while it runs again', () => {
    const story = running();
    const pausedAt = story.now;
    story.tell(seen(anInstance('paused'))).wait(2 * MINUTE_MS);
    const resumedAt = story.now;
    story.tell(seen(anInstance('running'))).wait(MINUTE_MS);
    const goneAt = story.now;
    story.tell({ kind: 'destroy_answered', ordinal: 1, result: 'gone' });

    expect(story.segments.slice(-2)).toMatchObject([
      { priceMicrosPerHour: DISK_PRICE, fromAt: pausedAt, toAt: resumedAt, payer: 'attempt' },
      { priceMicrosPerHour: BID_PRICE, fromAt: resumedAt, toAt: goneAt, payer: 'attempt' },
    ]);
    expect(story.segments.some(({ toAt }) => toAt === null)).toBe(false);
  });

  it('is not put on another machine when it was in use, whatever was asked', () => {
    const story = running({ autoRetry: true }).tell(seen(anInstance('paused')));

    expect(story.session).toMatchObject({ status: 'stopping', reason: 'preempted' });
  });

  it('RULE-R4: is tried elsewhere when retries were asked for and it never ran, never on the same contract', () => {
    const story = booting({ autoRetry: true }).tell(seen(anInstance('paused')));

    expect(story.session).toMatchObject({ status: 'provisioning', phase: 'retrying' });
    expect(story.attempt()).toMatchObject({ state: 'destroying', outcome: 'preempted' });
    expect(story.events.at(-1)).toBe('session.retrying');
  });

  it('REL-A2: ends as well when it is found paused behind a create that nobody answered', () => {
    const story = intended().tell({ kind: 'create_unknown', ordinal: 1, message: 'no answer' }).wait(SECOND_MS);

    story.tell(seen(anInstance('paused')));

    expect(story.session).toMatchObject({ status: 'stopping', reason: 'preempted' });
    expect(story.attempt().state).toBe('destroying');
  });

  it('keeps the reason for which it was being ended already', () => {
    const story = running().tell({ kind: 'stop_requested', reason: 'user_requested' }, seen(anInstance('paused')));

    expect(story.session.reason).toBe('user_requested');
    expect(story.events).not.toContain('instance.preempted');
  });
});

describe('an instance on demand that is paused', () => {
  it('REL-A11: was not outbid: somebody stopped it', () => {
    const story = new Story()
      .tell({ kind: 'attempt_begun', attempt: anIntent() })
      .tell({ kind: 'create_accepted', ordinal: 1, instance: anInstance('starting') })
      .tell(seen(anInstance('paused')));

    expect(story.session).toMatchObject({ status: 'stopping', reason: 'instance_stopped' });
    expect(story.events).not.toContain('instance.preempted');
  });
});

describe('what is remembered of an offer that went to a higher bid', () => {
  it('is told as that: the machine is as good as before', () => {
    expect(failures(running().tell(seen(anInstance('paused'))))).toMatchObject([{ kind: 'preempted', offerId: offer.id }]);
    expect(failures(intended().tell(refused('capacity')))).toMatchObject([{ kind: 'preempted', offerId: offer.id }]);
  });

  it('is a boot that failed, when it was that', () => {
    const story = booting().tell(seen(anInstance('failed')));

    expect(failures(story)).toMatchObject([{ kind: 'instance_stopped' }]);
  });
});

describe('the price of an interruptible session', () => {
  it('REL-A10: is held against the cap as soon as the market tells it: above it the instance goes', () => {
    const dear = anInstance('running', { priceMicrosPerHour: Math.ceil(BID_PRICE * 1.05) + 1 });

    expect(booting().tell(seen(dear)).attempt()).toMatchObject({ state: 'destroying', outcome: 'price_changed' });
  });

  it('above the cap counts before a pause: it ends for its price, and for that alone', () => {
    const dear = anInstance('paused', { priceMicrosPerHour: Math.ceil(BID_PRICE * 1.05) + 1 });
    const story = booting().tell(seen(dear));

    expect(story.attempt().outcome).toBe('price_changed');
    expect(story.events).not.toContain('instance.preempted');
  });
});
