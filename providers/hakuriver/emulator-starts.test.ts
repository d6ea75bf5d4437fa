import { describe, expect, it } from 'vitest';
import { withCluster } from '../../test/emulators/hakuriver/test-client.ts';
import type { Answer, TestClient } from '../../test/emulators/hakuriver/test-client.ts';

const idIn = ({ json }: Answer): string => String((json['task_ids'] as string[])[0]); // of an answer with 202
const HOUR_MS = 3_600_000;

/** What a submit came to, an hour later. */
async function fateOf({ emulator, status, active }: TestClient, answer: Answer) {
  emulator.advance(HOUR_MS);
  const id = idIn(answer);
  return {
    status: (await status(id))['status'],
    port: (await active(id))?.['ssh_port'],
    response: answer.json['runner_response'],
  };
}

const NEVER = { status: 'pending', port: null, response: undefined };

describe('202 says nothing', () => {
  it.each(['P', 'S'] as const)('EMU-H2: a VPS with a memory limit never starts (%s)', (dialect) =>
    withCluster({ dialect }, async (client) => {
      const answer = await client.submit(client.key('mine').publicKey, { required_memory_bytes: 268_435_456 });
      expect(answer.status).toBe(202);
      expect(await fateOf(client, answer)).toEqual(NEVER);
      expect(client.emulator.ledger()).toEqual([]);
    }),
  );

  it('EMU-H2: nor one of an image that is nowhere, or has no package manager, or where the Runner failed', () =>
    withCluster({}, async (client) => {
      const { key, submit, emulator } = client;
      expect(await fateOf(client, await submit(key().publicKey, { container_name: 'no-such-env' }))).toEqual(NEVER);
      expect(await fateOf(client, await submit(key().publicKey, { container_name: 'no-manager' }))).toEqual(NEVER);
      emulator.injectFault({ path: '^/submit$', kind: 'outcome', outcome: 'never-starts' });
      expect(await fateOf(client, await submit(key().publicKey))).toEqual(NEVER);
      expect(await fateOf(client, await submit(key().publicKey))).toMatchObject({ status: 'running' });
    }));

  it('EMU-H24: a GPU that the node does not have: P pending for ever, S failed without a reason, the container left', async () => {
    for (const dialect of ['P', 'S'] as const) {
      await withCluster({ dialect }, async (client) => {
        const answer = await client.submit(client.key().publicKey, { targets: ['node-3'], required_gpus: [[0]] });
        const expected = dialect === 'P' ? NEVER : { status: 'failed', port: undefined, response: undefined };
        expect(await fateOf(client, answer)).toEqual(expected);
        expect(client.emulator.ledger()).toMatchObject([{ state: 'created', livedMs: 0, isLiving: false }]);
      });
    }
  });

  it('EMU-H26: a tarball that cannot be loaded: an answer of the Runner, and failed', () =>
    withCluster({}, async (client) => {
      const answer = await client.submit(client.key().publicKey, { container_name: 'broken' });
      expect(answer.json['runner_response']).toEqual({ error: 'Docker setup failed' });
      expect(await fateOf(client, answer)).toMatchObject({ status: 'failed' });
    }));

  it('EMU-H8: a Runner that has just died: 202, and failed at once', () =>
    withCluster({}, async ({ emulator, submit, status, key, call }) => {
      await emulator.killRunner('node-1');
      const answer = await submit(key().publicKey);
      expect(answer.status).toBe(202);
      expect(answer.json).not.toHaveProperty('runner_response');
      const message = 'Failed to contact runner: All connection attempts failed';
      expect(await status(idIn(answer))).toMatchObject({ status: 'failed', error_message: message });
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'online' });
    }));
});

describe('a start that takes long', () => {
  const slow = { knobs: { slowShare: 1, slowMs: 34_000 } };

  it('EMU-H4: P stops waiting after 30 s; the VPS runs later, and nobody ever learns its port', () =>
    withCluster({ dialect: 'P', ...slow }, async ({ emulator, submit, listed, status, active, tunnel, key }) => {
      const submitted = submit(key('mine').publicKey);
      const [id = ''] = await listed(1);
      emulator.advance(30_000);
      const answer = await submitted;
      expect([answer.status, answer.json['runner_response']]).toEqual([202, undefined]);
      expect((await status(id))['status']).toBe('pending');

      emulator.advance(4_000);
      expect((await status(id))['status']).toBe('running');
      expect((await active(id))?.['ssh_port']).toBeNull();
      expect((await tunnel(id)).text).toBe(`b'ERROR 'VPS task ${id} has no SSH port assigned.\n`);
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));

  it('EMU-H4: S waits for ten minutes', () =>
    withCluster({ dialect: 'S', ...slow }, async ({ emulator, submit, listed, active, key }) => {
      const submitted = submit(key().publicKey);
      const [id = ''] = await listed(1);
      emulator.advance(34_000);
      const port = ((await submitted).json['runner_response'] as { ssh_port: number }).ssh_port;
      expect((await active(id))?.['ssh_port']).toBe(port);
    }));

  it('EMU-H6: killed before the submit has answered, it starts all the same, and no kill reaches it but that of its Runner', () =>
    withCluster({ knobs: { runMs: 1_400, stopMs: 0 } }, async (client) => {
      const { emulator, submit, listed, status, call, key, runnerUrl } = client;
      const submitted = submit(key('mine').publicKey);
      const [id = ''] = await listed(1);
      expect((await call('POST', `/kill/${id}`)).status).toBe(202);
      emulator.advance(1_400);

      expect((await submitted).json['runner_response']).toEqual({ ssh_port: expect.any(Number) as number });
      expect(await status(id)).toMatchObject({ status: 'killed', started_at: null });
      expect(emulator.livingWithTag('mine')).toEqual([id]);
      const again = await call('POST', `/kill/${id}`);
      expect([again.status, again.json['detail']]).toEqual([409, 'Task cannot be killed (state: killed)']);
      const direct = await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'));
      expect([direct.status, direct.text]).toEqual([200, expect.stringContaining(`Kill processed for task ${id}.`)]);
      expect(emulator.livingWithTag('mine')).toEqual([]);
      const untracked = await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'));
      expect(untracked.status).toBe(404);
    }));

  it('EMU-H37: a Runner that dies meanwhile leaves a container that it never knows, and a row pending', () =>
    withCluster({ knobs: { runMs: 1_400, stopMs: 0 } }, async (client) => {
      const { emulator, submit, listed, status, call, key, runnerUrl } = client;
      const submitted = submit(key('mine').publicKey);
      const [id = ''] = await listed(1);
      await emulator.killRunner('node-1');
      emulator.advance(1_400);
      expect((await submitted).status).toBe(202);
      expect((await status(id))['status']).toBe('pending');
      await emulator.returnRunner('node-1');
      expect((await call('POST', `/kill/${id}`)).status).toBe(202);
      expect((await call('POST', '/kill', `{"task_id":${id}}`, await runnerUrl('node-1'))).status).toBe(404);
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));

  it('EMU-H29: a Host that is restarted meanwhile never learns the port', () =>
    withCluster({ knobs: { runMs: 1_400 } }, async ({ emulator, submit, listed, status, active, key }) => {
      const submitted = submit(key('mine').publicKey).catch(() => 'cut');
      const [id = ''] = await listed(1);
      await emulator.restartHost();
      expect(await submitted).toBe('cut');
      emulator.advance(1_400);
      expect((await status(id))['status']).toBe('running');
      expect((await active(id))?.['ssh_port']).toBeNull();
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));
});

describe('what is sent as a key', () => {
  it('EMU-H27: is checked by nobody', () =>
    withCluster({}, async ({ submit, status, ssh, key }) => {
      for (const command of ['this is not a key', '']) {
        const id = idIn(await submit(command));
        expect((await status(id))['status']).toBe('running');
        expect(await ssh(id, key().privateKey, 'true')).toBe('refused');
      }
    }));

  it('EMU-H27: with a quotation mark breaks the start script; the container starts again for ever, the row says running', () =>
    withCluster({}, async ({ submit, status, tunnel, key, emulator }) => {
      const id = idIn(await submit(`${key('it').publicKey.trim()}'s mine`));
      emulator.advance(HOUR_MS);
      expect((await status(id))['status']).toBe('running');
      expect((await tunnel(id)).text).toBe(`b'ERROR 'Connection refused by VPS task ${id} on node node-1.\n`);
      expect(emulator.ledger()).toMatchObject([{ state: 'restarting', isLiving: true, livedMs: HOUR_MS }]);
    }));

  it('EMU-H27: may be two keys, one a line; both log in', () =>
    withCluster({}, async ({ rent, ssh, key }) => {
      const [one, two] = [key('consumer'), key('probe')];
      const id = await rent(`${one.publicKey.trim()}\n${two.publicKey.trim()}`);
      expect(await ssh(id, one.privateKey, 'whoami')).toBe('root\n');
      expect(await ssh(id, two.privateKey, 'whoami')).toBe('root\n');
    }));
});

describe('what a Runner says once', () => {
  it('EMU-H28: when it is lost, the row stays pending while the VPS lives', () =>
    withCluster({}, async ({ submit, status, tunnel, key, emulator }) => {
      emulator.injectFault({ path: '^/submit$', kind: 'outcome', outcome: 'update-lost' });
      const answer = await submit(key('mine').publicKey);
      const id = idIn(answer);
      emulator.advance(HOUR_MS);
      expect(answer.json['runner_response']).toEqual({ ssh_port: expect.any(Number) as number });
      expect((await status(id))['status']).toBe('pending');
      expect((await tunnel(id)).text).toContain('is not active (status: pending)');
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));

  it('EMU-H28: when not even the acceptance arrives, heartbeats end the row', () =>
    withCluster({}, async ({ submit, status, key, emulator }) => {
      emulator.injectFault({ path: '^/submit$', kind: 'outcome', outcome: 'stays-assigning' });
      const id = idIn(await submit(key().publicKey));
      emulator.advance(20_000);
      expect(await status(id)).toMatchObject({ status: 'assigning', assignment_suspicion_count: 1 });
      emulator.advance(10_000);
      expect(await status(id)).toMatchObject({ status: 'failed', exit_code: -1 });
    }));

  it('EMU-H30: may be said by anybody: a status that no version writes, another address of a node', () =>
    withCluster({}, async ({ rent, status, call, key }) => {
      const id = await rent(key().publicKey);
      expect((await call('POST', '/update', `{"task_id":${id},"status":"defragmenting"}`)).status).toBe(200);
      expect((await status(id))['status']).toBe('defragmenting');
      const node = { hostname: 'node-1', total_cores: 4, total_ram_bytes: 1e9, runner_url: 'http://10.9.8.7:1' };
      expect((await call('POST', '/register', node)).json).toEqual({ message: 'Runner node-1 acknowledged.' });
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ hostname: 'node-1', url: 'http://10.9.8.7:1' });
      expect((await call('PUT', '/heartbeat/nobody', { running_tasks: [] })).status).toBe(404);
    }));
});
