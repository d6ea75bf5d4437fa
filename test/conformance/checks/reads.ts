import assert from 'node:assert/strict';
import { uncancelled } from '../../support/provider-calls.ts';
import {
  answer,
  assertKind,
  attempt,
  control,
  created,
  destroyed,
  everyCall,
  firstListed,
  got,
  listed,
  pastTheListLag,
  refusal,
  untilGone,
} from '../steps.ts';
import type { AccountFault, ConformanceCheck, ConformanceWorld } from '../world.ts';
import type { ProviderOperation } from '../../../src/provider/provider-error.ts';

const COULD_NOT_ASK = ['unavailable', 'rate_limited', 'auth', 'unreadable', 'lost answer'] as const satisfies AccountFault[];
const READS: ReadonlySet<ProviderOperation> = new Set([
  'ListOffers',
  'ListAllInstances',
  'GetInstanceStatus',
  'Check',
  'GetBalance',
]);

export const readChecks: readonly ConformanceCheck[] = [
  {
    id: 'list-is-complete',
    scenario: 'CONF-C9, CONF-C30',
    title: 'lists every instance of the account, from all pages, foreign ones with the tag that they bear',
    needs: ['plantForeign', 'pageSize'],
    run: async (world) => {
      const plant = control(world, 'plantForeign');
      const { instance } = await created(world);
      const planted = [];
      for (let count = 0; count <= control(world, 'pageSize'); count += 1) planted.push(await plant());
      await pastTheListLag(world);
      const rows = await listed(world);
      const ids = rows.map(({ id }) => id);
      assert.equal(new Set(ids).size, ids.length, 'an instance is listed twice');
      assert.ok(ids.includes(instance.id), `${instance.id} exists and is not listed`);
      for (const { id, tag } of planted) {
        assert.ok(ids.includes(id), `${id} exists and is not listed`);
        assert.equal(rows.find((row) => row.id === id)?.tag, tag, `the tag of ${id}, which is not ours, is not shown as it is`);
      }
    },
  },
  {
    id: 'list-has-every-state',
    title: 'lists an instance until it is gone, not only while it runs',
    run: async (world) => {
      const { instance } = await created(world);
      await firstListed(world, ({ id }) => id === instance.id);
      await destroyed(world, instance.id);
      const before = await got(world, instance.id);
      const rows = await listed(world);
      const after = await got(world, instance.id);
      const shown = rows.some(({ id }) => id === instance.id);
      assert.ok(!(before && after) || shown, `get says that the instance is ${after?.state}, and it is not listed`);
    },
  },
  {
    id: 'list-throws',
    scenario: 'CONF-C8',
    title: 'throws when it could not list the instances, rather than showing fewer',
    needs: ['fault', 'heal'],
    run: async (world) => {
      await created(world);
      await pastTheListLag(world);
      await eachFault(world, 'ListAllInstances', () => world.provider.listInstances(uncancelled));
    },
  },
  {
    id: 'offers-throw',
    title: 'throws when it could not list the offers, rather than showing an empty market',
    needs: ['fault', 'heal'],
    run: async (world) => eachFault(world, 'ListOffers', () => world.provider.listOffers({}, uncancelled)),
  },
  {
    id: 'get-throws',
    scenario: 'CONF-C19',
    title: 'says undefined only of what does not exist, never because it could not ask',
    needs: ['fault', 'heal'],
    run: async (world) => {
      const { instance } = await created(world);
      await pastTheListLag(world);
      await eachFault(world, 'GetInstanceStatus', () => world.provider.getInstance(instance.id, uncancelled));
      assert.ok(await got(world, instance.id), 'an instance that exists is not found');
    },
  },
  {
    id: 'get-gone-is-undefined',
    title: 'answers undefined for what is gone and for what never was',
    run: async (world) => {
      assert.equal(await got(world, world.unknownId), undefined, 'it knows an instance that never was');
      const { instance } = await created(world);
      await pastTheListLag(world);
      await untilGone(world, instance.id);
      assert.equal(await got(world, instance.id), undefined, 'it still knows what is gone');
    },
  },
  {
    id: 'get-agrees-with-list',
    title: 'says the same of an instance by get and by list',
    run: async (world) => {
      const { instance } = await created(world);
      const row = await firstListed(world, ({ id }) => id === instance.id);
      const read = await got(world, row.id);
      assert.equal(read?.id, row.id, 'get answers with another instance');
      assert.equal(read.tag, row.tag, 'get and list show different tags');
    },
  },
  {
    id: 'unknown-word-is-starting',
    scenario: 'CONF-C24',
    title: 'takes a state that nobody knows for starting, never for an end',
    needs: ['setUnknownWord'],
    run: async (world) => {
      const { instance } = await created(world);
      await firstListed(world, ({ id }) => id === instance.id);
      await control(world, 'setUnknownWord')(instance.id);
      const read = await got(world, instance.id);
      const row = (await listed(world)).find(({ id }) => id === instance.id);
      assert.deepEqual([read?.state, row?.state], ['starting', 'starting'], 'an unknown state was read as another');
    },
  },
  {
    id: 'reads-not-begun',
    title: 'refuses a read whose signal is aborted already',
    run: async (world) => {
      const { instance, request } = await created(world);
      for (const { operation, call } of everyCall(world, { id: instance.id, request })) {
        if (!READS.has(operation)) continue;
        const thrown = await refusal(
          world,
          attempt(() => call({ signal: AbortSignal.abort() })),
        );
        assertKind(thrown, 'unavailable');
      }
    },
  },
  {
    id: 'reads-cut-short',
    title: 'ends a read when its signal aborts, though the market never answers',
    needs: ['fault', 'heal'],
    run: async (world) => {
      const { instance, request } = await created(world);
      for (const { operation, call } of everyCall(world, { id: instance.id, request })) {
        if (!READS.has(operation)) continue;
        control(world, 'fault')(operation, 'no answer');
        const abort = new AbortController();
        const reading = refusal(
          world,
          attempt(() => call({ signal: abort.signal })),
        );
        await world.advance(50);
        abort.abort();
        assertKind(await reading, 'unavailable');
        control(world, 'heal')();
      }
    },
  },
  {
    id: 'check-tells',
    scenario: 'CONF-C19',
    title: 'passes its check when all is well and fails it with auth when credentials are refused',
    needs: ['fault', 'heal'],
    run: async (world) => {
      await answer(world, world.provider.check(uncancelled));
      control(world, 'fault')('Check', 'auth');
      assertKind(await refusal(world, world.provider.check(uncancelled)), 'auth');
      control(world, 'heal')();
    },
  },
  {
    id: 'balance-integer',
    title: 'tells its balance in whole micro-dollars',
    applies: (provider) => provider.balance !== undefined,
    run: async (world) => {
      const balance = await answer(
        world,
        attempt(async () => world.provider.balance?.(uncancelled)),
      );
      assert.ok(Number.isSafeInteger(balance), `the balance is ${balance}, which is no whole number of micro-dollars`);
    },
  },
];

async function eachFault(world: ConformanceWorld, operation: ProviderOperation, call: () => Promise<unknown>): Promise<void> {
  for (const fault of COULD_NOT_ASK) {
    control(world, 'fault')(operation, fault);
    const thrown = await refusal(world, attempt(call));
    control(world, 'heal')();
    assertKind(thrown);
    await world.advance(thrown.retryAfterMs ?? 0);
  }
}
