import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { withVast } from '../../test/emulators/vastai/test-client.ts';
import type { Json, TestClient } from '../../test/emulators/vastai/test-client.ts';
import { startVastEmulator } from './emulator.ts';

const BOOTED_MS = 90_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function numberIn(row: Json | undefined, field: string): number {
  const value = row?.[field];
  if (typeof value !== 'number') throw new Error(`${field} is ${String(value)}`);
  return value;
}

function accountOf({ emulator }: TestClient, id: number) {
  const account = emulator.ledger().find(({ contractId }) => contractId === id);
  if (account === undefined) throw new Error(`no account of ${id}`);
  return account;
}

function chargesPath(fromSeconds: number, toSeconds: number): string {
  const filters = { day: { gte: fromSeconds, lte: toSeconds }, type: { in: ['instance'] } };
  return `v0/charges/?select_filters=${encodeURIComponent(JSON.stringify(filters))}&latest_first=true`;
}

describe('the ledger', () => {
  it('EMU-E17: bills the disk from the create, the GPU from running to the stop, and nothing after the destroy', () =>
    withVast({}, async (client) => {
      const { rent, get, call, emulator } = client;
      const id = await rent({ disk: 40 });
      const row = await get(id);
      const [gpu, disk] = [numberIn(row, 'dph_base'), numberIn(row, 'storage_total_cost')];
      emulator.advance(BOOTED_MS);
      const running = accountOf(client, id).segments.find(({ state }) => state === 'running');
      emulator.advance(HOUR_MS);
      await call('PUT', `v0/instances/${id}/`, { state: 'stopped' });
      const stoppedAt = BOOTED_MS + HOUR_MS;
      emulator.advance(HOUR_MS);
      const showsFull = (await get(id))['dph_total'];
      await call('DELETE', `v0/instances/${id}/`, {});
      emulator.advance(HOUR_MS);

      const account = accountOf(client, id);
      const bootMs = (running?.fromAt ?? 0) - account.openedAt;
      expect(bootMs).toBeGreaterThan(30_000);
      expect(account.gpuUsd).toBeCloseTo((gpu * (stoppedAt - bootMs)) / HOUR_MS, 9);
      expect(account.diskUsd).toBeCloseTo((disk * (stoppedAt + HOUR_MS)) / HOUR_MS, 9);
      expect(showsFull).toBeCloseTo(gpu + disk, 9);
      const seconds = emulator.secondsOf(id);
      expect(seconds).toHaveLength((stoppedAt + HOUR_MS) / 1_000);
      expect(seconds.reduce((sum, each) => sum + each.totalUsd, 0)).toBeCloseTo(account.totalUsd, 9);
      expect(seconds[0]?.gpuUsd).toBe(0);
    }));

  it('EMU-E17: goes on billing what the client has forgotten, but not the disk of a host that is offline', () =>
    withVast({}, async (client) => {
      const id = await client.emulator.plant('forgotten');
      client.emulator.advance(10 * HOUR_MS);
      const billed = accountOf(client, id).totalUsd;
      client.emulator.goOffline(id);
      client.emulator.advance(HOUR_MS);

      expect(billed).toBeGreaterThan(0);
      expect(accountOf(client, id).totalUsd).toBe(billed);
    }));

  it('EMU-VE19: charges one row an instance and day, late and rounded, and keeps them after the destroy', () =>
    withVast({}, async (client) => {
      const { rent, call, emulator } = client;
      const id = await rent({ label: 'tagged' });
      const from = Date.parse('2026-10-26T00:00:00Z') / 1_000;
      emulator.advance(600_000);
      const early = await call('GET', chargesPath(from, from + 86_400));
      emulator.advance(DAY_MS);
      await call('DELETE', `v0/instances/${id}/`, {});
      emulator.advance(HOUR_MS);

      const late = await call('GET', chargesPath(from, from + 2 * 86_400));
      const rows = late.json['results'] as readonly Json[]; // holds because the emulator's own charges are a list

      expect(early.json['results']).toEqual([]);
      expect(rows.map((row) => row['source'])).toEqual([`instance-${id}`, `instance-${id}`]);
      const sum = rows.reduce((total, row) => total + numberIn(row, 'amount'), 0);
      expect(sum).toBeCloseTo(accountOf(client, id).totalUsd, 2);
      expect(rows.every((row) => Number.isInteger(Math.round(numberIn(row, 'amount') * 1e6) / 1e3))).toBe(true);
      expect(rows[0]).toMatchObject({ type: 'instance', metadata: { label: 'tagged' }, items: [{ type: 'gpu' }, { type: 'disk' }, { type: 'bwd' }] }); // prettier-ignore
      const missing = await call('GET', 'v0/charges/?select_filters=%7B%7D');
      expect([missing.status, missing.json['msg']]).toEqual([
        400,
        "Must provide both 'day' gte and lte filters for instance charges",
      ]);
    }));

  it('EMU-VE18: burns the credit, stops everything at zero without a word, and deletes it 48 hours later', () =>
    withVast({ creditUsd: 1 }, async (client) => {
      const { rent, get, call, emulator } = client;
      const id = await rent();
      const perHour = numberIn(await get(id), 'dph_total');
      emulator.advance((HOUR_MS * 0.5) / perHour);
      const half = numberIn((await call('GET', 'v0/users/current/')).json, 'credit');
      emulator.advance(HOUR_MS / perHour);
      const empty = await get(id);
      emulator.advance(2 * DAY_MS);

      expect(half).toBeGreaterThan(0.4);
      expect(half).toBeLessThan(0.6);
      expect(empty).toMatchObject({ intended_status: 'stopped', actual_status: 'exited' });
      const spentWhileRunning = accountOf(client, id).segments.filter(({ state }) => state === 'running');
      expect(spentWhileRunning).toHaveLength(1);
      expect(accountOf(client, id).gpuUsd).toBeLessThanOrEqual(1);
      expect((await call('GET', `v0/instances/${id}/`)).json).toEqual({ instances: null });
    }));

  it('EMU-VE18: stops at once when the credit is taken away, and refuses to start; a spend rate limit refuses a create', () =>
    withVast({}, async ({ rent, search, call, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.setCredit(0);

      expect((await get(id))['intended_status']).toBe('stopped');
      expect((await call('PUT', `v0/instances/${id}/`, { state: 'running' })).json['error']).toBe('insufficient_credit');
      emulator.setCredit(10);
      emulator.setKnobs({ spendRateLimit: true });
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });
      expect((await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: 'x' })).json['error']).toBe('spend_rate_limit');
    }));

  it('EMU-VE24: proposes a higher price, and stops a contract that has reached its end', () =>
    withVast({ creditUsd: 1e6 }, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      const before = await get(id);
      emulator.proposePriceRise(id, 1.2);
      const pending = await call('GET', 'v0/instances/pending-price-increases/');
      const riseId = Number(/"pending_price_increase_id":(\d+)/.exec(pending.text)?.[1]);
      const accept = (body: Json) => call('PUT', 'v0/instances/accept-price-increase/', body);

      expect(pending.json).toMatchObject({ count: 1, pending_price_increases: [{ contract_id: id }] });
      expect((await accept({ pending_price_increase_id: riseId, extra: 1 })).status).toBe(400);
      expect((await accept({ pending_price_increase_id: riseId })).json).toMatchObject({ success: true, contract_id: id });
      expect((await accept({ pending_price_increase_id: riseId })).json['error']).toBe('no_pending_price_increase');
      expect((await get(id))['dph_base']).toBeCloseTo(numberIn(before, 'dph_base') * 1.2, 9);

      emulator.advance(numberIn(before, 'duration') * 1_000);
      emulator.advance(10_000);
      expect(await get(id)).toMatchObject({ intended_status: 'stopped', actual_status: 'exited' });
    }));
});

describe('the emulator itself', () => {
  it('reads the sources in one way a seed, and every way over the seeds', async () => {
    const readings = new Map<string, Set<unknown>>();
    const add = (shapes: object) => {
      for (const [name, value] of Object.entries(shapes)) readings.set(name, (readings.get(name) ?? new Set()).add(value));
    };
    for (let seed = 0; seed < 24; seed += 1) await withVast({ seed, roulette: true, offers: 1 }, ({ emulator }) => Promise.resolve(add(emulator.shapes))); // prettier-ignore

    expect([...readings.values()].every((values) => values.size > 1)).toBe(true);
    const twice = [];
    for (let run = 0; run < 2; run += 1)
      twice.push(
        await withVast({ seed: 3, roulette: true }, async ({ emulator, search }) => [emulator.shapes, await search({})]),
      );
    expect(twice[0]).toEqual(twice[1]);
  });

  it('refuses in strict mode what the vendor would ignore', () =>
    withVast({ mode: 'strict' }, async ({ call, search }) => {
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });

      expect((await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: 'x', labell: 'y' })).text).toContain('labell');
      expect((await call('POST', 'v0/bundles/', { compute_capability: { gte: 800 } })).text).toContain('compute_capability');
      expect((await call('GET', 'v1/instances/?start_token=x')).text).toContain('start_token');
    }));

  it('is steered over a port of its own, which the vendor does not have', () =>
    withVast({}, async ({ emulator, call }) => {
      const control = async (method: string, path: string, body?: unknown): Promise<unknown> => {
        const response = await fetch(`${emulator.controlUrl}${path}`, { method, ...(body !== undefined && { body: JSON.stringify(body) }) }); // prettier-ignore
        return response.json();
      };
      expect((await call('GET', '../ledger')).status).not.toBe(200);

      const planted = await control('POST', '/plant', { label: 'berth-test' });
      await control('POST', '/advance', { ms: HOUR_MS });
      await control('POST', '/faults', { kind: 'status-before', status: 500, method: 'GET' });
      expect((await call('GET', 'v1/instances/')).status).toBe(500);
      expect((await call('GET', 'v1/instances/')).status).toBe(200);
      await control('POST', '/credit', { usd: 3 });
      expect((await call('GET', 'v0/users/current/')).json['credit']).toBe(3);

      expect(planted).toEqual({ contractId: expect.any(Number) });
      expect(await control('GET', '/ledger')).toMatchObject([{ label: 'berth-test' }]);
      expect(await control('GET', '/requests')).toHaveLength(4);
      expect(await control('POST', '/faults', { kind: 'nonsense' })).toMatchObject({ error: expect.stringContaining('kind') });
      await control('POST', '/reset', { seed: 9 });
      expect(await control('GET', '/instances')).toEqual([]);
    }));

  it('logs what was asked, without what opens doors', () =>
    withVast({}, async ({ emulator, rent }) => {
      await rent({ image_login: '-u me -p hunter2 registry', env: { HF_TOKEN: 'hf_abc', PLAIN: 'yes' } });
      await fetch(`${emulator.url}/api/v0/users/current/?api_key=${emulator.apiKey}`);
      const text = JSON.stringify(emulator.requests());

      expect(text).toContain('"PLAIN":"yes"');
      for (const secret of ['hunter2', 'hf_abc', emulator.apiKey]) expect(text).not.toContain(secret);
      expect(emulator.requests().map(({ status }) => status)).toEqual([200, 200, 200]);
    }));

  it('EMU-E1 EMU-E18: answers after a while, and may have a clock that is wrong', async () => {
    const clock = new FakeClock('2026-10-26T08:00:00Z');
    const knobs = { latencyMedianMs: 250, latencyP99Ms: 2_000, clockSkewMs: 90_000 };
    const emulator = await startVastEmulator({ clock, seed: 1, mode: 'lenient', knobs });
    try {
      const answer = fetch(`${emulator.url}/api/v0/bundles/`, { method: 'POST', body: '{}' });
      await expect.poll(() => clock.sleeping).toBe(1);
      await clock.advance(20_000);

      const { headers } = await answer;
      const skewMs = Date.parse(headers.get('date') ?? '') - Date.parse('2026-10-26T08:00:00Z');
      expect(skewMs).toBeGreaterThanOrEqual(90_000);
      expect(skewMs).toBeLessThanOrEqual(110_000);
    } finally {
      await emulator.close();
    }
  });

  it('knows templates, whose environment is text, and takes them in a create', () =>
    withVast({}, async ({ call, rent, get }) => {
      const filters = encodeURIComponent(JSON.stringify({ recommended: { eq: true } }));
      const answer = await call('GET', `v0/template/?select_filters=${filters}`);
      const hash = /"hash_id":"(\w+)"/.exec(answer.text)?.[1];
      const row = await get(await rent({ image: null, template_hash_id: hash }));

      expect(answer.json).toMatchObject({ templates_found: 2, templates: [{ env: expect.any(String) }, {}] });
      expect(row).toMatchObject({ template_hash_id: hash, onstart: 'ollama serve &' });
      expect(row['extra_env']).toContainEqual(['OLLAMA_HOST', '0.0.0.0']);
    }));

  it('changes single fields of an answer on demand', () =>
    withVast({}, async ({ emulator, call }) => {
      await emulator.plant('a');
      emulator.injectFault({ kind: 'patch', path: '/v1/instances/', patch: { instances: { actual_status: 'scheduling' } } });

      expect((await call('GET', 'v1/instances/')).json['instances']).toMatchObject([
        { actual_status: 'scheduling', label: 'a' },
      ]);
    }));

  it('keeps a market of 10,000 offers', () =>
    withVast({ offers: 10_000, shapes: { searchCap: 'none' } }, async ({ search }) => {
      expect((await search({ limit: 20_000 })).length).toBeGreaterThanOrEqual(10_000);
    }));

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('holds its own rules under stress and roulette (seed %i)', (seed) =>
    withVast(
      { seed, roulette: true, scenario: 'stress', knobs: { limits: false, latencyMedianMs: 0 }, creditUsd: 40 },
      async (client) => {
        const { emulator, call } = client;
        const random = seededRandom(seed);
        const pick = <T>(values: readonly T[]) => values[Math.floor(random.next() * values.length)];
        for (let step = 0; step < 120; step += 1) {
          const alive = emulator.instances().filter(({ isAlive }) => isAlive);
          const id = pick(alive)?.id ?? 1;
          const ask = pick(emulator.offers(random.next() < 0.5 ? 'bid' : 'on-demand'));
          const price = random.next() < 0.5 ? { price: numberIn(ask, 'min_bid') * (1 + random.next()) } : {};
          const acts: readonly (() => Promise<{ status: number; text: string }>)[] = [
            () => call('PUT', `v0/asks/${String(ask?.['id'])}/`, { image: 'cached', disk: 10, cancel_unavail: random.next() < 0.5, ...price }), // prettier-ignore
            () => call('PUT', `v0/asks/${String(ask?.['id'])}/`, { image: 'ubuntu', label: 'x', disk: 10, ...price }),
            () => call('GET', 'v1/instances/'),
            () => call('GET', `v0/instances/${id}/`),
            () => call('PUT', `v0/instances/${id}/`, { state: pick(['running', 'stopped']) }),
            () => call('PUT', `v0/instances/reboot/${id}/`, {}),
            () => call('PUT', `v0/instances/bid_price/${id}/`, { price: 0.1 + random.next() }),
            () => call('DELETE', `v0/instances/${id}/`, {}),
          ];
          const answer = await pick(acts)?.().catch(() => undefined);
          expect(answer?.text ?? '').not.toContain('emulator:');
          emulator.advance(random.next() * 600_000);
          if (random.next() < 0.1 && alive.length > 0) emulator.preempt(id, { resumeAfterMs: HOUR_MS });
        }

        for (const { id, isAlive, phase } of emulator.instances()) {
          const { segments, closedAt, openedAt } = accountOf(client, id);
          expect(closedAt === undefined).toBe(isAlive);
          expect(segments[0]?.fromAt).toBe(openedAt);
          const ends = segments.map(({ toAt }) => toAt);
          expect(segments.slice(1).map(({ fromAt }) => fromAt)).toEqual(ends.slice(0, -1)); // without a gap or an overlap
          if (isAlive && phase !== 'running') expect(segments.at(-1)?.gpuPerHour).toBe(0);
        }
        const held = emulator
          .instances()
          .filter(({ isAlive, phase }) => isAlive && (phase === 'running' || phase === 'booting'));
        const gpus = held.flatMap(({ machineId, row }) => Array<number>(numberIn(row, 'num_gpus')).fill(machineId));
        for (const machineId of new Set(gpus)) {
          const [all] = emulator.offers().filter((row) => row['machine_id'] === machineId && row['gpu_frac'] === 1);
          if (all !== undefined)
            expect(gpus.filter((each) => each === machineId).length).toBeLessThanOrEqual(numberIn(all, 'num_gpus'));
        }
      },
    ),
  );
});
