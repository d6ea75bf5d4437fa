import { expect } from 'vitest';
import { SECOND_MS } from '../../../src/core/duration.ts';
import { offerId } from '../../../src/provider/ids.ts';
import { anOffer } from '../../support/in-memory-account.ts';
import type { Story } from '../story.ts';

const offers = ['ask-1', 'ask-2', 'ask-3'].map((providerOfferId) => anOffer({ providerOfferId }));
const [first] = offers;
const ALIKE = { offers };
const BY_REQUIREMENTS = { byRequirements: true, request: { gpuTypes: ['RTX 4090'], autoRetry: true } } as const;

export const beginnings: readonly Story[] = [
  {
    name: 'a broker starts, a machine is rented by requirements, and runs on',
    fromStart: true,
    market: ALIKE,
    brings: ['session.running'],
    async play(stage) {
      const id = await stage.order(BY_REQUIREMENTS);
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a key that the broker makes, shredded when it may no more be told',
    settings: { keyReplayMs: 5 * SECOND_MS },
    brings: ['session.running'],
    async play(stage) {
      const id = await stage.order({ keysOfTheBroker: true });
      const { keySecretId } = await stage.session(id);
      if (keySecretId === null) throw new Error('the broker keeps the key that it made');
      expect(await stage.world.replica.sessions.findSecret(keySecretId)).toMatchObject({ purpose: 'consumer_key' });
      await stage.untilRunning(id);
      await stage.until('the key is shredded', async () => !(await stage.world.replica.sessions.findSecret(keySecretId)));
    },
  },
  {
    name: 'a create refused for want of capacity, and another offer',
    market: ALIKE,
    brings: ['attempt.refused', 'session.retrying', 'session.running'],
    async play(stage) {
      stage.account.offers = offers.slice(1); // somebody else was faster, and no list has told
      const id = await stage.order({ request: { autoRetry: true } });
      await stage.untilRunning(id);
      expect((await stage.session(id)).offerId).not.toBe(first?.id);
    },
  },
  {
    name: 'a create refused for want of capacity, and no wish for another offer',
    market: ALIKE,
    brings: ['attempt.refused', 'session.failed'],
    async play(stage) {
      stage.account.offers = offers.slice(1);
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'stale_inventory' });
    },
  },
  {
    name: 'a create whose answer is lost, and which landed',
    brings: ['attempt.unknown', 'instance.created', 'session.running'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'lose-answer' });
      const id = await stage.order();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a create whose answer is lost, and which never landed',
    brings: ['attempt.unknown', 'attempt.absent', 'session.retrying', 'session.running'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'fail', kind: 'ambiguous' });
      const id = await stage.order();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a create whose answer is lost, and which lands while it is looked for',
    brings: ['attempt.unknown', 'instance.created', 'session.running'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'land-late', afterMs: 700 });
      const id = await stage.order();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a create that lands when it was given up and another one runs',
    market: { offers: [anOffer({ units: 9 })] },
    brings: ['attempt.absent', 'session.running', 'instance.reappeared'],
    unseenMs: 11 * SECOND_MS, // from its landing until the next sweep
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'land-late', afterMs: 7 * SECOND_MS });
      const id = await stage.order();
      await stage.untilRunning(id);
      await stage.wait(7 * SECOND_MS);
      await stage.until('one machine is left', () => stage.account.living().length === 1);
      await stage.until('the other is verified as gone', async () =>
        (await stage.attempts(id)).every(({ state }) => state === 'live' || state === 'gone'),
      );
    },
  },
  {
    name: 'a new machine that the list does not show at once, and an unreadable answer to the create',
    market: { settings: { listLagMs: 400 } },
    brings: ['attempt.unknown', 'instance.created', 'session.running'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'lose-answer' });
      const id = await stage.order();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a create that is answered with nothing that can be read',
    brings: ['attempt.unknown', 'attempt.absent', 'session.running'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'fail', kind: 'protocol' });
      const id = await stage.order();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a create refused for too many requests, and the same offer again',
    brings: ['attempt.refused', 'session.retrying', 'session.running'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 700 });
      const id = await stage.order();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a create refused for want of money',
    brings: ['attempt.refused', 'session.failed'],
    async play(stage) {
      stage.account.failAlways('CreateInstance', { do: 'fail', kind: 'funds' });
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'provider_funds' });
    },
  },
  {
    name: 'a create refused because the key of the account is no more valid',
    market: ALIKE,
    brings: ['attempt.refused', 'session.failed'],
    async play(stage) {
      stage.account.failAlways('CreateInstance', { do: 'fail', kind: 'auth' });
      const id = await stage.order(BY_REQUIREMENTS);
      await stage.untilSettled(id, { status: 'failed', reason: 'provider_auth' });
    },
  },
  {
    name: 'a create that the provider rejects',
    brings: ['attempt.refused', 'session.failed'],
    async play(stage) {
      stage.account.failAlways('CreateInstance', { do: 'fail', kind: 'rejected' });
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'provider_rejected' });
    },
  },
  {
    name: 'two consumers who want the same offer',
    brings: ['session.running'],
    async play(stage) {
      const id = await stage.order();
      await expect(stage.order({ consumerId: 'bob' })).rejects.toMatchObject({ code: 'stale_inventory' });
      await stage.untilRunning(id);
    },
  },
  {
    name: 'three sessions at once on an offer of many units, and one of them ends',
    settings: { createConcurrency: 1 },
    brings: ['session.running', 'session.stopped'],
    async play(stage) {
      const stock = { request: { offerId: offerId('memory-stock-t4') } };
      const ids = [await stage.order(stock), await stage.order(stock), await stage.order(stock)] as const;
      for (const id of ids) await stage.untilRunning(id);
      await stage.stop(ids[1]);
      await stage.untilSettled(ids[1], { status: 'stopped' });
    },
  },
];
