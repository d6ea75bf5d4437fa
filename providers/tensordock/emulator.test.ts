import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { drawLatencyMs } from '../../test/emulators/kit/accident.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { Knobs, SCENARIOS } from '../../test/emulators/tensordock/knobs.ts';
import { BOOTED_MS, LocationRow, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';
import { startTensorDockEmulator } from './emulator.ts';

const HOUR_MS = 3_600_000;
const GPU = 'geforcertx4090-pcie-24gb';
const AT = '2026-10-26T08:00:00Z';

describe('time', () => {
  it('EMU-E1: answers after a while', async () => {
    const clock = new FakeClock(AT);
    const knobs = { latencyMedianMs: 250, latencyP99Ms: 2_000 };
    const emulator = await startTensorDockEmulator({ clock, seed: 1, mode: 'lenient', knobs });
    try {
      let isAnswered = false;
      const answer = fetch(`${emulator.url}/api/v2/locations`).then((response) => ((isAnswered = true), response.status));
      await expect.poll(() => clock.sleeping).toBe(1);
      await clock.advance(5);
      const early = isAnswered;
      await expect.poll(async () => (await clock.advance(500), isAnswered)).toBe(true);

      expect([early, await answer]).toEqual([false, 200]);
    } finally {
      await emulator.close();
    }
  });

  it('EMU-TE7: has executed long before it answers, so that who gives up early has an instance', async () => {
    const clock = new FakeClock(AT);
    const emulator = await startTensorDockEmulator({ clock, seed: 3, mode: 'lenient' });
    try {
      const { apiToken, url } = emulator;
      const body = await orderFor(url);
      emulator.setKnobs({ latencyMedianMs: 60_000, latencyP99Ms: 60_000 });
      const patience = new AbortController();
      const headers = { authorization: `Bearer ${apiToken}` };
      const answer = fetch(`${url}/api/v2/instances`, { method: 'POST', headers, body, signal: patience.signal });
      answer.catch(() => {});
      await expect.poll(() => clock.sleeping).toBe(1);
      await clock.advance(12_000);
      await expect.poll(() => emulator.truth('one').alive).toBe(1);
      patience.abort();

      await expect(answer).rejects.toThrow();
      expect(emulator.truth('one')).toMatchObject({ alive: 1, billed: 1 });
    } finally {
      await emulator.close();
    }
  });

  it.each([
    ['default', 250, 2_000],
    ['stress', 6_000, 60_000],
  ])('EMU-E1 EMU-TE7: takes, in the scenario %s, %i ms in the middle and %i ms at worst', (scenario, middleMs, worstMs) => {
    const { latencyMedianMs: medianMs, latencyP99Ms: p99Ms } = Knobs.parse(SCENARIOS[scenario]);
    const random = seededRandom(5);
    const drawn = Array.from({ length: 20_000 }, () => drawLatencyMs(random, { medianMs, p99Ms })).sort((a, b) => a - b);

    expect((drawn[10_000] ?? 0) / middleMs).toBeCloseTo(1, 1);
    expect((drawn[19_800] ?? 0) / worstMs).toBeGreaterThan(0.7);
    expect((drawn[19_800] ?? 0) / worstMs).toBeLessThan(1.3);
  });

  it('EMU-E18: has a clock that is wrong', () =>
    withTensorDock({ knobs: { clockSkewMs: -90_000 } }, async ({ call, emulator }) => {
      emulator.advance(HOUR_MS);

      const { headers } = await call('GET', 'locations');

      expect(Date.parse(headers.get('date') ?? '') - Date.parse(AT)).toBe(HOUR_MS - 90_000);
    }));

  it('runs faster than the clock that it was given', async () => {
    const clock = new FakeClock(AT);
    const emulator = await startTensorDockEmulator({ clock, seed: 1, mode: 'lenient', speed: 100 });
    try {
      const id = await emulator.plant('one');
      await clock.advance(HOUR_MS / 100);

      expect(emulator.secondsOf(id)).toHaveLength(3_600);
    } finally {
      await emulator.close();
    }
  });
});

/** A create, read from the inventory as anybody may. */
async function orderFor(url: string): Promise<string> {
  const text = await (await fetch(`${url}/api/v2/locations`)).text();
  const [, locationId] = /"id":"([\w-]+)"/.exec(text) ?? [];
  const attributes = {
    name: 'one',
    type: 'virtualmachine',
    image: 'ubuntu2404',
    resources: { vcpu_count: 8, ram_gb: 32, storage_gb: 200, gpus: { [GPU]: { count: 1 } } },
    location_id: locationId,
    port_forwards: [{ internal_port: 22, external_port: 20_022 }],
    ssh_key: 'ssh-ed25519 AAAA',
  };
  return JSON.stringify({ data: { type: 'virtualmachine', attributes } });
}

describe('the inventory', () => {
  it('prices a location by GPU model, and lists its hosts with their free ports', () =>
    withTensorDock({}, async ({ call, locations }) => {
      const [first] = await locations();
      const hosts = await call('GET', `hostnodes?gpu_model=${GPU}&status=available`);
      const id = /"hostnodes":\[\{"id":"([\w-]+)"/.exec(hosts.text)?.[1];

      expect(first?.gpus[0]).toMatchObject({
        v0Name: GPU,
        displayName: 'NVIDIA GeForce RTX 4090 PCIe 24GB',
        pricing: { per_vcpu_hr: 0.003, per_gb_ram_hr: 0.002, per_gb_storage_hr: 0.00005 },
      });
      expect((await call('GET', `hostnodes/${id}`)).json).toMatchObject({
        data: {
          id,
          location_id: expect.any(String),
          available_resources: { gpus: [{ v0Name: GPU }], available_ports: expect.any(Array), max_vcpus_per_gpu: 16 },
          pricing: { per_vcpu_hr: 0.003 },
          location: { uuid: expect.any(String), organizationName: expect.any(String), tier: 3 },
        },
      });
      expect((await call('GET', 'hostnodes/nothing')).status).toBe(404);
    }));

  it('counts down what is rented, and shows what is sold out as none, or not at all', async () => {
    for (const soldOut of ['zero', 'absent'] as const) {
      await withTensorDock({ shapes: { soldOut } }, async ({ locations, rent, emulator }) => {
        const shown = async () => (await locations())[0]?.gpus.find(({ v0Name }) => v0Name === GPU)?.max_count;
        emulator.leaveGpus(GPU, 2);
        const two = await shown();
        await rent();
        const one = await shown();
        await rent();

        expect([two, one, await shown()]).toEqual([2, 1, soldOut === 'zero' ? 0 : undefined]);
      });
    }
  });

  it('is as large as asked, and all of it has the fields of the contract', () =>
    withTensorDock({ offers: 300 }, async ({ locations }) => {
      const pairs = (await locations()).flatMap((location) => LocationRow.parse(location).gpus);

      expect(pairs).toHaveLength(300);
      expect(pairs.every(({ v0Name }) => /^[a-z0-9]+-(pcie|sxm\d)-\d+gb$/.test(v0Name))).toBe(true);
    }));
});

describe('the emulator itself', () => {
  it('reads the sources in one way a seed, and every way over the seeds', async () => {
    const readings = new Map<string, Set<unknown>>();
    const add = (shapes: object) => {
      for (const [name, value] of Object.entries(shapes)) readings.set(name, (readings.get(name) ?? new Set()).add(value));
    };
    for (let seed = 0; seed < 24; seed += 1)
      await withTensorDock({ seed, roulette: true, offers: 1 }, ({ emulator }) => Promise.resolve(add(emulator.shapes)));

    expect([...readings].filter(([, values]) => values.size < 2)).toEqual([]);
    const twice = [];
    for (let run = 0; run < 2; run += 1)
      twice.push(
        await withTensorDock({ seed: 3, roulette: true }, async ({ emulator, locations }) => [
          emulator.shapes,
          await locations(),
        ]),
      );
    expect(twice[0]).toEqual(twice[1]);
    await withTensorDock({ seed: 3, roulette: true, shapes: { list: 'nested' } }, ({ emulator }) =>
      Promise.resolve(expect(emulator.shapes.list).toBe('nested')),
    );
  });

  it.each([
    [{ nonsense: 1 }, 'nonsense'],
    [{ cloud_init: { runcmd: [], write_files: [{ path: '/x', content: 'eA==', encoding: 'b64' }] } }, 'encoding'],
    [{ name: 'Not_A_Name' }, 'a name that is kept everywhere'],
    [{ resources: { vcpu_count: 8, ram_gb: 32, storage_gb: 200, disk: 1, gpus: { [GPU]: { count: 1 } } } }, 'disk'],
  ])('refuses in strict mode what the vendor would ignore: %o', async (attributes, text) => {
    await withTensorDock({ mode: 'strict' }, async ({ call, order, emulator }) => {
      const answer = await call('POST', 'instances', await order(attributes));

      expect([answer.status, emulator.instances()]).toEqual([400, []]);
      expect(answer.text).toContain(text);
    });
    await withTensorDock({}, async ({ rent }) => {
      expect(await rent(attributes)).toBeDefined();
    });
  });

  it('refuses in strict mode parameters and bodies that an endpoint does not know', () =>
    withTensorDock({ mode: 'strict' }, async ({ call, rent }) => {
      const id = await rent();

      expect((await call('GET', 'instances?page=2')).text).toContain('page');
      expect((await call('GET', 'hostnodes?gpu=x')).text).toContain('gpu');
      expect((await call('POST', `instances/${id}/stop`, { disassociate_resources: true })).text).toContain('disassociate');
      expect((await call('DELETE', `instances/${id}`)).status).toBe(200);
    }));

  it('is steered over a port of its own, which the vendor does not have', () =>
    withTensorDock({}, async ({ emulator, call }) => {
      const control = async (method: string, path: string, body?: unknown): Promise<unknown> => {
        const response = await fetch(`${emulator.controlUrl}${path}`, { method, ...(body !== undefined && { body: JSON.stringify(body) }) }); // prettier-ignore
        return response.json();
      };
      expect((await fetch(`${emulator.url}/ledger`)).status).toBe(404);

      const planted = await control('POST', '/plant', { name: 'berth-test' });
      await control('POST', '/advance', { ms: HOUR_MS });
      await control('POST', '/faults', { kind: 'status-before', status: 500, method: 'GET' });
      expect((await call('GET', 'instances')).status).toBe(500);
      expect((await call('GET', 'instances')).status).toBe(200);
      const { id } = emulator.instances()[0] ?? { id: '' };
      await control('POST', '/preempt', { id, as: 'outbid' });

      expect(planted).toEqual({ id });
      expect(await control('GET', '/ledger')).toMatchObject([{ name: 'berth-test' }]);
      expect(await control('GET', `/ledger/seconds?id=${id}`)).toHaveLength(3_600);
      expect(await control('GET', '/truth?name=berth-test')).toMatchObject({
        alive: 1,
        billed: 1,
        instances: [{ phase: 'outbid' }],
      });
      expect(await control('GET', '/truth?name=other')).toMatchObject({ alive: 0, totalUsd: 0 });
      expect(await control('GET', '/requests')).toHaveLength(3);
      expect(await control('POST', '/faults', { kind: 'nonsense' })).toMatchObject({ error: expect.stringContaining('kind') });
      expect(await control('POST', '/scenario', { name: 'nonsense' })).toMatchObject({
        error: expect.stringContaining('calm'),
      });
      await control('POST', '/credit', { usd: 0 });
      await control('POST', '/reset', { seed: 9 });
      expect(await control('GET', '/instances')).toEqual([]);
      expect((await call('GET', 'instances')).json).toEqual({ data: [] });
    }));

  it('logs what was asked, without what opens doors', () =>
    withTensorDock({}, async ({ emulator, rent, call }) => {
      await rent({ name: 'one', password: 'hunter2' });
      await call('GET', `locations?api_key=${emulator.authorizationId}&api_token=${emulator.apiToken}`, undefined, null);
      const text = JSON.stringify(emulator.requests());

      expect(text).toContain('"name":"one"');
      for (const secret of ['hunter2', emulator.apiToken, emulator.authorizationId]) expect(text).not.toContain(secret);
    }));

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('holds its own rules under stress and roulette (seed %i)', (seed) =>
    withTensorDock(
      { seed, roulette: true, scenario: 'stress', creditUsd: 60, knobs: { limits: false, latencyMedianMs: 0, silenceAfterShare: 0, noNodeShare: 0.2 } }, // prettier-ignore
      async ({ emulator, call }) => {
        const random = seededRandom(seed);
        const pick = <T>(values: readonly T[]) => values[Math.floor(random.next() * values.length)];
        const offers = emulator.offers();
        for (let step = 0; step < 120; step += 1) {
          const alive = emulator.instances().filter(({ isAlive }) => isAlive);
          const id = pick(alive)?.id ?? 'nothing';
          const offer = pick(offers);
          const attributes = {
            name: `n${step}`,
            type: 'virtualmachine',
            image: 'ubuntu2404',
            resources: { vcpu_count: 2, ram_gb: 4, storage_gb: 100, gpus: { [offer?.v0Name ?? '']: { count: 1 } } },
            ...(random.next() < 0.5 ? { location_id: offer?.locationId } : { hostnode_id: offer?.nodeId }),
            ...(random.next() < 0.3 ? { useDedicatedIp: true } : { port_forwards: [{ internal_port: 22, external_port: 1 }] }),
            ssh_key: 'ssh-ed25519 AAAA',
          };
          const create = () => call('POST', 'instances', { data: { type: 'virtualmachine', attributes } });
          const acts: readonly (() => Promise<{ text: string }>)[] = [
            create,
            create,
            () => call('GET', 'instances'),
            () => call('GET', `instances/${id}`),
            () => call('POST', `instances/${id}/start`),
            () => call('POST', `instances/${id}/stop`),
            () => call('PUT', `instances/${id}/modify`, { diskGb: 150 }),
            () => call('DELETE', `instances/${id}`),
          ];
          const answer = await pick(acts)?.().catch(() => undefined);
          expect(answer?.text ?? '').not.toContain('emulator:');
          emulator.advance(random.next() * 300_000);
          const isAlive = emulator.instances().some((each) => each.id === id && each.isAlive);
          if (isAlive && random.next() < 0.1) emulator.preempt(id, { freeAfterMs: HOUR_MS });
        }

        for (const { id, isAlive, phase } of emulator.instances()) {
          const account = emulator.ledger().find(({ instanceId }) => instanceId === id);
          const segments = account?.segments ?? [];
          expect(account?.closedAt === undefined).toBe(isAlive);
          expect(segments[0]?.fromAt).toBe(account?.openedAt);
          // without a gap or an overlap
          expect(segments.slice(1).map(({ fromAt }) => fromAt)).toEqual(segments.map(({ toAt }) => toAt).slice(0, -1));
          if (isAlive) expect(segments.at(-1)?.state).toBe(phase);
        }
        for (const { gpus } of emulator.offers()) expect(gpus).toBeGreaterThanOrEqual(0);
      },
    ),
  );

  it('hangs for nobody when it is closed in the middle of a boot', async () => {
    const clock = new FakeClock(AT);
    const emulator = await startTensorDockEmulator({ clock, seed: 1, mode: 'strict' });
    await emulator.plant('one');
    await emulator.close();
    await clock.advance(BOOTED_MS);

    await expect(fetch(emulator.url)).rejects.toThrow();
  });
});
