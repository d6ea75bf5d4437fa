import { expect, it } from 'vitest';
import { instanceId } from '../../src/provider/ids.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { answer, created, eventually, got, listOffers, untilGone } from './steps.ts';
import { makeVastWorld, type VastWorld } from './vastai-world.ts';

const HOUR_MS = 3_600_000;
const LONGEST_LAG_MS = HOUR_MS;

async function rented(world: VastWorld) {
  const offer = (await listOffers(world)).offers.find(({ interruptible }) => !interruptible);
  const { instance } = await created(world, offer && { offer });
  await eventually(world, {
    what: 'the instance should run',
    limitMs: world.limits.bootMs,
    probe: async () => ((await got(world, instance.id))?.state === 'running' ? true : undefined),
  });
  return instance.id;
}

const chargesSince = async (world: VastWorld, from: number) => {
  const { charges } = world.provider;
  if (!charges) throw new Error('Vast.ai tells its charges');
  return answer(world, charges.call(world.provider, { from, until: world.clock.now() }, uncancelled));
};

it('CONF-C1, CONF-C28: the charges of an instance are what the market has in its books, over midnight and past its end', async () => {
  const world = await makeVastWorld({ seed: 1, mode: 'strict' });
  const from = world.clock.now();
  const id = await rented(world);
  const other = await rented(world);
  await world.advance(20 * HOUR_MS);
  await untilGone(world, id);

  const early = await chargesSince(world, from);
  await world.advance(LONGEST_LAG_MS);
  const { charges, roundingMicros, dropped } = await chargesSince(world, from);

  const own = charges.filter((charge) => charge.instanceId === instanceId(id));
  const [account] = world.emulator.ledger().filter(({ contractId }) => String(contractId) === id);
  const sum = (amounts: readonly number[]) => amounts.reduce((total, each) => total + each, 0);
  const billedMicros = (account?.totalUsd ?? 0) * 1_000_000;
  expect(own).toHaveLength(2); // two days
  expect(dropped).toBe(0);
  expect(billedMicros).toBeGreaterThan(1_000_000);
  expect(Math.abs(sum(own.map(({ amountMicros }) => amountMicros)) - billedMicros)).toBeLessThanOrEqual(2 * roundingMicros);
  const trafficMicros = (account?.bandwidthUsd ?? 0) * 1_000_000;
  expect(Math.abs(sum(own.map(({ transferMicros }) => transferMicros)) - trafficMicros)).toBeLessThanOrEqual(
    2 * roundingMicros,
  );
  expect(Math.max(...own.map(({ until }) => until))).toBeGreaterThanOrEqual(
    Math.floor((account?.closedAt ?? 0) / 1_000) * 1_000,
  );
  // late rows: what is told at once is less than what is billed
  const atOnce = early.charges.filter((charge) => charge.instanceId === instanceId(id));
  expect(sum(atOnce.map(({ amountMicros }) => amountMicros))).toBeLessThan(billedMicros - roundingMicros);
  expect(charges.some((charge) => charge.instanceId === instanceId(other))).toBe(true);
  await untilGone(world, instanceId(other));
  await world.close();
});
