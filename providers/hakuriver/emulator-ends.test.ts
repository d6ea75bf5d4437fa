import { describe, expect, it } from 'vitest';
import { bannerOf, dialPort, withCluster } from '../../test/emulators/hakuriver/test-client.ts';
import type { TestClient } from '../../test/emulators/hakuriver/test-client.ts';

const HOUR_MS = 3_600_000;

describe('kill', () => {
  it('EMU-H5: answers before anything has stopped; the cores are free at once, sshd stays up for ten seconds', () =>
    withCluster({}, async ({ key, rent, call, portOf, status, tunnel, emulator }) => {
      const id = await rent(key('mine').publicKey, { required_cores: 16 });
      const port = await portOf(id);
      const killed = await call('POST', `/kill/${id}`);
      const message = `Kill requested for task ${id}. Task marked as killed.`;
      expect([killed.status, killed.json]).toEqual([202, { message }]);

      expect(await status(id)).toMatchObject({ status: 'killed', error_message: 'Kill requested by user.' });
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ cores_in_use: 0, available_cores: 16 });
      expect((await tunnel(id)).text).toBe(`b'ERROR 'VPS task ${id} is not active (status: killed).\n`);
      emulator.advance(9_999);
      expect(await bannerOf(port)).toMatch(/^SSH-2\.0-/);
      expect(emulator.livingWithTag('mine')).toEqual([id]);
      emulator.advance(1);
      expect((await dialPort(port, null)).end).toBe('error');
      expect(emulator.livingWithTag('mine')).toEqual([]);
      expect((await status(id))['error_message']).toContain('Runner unreachable for kill confirmation');
    }));

  it('EMU-H5: is confirmed where the shell of the image lets sshd be stopped soon', () =>
    withCluster({ knobs: { stopMs: 300 } }, async ({ key, rent, call, status, emulator }) => {
      const id = await rent(key().publicKey);
      await call('POST', `/kill/${id}`);
      emulator.advance(HOUR_MS);
      expect((await status(id))['error_message']).toBe('Kill requested by user.');
    }));

  it('EMU-H10: stops one after the other on a node, and a heartbeat gets through between two', () =>
    withCluster({}, async ({ key, rent, call, emulator }) => {
      const ids = [await rent(key('a').publicKey), await rent(key('b').publicKey), await rent(key('c').publicKey)];
      ids.push(await rent(key('d').publicKey), await rent(key('e').publicKey));
      for (const id of ids.slice(0, 4)) await call('POST', `/kill/${id}`);
      emulator.advance(15_000);
      expect(emulator.livingWithTag('a')).toEqual([]);
      expect(emulator.livingWithTag('b')).toEqual([ids[1]]);
      emulator.advance(35_000);
      expect(emulator.ledger().map(({ livedMs }) => livedMs)).toEqual([10_000, 20_000, 30_000, 40_000, 50_000]);
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'online' });
      expect((await call('GET', `/status/${ids[4]}`)).json['status']).toBe('running');
    }));

  it('EMU-H9: while its Runner is dead and nobody has noticed, ends the row and not the VPS', () =>
    withCluster({}, async ({ key, rent, call, emulator, runnerUrl, status }) => {
      const id = await rent(key('mine').publicKey);
      await emulator.killRunner('node-1');
      expect((await call('POST', `/kill/${id}`)).status).toBe(202);
      await emulator.returnRunner('node-1');
      emulator.advance(HOUR_MS);
      expect((await status(id))['status']).toBe('killed');
      expect(emulator.livingWithTag('mine')).toEqual([id]);

      emulator.setKnobs({ stopMs: 0 });
      expect((await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'))).status).toBe(200);
      expect(emulator.livingWithTag('mine')).toEqual([]);
    }));

  it('EMU-H9: whose Runner dies meanwhile leaves the container stopped, and not removed', () =>
    withCluster({}, async ({ key, rent, call, emulator }) => {
      const id = await rent(key().publicKey);
      await call('POST', `/kill/${id}`);
      emulator.advance(5_000);
      await emulator.killRunner('node-1');
      emulator.advance(HOUR_MS);
      expect(emulator.ledger()).toMatchObject([{ state: 'stopped', livedMs: 10_000, isLiving: false }]);
    }));

  it('EMU-H9: of what somebody has removed by hand ends nothing on the Runner, which answers 500 and keeps it', () =>
    withCluster({ knobs: { stopMs: 0 } }, async ({ key, rent, call, emulator, runnerUrl }) => {
      const id = await rent(key().publicKey);
      emulator.removeContainer(id);
      const kill = async () => (await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'))).status;
      expect([await kill(), await kill()]).toEqual([500, 500]);
      expect((await call('POST', '/kill', '{}', await runnerUrl('node-1'))).status).toBe(400);
    }));
});

describe('a Runner that dies', () => {
  async function loseVps(client: TestClient): Promise<string> {
    const id = await client.rent(client.key('mine').publicKey);
    client.emulator.advance(7_000);
    await client.emulator.killRunner('node-1');
    return id;
  }

  it('EMU-H7: takes its node offline after 25 to 40 s; its VPS is lost, and lives', () =>
    withCluster({}, async (client) => {
      const { status, call, tunnel, portOf, emulator } = client;
      const id = await loseVps(client);
      const port = await portOf(id);
      emulator.advance(25_000);
      expect((await status(id))['status']).toBe('running');
      emulator.advance(15_000);
      const message = 'Node node-1 went offline (heartbeat timeout).';
      expect(await status(id)).toMatchObject({ status: 'lost', exit_code: -1, error_message: message });
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({
        status: 'offline',
        cores_in_use: 'N/A',
        available_cores: 0,
      });
      expect((await call('GET', '/vps/status')).list).toEqual([]);
      expect((await tunnel(id)).text).toBe(`b'ERROR 'VPS task ${id} is not active (status: lost).\n`);
      expect(await bannerOf(port)).toMatch(/^SSH-2\.0-/);
      expect((await call('POST', `/kill/${id}`)).json).toEqual({ detail: 'Task cannot be killed (state: lost)' });
    }));

  it('EMU-H7: P and S keep it lost when the Runner is back, and only that Runner ends it', () =>
    withCluster({ knobs: { stopMs: 0 } }, async (client) => {
      const { status, call, emulator, runnerUrl } = client;
      const id = await loseVps(client);
      emulator.advance(60_000);
      await expect(call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'))).rejects.toThrow();
      await emulator.returnRunner('node-1');
      emulator.advance(HOUR_MS);
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'online' });
      expect((await status(id))['status']).toBe('lost');
      expect((await call('POST', `/kill/${id}`)).status).toBe(409);
      expect(emulator.livingWithTag('mine')).toEqual([id]);

      expect((await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'))).status).toBe(200);
      emulator.advance(60_000);
      expect((await status(id))['status']).toBe('lost');
      expect(emulator.livingWithTag('mine')).toEqual([]);
    }));

  it('EMU-H7: is asked to end what its row says is running: the next heartbeat makes that failed', () =>
    withCluster({ knobs: { stopMs: 0 } }, async ({ key, rent, call, runnerUrl, emulator, status }) => {
      const id = await rent(key().publicKey);
      await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'));
      expect((await status(id))['status']).toBe('running');
      emulator.advance(5_000);
      expect(await status(id)).toMatchObject({ status: 'failed', exit_code: -9 });
    }));

  it('EMU-H19: whose machine is cut off can neither be told nor dialled; the VPS lives', () =>
    withCluster({ knobs: { stopMs: 0 } }, async ({ key, rent, call, emulator, status, dial }) => {
      const id = await rent(key('mine').publicKey);
      emulator.cutOff('node-1');
      const dialled = dial(`REQUEST_TUNNEL ${id}\n`, 400);
      await dial('x\n'); // by its answer the first has been accepted, too
      emulator.advance(15_000);
      expect((await dialled).text).toBe(`b'ERROR 'Timeout connecting to Runner for task ${id}.\n`);
      expect((await call('POST', `/kill/${id}`)).status).toBe(202);
      emulator.advance(60_000);
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'offline' });
      emulator.reconnect('node-1');
      emulator.advance(60_000);
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'online' });
      expect((await status(id))['status']).toBe('killed');
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));

  it('EMU-H19: whose machine is cut off makes a submit fail after its patience', () =>
    withCluster({}, async ({ key, submit, listed, emulator, status }) => {
      emulator.cutOff('node-1');
      const submitted = submit(key().publicKey);
      const [id = ''] = await listed(1);
      emulator.advance(15_000);
      expect((await submitted).status).toBe(202);
      expect(await status(id)).toMatchObject({ status: 'failed' });
    }));
});

describe('a Host that is restarted', () => {
  it('EMU-H29: keeps its rows and its VPS, for 45 seconds down too; its tunnels end', () =>
    withCluster({}, async ({ key, rent, call, tunnel, emulator, status, dial, banner }) => {
      const id = await rent(key('mine').publicKey);
      const open = dial(`REQUEST_TUNNEL ${id}\n`, 2_000);
      await tunnel(id);
      await emulator.stopHost();
      expect((await open).end).not.toBe('open');
      await expect(call('GET', '/nodes')).rejects.toThrow();
      emulator.advance(45_000);
      await emulator.startHost();
      emulator.advance(60_000);
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'online' });
      expect((await status(id))['status']).toBe('running');
      expect(await banner(id)).toMatch(/^SUCCESS\nSSH-/);
    }));
});

describe('pause and resume', () => {
  it('EMU-H20: answer 200 and do nothing to a VPS of P and S', () =>
    withCluster({}, async ({ key, rent, call, status, emulator }) => {
      const id = await rent(key().publicKey);
      const paused = await call('POST', `/command/${id}/pause`);
      const message = `Pause for task ${id} sent to runner: Runner error during pause command.`;
      expect([paused.status, paused.json]).toEqual([200, { message }]);
      expect((await status(id))['status']).toBe('running');
      expect((await call('POST', `/command/${id}/resume`)).json).toEqual({
        detail: 'Invalid command or task state: resume for running',
      });
      await emulator.killRunner('node-1');
      expect((await call('POST', `/command/${id}/pause`)).text).toContain('Failed to send pause command.');
    }));

  it('EMU-H20: freeze a VPS of H and K, which can be killed then', () =>
    withCluster({ dialect: 'H' }, async ({ key, rent, call, status, tunnel, banner }) => {
      const id = await rent(key().publicKey);
      await call('POST', `/command/${id}/pause`);
      expect((await status(id))['status']).toBe('paused');
      expect(await tunnel(id)).toEqual({ text: 'SUCCESS\n', end: 'open' });
      await call('POST', `/command/${id}/resume`);
      expect(await banner(id)).toMatch(/^SUCCESS\nSSH-/);
      await call('POST', `/command/${id}/pause`);
      expect((await call('POST', `/kill/${id}`)).status).toBe(202);
    }));
});
