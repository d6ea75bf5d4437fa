import { expect } from 'vitest';
import { SECOND_MS } from '../../../src/core/duration.ts';
import type { SessionId } from '../../../src/core/ids.ts';
import type { InstanceId } from '../../../src/provider/ids.ts';
import type { Stage } from '../stage.ts';
import type { Story } from '../story.ts';

async function running(stage: Stage): Promise<{ id: SessionId; machine: InstanceId }> {
  const id = await stage.order();
  return { id, machine: await stage.untilRunning(id) };
}

const STOPPED = { status: 'stopped', reason: 'user_requested' } as const;

export const destroys: readonly Story[] = [
  {
    name: 'a destroy that takes its time',
    market: { settings: { destroyMs: 1_500 } },
    brings: ['instance.destroy_answered', 'instance.gone_accepted', 'session.stopped'],
    unseenMs: 1_600, // the bill ends with the destroy that was answered
    async play(stage) {
      const { id } = await running(stage);
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a destroy whose answer is lost',
    brings: ['instance.destroy_failed', 'session.stopped'],
    unseenMs: 3 * SECOND_MS,
    async play(stage) {
      const { id } = await running(stage);
      stage.account.failNext('DestroyInstance', { do: 'lose-answer' });
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a destroy that is accepted and not carried out, twice',
    brings: ['instance.destroy_answered', 'session.stopped'],
    unseenMs: 4 * SECOND_MS,
    async play(stage) {
      const { id } = await running(stage);
      stage.account.failNext('DestroyInstance', { do: 'ignore' }, { do: 'ignore' });
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a destroy that is not carried out and answered with gone',
    brings: ['instance.gone_accepted', 'instance.reappeared', 'session.stopped'],
    unseenMs: 6 * SECOND_MS,
    async play(stage) {
      const { id } = await running(stage);
      stage.account.failNext('DestroyInstance', { do: 'claim-gone' });
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a destroy that fails for a while',
    brings: ['instance.destroy_failed', 'session.stopped'],
    async play(stage) {
      const { id } = await running(stage);
      stage.account.failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
      await stage.stop(id);
      await stage.until('it was asked for three times', () => stage.account.calls('DestroyInstance') >= 3);
      stage.account.heal();
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a destroy that the account may not ask for any more, for a while',
    brings: ['instance.destroy_failed', 'session.stopped'],
    async play(stage) {
      const { id } = await running(stage);
      for (const operation of ['DestroyInstance', 'GetInstanceStatus', 'ListAllInstances'] as const)
        stage.account.failAlways(operation, { do: 'fail', kind: 'auth' });
      await stage.stop(id);
      await stage.until('it was asked for twice', () => stage.account.calls('DestroyInstance') >= 2);
      stage.account.heal();
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a machine that goes by itself while its destroys fail',
    brings: ['instance.destroy_failed', 'session.stopped'],
    unseenMs: 4 * SECOND_MS,
    async play(stage) {
      const { id, machine } = await running(stage);
      stage.account.failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
      await stage.stop(id);
      await stage.untilTold(id, 'instance.destroy_failed');
      stage.account.vanish(machine);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a list that still shows what is gone',
    market: { settings: { listStaleMs: 3 * SECOND_MS } },
    brings: ['instance.gone_accepted', 'session.stopped'],
    async play(stage) {
      const { id } = await running(stage);
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'a machine that comes back after it was verified as gone',
    brings: ['session.gone_verified', 'instance.reappeared'],
    unseenMs: 11 * SECOND_MS, // from its return until the next sweep
    async play(stage) {
      const { id } = await running(stage);
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
      const { tag } = (await stage.attempts(id))[0] ?? {};
      const back = stage.account.plant(tag === undefined ? {} : { tag });
      await stage.untilTold(id, 'instance.reappeared');
      await stage.until('it is gone again', () => stage.account.living().length === 0);
      expect(stage.account.destroyedIds()).toContain(back);
      await stage.untilSettled(id, STOPPED);
    },
  },
  {
    name: 'an end after which absence takes three looks over five seconds',
    market: {
      capabilities: { absence: { observations: 3, spacingMs: SECOND_MS, windowMs: 5 * SECOND_MS, kinds: ['get', 'list'] } },
    },
    brings: ['session.gone_verified', 'session.stopped'],
    async play(stage) {
      const { id } = await running(stage);
      await stage.stop(id);
      await stage.untilSettled(id, STOPPED);
    },
  },
];
