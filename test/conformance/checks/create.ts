import assert from 'node:assert/strict';
import { uncancelled } from '../../support/provider-calls.ts';
import {
  answer,
  assertKind,
  attempt,
  control,
  created,
  createLimitMs,
  createRequest,
  eventually,
  firstListed,
  got,
  listed,
  listOffers,
  pastTheListLag,
  refusal,
  settled,
  someOffer,
} from '../steps.ts';
import type { ConformanceCheck, ConformanceWorld } from '../world.ts';

export const createChecks: readonly ConformanceCheck[] = [
  {
    id: 'create-tags-at-once',
    title: 'attaches the tag in the call that creates: whoever sees the instance first sees its tag',
    run: async (world) => {
      const { instance, request } = await created(world);
      assert.equal(instance.tag, request.tag, 'the created instance does not bear its tag');
      const read = await eventually(world, {
        what: 'get should find the instance',
        limitMs: world.limits.listLagMs + world.limits.answerMs,
        probe: () => got(world, instance.id),
      });
      assert.equal(read.tag, request.tag, 'get first showed the instance without its tag');
      const row = await firstListed(world, ({ id }) => id === instance.id);
      assert.equal(row.tag, request.tag, 'a list first showed the instance without its tag');
    },
  },
  {
    id: 'create-runs',
    scenario: 'CONF-C1',
    title: 'makes an instance that comes to run and says how to get in',
    run: async (world) => {
      const { instance } = await created(world);
      const running = await eventually(world, {
        what: 'the instance should run',
        limitMs: world.limits.bootMs,
        probe: async () => {
          const now = await got(world, instance.id);
          assert.notEqual(now?.state, 'failed', 'the instance failed');
          return now?.state === 'running' ? now : undefined;
        },
      });
      assert.ok(running.ssh.user.length > 0, 'it runs without a user');
      if (running.ssh.routes === 'dial') {
        assert.ok(world.provider.dialSsh, 'it can only be dialled, and the provider does not dial');
        return;
      }
      assert.ok(running.ssh.routes.length > 0, 'it runs without an address');
      for (const { host, port } of running.ssh.routes) {
        assert.ok(host.length > 0 && Number.isInteger(port) && port > 0 && port < 65_536, `no address: ${host}:${port}`);
      }
    },
  },
  {
    id: 'create-taken-is-capacity',
    scenario: 'CONF-C2',
    title: 'says capacity, and makes nothing, when the offer is taken',
    needs: ['takeOffer'],
    run: async (world) => {
      const offer = await someOffer(world);
      const request = createRequest(world, offer);
      await control(world, 'takeOffer')(offer);
      const thrown = await refusal(world, world.provider.createInstance(request, uncancelled), createLimitMs(world));
      assertKind(thrown, 'capacity');
      await assertNothingMade(world, request.tag);
    },
  },
  {
    id: 'create-one-unit-once',
    scenario: 'EMU-E14',
    title: 'lets exactly one of two rent the last unit of an offer',
    run: async (world) => {
      const { offers } = await listOffers(world);
      const offer = offers.find(({ units }) => units === 1);
      if (!offer) return; // nothing here is sold once
      const outcomes = await Promise.all(
        [1, 2].map(() =>
          settled(
            world,
            attempt(() => world.provider.createInstance(createRequest(world, offer), uncancelled)),
            { limitMs: createLimitMs(world) },
          ),
        ),
      );
      const refusals = outcomes.flatMap((outcome) => ('thrown' in outcome ? [outcome.thrown] : []));
      assert.equal(refusals.length, 1, `${2 - refusals.length} of two got the same unit`);
      assertKind(refusals[0], 'capacity');
    },
  },
  {
    id: 'create-lost-answer',
    scenario: 'CONF-C3',
    title: 'says ambiguous when the answer is lost, or finds what was made, and never creates again',
    needs: ['fault', 'heal', 'livingWithTag'],
    run: async (world) => {
      const request = createRequest(world, await someOffer(world));
      control(world, 'fault')('CreateInstance', 'lost answer');
      const outcome = await settled(world, world.provider.createInstance(request, uncancelled), {
        limitMs: createLimitMs(world),
      });
      control(world, 'heal')();
      await pastTheListLag(world);
      const living = await control(world, 'livingWithTag')(request.tag);
      assert.equal(living.length, 1, `one create made ${living.length} instances`);
      if ('thrown' in outcome) assertKind(outcome.thrown, 'ambiguous', 'protocol');
      else assert.equal(outcome.value.id, living[0], 'it answered with another instance than the one that it made');
      const rows = (await listed(world)).filter(({ tag }) => tag === request.tag);
      assert.deepEqual(
        rows.map(({ id }) => id),
        living,
        'the instance whose answer was lost cannot be found by its tag',
      );
    },
  },
  {
    id: 'create-cut-short',
    scenario: 'CONF-C17',
    title: 'says ambiguous when it is cut short, and what it made is found by its tag',
    needs: ['fault', 'heal', 'livingWithTag'],
    run: async (world) => {
      const request = createRequest(world, await someOffer(world));
      const abort = new AbortController();
      control(world, 'fault')('CreateInstance', 'no answer');
      const creating = refusal(
        world,
        attempt(() => world.provider.createInstance(request, { signal: abort.signal })),
      );
      await world.advance(50);
      abort.abort();
      const thrown = await creating;
      control(world, 'heal')();
      assertKind(thrown, 'ambiguous');
      await pastTheListLag(world);
      const living = await control(world, 'livingWithTag')(request.tag);
      const rows = (await listed(world)).filter(({ tag }) => tag === request.tag);
      assert.deepEqual(
        rows.map(({ id }) => id),
        living,
        'what was made cannot be found by its tag',
      );
    },
  },
  {
    id: 'create-not-sent',
    title: 'makes nothing when it is cancelled before it begins',
    run: async (world) => {
      const request = createRequest(world, await someOffer(world));
      const thrown = await refusal(
        world,
        attempt(() => world.provider.createInstance(request, { signal: AbortSignal.abort() })),
      );
      assertKind(thrown, 'unavailable', 'ambiguous');
      await assertNothingMade(world, request.tag);
    },
  },
  {
    id: 'create-definite-failure',
    scenario: 'CONF-C4, CONF-C20',
    title: 'passes on a definite refusal as what it is, and makes nothing',
    needs: ['fault', 'heal'],
    run: async (world) => {
      const offer = await someOffer(world);
      for (const fault of ['capacity', 'rate_limited', 'unavailable', 'auth', 'funds'] as const) {
        const request = createRequest(world, offer);
        control(world, 'fault')('CreateInstance', fault);
        const thrown = await refusal(world, world.provider.createInstance(request, uncancelled), createLimitMs(world));
        control(world, 'heal')();
        // A 5xx to a create is honest as ambiguous too: many vendors carry it out all the same.
        assertKind(thrown, fault, ...(fault === 'unavailable' ? (['ambiguous'] as const) : []));
        await assertNothingMade(world, request.tag);
        await world.advance(thrown.retryAfterMs ?? 0);
      }
    },
  },
  {
    id: 'create-same-tag-twice',
    title: 'shows every instance of a tag when a create is called twice',
    run: async (world) => {
      const { offers } = await listOffers(world);
      const [first, second = first] = offers.toSorted((a, b) => b.units - a.units);
      assert.ok(first && second, 'the suite needs at least one offer');
      const { instance, request } = await created(world, { offer: first });
      const again = await settled(
        world,
        attempt(() => world.provider.createInstance(createRequest(world, second, { tag: request.tag }), uncancelled)),
        { limitMs: createLimitMs(world) },
      );
      if ('thrown' in again) assertKind(again.thrown);
      await pastTheListLag(world);
      const rows = new Set((await listed(world)).filter(({ tag }) => tag === request.tag).map(({ id }) => id));
      const handedOut = [instance.id, ...('value' in again ? [again.value.id] : [])];
      for (const id of handedOut)
        assert.ok(rows.has(id), `${id} was handed out for the tag, but no list shows it with the tag`);
    },
  },
  {
    id: 'instance-integer-price',
    title: 'prices its instances in whole micro-dollars',
    run: async (world) => {
      const { instance } = await created(world);
      const row = await firstListed(world, ({ id }) => id === instance.id);
      for (const { priceMicrosPerHour } of [instance, row]) {
        if (priceMicrosPerHour === undefined) continue;
        assert.ok(
          Number.isSafeInteger(priceMicrosPerHour) && priceMicrosPerHour >= 0,
          `the instance costs ${priceMicrosPerHour}, which is no whole number of micro-dollars`,
        );
      }
    },
  },
];

async function assertNothingMade(world: ConformanceWorld, tag: string): Promise<void> {
  await pastTheListLag(world);
  const rows = (await answer(world, world.provider.listInstances(uncancelled))).filter((row) => row.tag === tag);
  assert.deepEqual(rows, [], 'something was made all the same');
}
