import assert from 'node:assert/strict';
import { uncancelled } from '../../support/provider-calls.ts';
import {
  answer,
  assertKind,
  attempt,
  control,
  created,
  destroyed,
  eventually,
  got,
  listed,
  pastTheListLag,
  settled,
  untilGone,
} from '../steps.ts';
import type { ConformanceCheck } from '../world.ts';

export const destroyChecks: readonly ConformanceCheck[] = [
  {
    id: 'destroy-ends',
    scenario: 'CONF-C16',
    title: 'ends an instance: asked until it says gone, neither get nor list knows it any more',
    run: async (world) => {
      const { instance } = await created(world);
      await pastTheListLag(world);
      await untilGone(world, instance.id);
      assert.equal(await got(world, instance.id), undefined, 'it said gone, and get still finds it');
      await eventually(world, {
        what: 'the list should forget the instance',
        limitMs: world.limits.goneMs,
        probe: async () => ((await listed(world)).some(({ id }) => id === instance.id) ? undefined : true),
      });
    },
  },
  {
    id: 'destroy-gone-after-read',
    title: 'says gone only when a read after the destroy says so',
    run: async (world) => {
      const { instance } = await created(world);
      await pastTheListLag(world);
      await eventually(world, {
        what: 'the instance should be gone',
        limitMs: world.limits.goneMs,
        probe: async () => {
          const verdict = await destroyed(world, instance.id);
          const seen = await got(world, instance.id);
          assert.ok(verdict !== 'gone' || seen === undefined, `it said gone, and the instance is ${seen?.state}`);
          return seen === undefined ? true : undefined;
        },
      });
    },
  },
  {
    id: 'destroy-again',
    title: 'takes a destroy any number of times, at once and after the end',
    run: async (world) => {
      const { instance } = await created(world);
      await pastTheListLag(world);
      await Promise.all([1, 2, 3].map(() => destroyed(world, instance.id)));
      await untilGone(world, instance.id);
      for (let count = 0; count < 2; count += 1) {
        assert.equal(await destroyed(world, instance.id), 'gone', 'what is gone should stay gone');
      }
    },
  },
  {
    id: 'destroy-unknown',
    title: 'takes the destroy of what never was without an error, and touches nothing else',
    run: async (world) => {
      const { instance } = await created(world);
      await pastTheListLag(world);
      await answer(
        world,
        attempt(() => world.provider.destroyInstance(world.unknownId, uncancelled)),
      );
      const read = await got(world, instance.id);
      assert.ok(read && read.state !== 'stopping', 'the destroy of something else reached this instance');
    },
  },
  {
    id: 'destroy-fails-openly',
    scenario: 'CONF-C16',
    title: 'never says gone because the destroy failed, and ends the instance once the market can be asked',
    needs: ['fault', 'heal'],
    run: async (world) => {
      const { instance } = await created(world);
      await pastTheListLag(world);
      for (const fault of ['unavailable', 'rate_limited', 'auth', 'unreadable'] as const) {
        control(world, 'fault')('DestroyInstance', fault);
        const outcome = await settled(
          world,
          attempt(() => world.provider.destroyInstance(instance.id, uncancelled)),
        );
        control(world, 'heal')();
        if ('thrown' in outcome) {
          assertKind(outcome.thrown);
          await world.advance(outcome.thrown.retryAfterMs ?? 0);
        } else assert.equal(outcome.value, 'destroying', `it said gone although the destroy failed (${fault})`);
      }
      await untilGone(world, instance.id);
    },
  },
];
