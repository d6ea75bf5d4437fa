import assert from 'node:assert/strict';
import { BrokerError } from '../../../src/core/errors.ts';
import { MINUTE_MS } from '../../../src/core/duration.ts';
import type { SessionId } from '../../../src/core/ids.ts';
import type { Story } from './story.ts';

/** Many at once, and a vendor that counts. */
export const manyStories: readonly Story[] = [
  {
    id: 'C6',
    title: 'waits as long as it is told to, and gets there',
    needs: ['fault'],
    async run(world) {
      for (const operation of ['ListOffers', 'CreateInstance', 'GetInstanceStatus', 'ListAllInstances'] as const)
        world.market.controls.fault?.(operation, 'rate_limited', 3);
      // where a create asks several things before it is sent, each of them is refused three times
      const { session } = await world.rent({ maxAttempts: 40 });
      world.market.controls.fault?.('DestroyInstance', 'rate_limited', 3);
      await world.broker.stop(session.id);
      await world.untilEnded(session.id);
    },
  },
  {
    id: 'C7',
    title: 'leaves running sessions alone when no more offers may be listed that day',
    needs: ['spendQuota'],
    async run(world) {
      const { session } = await world.rent();
      world.market.spendQuota?.();
      await world.pass(20 * MINUTE_MS);
      const { session: after } = await world.broker.record(session.id);
      world.sure(after.status === 'running', `it should still run, not be ${after.status} (${after.reason})`);
    },
  },
  {
    id: 'C9',
    title: 'sees all of an account of many pages',
    needs: ['plantForeign', 'pageSize'],
    async run(world) {
      const { controls } = world.market;
      for (let planted = 0; planted < (controls.pageSize ?? 0) + 3; planted += 1) await controls.plantForeign?.();
      world.market.controls.fault?.('CreateInstance', 'lost answer', 1);
      await world.rent();
      assert.equal(world.living().length, 1);
    },
  },
  {
    id: 'C29',
    title: 'starts and ends many at once',
    billedUnseen: true, // destroys wait for each other's intervals
    async run(world) {
      const ids: SessionId[] = [];
      for (let made = 0; made < 12; made += 1) {
        try {
          ids.push((await world.broker.order(world.anything)).id);
        } catch (error) {
          if (!(error instanceof BrokerError) || error.code !== 'no_capacity' || made < 2) throw error;
          break; // a small market is sold out
        }
      }
      for (const id of ids)
        await world.until(
          id,
          'running or ended',
          ({ session: { status } }) => status === 'running' || status === 'failed' || status === 'stopped',
          90 * MINUTE_MS,
        );
      for (const id of ids) await world.broker.stop(id);
      for (const id of ids) await world.untilEnded(id);
      assert.deepEqual(world.living(), []);
    },
  },
];
