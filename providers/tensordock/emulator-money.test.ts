import { describe, expect, it } from 'vitest';
import { BOOTED_MS, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';
import type { TestClient } from '../../test/emulators/tensordock/test-client.ts';

const HOUR_MS = 3_600_000;
const GPU = 'geforcertx4090-pcie-24gb';

function accountOf({ emulator }: TestClient, id: string) {
  const account = emulator.ledger().find(({ instanceId }) => instanceId === id);
  if (account === undefined) throw new Error(`no account of ${id}`);
  return account;
}

/** v0 tells the balance; v2 has nothing known for it. */
async function balance({ emulator }: TestClient, token = emulator.apiToken): Promise<unknown> {
  const body = new URLSearchParams({ api_key: emulator.authorizationId, api_token: token });
  const response = await fetch(`${emulator.url}/api/v0/billing/balance`, { method: 'POST', body });
  return response.json();
}

describe('prices', () => {
  it('bills four terms: the GPUs, the processors, the memory and the storage', () =>
    withTensorDock({}, async (client) => {
      const [location] = await client.locations();
      const gpu = Number(location?.gpus[0]?.price_per_hr);
      const resources = { vcpu_count: 8, ram_gb: 32, storage_gb: 200, gpus: { [GPU]: { count: 2 } } };

      const { rateHourly } = await client.get(await client.rent({ resources }));

      expect(rateHourly).toBeCloseTo(2 * gpu + 8 * 0.003 + 32 * 0.002 + 200 * 0.00005, 9);
    }));

  it('EMU-E12: drift, between the inventory and the create', () =>
    withTensorDock({ knobs: { priceDriftPerMinute: 0.2 } }, async (client) => {
      const priceOf = async () => Number((await client.locations())[0]?.gpus[0]?.price_per_hr);
      const before = await priceOf();
      client.emulator.advance(180_000);
      const id = await client.rent();
      const rate = Number((await client.get(id))['rateHourly']);
      client.emulator.advance(HOUR_MS);
      const after = await priceOf();

      expect(after).not.toBe(before);
      expect(Math.abs(rate - 0.098 - before) / before).toBeLessThanOrEqual(0.6);
      expect((await client.get(id))['rateHourly']).toBe(rate);
    }));

  it('EMU-E12: drift at the create itself, whoever has looked at the inventory long ago', () =>
    withTensorDock({ knobs: { priceDriftPerMinute: 0.2 } }, async (client) => {
      const order = await client.order();
      const shown = Number((await client.locations())[0]?.gpus[0]?.price_per_hr);
      client.emulator.advance(180_000);
      await client.call('POST', 'instances', order);

      const [row] = await client.list();
      expect(Number(row?.['rateHourly']) - 0.098).not.toBeCloseTo(shown, 5);
    }));
});

describe('the ledger', () => {
  it('EMU-E17: bills all from the create to the stop, then the storage, and nothing after the delete', () =>
    withTensorDock({}, async (client) => {
      const { rent, call, get, emulator } = client;
      const id = await rent();
      const rate = Number((await get(id))['rateHourly']);
      emulator.advance(HOUR_MS);
      await call('POST', `instances/${id}/stop`);
      emulator.advance(8_000);
      await get(id);
      emulator.advance(HOUR_MS - 8_000);
      const idle = Number((await get(id))['rateHourly']);
      await call('DELETE', `instances/${id}`);
      emulator.advance(HOUR_MS);

      const { usd, totalUsd, closedAt, openedAt } = accountOf(client, id);
      expect(usd.storage).toBeCloseTo(2 * 200 * 0.00005, 9);
      expect(usd.gpu + usd.compute).toBeCloseTo((rate - 200 * 0.00005) * (1 + 8 / 3_600), 9);
      expect(idle).toBe(rate);
      expect((closedAt ?? 0) - openedAt).toBe(2 * HOUR_MS);
      const seconds = emulator.secondsOf(id);
      expect(seconds).toHaveLength(7_200);
      expect(seconds.reduce((sum, each) => sum + each.totalUsd, 0)).toBeCloseTo(totalUsd, 6);
    }));

  it('EMU-E17: may bill all of what is stopped', () =>
    withTensorDock({ shapes: { stoppedBills: 'all' } }, async (client) => {
      const id = await client.rent();
      client.emulator.advance(BOOTED_MS);
      await client.call('POST', `instances/${id}/stop`);
      client.emulator.advance(10 * HOUR_MS - BOOTED_MS);

      const rate = Number((await client.get(id))['rateHourly']);
      expect(accountOf(client, id).totalUsd).toBeCloseTo(10 * rate, 9);
    }));

  it('EMU-E17: goes on billing what the client has forgotten, even what cannot run', () =>
    withTensorDock({}, async (client) => {
      const id = await client.emulator.plant('forgotten');
      client.emulator.advance(BOOTED_MS);
      client.emulator.preempt(id);
      const before = accountOf(client, id).totalUsd;
      client.emulator.advance(10 * HOUR_MS);

      expect(accountOf(client, id).totalUsd - before).toBeCloseTo(10 * 100 * 0.00005, 9);
      expect(client.emulator.truth('forgotten')).toMatchObject({ alive: 1, billed: 1 });
    }));
});

describe('the balance', () => {
  it('is told by v0, to who shows both parts of the key', () =>
    withTensorDock({ creditUsd: 31.2 }, async (client) => {
      const id = await client.rent();
      const { rateHourly } = await client.get(id);

      expect(await balance(client)).toEqual({ success: true, balance: 31.2, hourly_cost: rateHourly });
      expect(await balance(client, 'nonsense')).toMatchObject({ success: false });
    }));

  it('EMU-TE14: stops everything when it reaches zero, without a word, and deletes it later', () =>
    withTensorDock({ creditUsd: 2 }, async (client) => {
      const { rent, get, call, emulator } = client;
      const id = await rent();
      emulator.advance(3 * HOUR_MS);
      const alive = (await get(id))['status'];
      emulator.advance(2 * HOUR_MS);
      const empty = await get(id);
      const left = await balance(client);
      const start = await call('POST', `instances/${id}/start`);
      emulator.advance(50 * HOUR_MS);

      expect([alive, empty['status']]).toEqual(['running', 'stopped']);
      expect(left).toMatchObject({ balance: expect.closeTo(0, 1) });
      expect(start.json['error']).toContain('need at least $');
      expect((await call('GET', `instances/${id}`)).status).toBe(404);
      expect(accountOf(client, id).segments.map(({ state }) => state)).toEqual(['booting', 'running', 'stopping', 'stopped']);
    }));

  it('EMU-TE14: spares what was paid for in time', () =>
    withTensorDock({}, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.setCredit(0);
      emulator.advance(HOUR_MS);
      emulator.setCredit(50);
      emulator.advance(60 * HOUR_MS);

      expect((await get(id))['status']).toBe('stopped');
    }));

  it('EMU-TE14: refuses to deploy with less than a dollar', () =>
    withTensorDock({ creditUsd: 0.99 }, async ({ call, order, emulator }) => {
      const answer = await call('POST', 'instances', await order());

      expect(answer.json).toEqual({ status: 400, error: 'You need at least $1.00 in your account to deploy' });
      expect(emulator.instances()).toEqual([]);
    }));
});
