import { SECOND_MS } from '../../../src/core/duration.ts';
import { notYet } from '../../support/scripted-ssh.ts';
import type { Story } from '../story.ts';

export const endings: readonly Story[] = [
  {
    name: 'a rent by offer, stopped while it runs',
    brings: ['session.running', 'session.stopping', 'session.gone_verified', 'session.settled'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilRunning(id);
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop in the moment after the order',
    brings: ['session.stopping', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop while the create call is under way',
    market: { settings: { createMs: SECOND_MS } },
    unseenMs: SECOND_MS + 100,
    brings: ['session.stopping', 'instance.created', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.until('the create was sent', () => stage.account.calls('CreateInstance') > 0);
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop while nobody knows whether the create landed, and it had',
    brings: ['attempt.unknown', 'session.stopping', 'session.stopped'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'lose-answer' });
      const id = await stage.order();
      await stage.until('the create was sent', () => stage.account.calls('CreateInstance') > 0);
      stage.account.failAlways('ListAllInstances', { do: 'fail', kind: 'unavailable' });
      await stage.untilTold(id, 'attempt.unknown');
      await stage.stop(id);
      stage.account.heal();
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop while nobody knows whether the create landed, and it had not',
    brings: ['attempt.unknown', 'session.stopping', 'attempt.absent', 'session.stopped'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'fail', kind: 'ambiguous' });
      const id = await stage.order();
      await stage.untilTold(id, 'attempt.unknown');
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop while the machine boots',
    market: { settings: { bootMs: Number.POSITIVE_INFINITY } },
    brings: ['instance.created', 'session.stopping', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilTold(id, 'instance.created');
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop while SSH is knocked at',
    brings: ['instance.created', 'session.stopping', 'session.stopped'],
    async play(stage) {
      stage.ssh.script(notYet());
      const id = await stage.order();
      await stage.untilPhase(id, 'connecting');
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop while the next attempt waits for its time',
    brings: ['session.retrying', 'session.stopping', 'session.stopped'],
    async play(stage) {
      stage.account.failAlways('CreateInstance', { do: 'fail', kind: 'rate_limited', retryAfterMs: 20 * SECOND_MS });
      const id = await stage.order();
      await stage.untilTold(id, 'session.retrying');
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a stop that comes three times, the last one after the end',
    brings: ['session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilRunning(id);
      await stage.stop(id);
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
      await stage.stop(id);
    },
  },
  {
    name: 'a session past its maximum',
    settings: { hardMaxMs: 4 * SECOND_MS, checkIntervalMs: SECOND_MS },
    brings: ['session.running', 'session.stopping', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'stopped' });
    },
  },
];
