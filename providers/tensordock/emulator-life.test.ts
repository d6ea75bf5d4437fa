import { describe, expect, it } from 'vitest';
import { BOOTED_MS, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';

const HOUR_MS = 3_600_000;
// The default scenario without what would end such a loop.
const CALM = { latencyMedianMs: 0, resetAfterShare: 0, silenceAfterShare: 0, resetBeforeShare: 0, htmlShare: 0, noNodeShare: 0, emptyIdShare: 0, unexpectedErrorShare: 0, stuckShare: 0 }; // prettier-ignore

describe('booting', () => {
  it('EMU-TE3: says running before it has an address, which comes after 5 to 30 seconds', () =>
    withTensorDock({}, async ({ rent, get, emulator }) => {
      const id = await rent();
      const seen: (readonly [unknown, unknown])[] = [];
      for (let second = 0; second <= 30; second += 1) {
        const { status, ipAddress } = await get(id);
        seen.push([status, ipAddress]);
        emulator.advance(1_000);
      }

      expect(seen.map(([status]) => status)).toEqual(seen.map(() => 'running'));
      const waited = seen.findIndex(([, address]) => address !== '');
      expect(waited).toBeGreaterThanOrEqual(5);
      expect(waited).toBeLessThanOrEqual(30);
      expect(seen.at(-1)).toEqual(['running', '127.0.0.1']);
    }));

  it.each([
    ['empty', { ipAddress: '' }],
    ['null', { ipAddress: null }],
    ['absent', {}],
  ] as const)('EMU-TE3: has no address in the form %s', (noIp, expected) =>
    withTensorDock({ shapes: { noIp, createStatus: 'provisioning' } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      const { ipAddress, status } = await get(id);
      emulator.advance(BOOTED_MS);

      expect(ipAddress === undefined ? {} : { ipAddress }).toEqual(expected);
      expect([status, (await get(id))['status']]).toEqual(['provisioning', 'running']);
    }),
  );

  it('EMU-E15: hangs for ever without an address, and is billed', () =>
    withTensorDock({ knobs: { stuckShare: 1 }, shapes: { createStatus: 'creating' }, creditUsd: 1_000 }, async (client) => {
      const id = await client.rent({ name: 'one' });
      client.emulator.advance(24 * HOUR_MS);

      expect(await client.get(id)).toMatchObject({ status: 'creating', ipAddress: '', portForwards: [] });
      expect(client.emulator.truth('one').totalUsd).toBeGreaterThan(10);
    }));

  it('EMU-TE4: never forwards a port, while all else is well', () =>
    withTensorDock({ knobs: { forwardsIgnoredShare: 1 } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(HOUR_MS);

      expect(await get(id)).toMatchObject({ status: 'running', ipAddress: '127.0.0.1', portForwards: [] });
    }));

  it('EMU-TE4: does so for one in five by default', () =>
    withTensorDock({ scenario: 'default', creditUsd: 1e6, offers: 30, knobs: CALM }, async ({ rent, get, emulator, call }) => {
      let ignored = 0;
      for (let made = 0; made < 60; made += 1) {
        const id = await rent();
        emulator.advance(BOOTED_MS);
        if (JSON.stringify((await get(id))['portForwards']) === '[]') ignored += 1;
        await call('DELETE', `instances/${id}`);
      }

      expect(ignored).toBeGreaterThan(4);
      expect(ignored).toBeLessThan(22);
    }));

  it.each([
    ['stuck', { ipAddress: '' }],
    ['no-forwards', { portForwards: [] }],
    ['stops-at-once', { status: 'stopped' }],
  ])('can be made to be %s', (outcome, expected) =>
    withTensorDock({}, async ({ rent, get, emulator }) => {
      emulator.injectFault({ kind: 'outcome', method: 'POST', outcome });
      const id = await rent();
      emulator.advance(BOOTED_MS);

      expect(await get(id)).toMatchObject(expected);
    }),
  );
});

describe('running', () => {
  it.each([
    ['error', 'error'],
    ['relocating', 'relocating'],
    ['silent', 'running'],
  ] as const)('EMU-E16: breaks while it runs (%s), and is said to be %s', (how, status) =>
    withTensorDock({}, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.goOffline(id, how);

      expect((await get(id))['status']).toBe(status);
    }),
  );

  it('EMU-E16: comes back from another host', () =>
    withTensorDock({}, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.goOffline(id, 'relocating');
      emulator.advance(BOOTED_MS);

      expect((await get(id))['status']).toBe('running');
    }));

  it('EMU-E16: breaks by chance', () =>
    withTensorDock({ knobs: { deathPerHour: 5 }, creditUsd: 1_000 }, async ({ rent, get, emulator, list }) => {
      for (let made = 0; made < 6; made += 1) await rent({ resources: { vcpu_count: 2, ram_gb: 4, storage_gb: 100, gpus: { 'geforcertx4090-pcie-24gb': { count: 1 } } } }); // prettier-ignore
      emulator.advance(4 * HOUR_MS);

      const statuses = new Set((await list()).map(({ status }) => status));
      expect(statuses).toContain('error');
      expect(await get(emulator.instances()[0]?.id ?? '')).toHaveProperty('status');
    }));

  it('EMU-E10: has a status that nobody knows', () =>
    withTensorDock({ knobs: { unknownStatusShare: 1 } }, async ({ rent, get }) => {
      expect((await get(await rent()))['status']).toBe('defrosting');
    }));

  it('EMU-TE11: loses its GPU to its host, and can neither be started nor stopped until that is free', () =>
    withTensorDock({}, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      const { rateHourly } = await get(id);
      emulator.leaveGpus('geforcertx4090-pcie-24gb', 0);
      emulator.preempt(id);
      const start = await call('POST', `instances/${id}/start`);
      const stop = await call('POST', `instances/${id}/stop`);
      const row = await get(id);
      emulator.vacate(id);
      const again = await call('POST', `instances/${id}/start`);
      emulator.advance(20_000);

      expect(row).toMatchObject({ status: 'stoppeddisassociated', rateHourly });
      expect([start.status, start.json['status']]).toEqual([400, 400]);
      expect(stop.json['error']).toBe('Machine is stoppeddisassociated, therefore it cannot be stopped');
      expect(again.json).toMatchObject({ data: { id, attributes: { status: 'starting' } } });
      expect((await get(id))['status']).toBe('running');
    }));

  it('EMU-TE11: may lose it while it is stopped, to a bid, and get it back by time', () =>
    withTensorDock({}, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      await call('POST', `instances/${id}/stop`);
      emulator.advance(10_000);
      emulator.leaveGpus('geforcertx4090-pcie-24gb', 0);
      emulator.preempt(id, { as: 'outbid', freeAfterMs: HOUR_MS });
      const lost = (await get(id))['status'];
      const early = (await call('POST', `instances/${id}/start`)).status;
      emulator.advance(HOUR_MS);

      expect([lost, early]).toEqual(['outbid', 400]);
      expect((await call('POST', `instances/${id}/start`)).status).toBe(200);
    }));

  it('stops and starts by way of stopping and starting, and keeps its GPU', () =>
    withTensorDock({}, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.leaveGpus('geforcertx4090-pcie-24gb', 0);
      const seen: unknown[] = [];
      const note = async () => seen.push((await get(id))['status']);
      await call('POST', `instances/${id}/stop`);
      await note();
      emulator.advance(8_000);
      await note();
      expect((await call('POST', `instances/${id}/stop`)).status).toBe(409);
      await call('POST', `instances/${id}/start`);
      await note();
      emulator.advance(20_000);
      await note();

      expect(seen).toEqual(['stopping', 'stopped', 'starting', 'running']);
    }));

  it.each([
    ['http-409', 409, { status: 409, error: 'Virtual machine is already running' }],
    ['http-400', 400, { error: 'Virtual machine is already running' }],
    ['http-200', 200, { status: 409, error: 'Virtual machine is already running' }],
  ] as const)('refuses to start what runs, in the form %s', (conflict, status, body) =>
    withTensorDock({ shapes: { conflict } }, async ({ rent, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);

      const answer = await call('POST', `instances/${id}/start`);

      expect([answer.status, answer.json]).toEqual([status, body]);
    }),
  );

  it('changes its size only while it is stopped, and its disk only to more, in steps', () =>
    withTensorDock({}, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      const modify = (body: object) => call('PUT', `instances/${id}/modify`, body);
      const before = Number((await get(id))['rateHourly']);
      const running = await modify({ diskGb: 250 });
      await call('POST', `instances/${id}/stop`);
      emulator.advance(8_000);

      expect(running.json['error']).toBe('Virtual machine must be stopped');
      expect((await modify({ diskGb: 150 })).status).toBe(400);
      expect((await modify({ diskGb: 270 })).status).toBe(400);
      expect((await modify({ diskGb: 250, cpuCores: 16, ramGb: 64 })).status).toBe(200);
      expect(await get(id)).toMatchObject({ resources: { storage_gb: 250, vcpu_count: 16, ram_gb: 64 } });
      expect((await get(id))['rateHourly']).toBeCloseTo(before + 50 * 0.00005 + 8 * 0.003 + 32 * 0.002, 9);
    }));
});

describe('delete', () => {
  it.each([
    [200, '{"data":{"type":"success","attributes":{"message":"Instance deleted successfully"}}}'],
    [204, ''],
  ] as const)('answers with %i, and then knows it no more', (deleted, text) =>
    withTensorDock({ shapes: { deleted } }, async ({ rent, call, list, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      const answer = await call('DELETE', `instances/${id}`);

      expect([answer.status, answer.text]).toEqual([deleted, text]);
      expect((await call('DELETE', `instances/${id}`)).status).toBe(404);
      expect((await call('GET', `instances/${id}`)).status).toBe(404);
      expect(await list()).toEqual([]);
    }),
  );

  it.each([
    ['json', '{"error":"Instance not found"}'],
    ['empty', ''],
  ] as const)('knows nothing in the form %s', (shape, text) =>
    withTensorDock({ shapes: { notFound: shape } }, async ({ call }) => {
      const answer = await call('GET', 'instances/0b7f2c55-6f0e-4a3c-8d0e-2f1c7f3b9a11');

      expect([answer.status, answer.text]).toEqual([404, text]);
    }),
  );

  it('EMU-TE10: answers with 500, and it is gone', () =>
    withTensorDock({ knobs: { deleteErrorShare: 1 } }, async ({ rent, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      const answer = await call('DELETE', `instances/${id}`);

      expect([answer.status, answer.text]).toEqual([500, 'Internal Server Error']);
      expect((await call('DELETE', `instances/${id}`)).status).toBe(404);
      expect(emulator.ledger()).toMatchObject([{ instanceId: id, closedAt: expect.any(Number) }]);
    }));

  it('EMU-TE10: may answer with 500 and have done nothing', () =>
    withTensorDock({}, async ({ rent, call, emulator }) => {
      const id = await rent();
      emulator.injectFault({ kind: 'status-before', method: 'DELETE', status: 500, times: 2 });
      const statuses = [];
      for (let tried = 0; tried < 4; tried += 1) statuses.push((await call('DELETE', `instances/${id}`)).status);

      expect(statuses).toEqual([500, 500, 200, 404]);
    }));

  it('says that it has deleted what goes on running and is billed', () =>
    withTensorDock({}, async ({ rent, call, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.injectFault({ kind: 'outcome', method: 'DELETE', outcome: 'not-deleted' });
      const answer = await call('DELETE', `instances/${id}`);
      emulator.advance(HOUR_MS);

      expect(answer.status).toBe(200);
      expect(await get(id)).toMatchObject({ status: 'running' });
      expect(emulator.ledger()[0]).not.toHaveProperty('closedAt');
    }));

  it.each(['deleting', 'deleted', 'terminated'] as const)('EMU-E7: still lists for a while what is gone, as %s', (goneStatus) =>
    withTensorDock(
      { knobs: { goneLagMs: 300_000 }, shapes: { goneStatus, afterDelete: 'row' } },
      async ({ rent, call, get, list, emulator }) => {
        const id = await rent();
        emulator.advance(BOOTED_MS);
        await call('DELETE', `instances/${id}`);
        const [row] = await list();
        const single = await get(id);
        const again = (await call('DELETE', `instances/${id}`)).status;
        emulator.advance(300_000);

        expect(row).toMatchObject({ id, status: goneStatus });
        expect(single).toMatchObject({ id, status: goneStatus });
        expect(again).toBe(404);
        expect(await list()).toEqual([]);
        expect((await call('GET', `instances/${id}`)).status).toBe(404);
      },
    ),
  );

  it('EMU-E7: lists once more, as alive, what was deleted before it had booted', () =>
    withTensorDock({}, async ({ rent, call, list }) => {
      const id = await rent();
      const answer = await call('DELETE', `instances/${id}`);
      const [first, second] = [await list(), await list()];

      expect(answer.status).toBe(200);
      expect(first).toMatchObject([{ id, status: 'running' }]);
      expect(second).toEqual([]);
    }));
});
