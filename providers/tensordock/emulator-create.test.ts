import { describe, expect, it } from 'vitest';
import { BOOTED_MS, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';
import type { TestClient } from '../../test/emulators/tensordock/test-client.ts';

const GPU = 'geforcertx4090-pcie-24gb';
const CREATES = { method: 'POST', path: '/instances$' } as const;
const QUIET = { latencyMedianMs: 0, resetAfterShare: 0, silenceAfterShare: 0, resetBeforeShare: 0, htmlShare: 0, throttleShare: 0, halfBodyShare: 0, emptyIdShare: 0, unexpectedErrorShare: 0 }; // prettier-ignore

async function create({ call, order }: TestClient, attributes = {}) {
  return call('POST', 'instances', await order(attributes));
}

/** The id of one of its hosts, as the inventory tells. */
async function aHost({ call }: TestClient) {
  const { text } = await call('GET', `hostnodes?gpu_model=${GPU}&status=available`);
  const ports = /"available_ports":\[([\d,]+)\]/.exec(text)?.[1]?.split(',').map(Number) ?? [];
  return { id: /"hostnodes":\[\{"id":"([\w-]+)"/.exec(text)?.[1], ports };
}

describe('create', () => {
  it('answers at once with an id and a status, and without an address', () =>
    withTensorDock({}, async (client) => {
      const answer = await create(client, { name: 'one' });

      expect(answer.status).toBe(200);
      const data = { type: 'virtualmachine', id: expect.stringMatching(/^[0-9a-f-]{36}$/), name: 'one', status: 'running' };
      expect(answer.json).toEqual({ data });
    }));

  it.each([
    ['running', 200],
    ['creating', 201],
    ['provisioning', 201],
  ] as const)('may call it %s with %i', (createStatus, created) =>
    withTensorDock({ shapes: { createStatus, created } }, async (client) => {
      const answer = await create(client);

      expect([answer.status, answer.json]).toMatchObject([created, { data: { status: createStatus } }]);
    }),
  );

  it('EMU-TE1: refuses with 200, and an error inside', () =>
    withTensorDock({}, async (client) => {
      client.emulator.leaveGpus(GPU, 0);

      const answer = await create(client);

      expect([answer.status, answer.text]).toEqual([200, '{"status":400,"error":"No available nodes found"}']);
      expect(client.emulator.instances()).toEqual([]);
    }));

  it.each([
    ['http-400', 400, { status: 400, error: 'No available nodes found' }],
    ['http-409', 409, { error: 'No available nodes found' }],
  ] as const)('EMU-TE1: may refuse with a real status (%s)', (refusal, status, body) =>
    withTensorDock({ shapes: { refusal } }, async (client) => {
      client.emulator.leaveGpus(GPU, 0);

      const answer = await create(client);

      expect([answer.status, answer.json]).toEqual([status, body]);
    }),
  );

  it.each([
    ['no-nodes', 'No available nodes found', 0],
    ['no-public-ips', 'No available public IPs on hostnode', 0],
    ['insufficient-capacity', 'insufficient capacity', 0],
    ['out-of-stock', 'out of stock', 0],
    ['resource-unavailable', 'resource unavailable', 0],
    ['unexpected-error', 'An unexpected error during deployment occurred. Please try again.', 0],
    ['unexpected-error-created', 'An unexpected error during deployment occurred. Please try again.', 1],
  ])('EMU-TE1: can be made to say %s; then %s, and %i exist', (outcome, error, count) =>
    withTensorDock({}, async (client) => {
      client.emulator.injectFault({ ...CREATES, kind: 'outcome', outcome });

      const answer = await create(client, { name: 'one' });

      expect(answer.json).toEqual({ status: 400, error });
      expect(client.emulator.truth('one')).toMatchObject({ alive: count, billed: count });
    }),
  );

  it('knows no other word', () =>
    withTensorDock({}, async (client) => {
      client.emulator.injectFault({ ...CREATES, kind: 'outcome', outcome: 'nonsense' });

      const answer = await create(client);

      expect([answer.status, client.emulator.instances()]).toEqual([500, []]);
      expect(answer.text).toContain('there is no outcome nonsense here: no-nodes,');
    }));

  it.each([
    ['empty-id', 1],
    ['empty-id-not-created', 0],
  ])('EMU-TE16: answers with an empty id (%s) while %i exist', (outcome, count) =>
    withTensorDock({}, async (client) => {
      client.emulator.injectFault({ ...CREATES, kind: 'outcome', outcome });

      const answer = await create(client, { name: 'one' });

      expect([answer.status, answer.json]).toMatchObject([200, { data: { id: '', name: 'one', status: 'running' } }]);
      expect(client.emulator.truth('one')).toMatchObject({ alive: count, billed: count });
    }),
  );

  it('EMU-TE16: hides ids by chance', () =>
    withTensorDock({ knobs: { emptyIdShare: 1 } }, async (client) => {
      expect((await create(client)).json).toMatchObject({ data: { id: '' } });
      expect(client.emulator.instances()).toHaveLength(1);
    }));

  it('EMU-E2: cuts the connection after it has created, and bills', () =>
    withTensorDock({}, async (client) => {
      client.emulator.injectFault({ ...CREATES, kind: 'reset-after' });
      await expect(create(client, { name: 'one' })).rejects.toThrow();
      client.emulator.advance(3_600_000);

      expect(client.emulator.truth('one')).toMatchObject({ alive: 1, billed: 1 });
      expect(client.emulator.truth('one').totalUsd).toBeGreaterThan(0.3);
      expect(await client.list()).toHaveLength(1);
    }));

  it('EMU-E2: cuts or falls silent by chance on writes, never on reads', () =>
    withTensorDock({}, async (client) => {
      const body = await client.order();
      client.emulator.setKnobs({ resetAfterShare: 1 });
      await expect(client.call('POST', 'instances', body)).rejects.toThrow();

      expect(await client.list()).toHaveLength(1);
    }));

  it('EMU-E2: falls silent for ever after it has created', () =>
    withTensorDock({}, async ({ order, emulator }) => {
      const body = JSON.stringify(await order({ name: 'one' }));
      emulator.setKnobs({ silenceAfterShare: 1 });
      const patience = new AbortController();
      const headers = { authorization: `Bearer ${emulator.apiToken}` };
      const answer = fetch(`${emulator.url}/api/v2/instances`, { method: 'POST', headers, body, signal: patience.signal });
      answer.catch(() => {});
      await expect.poll(() => emulator.requests().at(-1)?.fault).toBe('silence-after');
      patience.abort();

      await expect(answer).rejects.toThrow();
      expect(emulator.truth('one')).toMatchObject({ alive: 1, billed: 1 });
    }));

  it('EMU-E3: cuts the connection before it has done anything', () =>
    withTensorDock({}, async (client) => {
      const body = await client.order();
      client.emulator.setKnobs({ resetBeforeShare: 1 });
      await expect(client.call('POST', 'instances', body)).rejects.toThrow();

      expect(client.emulator.instances()).toEqual([]);
    }));
});

describe('capacity', () => {
  it('EMU-E14: gives the last GPU to exactly one of two who want it', () =>
    withTensorDock({}, async (client) => {
      client.emulator.leaveGpus(GPU, 1);

      const answers = await Promise.all([create(client, { name: 'one' }), create(client, { name: 'two' })]);

      expect(answers.filter(({ json }) => json['data'] !== undefined)).toHaveLength(1);
      expect(answers.filter(({ json }) => json['error'] === 'No available nodes found')).toHaveLength(1);
      expect(client.emulator.instances()).toHaveLength(1);
    }));

  it('EMU-E13 EMU-TE6: shows an inventory that is old, so that what it offers is not there', () =>
    withTensorDock({ knobs: { inventoryLagMs: 600_000 } }, async (client) => {
      const shown = async () => (await client.locations())[0]?.gpus[0]?.max_count;
      const before = await shown();
      client.emulator.leaveGpus(GPU, 0);
      const later = await shown();
      const refused = await create(client);
      client.emulator.advance(600_000);

      expect(before).toBeGreaterThan(0);
      expect(later).toBe(before);
      expect(refused.json).toEqual({ status: 400, error: 'No available nodes found' });
      expect(await shown()).toBe(0);
    }));

  it('EMU-E13 EMU-TE6: finds no node for three of four creates under stress', () =>
    withTensorDock({ scenario: 'stress', offers: 40, knobs: QUIET }, async (client) => {
      const small = { vcpu_count: 2, ram_gb: 2, storage_gb: 100, gpus: { [GPU]: { count: 1 } } };
      let refused = 0;
      for (let tried = 0; tried < 60; tried += 1) {
        const answer = await create(client, { name: `try-${tried}`, resources: small });
        if (answer.text.includes('No available nodes found')) refused += 1;
        for (const { id, isAlive } of client.emulator.instances()) if (isAlive) await client.call('DELETE', `instances/${id}`);
      }

      expect(refused / 60).toBeGreaterThan(0.6);
      expect(refused / 60).toBeLessThan(0.9);
    }));

  it('EMU-TE6: lets an H100 run for seconds, and stops it by itself', () =>
    withTensorDock({ knobs: { h100StopsShare: 1 } }, async (client) => {
      const gpus = { 'h100-sxm5-80gb': { count: 1 } };
      const id = await client.rent({ resources: { vcpu_count: 8, ram_gb: 32, storage_gb: 200, gpus } });
      const other = await client.rent();
      client.emulator.advance(30_000);
      const early = (await client.get(id))['ipAddress'];
      client.emulator.advance(BOOTED_MS);

      expect(early).not.toBe('');
      expect((await client.get(id))['status']).toBe('stopped');
      expect((await client.get(other))['status']).toBe('running');
    }));

  it('takes all processors and all memory of a host only with all its GPUs', () =>
    withTensorDock({}, async (client) => {
      const [host] = client.emulator.offers().filter(({ v0Name }) => v0Name === GPU);
      const gpus = host?.gpus ?? 0;
      const greedy = { vcpu_count: 16 * gpus, ram_gb: 32, storage_gb: 200, gpus: { [GPU]: { count: 1 } } };

      const answer = await create(client, { resources: greedy, location_id: null, hostnode_id: host?.nodeId });

      expect(gpus).toBeGreaterThan(1);
      expect(answer.json).toEqual({ status: 400, error: 'insufficient capacity' });
    }));
});

describe('ports', () => {
  it('EMU-TE5: forwards another external port than was wished, at a location', () =>
    withTensorDock({}, async ({ rent, get, emulator }) => {
      const id = await rent({ port_forwards: [{ internal_port: 22, external_port: 1_022 }, { internal_port: 80, external_port: 1_080 }] }); // prettier-ignore
      emulator.advance(BOOTED_MS);

      const text = JSON.stringify((await get(id))['portForwards']);
      const told = [...text.matchAll(/"internal_port":(\d+),"external_port":(\d+)/g)].map(([, inner, outer]) => [inner, outer]);
      expect(told.map(([inner]) => inner)).toEqual(['22', '80']);
      expect(told.map(([, outer]) => outer)).not.toContain('1022');
    }));

  // a seed of its own: other tests at the same time take the ports of the usual one
  it('EMU-TE5: forwards the wished one on a host, if the host has it free', () =>
    withTensorDock({ seed: 4_242 }, async (client) => {
      const { id: hostId, ports } = await aHost(client);
      const place = (port: number) => ({
        location_id: undefined,
        hostnode_id: hostId,
        port_forwards: [{ internal_port: 22, external_port: port }],
      });
      const id = await client.rent(place(ports[3] ?? 0));
      const taken = await create(client, place(ports[3] ?? 0));
      const strange = await create(client, place(99));
      client.emulator.advance(BOOTED_MS);

      const told = Number(/"external_port":(\d+)/.exec(JSON.stringify(await client.get(id)))?.[1]);
      expect(ports).toContain(told);
      expect((await client.call('GET', `hostnodes/${hostId}`)).text).not.toContain(`${ports[3]},`);
      for (const { json } of [taken, strange])
        expect(json).toEqual({ status: 400, error: 'insufficient capacity: external port is not available on hostnode' });
    }));

  it('EMU-TE9: has no host when all external ports are in use', () =>
    withTensorDock({ creditUsd: 1_000 }, async (client) => {
      client.emulator.leaveGpus(GPU, 4);
      const many = Array.from({ length: 12 }, (_, index) => ({ internal_port: index === 0 ? 22 : 8_000 + index, external_port: 20_000 + index })); // prettier-ignore
      await client.rent({ port_forwards: many });

      expect((await create(client)).json).toEqual({ status: 400, error: 'No available nodes found' });
      expect((await create(client, { useDedicatedIp: true, port_forwards: [] })).json).toHaveProperty('data');
    }));

  it('EMU-TE9: runs out of public addresses', () =>
    withTensorDock({ creditUsd: 1_000 }, async (client) => {
      client.emulator.leaveGpus(GPU, 8);
      const small = { vcpu_count: 2, ram_gb: 2, storage_gb: 100, gpus: { [GPU]: { count: 1 } } };
      const own = { useDedicatedIp: true, port_forwards: undefined, resources: small };
      const answers = [];
      for (let tried = 0; tried < 8; tried += 1) answers.push((await create(client, own)).json);

      expect(answers.at(0)).toHaveProperty('data');
      expect(answers.at(-1)).toEqual({ status: 400, error: 'No available public IPs on hostnode' });
      expect((await create(client, { resources: small })).json).toHaveProperty('data');
    }));
});

describe('the list', () => {
  it('EMU-E6: does not show a new instance for a while, which the single read does', () =>
    withTensorDock({ knobs: { listLagMs: 60_000 } }, async ({ rent, list, get, emulator }) => {
      const id = await rent();
      const early = await list();
      const single = await get(id);
      emulator.advance(60_000);

      expect(early).toEqual([]);
      expect(single).toMatchObject({ id });
      expect(await list()).toMatchObject([{ id }]);
    }));
});
