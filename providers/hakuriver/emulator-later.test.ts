import { describe, expect, it } from 'vitest';
import { withCluster } from '../../test/emulators/hakuriver/test-client.ts';

// What H and K do otherwise than P and S.

describe.each(['H', 'K'] as const)('%s', (dialect) => {
  it('EMU-H32: makes a VPS by a route of its own, and says a port first that is nobody’s', () =>
    withCluster({ dialect }, async ({ call, key, status, ssh, emulator }) => {
      const own = key('berth-mine');
      const made = await call('POST', '/vps/create', {
        target_hostname: 'node-1',
        required_gpus: [0],
        ssh_key_mode: 'upload',
        ssh_public_key: own.publicKey,
      });
      expect(made.status).toBe(200);
      const id = String(made.json['task_id']);
      const real = (made.json['runner_response'] as { ssh_port: number }).ssh_port;
      expect(made.json).toMatchObject({ ssh_port: 2_222, ssh_key_mode: 'upload', assigned_node: 'node-1' });
      expect(made.json['runner_response']).toMatchObject({ success: true, container_name: `kohakuriver-vps-${id}` });
      expect(await status(id)).toMatchObject({ status: 'running', ssh_port: real, task_type: 'vps', assigned_node: 'node-1' });
      expect(await ssh(id, own.privateKey, 'nvidia-smi -L')).toContain('GPU 0: NVIDIA GeForce RTX 4090');
      expect(emulator.livingWithTag('berth-mine')).toEqual([id]);
    }));

  it('EMU-H32: takes a key, makes one, or leaves the VPS without SSH', () =>
    withCluster({ dialect }, async ({ call, tunnel, ssh }) => {
      const create = (body: object) => call('POST', '/vps/create', { ...body });
      expect((await create({ ssh_key_mode: 'password' })).status).toBe(400);
      expect((await create({ ssh_key_mode: 'upload' })).status).toBe(400);
      expect((await create({ target_numa_node_id: 0, ssh_key_mode: 'none' })).status).toBe(503);
      const made = await create({ ssh_key_mode: 'generate' });
      expect(await ssh(String(made.json['task_id']), String(made.json['ssh_private_key']), 'whoami')).toBe('root\n');
      const closed = String((await create({})).json['task_id']);
      expect((await tunnel(closed)).text).toBe(`ERROR VPS task ${closed} has no SSH port assigned.\n`);
    }));

  it('EMU-H32: finds a node with free GPUs by itself, and says no when there is none', () =>
    withCluster({ dialect }, async ({ call }) => {
      const create = () => call('POST', '/vps/create', { required_gpus: [0], ssh_key_mode: 'none' });
      expect((await create()).json['assigned_node']).toBe('node-2');
      expect((await create()).json['assigned_node']).toBe('node-1');
      expect((await create()).status).toBe(503);
    }));

  it('EMU-H21: shows the keys in /status, or, on demand, does not', () =>
    withCluster({ dialect }, async ({ rent, key, status, emulator }) => {
      const { publicKey } = key('berth-mine');
      const id = await rent(publicKey);
      expect((await status(id))['command']).toBe(publicKey);
      emulator.setKnobs({ keysHidden: true });
      expect((await status(id))['command']).toBe('');
    }));

  it('EMU-H35: gives no SSH to a VPS that came by the old route, key or not', () =>
    withCluster({ dialect }, async ({ submit, key, tunnel }) => {
      const made = await submit(key().publicKey);
      const [id] = made.json['task_ids'] as string[];
      expect(made.status).toBe(202);
      expect((await tunnel(String(id))).text).toBe(`ERROR VPS task ${id} has no SSH port assigned.\n`);
    }));

  it('EMU-H33: finds a lost VPS again when its Runner starts anew', () =>
    withCluster({ dialect }, async ({ rent, key, status, emulator, banner }) => {
      const id = await rent(key().publicKey);
      await emulator.killRunner('node-1');
      emulator.advance(60_000);
      expect((await status(id))['status']).toBe('lost');
      await emulator.restartContainer(id);
      await emulator.returnRunner('node-1');
      expect(await status(id)).toMatchObject({ status: 'running', ssh_port: emulator.ledger()[0]?.sshPort });
      expect(await banner(id)).toMatch(/^SUCCESS\nSSH-/);
    }));

  it('EMU-H34: kills at once and leaves the container, or stops behind the answer and removes it', () =>
    withCluster({ dialect }, async ({ rent, key, status, emulator, call }) => {
      const killed = await rent(key('a').publicKey);
      const stopped = await rent(key('b').publicKey);
      await call('POST', `/kill/${killed}`);
      expect(emulator.livingWithTag('a')).toEqual([]);
      expect((await call('POST', `/vps/stop/${stopped}`)).status).toBe(202);
      expect((await status(stopped))['status']).toBe('stopped');
      expect(emulator.livingWithTag('b')).toEqual([stopped]);
      emulator.advance(10_000);
      expect(emulator.ledger().map(({ state, livedMs }) => [state, livedMs])).toEqual([['stopped', 0], ['removed', 10_000]]); // prettier-ignore
      expect((await call('POST', `/vps/stop/${stopped}`)).status).toBe(409);
    }));

  it('EMU-H34: stopped while it is still starting, lives on; the Runner’s own stop ends it', () =>
    withCluster({ dialect, knobs: { runMs: 1_400, stopMs: 0 } }, async ({ key, call, emulator, listed, runnerUrl }) => {
      const body = { target_hostname: 'node-1', ssh_key_mode: 'upload', ssh_public_key: key('mine').publicKey };
      const made = call('POST', '/vps/create', body);
      const [id = ''] = await listed(1);
      await call('POST', `/vps/stop/${id}`);
      emulator.advance(1_400);
      expect((await made).status).toBe(200);
      expect(emulator.livingWithTag('mine')).toEqual([id]);
      expect((await call('POST', `/vps/stop/${id}`)).status).toBe(409);
      expect((await call('POST', `/vps/stop/${id}`, undefined, await runnerUrl('node-1'))).status).toBe(200);
      expect(emulator.livingWithTag('mine')).toEqual([]);
    }));

  it('EMU-H32: hides why a start failed', () =>
    withCluster({ dialect }, async ({ call, status, listed }) => {
      const made = await call('POST', '/vps/create', { container_name: 'no-such-env', ssh_key_mode: 'none' });
      expect([made.status, made.json['detail']]).toEqual([502, 'Runner rejected VPS creation.']);
      const [id = ''] = await listed(1);
      expect(await status(id)).toMatchObject({ status: 'failed', error_message: 'Runner rejected VPS creation.' });
    }));

  it('EMU-H32: answers 200 and assigning when the Runner cannot be reached', () =>
    withCluster({ dialect }, async ({ call, emulator, status }) => {
      await emulator.killRunner('node-1');
      const made = await call('POST', '/vps/create', { target_hostname: 'node-1', ssh_key_mode: 'none' });
      expect([made.status, made.json['status']]).toEqual([200, 'assigning']);
      emulator.advance(60_000);
      expect((await status(String(made.json['task_id'])))['status']).toBe('lost');
    }));

  it('EMU-H34: restarts a VPS in a new container', () =>
    withCluster({ dialect }, async ({ rent, key, call, status, emulator, banner }) => {
      const id = await rent(key('mine').publicKey);
      expect((await call('POST', `/vps/restart/${id}`)).status).toBe(202);
      expect(await status(id)).toMatchObject({ status: 'running', ssh_port: emulator.ledger()[1]?.sshPort });
      expect(await banner(id)).toMatch(/^SUCCESS\nSSH-/);
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));
});
