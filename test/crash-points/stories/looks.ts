import { expect } from 'vitest';
import { SECOND_MS } from '../../../src/core/duration.ts';
import type { SessionId } from '../../../src/core/ids.ts';
import { instanceId, type InstanceId } from '../../../src/provider/ids.ts';
import { aTag } from '../../support/provider-calls.ts';
import type { Stage } from '../stage.ts';
import type { Story } from '../story.ts';

/** Looks come often, so that what is seen is seen soon. */
const OFTEN = { reconciliationIntervalMs: 2 * SECOND_MS };
const STRAYS = { orphanGraceMs: 3 * SECOND_MS };

async function running(stage: Stage): Promise<{ id: SessionId; machine: InstanceId }> {
  const id = await stage.order();
  return { id, machine: await stage.untilRunning(id) };
}

const looked = (stage: Stage, times: number) => {
  const before = stage.account.calls('ListAllInstances');
  return stage.until(`lists were asked for ${times} times`, () => stage.account.calls('ListAllInstances') >= before + times);
};

export const looks: readonly Story[] = [
  {
    name: 'a machine that vanishes while it runs',
    settings: OFTEN,
    brings: ['session.running', 'instance.vanished', 'session.stopped'],
    unseenMs: 5 * SECOND_MS, // billed until it was seen last
    async play(stage) {
      const { id, machine } = await running(stage);
      await looked(stage, 1);
      stage.account.vanish(machine);
      await stage.untilSettled(id, { status: 'stopped', reason: 'instance_vanished' });
    },
  },
  {
    name: 'a machine that vanishes while it boots',
    market: { settings: { bootMs: 60 * SECOND_MS } },
    settings: { ...OFTEN, bootTimeoutMs: 3 * SECOND_MS },
    brings: ['instance.created', 'session.failed'],
    unseenMs: 4 * SECOND_MS,
    async play(stage) {
      const id = await stage.order();
      await stage.untilTold(id, 'instance.created');
      const [machine] = stage.account.living();
      if (machine) stage.account.vanish(machine.id);
      await stage.untilSettled(id, { status: 'failed' });
    },
  },
  {
    name: 'lists that claim that there is nothing, while a session runs',
    settings: OFTEN,
    brings: ['session.running'],
    async play(stage) {
      const { id } = await running(stage);
      await stage.wait(2 * SECOND_MS); // old enough to be missed
      stage.account.failAlways('ListAllInstances', { do: 'empty' });
      await looked(stage, 4);
      stage.account.heal();
      await looked(stage, 1);
      expect((await stage.session(id)).status).toBe('running');
    },
  },
  {
    name: 'lists that break off after their first page, while a session runs',
    settings: OFTEN,
    brings: ['session.running'],
    async play(stage) {
      const { id } = await running(stage);
      stage.account.failAlways('ListAllInstances', { do: 'break-off' });
      await looked(stage, 4);
      stage.account.heal();
      await looked(stage, 1);
      expect((await stage.session(id)).status).toBe('running');
    },
  },
  {
    name: 'a machine that is denied by its id once, while a session runs',
    settings: OFTEN,
    brings: ['session.running'],
    async play(stage) {
      const { id, machine } = await running(stage);
      stage.account.failNext('ListAllInstances', { do: 'omit', ids: [machine] });
      stage.account.failNext('GetInstanceStatus', { do: 'omit', ids: [machine] });
      await looked(stage, 3);
      expect((await stage.session(id)).status).toBe('running');
    },
  },
  {
    name: 'an account that answers to nothing, while a session runs and is stopped',
    settings: OFTEN,
    brings: ['session.running', 'session.stopped'],
    async play(stage) {
      const { id } = await running(stage);
      for (const operation of ['GetInstanceStatus', 'ListAllInstances', 'DestroyInstance'] as const)
        stage.account.failAlways(operation, { do: 'fail', kind: 'unavailable' });
      await looked(stage, 1);
      await stage.stop(id);
      await stage.untilTold(id, 'instance.destroy_failed');
      stage.account.heal();
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'a machine that loses its tag while it runs, and is stopped',
    settings: OFTEN,
    brings: ['session.running', 'session.stopped'],
    async play(stage) {
      const { id, machine } = await running(stage);
      stage.account.loseTag(machine);
      await looked(stage, 2);
      expect((await stage.session(id)).status).toBe('running');
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
    },
  },
  {
    name: 'an id that belongs to somebody else when it is to be destroyed',
    brings: ['session.running', 'session.stopped'],
    unseenMs: 5 * SECOND_MS,
    async play(stage) {
      const { id, machine } = await running(stage);
      stage.account.failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
      await stage.stop(id);
      await stage.untilTold(id, 'instance.destroy_failed');
      stage.account.vanish(machine);
      stage.account.plant({ id: machine, tag: 'somebody-elses' });
      stage.account.heal();
      await stage.untilSettled(id, { status: 'stopped', reason: 'user_requested' });
      expect(stage.account.living().map(({ tag }) => tag)).toEqual(['somebody-elses']);
    },
  },
  {
    name: 'a stray: our tag and no session',
    settings: STRAYS,
    brings: ['session.running'],
    async play(stage) {
      const stray = stage.account.plant({ tag: aTag(777) });
      await running(stage);
      await stage.until('the stray is gone', () => stage.account.destroyedIds().includes(stray));
    },
  },
  {
    name: 'a twin: a second machine with the tag of one that runs',
    settings: STRAYS,
    brings: ['session.running'],
    async play(stage) {
      const { id, machine } = await running(stage);
      const live = async () => (await stage.attempts(id)).find(({ state }) => state === 'live');
      const tag = (await live())?.tag;
      const twin = stage.account.plant({ ...(tag === undefined ? {} : { tag }), id: instanceId('twin') });
      await stage.until('the twin is gone', () => stage.account.destroyedIds().includes(twin));
      expect((await live())?.instanceId).toBe(machine);
      expect((await stage.session(id)).status).toBe('running');
    },
  },
  {
    name: 'machines of others on the same account',
    settings: { ...OFTEN, ...STRAYS },
    brings: ['session.running', 'session.stopped'],
    async play(stage) {
      const others = [
        stage.account.plant(),
        stage.account.plant({ tag: aTag(1, { deployment: 'test2' }) }),
        stage.account.plant({ tag: aTag(1, { deployment: 'other' }) }),
      ];
      const { id } = await running(stage);
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped' });
      await stage.wait(8 * SECOND_MS);
      expect(stage.account.living().map((machine) => machine.id)).toEqual(others);
    },
  },
];
