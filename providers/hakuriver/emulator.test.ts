import { describe, expect, it } from 'vitest';
import { withCluster } from '../../test/emulators/hakuriver/test-client.ts';
import { startHakuRiverEmulator } from './emulator.ts';
import { systemClock } from '../../src/core/clock.ts';

// The numbered behaviours (EMU-H…) and the common rows (EMU-E…) are listed in test/emulators/hakuriver/README.md.

const SEEDS = ['P', 'S'] as const;

describe('a VPS from submit to its end', () => {
  it.each(SEEDS)('lives from submit to kill (%s)', (dialect) =>
    withCluster({ dialect }, async ({ key, rent, status, ssh, call, emulator }) => {
      const own = key('berth-mine');
      const id = await rent(own.publicKey, { required_gpus: [[1]] });

      expect(await status(id)).toMatchObject({
        task_id: id,
        status: 'running',
        exit_code: 0,
        error_message: null,
        required_gpus: [1],
      });
      expect(await ssh(id, own.privateKey, 'whoami')).toBe('root\n');
      expect(await ssh(id, own.privateKey, 'nvidia-smi --query-gpu=name,memory.total --format=csv,noheader')).toBe(
        'NVIDIA GeForce RTX 4090, 24564 MiB\n',
      );
      expect(emulator.livingWithTag('berth-mine')).toEqual([id]);

      expect((await call('POST', `/kill/${id}`)).status).toBe(202);
      emulator.advance(10_000);
      expect(emulator.livingWithTag('berth-mine')).toEqual([]);
      expect(emulator.ledger()).toMatchObject([{ taskId: id, tags: ['berth-mine'], state: 'removed', livedMs: 10_000 }]);
    }),
  );

  it('EMU-H1: bears an id beyond 53 bits, as text in the answers of P and S and bare in the status of H', async () => {
    for (const dialect of ['S', 'H', 'K'] as const) {
      await withCluster({ dialect, knobs: { stopMs: 0 } }, async ({ key, rent, call, runnerUrl, emulator }) => {
        const id = await rent(key('big').publicKey);
        expect(BigInt(id)).toBeGreaterThan(2n ** 53n);

        const { text } = await call('GET', `/status/${id}`);
        expect(text).toContain(dialect === 'H' ? `"task_id":${id},` : `"task_id":"${id}",`);
        const killed = await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'));
        expect(killed.status).toBe(200);
        expect(emulator.livingWithTag('big')).toEqual([]);
      });
    }
  });

  it('EMU-H3: holds the answer back until the container runs, which is before sshd does', () =>
    withCluster({ knobs: { runMs: 1_400, sshdDelayMs: 1_000, keyDelayMs: 500 } }, async (client) => {
      const { key, submit, listed, status, banner, tunnel, ssh, emulator } = client;
      const own = key('mine');
      const submitted = submit(own.publicKey);
      const [id = ''] = await listed(1);
      expect((await status(id))['status']).toBe('pending');
      expect(emulator.startingWithTag('mine')).toEqual([id]);
      expect(emulator.livingWithTag('mine')).toEqual([]);

      emulator.advance(1_400);
      expect((await submitted).status).toBe(202);
      expect((await status(id))['status']).toBe('running');
      expect(await tunnel(id)).toEqual({ text: 'SUCCESS\n', end: 'open' });
      emulator.advance(999);
      expect(await tunnel(id)).toEqual({ text: 'SUCCESS\n', end: 'open' });
      emulator.advance(1);
      expect(await banner(id)).toMatch(/^SUCCESS\nSSH-2\.0-/);
      expect(await ssh(id, own.privateKey, 'true')).toBe('refused');
      emulator.advance(500);
      expect(await ssh(id, own.privateKey, 'whoami')).toBe('root\n');
    }));

  it('EMU-H3: sleeps on the handed clock meanwhile, so that whoever moves it knows what it waits for', () =>
    withCluster({ knobs: { runMs: 1_400 } }, async ({ key, submit, listed, clock }) => {
      const submitted = submit(key('mine').publicKey);
      await listed(1);
      await expect.poll(() => clock.nextWakeInMs).toBe(1_400);
      await clock.advance(1_400);
      expect((await submitted).status).toBe(202);
      expect(clock.sleeping).toBe(0);
    }));

  it('EMU-H21: keeps every row, and shows the keys in /status alone', () =>
    withCluster({}, async ({ key, rent, call, emulator }) => {
      const id = await rent(`${key().publicKey.trim()}\n${key('berth-tag').publicKey}`);
      await call('POST', `/kill/${id}`);
      emulator.advance(24 * 3_600_000);

      const { list } = await call('GET', '/vps');
      expect(list).toMatchObject([{ task_id: id, status: 'killed' }]);
      expect(list[0]).not.toHaveProperty('command');
      expect((await call('GET', '/vps/status')).list).toEqual([]);
      expect((await call('GET', `/status/${id}`)).json['command']).toMatch(/\nssh-ed25519 \S+ berth-tag/);
    }));

  it('EMU-H42: tells times without a zone, by the clock and the place of the Host', () =>
    withCluster({ knobs: { clockSkewMs: 90_000, utcOffsetMinutes: 480 } }, async ({ key, rent, status }) => {
      const row = await status(await rent(key().publicKey));
      expect(row['submitted_at']).toMatch(/^2026-11-22T11:34:30\.000\d{3}$/);
    }));
});

describe('the versions', () => {
  it('EMU-H31: are told apart by their paths', async () => {
    const probes = { P: [200, 404, 404], S: [200, 404, 404], H: [200, 404, 404], K: [404, 200, 200] } as const;
    for (const [dialect, expected] of Object.entries(probes)) {
      await withCluster({ dialect: dialect as keyof typeof probes }, async ({ call, emulator }) => {
        const at = async (path: string) => (await call('GET', path, undefined, emulator.url)).status;
        expect([await at('/nodes'), await at('/api/nodes'), await at('/api/auth/status')]).toEqual(expected);

        const { json } = await call('GET', '/openapi.json', undefined, emulator.url);
        const isSeed = dialect === 'P' || dialect === 'S';
        expect(json['info']).toMatchObject({ title: isSeed ? 'HakuRiver Cluster Manager' : 'HakuRiver Host' });
        const create = dialect === 'K' ? '/api/vps/create' : '/vps/create';
        expect(Object.keys(json['paths'] as object).includes(create)).toBe(!isSeed); // every version has paths
      });
    }
  });

  it('EMU-H36 EMU-E9: K with authentication on tells nobody 401 and a lower role 403, but leaves /nodes open', () =>
    withCluster({ dialect: 'K', auth: true }, async ({ emulator }) => {
      const ask = async (method: string, path: string, token?: string) => {
        const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
        return (await fetch(`${emulator.url}/api${path}`, { method, headers })).status;
      };
      expect(await ask('GET', '/auth/status')).toBe(200);
      expect(await ask('GET', '/nodes')).toBe(200);
      expect(await ask('GET', '/vps')).toBe(401);
      expect(await ask('GET', '/vps', 'nonsense')).toBe(401);
      expect(await ask('GET', '/vps', emulator.tokens?.viewer)).toBe(200);
      expect(await ask('POST', '/kill/1', emulator.tokens?.viewer)).toBe(403);
      expect(await ask('POST', '/vps/stop/1', emulator.tokens?.user)).toBe(403);
      expect(await ask('POST', '/vps/stop/1', emulator.tokens?.operator)).toBe(404);
    }));
});

describe('behind its back', () => {
  it('EMU-H39: plants a VPS of somebody else, with a tag or without one', () =>
    withCluster({ knobs: { stopMs: 0 } }, async ({ emulator, status, call, runnerUrl, banner }) => {
      const tagged = await emulator.plant({ tag: 'berth-other-1' });
      const bare = await emulator.plant({ hostname: 'node-3' });
      const garbage = await emulator.plant({ command: 'this is not a key' });

      expect(emulator.livingWithTag('berth-other-1')).toEqual([tagged]);
      expect((await status(bare))['command']).toMatch(/^ssh-ed25519 \S+$/);
      expect((await status(garbage))['command']).toBe('this is not a key');
      expect((await call('GET', '/vps/status')).list).toHaveLength(3);
      expect(await banner(tagged)).toMatch(/^SUCCESS\nSSH-/);
      expect((await call('POST', '/kill', `{"task_id":${bare}}`, await runnerUrl('node-3'))).status).toBe(200);
    }));

  it('EMU-H40: is controlled on a port of its own, which the Host knows nothing of', () =>
    withCluster({}, async ({ emulator, call, key, rent }) => {
      const control = async (method: string, path: string, body?: unknown) =>
        fetch(`${emulator.controlUrl}${path}`, { method, ...(body !== undefined && { body: JSON.stringify(body) }) });
      const id = await rent(key('mine').publicKey);

      expect(await (await control('GET', '/living?tag=mine')).json()).toEqual([id]);
      const planted = (await (await control('POST', '/plant', { tag: 'theirs' })).json()) as { taskId: string };
      expect(emulator.livingWithTag('theirs')).toEqual([planted.taskId]);
      await control('POST', '/faults', { path: '^/nodes$', kind: 'status-before', status: 500, text: 'Internal Server Error' });
      expect((await call('GET', '/nodes')).status).toBe(500);
      expect((await call('GET', '/nodes')).status).toBe(200);
      await control('POST', '/runner/kill', { hostname: 'node-1' });
      await control('POST', '/advance', { ms: 60_000 });
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({
        status: 'offline',
        cores_in_use: 'N/A',
        available_cores: 0,
      });
      expect((await control('POST', '/scenario', { name: 'nonsense' })).status).toBe(400);
      expect(await (await control('GET', '/requests')).json()).toContainEqual(
        expect.objectContaining({ method: 'GET', path: '/nodes', status: 500, fault: 'status-before' }),
      );
      expect(await (await control('GET', '/ledger')).json()).toHaveLength(2);
      await control('POST', '/reset', {});
      expect((await call('GET', '/vps')).list).toEqual([]);
      expect(await (await control('GET', '/ledger')).json()).toEqual([]);
      for (const path of ['/living', '/reset', '/ledger']) expect((await call('GET', path)).status).toBe(404);
    }));

  it('EMU-H41: refuses a name that the Host would ignore, when strict', () =>
    withCluster({ mode: 'strict' }, async ({ submit, key, call }) => {
      const strange = await submit(key().publicKey, { ssh_public_key: 'x' });
      expect([strange.status, strange.text]).toEqual([400, expect.stringContaining('ssh_public_key')]);
      expect((await submit(key().publicKey)).status).toBe(202);
      expect((await call('POST', '/kill/1', { force: true })).status).toBe(400);
    }));

  it('runs by the machine clock at any speed, with the answer held back as long as it takes', async () => {
    const emulator = await startHakuRiverEmulator({ clock: systemClock, seed: 1, speed: 20 });
    try {
      const body = { task_type: 'vps', command: 'key', targets: ['node-1'] };
      const before = systemClock.monotonicMs();
      const answer = await fetch(`${emulator.url}/submit`, { method: 'POST', body: JSON.stringify(body) });
      expect(answer.status).toBe(202);
      expect(systemClock.monotonicMs() - before).toBeGreaterThanOrEqual(1_400 / 20 - 2);
    } finally {
      await emulator.close();
    }
  });
});
