import assert from 'node:assert/strict';
import { MINUTE_MS } from '../../../src/core/duration.ts';
import { isStopReason } from '../../../src/sessions/session-state.ts';
import type { Story } from './story.ts';

/** What happens to sessions that run, and how they end. */
export const liveStories: readonly Story[] = [
  {
    id: 'C8',
    title: 'ends nothing and buys nothing because of a list that cannot be read',
    needs: ['fault'],
    blindMs: 30 * MINUTE_MS,
    async run(world) {
      const { session } = await world.rent();
      world.market.controls.fault?.('ListAllInstances', 'unreadable');
      await world.pass(30 * MINUTE_MS);
      const { session: after, attempts } = await world.broker.record(session.id);
      world.sure(after.status === 'running', `it should still run, not be ${after.status} (${after.reason})`);
      assert.equal(attempts.length, after.attemptCount);
    },
  },
  {
    id: 'C19',
    title: 'does not take a refused key for the end of its sessions',
    needs: ['revokeKey'],
    blindMs: 40 * MINUTE_MS,
    async run(world) {
      const { session } = await world.rent();
      world.market.revokeKey?.();
      await world.pass(40 * MINUTE_MS);
      const { session: after } = await world.broker.record(session.id);
      world.sure(after.status === 'running', `it should still run, not be ${after.status} (${after.reason})`);
    },
  },
  {
    id: 'C14',
    title: 'ends as soon as its machine is taken away, and what is left of it is destroyed',
    needs: ['preempt'],
    billedUnseen: true,
    async run(world) {
      const record = await world.rent();
      const { instanceId } = world.attemptOf(record);
      assert.ok(instanceId, 'what runs has an id');
      await world.byHand(() => world.market.controls.preempt?.(instanceId));
      const ended = await world.untilEnded(record.session.id);
      world.sure(ended.session.reason === 'instance_stopped', `not ${ended.session.reason}`);
      assert.deepEqual(world.living(), []);
    },
  },
  {
    id: 'C15',
    title: 'ends when its machine is taken away and waits to be started again, which then never happens',
    needs: ['queueStart'],
    billedUnseen: true,
    async run(world) {
      const record = await world.rent();
      const { instanceId } = world.attemptOf(record);
      assert.ok(instanceId, 'what runs has an id');
      await world.byHand(() => world.market.queueStart?.(instanceId));
      const ended = await world.untilEnded(record.session.id);
      world.sure(ended.session.reason === 'instance_stopped', `not ${ended.session.reason}`);
      assert.deepEqual(world.living(), [], 'what waits in the queue lives on');
    },
  },
  {
    id: 'C16',
    title: 'is destroyed whatever the vendor says to the destroy',
    needs: ['fault'],
    billedUnseen: true,
    async run(world) {
      for (const fault of ['rate_limited', 'unavailable', 'lost answer', 'unreadable', 'no answer'] as const) {
        const { session } = await world.rent();
        world.market.controls.fault?.('DestroyInstance', fault, 2);
        await world.broker.stop(session.id);
        await world.untilEnded(session.id);
        world.market.controls.heal?.();
        assert.deepEqual(world.living(), []);
      }
    },
  },
  {
    id: 'C23',
    title: 'is not idle because nobody can say whether it is',
    blindMs: 5 * MINUTE_MS,
    async run(world) {
      const { session } = await world.rent({ idleThresholdMinutes: 10 });
      world.market.controls.fault?.('GetInstanceStatus', 'unreadable');
      world.market.controls.fault?.('ListAllInstances', 'unreadable');
      await world.pass(5 * MINUTE_MS);
      const { session: after } = await world.broker.record(session.id);
      world.sure(after.status === 'running', `it should still run, not be ${after.status} (${after.reason})`);
    },
  },
  {
    id: 'C24',
    title: 'goes on when the vendor uses a word that nobody knows',
    needs: ['setUnknownWord'],
    async run(world) {
      const record = await world.rent();
      const { instanceId } = world.attemptOf(record);
      assert.ok(instanceId, 'what runs has an id');
      await world.market.controls.setUnknownWord?.(instanceId);
      await world.pass(30 * MINUTE_MS);
      const { session } = await world.broker.record(record.session.id);
      world.sure(session.status === 'running', `it should still run, not be ${session.status} (${session.reason})`);
    },
  },
  {
    id: 'C28',
    title: 'pays a session over midnight once, whoever adds it up',
    async run(world) {
      const { session } = await world.rent();
      await world.pass(15 * MINUTE_MS);
      await world.broker.stop(session.id);
      const { session: ended } = await world.untilEnded(session.id);
      const { costs } = world.broker.replica;
      const midnight = Date.parse('2026-10-27T00:00:00Z');
      const all = await costs.segmentsOf(session.id);
      const days = [
        await costs.segmentsIn({ from: midnight - 24 * 60 * MINUTE_MS, until: midnight }),
        await costs.segmentsIn({ from: midnight, until: midnight + 24 * 60 * MINUTE_MS }),
      ];
      assert.ok(days.every((segments) => segments.every(({ sequence }) => all.some((each) => each.sequence === sequence))));
      world.sure(isStopReason(ended.reason ?? ''), `it should end as wished, not for ${ended.reason}`); // a machine may have died before
    },
  },
  {
    id: 'C30',
    title: 'destroys what bears its tag without a session, and nothing of others',
    needs: ['plantForeign'],
    async run(world) {
      const others = [await world.market.controls.plantForeign?.(), await world.market.controls.plantForeign?.()];
      await world.rent();
      await world.pass(40 * MINUTE_MS);
      for (const other of others) {
        const book = world.market.books().find(({ id }) => id === other?.id);
        assert.ok(book, 'what others made is in the books');
        assert.equal(book.closedAt, undefined, 'what others made lives on');
      }
    },
  },
];
