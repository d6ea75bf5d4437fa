import net from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { handOffCommand } from '../../src/provider/key-hand-off.ts';
import { bannerOf, hostKeyAt, withCluster } from '../../test/emulators/hakuriver/test-client.ts';
import type { TestClient } from '../../test/emulators/hakuriver/test-client.ts';

/** Says a line whose answer only time brings. */
async function dialAfter({ dial, emulator }: TestClient, line: string | null, ms: number) {
  const dialled = dial(line, 400);
  await dial('x\n'); // by its answer the first has been accepted, too
  emulator.advance(ms);
  return dialled;
}

describe('the handshake', () => {
  it('EMU-H14: P and S refuse with the repr of a byte string before the text', () =>
    withCluster({}, async ({ emulator, dial, key, rent, call }) => {
      const said = async (line: string) => {
        const { text, end } = await dial(line);
        expect(end).toBe('closed');
        return text;
      };
      const id = await rent(key().publicKey);
      const task = (await call('POST', '/submit', { command: 'true' })).json['task_ids'] as string[];

      expect(await said('request_tunnel 1\n')).toBe("b'ERROR 'Invalid request format.\n");
      expect(await said('GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toBe("b'ERROR 'Invalid request format.\n");
      expect(await said('REQUEST_TUNNEL abc\n')).toBe("b'ERROR 'Invalid task ID format.\n");
      expect(await said('REQUEST_TUNNEL 1\n')).toBe("b'ERROR 'Task 1 not found.\n");
      expect(await said('REQUEST_TUNNEL 99999999999999999999\n')).toBe("b'ERROR 'Internal server error during task lookup.\n");
      expect(await said(`REQUEST_TUNNEL ${task[0]}\n`)).toBe(`b'ERROR 'Task ${task[0]} is not a VPS task.\n`);
      expect(await said('x'.repeat(70_000))).toBe("b'ERROR 'Error processing request.\n");
      expect(await bannerOf(emulator.proxyPort, `REQUEST_TUNNEL   ${id}  \r\n`)).toMatch(/^SUCCESS\nSSH-2\.0-/);
    }));

  it.each(['H', 'K'] as const)('EMU-H14: %s refuses with ERROR before the text', (dialect) =>
    withCluster({ dialect }, async ({ dial, key, rent, banner }) => {
      expect((await dial('REQUEST_TUNNEL 1\n')).text).toBe('ERROR Task 1 not found.\n');
      expect((await dial('REQUEST_TUNNEL 99999999999999999999\n')).text).toBe('ERROR Internal server error.\n');
      expect(await banner(await rent(key().publicKey))).toMatch(/^SUCCESS\nSSH-2\.0-/);
    }),
  );

  it('EMU-H18: waits ten seconds for a request', () =>
    withCluster({}, async (client) => {
      expect(await dialAfter(client, null, 9_999)).toEqual({ text: '', end: 'open' });
      const late = await dialAfter(client, null, 10_000);
      expect(late).toEqual({ text: "b'ERROR 'Timeout waiting for request.\n", end: 'closed' });
    }));

  it('EMU-H14: passes on what came in the same write as the request', () =>
    withCluster({}, async ({ dial, key, rent }) => {
      const { text } = await dial(`REQUEST_TUNNEL ${await rent(key().publicKey)}\nSSH-2.0-probe\r\n`, 1_000);
      expect(text).toMatch(/^SUCCESS\nSSH-2\.0-/);
      expect(text).toContain('curve25519-sha256');
    }));

  it('EMU-H14: says so when the node is offline', () =>
    withCluster({}, async ({ tunnel, key, rent, emulator }) => {
      const id = await rent(key().publicKey);
      await emulator.killRunner('node-1');
      emulator.advance(60_000);
      emulator.setStatus(id, 'running');
      expect((await tunnel(id)).text).toBe(`b'ERROR 'Assigned node for VPS task ${id} is not online.\n`);
    }));
});

describe('a tunnel', () => {
  it('EMU-H15: that was opened before sshd stays dead for ever; a new one lives', () =>
    withCluster({ knobs: { sshdDelayMs: 22_000 } }, async ({ key, rent, tunnel, dial, emulator, banner }) => {
      const id = await rent(key().publicKey);
      const early = dial(`REQUEST_TUNNEL ${id}\n`, 600);
      await tunnel(id);
      emulator.advance(60_000);
      expect(await banner(id)).toMatch(/^SUCCESS\nSSH-2\.0-/);
      expect(await early).toEqual({ text: 'SUCCESS\n', end: 'open' });
    }));

  it('EMU-H16: tells its client nothing of the end of the VPS', () =>
    withCluster({}, async ({ key, rent, dial, tunnel, emulator, call }) => {
      const id = await rent(key().publicKey);
      const open = dial(`REQUEST_TUNNEL ${id}\n`, 400);
      await tunnel(id);
      await call('POST', `/kill/${id}`);
      emulator.advance(60_000);
      const { text, end } = await open;
      expect([text.startsWith('SUCCESS\nSSH-'), end]).toEqual([true, 'open']);
      expect(emulator.livingWithTag('')).toEqual([]);
    }));

  it('EMU-H16: tells its VPS nothing of the end of the client, so that the Host keeps the connection', () =>
    withCluster({}, async ({ key, rent, emulator }) => {
      const id = await rent(key().publicKey);
      for (let client = 0; client < 4; client += 1) {
        const socket = net.connect(emulator.proxyPort, '127.0.0.1');
        socket.write(`REQUEST_TUNNEL ${id}\n`);
        await once(socket, 'data');
        socket.destroy();
      }
      await expect.poll(() => emulator.leakedTunnels()).toBe(4);
      emulator.stopContainer(id);
      await expect.poll(() => emulator.leakedTunnels()).toBe(0);
    }));

  it('EMU-H17: to a frozen container opens, and is silent', () =>
    withCluster({}, async ({ key, rent, tunnel, emulator }) => {
      const id = await rent(key().publicKey);
      emulator.freezeContainer(id);
      expect(await tunnel(id)).toEqual({ text: 'SUCCESS\n', end: 'open' });
    }));
});

describe('the port of a VPS', () => {
  it('EMU-H11: changes when its container restarts, and the Host goes on showing the old one', () =>
    withCluster({}, async ({ key, rent, tunnel, emulator, portOf, status, ssh }) => {
      const own = key('mine');
      const id = await rent(own.publicKey);
      const before = await portOf(id);
      const hostKey = await hostKeyAt(before);
      await emulator.restartContainer(id);

      expect(await hostKeyAt(Number(emulator.ledger()[0]?.sshPort))).toBe(hostKey);
      expect(await portOf(id)).toBe(before);
      expect(emulator.ledger()[0]?.sshPort).not.toBe(before);
      expect((await status(id))['status']).toBe('running');
      expect((await tunnel(id)).text).toBe(`b'ERROR 'Connection refused by VPS task ${id} on node node-1.\n`);
      expect(await ssh(id, own.privateKey, 'true')).toContain('Connection refused');
      expect(emulator.livingWithTag('mine')).toEqual([id]);
    }));

  it('EMU-H11: changes with the keys of the start script put back, so that what a hand-off took away is there again', () =>
    withCluster({}, async ({ key, rent, emulator, ssh }) => {
      const [consumer, probe] = [key('consumer'), key('probe')];
      const id = await rent(`${consumer.publicKey.trim()}\n${probe.publicKey.trim()}`);
      const [consumerKey, probeKey] = [consumer, probe].map(({ publicKey }) => publicKey.split(' ').slice(0, 2).join(' '));
      const handOff = handOffCommand({
        consumerKey: String(consumerKey),
        probeKey: String(probeKey),
        probeAfter: { kind: 'remove' },
      });
      expect(await ssh(id, probe.privateKey, handOff)).toContain('berth-hand-off-ok');
      expect(await ssh(id, probe.privateKey, 'true')).toBe('refused');

      await emulator.restartContainer(id);
      await emulator.takePort(id, id);
      expect(await ssh(id, probe.privateKey, 'cat .ssh/authorized_keys')).toBe(
        `${consumer.publicKey.trim()}\n${probe.publicKey.trim()}\n`,
      );
    }));

  it('EMU-H12: may be given to another VPS, to which the proxy then leads', () =>
    withCluster({}, async ({ key, rent, emulator, ssh }) => {
      const [mine, theirs] = [key('mine'), key('theirs')];
      const id = await rent(mine.publicKey);
      const other = await rent(theirs.publicKey);
      await emulator.restartContainer(id);
      await emulator.takePort(id, other);
      expect(await ssh(id, mine.privateKey, 'true')).toBe('refused');
      expect(await ssh(id, theirs.privateKey, 'whoami')).toBe('root\n');
    }));

  it('EMU-H13: changes when the machine reboots: P and S never tell the Host, H and K do', async () => {
    for (const dialect of ['S', 'H'] as const) {
      await withCluster({ dialect }, async ({ key, rent, emulator, portOf, banner }) => {
        const id = await rent(key().publicKey);
        const before = await portOf(id);
        await emulator.rebootNode('node-1');
        const told = await portOf(id);
        expect(told === before).toBe(dialect === 'S');
        expect(await banner(id)).toContain(dialect === 'S' ? 'Connection refused' : 'SUCCESS\nSSH-');
      });
    }
  });
});
