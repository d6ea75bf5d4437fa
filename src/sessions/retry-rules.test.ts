import { describe, expect, it } from 'vitest';
import { aSession } from './fixtures/session-records.ts';
import { blamesOffer, reasonOfRefusal, retryAfter } from './retry-rules.ts';
import { FAILURE_REASONS } from './session-state.ts';

const asked = aSession().request;
const { offerId: _, ...byRequirements } = asked;

const named = aSession({ attemptCount: 1 });
const retried = aSession({ attemptCount: 1, request: { ...asked, autoRetry: true } });
const picked = aSession({ attemptCount: 1, request: byRequirements });

describe('retryAfter', () => {
  it.each([
    // reason, the offer was named, named with auto_retry, the broker picks
    ['create_lost', 'same_offer', 'same_offer', 'same_offer'],
    ['provider_unavailable', 'same_offer', 'same_offer', 'same_offer'],
    ['stale_inventory', 'none', 'other_offer', 'other_offer'],
    ['no_capacity', 'none', 'other_offer', 'other_offer'],
    ['price_changed', 'none', 'other_offer', 'other_offer'],
    ['provider_auth', 'none', 'other_offer', 'other_offer'],
    ['provider_funds', 'none', 'other_offer', 'other_offer'],
    ['ssh_verify_timeout', 'none', 'other_offer', 'none'],
    ['ssh_address_refused', 'none', 'other_offer', 'none'],
    ['gpu_driver_timeout', 'none', 'other_offer', 'none'],
    ['gpu_mismatch', 'none', 'other_offer', 'none'],
    ['wrong_host', 'none', 'other_offer', 'none'],
    ['instance_stopped', 'none', 'other_offer', 'none'],
    ['instance_vanished', 'none', 'other_offer', 'none'],
    ['preempted', 'none', 'other_offer', 'none'],
    ['provider_rejected', 'none', 'none', 'none'],
  ] as const)('%s: named %s, with auto_retry %s, picked %s', (reason, ...expected) => {
    expect([named, retried, picked].map((session) => retryAfter(session, reason))).toEqual(expected);
  });

  it('says something of every reason', () => {
    for (const reason of FAILURE_REASONS) {
      expect(retryAfter(retried, reason), reason).toMatch(/^(same_offer|other_offer|none)$/);
      expect(blamesOffer(reason, aSession()), reason).toBeTypeOf('boolean');
    }
  });

  it.each(FAILURE_REASONS)('%s: nothing is tried again when the attempts are used up or the session is unwanted', (reason) => {
    expect(retryAfter({ ...retried, attemptCount: 3 }, reason)).toBe('none');
    expect(retryAfter({ ...retried, desired: 'gone' }, reason)).toBe('none');
  });

  it('does not put another machine in place of one that was in use', () => {
    expect(retryAfter({ ...retried, runningAt: 1 }, 'instance_vanished')).toBe('none');
  });
});

describe('reasonOfRefusal', () => {
  it.each([
    ['capacity', 'stale_inventory'],
    ['rate_limited', 'provider_unavailable'],
    ['unavailable', 'provider_unavailable'],
    ['auth', 'provider_auth'],
    ['funds', 'provider_funds'],
    ['rejected', 'provider_rejected'],
    ['protocol', 'create_lost'],
    ['ambiguous', 'create_lost'],
  ] as const)('%s means %s', (kind, reason) => {
    expect(reasonOfRefusal(kind)).toBe(reason);
  });
});

describe('blamesOffer', () => {
  it('PEER-11.2.19: an offer is not blamed for our credentials, our money, the network or a refused address', () => {
    const innocent = FAILURE_REASONS.filter((reason) => !blamesOffer(reason, aSession()));

    expect(innocent).toEqual([
      'no_capacity',
      'provider_rejected',
      'provider_auth',
      'provider_funds',
      'provider_unavailable',
      'create_lost',
      'ssh_address_refused',
    ]);
  });

  it.each([{ image: 'my/image' }, { onStart: 'exit 1' }, { templateHashId: '0f3c5a7b' }])(
    "PEER-11.2.19: a bad boot of the consumer's own software (%o) hides nothing",
    (own) => {
      const session = aSession();
      const withOwn = { request: { ...session.request, ...own } };

      expect(
        ['ssh_verify_timeout', 'gpu_driver_timeout', 'instance_stopped'].filter((reason) =>
          blamesOffer(reason as never, withOwn),
        ),
      ).toEqual([]);
      expect(blamesOffer('stale_inventory', withOwn)).toBe(true);
    },
  );
});
