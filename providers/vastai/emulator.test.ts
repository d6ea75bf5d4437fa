import { describe, expect, it } from 'vitest';
import { withVast } from '../../test/emulators/vastai/test-client.ts';
import type { Json, TestClient } from '../../test/emulators/vastai/test-client.ts';

const minutes = (count: number) => count * 60_000;
const QUICK = 'pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime';
const BOOTED_MS = 80_000;

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

describe('transport and keys', () => {
  it('EMU-VE1: redirects a path without its last slash with a body that parses, and has retired the v0 list', () =>
    withVast({}, async ({ call, emulator }) => {
      const moved = await call('GET', 'v1/instances');
      const retired = await call('GET', 'v0/instances/');
      emulator.setKnobs({ legacyList: '200' });
      const old = await call('GET', 'v0/instances/');

      expect(moved.status).toBe(301);
      expect(moved.headers.get('location')).toBe('/api/v1/instances/');
      expect(moved.json).toMatchObject({ code: '301 Moved Permanently' });
      expect(moved.json).not.toHaveProperty('instances');
      expect([retired.status, retired.json['error']]).toEqual([410, 'deprecated_endpoint']);
      expect(old.json).toMatchObject({ success: true, instances: [] });
    }));

  it('EMU-VE21 EMU-E9: tells a wrong key 404 on searches, lists and charges and 401 elsewhere, and no key 403', () =>
    withVast({}, async ({ call, emulator }) => {
      const wrong = async (method: string, path: string) => (await call(method, path, undefined, 'nonsense')).status;

      expect(await wrong('GET', 'v1/instances/')).toBe(404);
      expect(await wrong('GET', 'v0/charges/')).toBe(404);
      expect(await wrong('POST', 'v0/bundles/')).toBe(404);
      expect(await wrong('GET', 'v0/users/current/')).toBe(401);
      const nobody = await call('GET', 'v0/users/current/', undefined, null);
      expect([nobody.status, nobody.json['error']]).toEqual([403, 'auth_error']);
      expect((await call('POST', 'v0/bundles/', {}, null)).status).toBe(200);

      emulator.revokeKey(emulator.apiKey);
      expect((await call('GET', 'v0/users/current/')).json).toMatchObject({ error: 'auth_error', msg: 'Invalid user key' });
    }));

  it("EMU-VE22: lets a scoped key do what it may, and an instance's key touch that instance only", () =>
    withVast({}, async (client) => {
      const { call, emulator } = client;
      const reader = emulator.addKey(['instance_read']);
      const [offer] = await client.search({ rentable: { eq: true }, limit: 1 });
      const made = await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: QUICK, disk: 10 });
      const own = String(made.json['instance_api_key']);
      const id = numberIn(made.json, 'new_contract');

      expect((await call('GET', 'v1/instances/', undefined, reader)).status).toBe(200);
      expect((await call('DELETE', `v0/instances/${id}/`, {}, reader)).status).toBe(403);
      expect((await call('GET', 'v0/users/current/', undefined, own)).status).toBe(403);
      expect((await call('DELETE', `v0/instances/${id + 1}/`, {}, own)).status).toBe(403);
      expect((await call('DELETE', `v0/instances/${id}/`, {}, own)).status).toBe(200);
    }));

  it('sends no charset, which the official client refuses', () =>
    withVast({}, async ({ call }) => {
      expect((await call('POST', 'v0/bundles/', {})).headers.get('content-type')).toBe('application/json');
    }));
});

describe('limits', () => {
  it('EMU-VE2 EMU-E5: keeps an interval an endpoint, and 12 s after a create that came too early', () =>
    withVast({ knobs: { limits: true } }, async ({ call, emulator }) => {
      const create = async () => (await call('PUT', 'v0/asks/1/', { image: QUICK })).status;

      expect(await create()).toBe(400);
      expect(await create()).toBe(429);
      emulator.advance(5_000);
      expect(await create()).toBe(429);
      emulator.advance(12_000);
      expect(await create()).toBe(400);
      expect((await call('GET', 'v1/instances/')).status).toBe(200);
      expect((await call('GET', 'v1/instances/')).status).toBe(429);
      emulator.advance(1_000);
      expect((await call('GET', 'v1/instances/')).status).toBe(200);
    }));

  it('EMU-VE2: says it in four bodies, with Retry-After only when asked', async () => {
    const bodies = new Set<string>();
    for (const throttle of [0, 1, 2, 3]) {
      await withVast({ shapes: { throttle }, knobs: { limits: true } }, async ({ call }) => {
        await call('GET', 'v1/instances/');
        const refused = await call('GET', 'v1/instances/');
        expect(refused.headers.get('retry-after')).toBeNull();
        bodies.add(Object.keys(refused.json).join() || refused.text);
      });
    }
    expect([...bodies].sort()).toEqual(['API requests too frequent', 'detail', 'message,code', 'success,error,msg']);
    await withVast({ knobs: { limits: true, retryAfterHeader: true } }, async ({ call }) => {
      await call('GET', 'v0/instances/1/');
      expect((await call('GET', 'v0/instances/1/')).headers.get('retry-after')).toBe('2');
    });
  });

  it('EMU-VE3: searches ten times a minute, and 20,000 rows a day until midnight UTC', () =>
    withVast({ knobs: { limits: true, dailyRows: 30 } }, async ({ call, emulator }) => {
      const rows = async (limit: number) => (await call('POST', 'v0/bundles/', { limit })).json['offers'];

      expect(await rows(20)).toHaveLength(20);
      expect(await rows(20)).toHaveLength(10);
      const refused = await call('POST', 'v0/bundles/', { limit: 1 });
      expect(refused.status).toBe(429);
      expect(refused.json).toMatchObject({ error: 'search_quota_exceeded', limit: 30, remaining: 0, retry_after: 16 * 3_600 });
      for (let left = 7; left > 0; left -= 1) await rows(1);
      expect((await call('POST', 'v0/bundles/', {})).text).toContain('too frequent');

      emulator.advance(16 * 3_600_000);
      expect(await rows(20)).toHaveLength(20);
    }));
});

describe('search', () => {
  it('EMU-VE3: knows eight operators, order and limit, and finds nothing by id', () =>
    withVast({ shapes: { searchCap: 'none' } }, async ({ search }) => {
      const all = await search({ limit: 5_000 });
      const names = (rows: readonly Json[]) => new Set(rows.map((row) => row['gpu_name']));
      const ram = (rows: readonly Json[]) => rows.map((row) => numberIn(row, 'gpu_ram'));

      expect(names(await search({ gpu_name: { eq: 'RTX 4090' } }))).toEqual(new Set(['RTX 4090']));
      expect(names(await search({ gpu_name: { neq: 'RTX 4090' }, limit: 5_000 }))).not.toContain('RTX 4090');
      expect(names(await search({ gpu_name: { in: ['H200', 'L40S'] } }))).toEqual(new Set(['H200', 'L40S']));
      expect(names(await search({ gpu_name: { notin: ['H200'] }, limit: 5_000 }))).not.toContain('H200');
      expect(Math.min(...ram(await search({ gpu_ram: { gte: 24_000, lt: 50_000 } })))).toBeGreaterThanOrEqual(24_000);
      expect(Math.max(...ram(await search({ gpu_ram: { gt: 1, lte: 24_576 }, limit: 5_000 })))).toBeLessThanOrEqual(24_576);
      expect(await search({ id: { eq: all[0]?.['id'] } })).toEqual([]);
      expect(await search({ ask_contract_id: { eq: all[0]?.['id'] } })).toHaveLength(1);
      const prices = (await search({ order: [['dph_total', 'desc']], limit: 9 })).map((row) => numberIn(row, 'dph_total'));
      expect(prices).toEqual([...prices].sort((a, b) => b - a));
      expect(prices).toHaveLength(9);
      // as the official client writes it
      expect(await search({ num_gpus: { eq: '1' }, limit: 5_000 })).toEqual(
        await search({ num_gpus: { eq: 1 }, limit: 5_000 }),
      );
      const places = await search({ geolocation: { in: ['CN'] } });
      expect(places.every((row) => String(row['geolocation']).endsWith(', CN'))).toBe(true);
    }));

  it('EMU-VE3: answers by three ways, refuses what is no query, caps at 64, and may not apply a filter', () =>
    withVast({}, async ({ call, search, emulator }) => {
      const q = encodeURIComponent(JSON.stringify({ gpu_name: { eq: 'H200' } }));
      const old = await call('GET', `v0/bundles/?q=${q}`);
      const next = await call('PUT', 'v0/search/asks/', { select_cols: ['*'], q: { gpu_name: { eq: 'H200' } } });

      expect(old.json).toEqual(next.json);
      const bad = await call('POST', 'v0/bundles/', 'not json');
      expect([bad.status, bad.json]).toEqual([400, { error: 'invalid_request', msg: 'Invalid json body' }]);
      expect((await call('POST', 'v0/bundles/', { gpu_ram: { about: 1 } })).status).toBe(400);
      expect(await search({ limit: 5_000 })).toHaveLength(64);
      emulator.setKnobs({ ignoredFilter: 'dph_total' });
      expect(await search({ dph_total: { lte: 0 } })).not.toEqual([]);
    }));

  it('EMU-VE4: composes prices of a month of 720 hours, prices 8 GB by default, and shows the floor as the base of a bid', () =>
    withVast({}, async ({ search }) => {
      const disk = (row: Json, gb: number) => (gb * numberIn(row, 'storage_cost')) / 720;
      for (const [query, gb] of [
        [{}, 8],
        [{ allocated_storage: 150 }, 150],
        [{ type: 'bid', allocated_storage: 40 }, 40],
      ] as const) {
        for (const row of await search(query)) {
          expect(numberIn(row, 'storage_total_cost')).toBeCloseTo(disk(row, gb), 9);
          expect(numberIn(row, 'dph_total')).toBeCloseTo(numberIn(row, 'dph_base') + disk(row, gb), 9);
          if ('type' in query) expect(row['dph_base']).toBe(row['min_bid']);
          else expect(numberIn(row, 'dph_base')).toBeGreaterThan(numberIn(row, 'min_bid'));
        }
      }
    }));

  it('EMU-VE4: hides a held machine from who asks for rentable, and shows it to who does not ask', () =>
    withVast({}, async ({ rent, search, get }) => {
      const machine = (await get(await rent()))['machine_id'];
      const bids = (more: Json) => search({ machine_id: { eq: machine }, type: 'bid', num_gpus: { eq: 1 }, ...more });

      expect((await bids({ disable_bundling: true })).some((row) => row['rentable'] === false)).toBe(true);
      expect((await bids({ rentable: { eq: true } })).every((row) => row['rentable'] === true)).toBe(true);
    }));

  it('EMU-VE5: sells overlapping slices, replaces their ids when one is rented, and never uses an id again', () =>
    withVast({ shapes: { searchCap: 'none' } }, async ({ search, call, emulator }) => {
      const slices = async (machine: unknown) => search({ machine_id: { eq: machine }, disable_bundling: true });
      const [big] = await search({ num_gpus: { gte: 4 }, rentable: { eq: true } });
      const before = await slices(big?.['machine_id']);
      const whole = before.find((row) => row['gpu_frac'] === 1);
      const single = before.find((row) => row['num_gpus'] === 1);

      await call('PUT', `v0/asks/${String(single?.['id'])}/`, { image: QUICK });

      const after = await slices(big?.['machine_id']);
      const ids = after.map((row) => row['id']);
      expect(ids).not.toContain(single?.['id']);
      expect(ids).not.toContain(whole?.['id']);
      expect(after.find((row) => row['gpu_frac'] === 1)?.['rentable']).toBe(false);
      const again = await call('PUT', `v0/asks/${String(whole?.['id'])}/`, { image: QUICK });
      expect(again.text).toContain('no_such_ask');
      const [{ id } = { id: 0 }] = emulator.instances();
      await call('DELETE', `v0/instances/${id}/`, {});
      expect((await slices(big?.['machine_id'])).map((row) => row['id'])).not.toContain(whole?.['id']);
    }));

  it('EMU-E11 EMU-E12 EMU-E13: has nulls for what is optional, prices that drift, and offers that vanish before the create', () =>
    withVast({ knobs: { priceDriftPerMinute: 0.2, goneBeforeCreateShare: 1, everyOptionalNull: true } }, async (client) => {
      const { search, call, emulator } = client;
      const ask = { gpu_name: { eq: 'RTX 4090' }, rentable: { eq: true }, limit: 1 };
      const [before] = await search(ask);
      emulator.advance(minutes(3));
      const [after] = await search(ask);

      expect(before?.['score']).toBeNull();
      expect(before?.['dph_base']).not.toBe(after?.['dph_base']);
      expect((await call('PUT', `v0/asks/${String(after?.['id'])}/`, { image: QUICK })).text).toContain('no_such_ask');
    }));
});

describe('create', () => {
  it('EMU-VE6: gives an id and a key, and is refused for what it lacks', () =>
    withVast({}, async ({ search, call }) => {
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });
      const path = `v0/asks/${String(offer?.['id'])}/`;

      expect((await call('PUT', path, { disk: 10 })).json).toMatchObject({ error: 'invalid_args' });
      const small = await call('PUT', path, { image: QUICK, disk: 4 });
      expect([small.status, small.json['msg']]).toEqual([400, 'error 400/3467: Invalid args: disk must be at least 8']);
      expect((await call('PUT', path, { image: QUICK, price: 0.0001 })).json['error']).toBe('invalid_price');
      expect((await call('PUT', path, { image: QUICK, vm: true })).json['error']).toBe('no_ssh_key_for_vm');
      const made = await call('PUT', path, { image: QUICK });
      expect(made.json).toMatchObject({
        success: true,
        new_contract: expect.any(Number),
        instance_api_key: expect.any(String),
      });
    }));

  it.each([
    ['400', 400],
    ['404', 404],
    ['410', 410],
    ['200', 200],
  ] as const)('EMU-VE6: says that an offer is taken in the form %s', (askGone, status) =>
    withVast({ shapes: { askGone } }, async ({ call }) => {
      const answer = await call('PUT', 'v0/asks/41827365/', { image: QUICK });

      expect(answer.status).toBe(status);
      expect(answer.text).toContain('no_such_ask');
    }),
  );

  it.each([
    ['success-without-id', { success: true }, 1],
    ['nothing-but-success', { success: true }, 0],
    ['refused-without-id', { success: false }, 1],
  ])('EMU-VE6: answers %s with %o while %i instances exist', (outcome, body, count) =>
    withVast({}, async ({ search, call, emulator }) => {
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });
      emulator.injectFault({ kind: 'outcome', path: '/asks/', outcome });

      const answer = await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: QUICK });

      expect(answer.json).toEqual(body);
      expect(emulator.instances().filter(({ isAlive }) => isAlive)).toHaveLength(count);
    }),
  );

  it('EMU-VE6: refuses and leaves a stopped contract, whose disk is billed', () =>
    withVast({}, async (client) => {
      const [offer] = await client.search({ rentable: { eq: true }, limit: 1 });
      client.emulator.injectFault({ kind: 'outcome', path: '/asks/', outcome: 'refused-with-contract' });

      const answer = await client.call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: QUICK });
      client.emulator.advance(minutes(60));

      expect(answer.json).toMatchObject({ success: false, new_contract: expect.any(Number) });
      const account = accountOf(client, numberIn(answer.json, 'new_contract'));
      expect(account.gpuUsd).toBe(0);
      expect(account.diskUsd).toBeGreaterThan(0);
    }));

  it.each([
    ['code', 'insufficient_credit'],
    ['text', 'Your account lacks credit'],
    ['empty', ''],
  ] as const)('EMU-VE6 EMU-VE18: says that there is no credit as %s', (noCredit, text) =>
    withVast({ shapes: { noCredit }, creditUsd: 0 }, async ({ search, call }) => {
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });
      const answer = await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: QUICK });

      expect(answer.status).toBe(400);
      expect(noCredit === 'empty' ? answer.text === '' : answer.text.includes(text)).toBe(true);
    }),
  );

  it('EMU-VE7: fails with 410 for a slice held on demand, or leaves a stopped contract when cancel_unavail is off', () =>
    withVast({ shapes: { searchCap: 'none' } }, async ({ search, call, emulator }) => {
      const [offer] = await search({ rentable: { eq: false }, limit: 1 });
      const path = `v0/asks/${String(offer?.['id'])}/`;

      expect((await call('PUT', path, { image: QUICK })).status).toBe(410);
      expect(emulator.instances()).toEqual([]);
      const kept = await call('PUT', path, { image: QUICK, cancel_unavail: false });
      expect(kept.json).toMatchObject({ success: false, new_contract: expect.any(Number) });
      expect(emulator.instances()).toMatchObject([{ isAlive: true, row: { intended_status: 'stopped' } }]);
    }));

  it('EMU-VE26 EMU-VE6: may lose the onstart, and ignores docker flags as text', () =>
    withVast({ knobs: { onstartLostShare: 1 } }, async ({ rent, get }) => {
      const row = await get(await rent({ onstart: 'touch /root/ready', env: '-e A=1 -p 8000:8000' }));

      expect(row['onstart']).toBe('');
      expect(row['extra_env']).toEqual([]);
    }));

  it('EMU-E14: lets one of two racing creates win', () =>
    withVast({}, async ({ search, call, emulator }) => {
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });
      const path = `v0/asks/${String(offer?.['id'])}/`;

      const answers = await Promise.all([call('PUT', path, { image: QUICK }), call('PUT', path, { image: QUICK })]);

      expect(answers.filter(({ json }) => json['success'] === true)).toHaveLength(1);
      expect(emulator.instances()).toHaveLength(1);
    }));

  it.each(['reset-after', 'status-after', 'half'] as const)(
    'EMU-E2 EMU-E8: has created although the answer was lost (%s)',
    (kind) =>
      withVast({}, async ({ search, call, emulator }) => {
        const [offer] = await search({ rentable: { eq: true }, limit: 1 });
        emulator.injectFault({ kind, method: 'PUT', path: '/asks/' });

        const answer = await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: QUICK, label: 'x' }).catch(() => 'cut');

        if (kind === 'status-after') expect(answer).toMatchObject({ status: 502 });
        else expect(answer).toBe('cut');
        expect(emulator.instances()).toMatchObject([{ label: 'x', isAlive: true }]);
      }),
  );

  it.each(['reset-before', 'status-before', 'throttle'] as const)('EMU-E3 EMU-E4: has not acted after %s', (kind) =>
    withVast({}, async ({ search, call, emulator }) => {
      const [offer] = await search({ rentable: { eq: true }, limit: 1 });
      emulator.injectFault({ kind, method: 'PUT', path: '/asks/' });

      const answer = await call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: QUICK }).catch(() => undefined);

      expect(answer?.status).toBe({ 'reset-before': undefined, 'status-before': 502, throttle: 429 }[kind]);
      if (kind === 'status-before') expect(answer?.text).toContain('<html>');
      expect(emulator.instances()).toEqual([]);
    }),
  );
});

describe('the life of an instance', () => {
  it('EMU-VE8 EMU-VE9 EMU-VE12: goes from null over created and loading to running, billed as running from the start', () =>
    withVast({}, async ({ rent, get, emulator }) => {
      const id = await rent({ env: { '-p 8000:8000': '1', A: 'b' } });
      const statuses: unknown[] = [];
      for (const ms of [0, 5_000, 6_000, 20_000, BOOTED_MS]) {
        emulator.advance(ms);
        const row = await get(id);
        statuses.push(row['actual_status']);
        expect(row['cur_state']).toBe('running');
        if (row['actual_status'] === 'loading') expect(row['status_msg']).toMatch(/Pulling layers \d+\/19/);
        if (row['actual_status'] !== 'running') expect(row).not.toHaveProperty('ports');
      }

      expect(statuses).toEqual([null, 'created', 'loading', 'loading', 'running']);
      const row = await get(id);
      expect(row['public_ipaddr']).toBe('127.0.0.1\n');
      expect(row['ports']).toMatchObject({ '22/tcp': [{ HostPort: expect.any(String) }, {}], '8000/tcp': [{}, {}] });
      expect(row['extra_env']).toContainEqual(['A', 'b']);
      expect(row['start_date']).toEqual(expect.any(Number));
    }));

  it.each(['null', 'empty', 'absent'] as const)('EMU-VE12: has no ports before it runs (%s)', (portsBeforeRunning) =>
    withVast({ shapes: { portsBeforeRunning } }, async ({ rent, get }) => {
      const row = await get(await rent());

      expect(row['ports']).toEqual({ null: null, empty: {}, absent: undefined }[portsBeforeRunning]);
    }),
  );

  it('EMU-VE9: takes longer for a large image', () =>
    withVast({}, async ({ rent, get, emulator }) => {
      const id = await rent({ image: 'somebody/huge-model:1' });
      emulator.advance(minutes(8));

      expect((await get(id))['actual_status']).toBe('loading');
      emulator.advance(minutes(60));
      expect((await get(id))['actual_status']).toBe('running');
    }));

  it('EMU-VE8: may stop at created with the text of the container runtime, and never recover', () =>
    withVast({ knobs: { ociFailureShare: 1 } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(minutes(30));

      expect(await get(id)).toMatchObject({ actual_status: 'created', intended_status: 'stopped', cur_state: 'stopped' });
      expect((await get(id))['status_msg']).toContain('OCI runtime create failed');
    }));

  it('EMU-E15 EMU-E10: may load for ever, and say words that nobody knows', () =>
    withVast({ knobs: { stuckShare: 1 } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(minutes(120));
      expect((await get(id))['actual_status']).toBe('loading');

      emulator.setKnobs({ unknownStatusShare: 1 });
      expect((await get(id))['actual_status']).toBe('defrosting');
    }));

  it.each([
    ['null', 200, { instances: null }],
    ['empty', 200, {}],
    ['404', 404, { success: false, error: 'no_such_instance', msg: 'No such instance.' }],
  ] as const)('EMU-VE10: says that there is no such instance as %s', (gone, status, body) =>
    withVast({ shapes: { gone } }, async ({ call }) => {
      const answer = await call('GET', 'v0/instances/1/');

      expect([answer.status, answer.json]).toEqual([status, body]);
    }),
  );

  it('EMU-VE10: may put the one object in a list', () =>
    withVast({ shapes: { single: 'array' } }, async ({ rent, call }) => {
      const id = await rent();

      expect((await call('GET', `v0/instances/${id}/`)).json['instances']).toMatchObject([{ id }]);
    }));

  it('EMU-E16 EMU-VE20: shows use a heartbeat after the start, and freezes it when the host falls silent', () =>
    withVast({ knobs: { load: [83, 12] } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      const util = async () => (await get(id))['gpu_util'];
      expect(await util()).toBeNull();
      emulator.advance(minutes(2));
      const seen = new Set<unknown>();
      for (let beats = 0; beats < 4; beats += 1) {
        emulator.advance(30_000);
        seen.add(await util());
      }
      expect(seen).toEqual(new Set([83, 12]));

      emulator.goOffline(id);
      const frozen = await util();
      emulator.advance(30_000);
      expect(await util()).toBe(frozen);
      expect((await get(id))['actual_status']).toBe('offline');
    }));
});

describe('the list', () => {
  it('EMU-VE11: has 25 rows a page and loses none when rows come and go between two pages', () =>
    withVast({ shapes: { searchCap: 'none' } }, async ({ call, emulator }) => {
      const ids: number[] = [];
      for (let count = 0; count < 30; count += 1) ids.push(await emulator.plant(count % 2 === 0 ? 'odd' : null));

      const first = (await call('GET', 'v1/instances/')).json;
      const cursor = encodeURIComponent(String(first['next_token']));
      await call('DELETE', `v0/instances/${ids[3]}/`, {});
      const added = await emulator.plant('later');
      const second = (await call('GET', `v1/instances/?after_token=${cursor}`)).json;

      expect(first).toMatchObject({ instances_found: 30, total_instances: 30, label_counts: { odd: 15, '': 15 } });
      expect(first['instances']).toHaveLength(25);
      expect(second['next_token']).toBeNull();
      expect(second['instances']).toMatchObject([...ids.slice(25), added].map((id) => ({ id })));
    }));

  it('EMU-VE11: refuses a cursor that was changed and a filter on a computed column, and fills unknown columns with null', () =>
    withVast({}, async ({ call, emulator }) => {
      await emulator.plant('a');
      await emulator.plant('b');
      const query = (value: unknown) => encodeURIComponent(JSON.stringify(value));

      expect((await call('GET', 'v1/instances/?after_token=eyJ4Ijoie30ifQ')).json).toMatchObject({ error: 'invalid_token' });
      const computed = await call('GET', `v1/instances/?select_filters=${query({ dph_total: { lte: 1 } })}`);
      expect([computed.status, computed.json['error']]).toEqual([400, 'invalid_request']);
      const filtered = await call('GET', `v1/instances/?select_filters=${query({ label: { eq: 'b' } })}&select_cols=${query(['label', 'huh'])}`); // prettier-ignore
      expect(filtered.json).toMatchObject({ instances_found: 1, instances: [{ label: 'b', huh: null }] });
      expect((await call('GET', 'v1/instances/?limit=1')).json['instances']).toHaveLength(1);
      expect((await call('GET', 'v1/instances/?limit=0')).json['instances']).toHaveLength(2);
    }));

  it('EMU-E6 EMU-E7: shows a new instance late and a destroyed one a while longer', () =>
    withVast({ knobs: { listLagMs: 60_000, goneLagMs: 300_000 } }, async ({ rent, call, emulator }) => {
      const listed = async () => (await call('GET', 'v1/instances/')).json['instances_found'];
      const id = await rent();

      expect(await listed()).toBe(0);
      emulator.advance(60_000);
      expect(await listed()).toBe(1);
      await call('DELETE', `v0/instances/${id}/`, {});
      expect(await listed()).toBe(1);
      emulator.advance(300_000);
      expect(await listed()).toBe(0);
    }));
});
