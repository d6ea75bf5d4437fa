import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SshConfigBody } from '../../src/http/schemas/ssh-config.ts';
import { freePort } from '../../src/tunnel/fixtures/tunnels.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { startWalledBroker } from '../support/walled-market.ts';
import type { Created, WireSession } from '../support/wire-session.ts';

// The whole broker over machines that nobody can reach but their provider: what a consumer of such a session sees.

type Broker = Awaited<ReturnType<typeof startWalledBroker>>;

let folder: string;
const brokers = new Set<Broker>();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-walled-'));
});

afterEach(async ({ task }) => {
  for (const broker of brokers) {
    if (task.result?.state === 'fail') process.stderr.write(broker.logged().slice(-4_000));
    await broker.stop();
  }
  brokers.clear();
  rmSync(folder, { recursive: true, force: true });
});

async function start(environment: Readonly<Record<string, string>>): Promise<Broker> {
  const broker = await startWalledBroker(folder, environment);
  brokers.add(broker);
  return broker;
}

async function stop(broker: Broker, options?: { readonly drain: boolean }): Promise<void> {
  brokers.delete(broker);
  await broker.stop(options);
}

async function aRange(ports = 4): Promise<{ readonly first: number; readonly last: number; readonly text: string }> {
  const first = await freePort();
  return { first, last: first + ports - 1, text: `${first}-${first + ports - 1}` };
}

async function rent(broker: Broker, wait = 30): Promise<Created> {
  const answer = await broker.api<Created>('POST', `/api/v1/sessions?wait=${wait}`, { gpu_count: 1 });
  if (answer.status !== 201) throw new Error(`no session: ${answer.status} ${answer.text}`);
  return answer.body;
}

async function sessionOf(broker: Broker, id: string): Promise<WireSession> {
  return (await broker.api<WireSession>('GET', `/api/v1/sessions/${id}`)).body;
}

/** As a person would: the address and the key of the API, and a command. */
async function logIn({ session, ssh_private_key: privateKey = '' }: Created, command = 'echo hello') {
  const { ssh_host: host = '', ssh_port: port = 0, ssh_user: user = '', ssh_host_key: hostKey = '' } = session;
  return stockSsh({ host, port, user, hostKey, privateKey }, command);
}

describe('a session whose machine only its provider can dial', () => {
  it('runs under a port of the broker, and the stock ssh client gets in there', async () => {
    const range = await aRange();
    const broker = await start({ TUNNEL_PORTS: range.text });

    const created = await rent(broker);

    expect(created.session).toMatchObject({ status: 'running', ssh_host: '127.0.0.1', ssh_user: 'root' });
    expect(created.session.ssh_port).toBeGreaterThanOrEqual(range.first);
    expect(created.session.ssh_port).toBeLessThanOrEqual(range.last);
    expect(await logIn(created)).toMatchObject({ code: 0, stdout: 'hello' });
    const config = await broker.api<SshConfigBody>('GET', `/api/v1/sessions/${created.session.id}/ssh-config`);
    expect(config.body).toMatchObject({ port: created.session.ssh_port, known_hosts: expect.stringContaining('ssh-ed25519') });
    const metrics = (await broker.api('GET', '/metrics')).text;
    expect(metrics).toMatch(/gpu_tunnel_bytes_total\{provider="simulated",direction="to_consumer"\} \d{3,}/);
    expect(metrics).toMatch(/gpu_tunnel_ended_total\{provider="simulated",reason="(finished|broken)"\} 1/);
  });

  it('keeps its port and its login over a restart of the broker', async () => {
    const range = await aRange();
    const before = await start({ TUNNEL_PORTS: range.text });
    const [one, two] = [await rent(before), await rent(before)];
    await stop(before);
    await expect(logIn(one)).resolves.toMatchObject({ code: 255 });

    const after = await start({ TUNNEL_PORTS: range.text });

    for (const created of [one, two]) {
      expect(await sessionOf(after, created.session.id)).toMatchObject({
        status: 'running',
        ssh_port: created.session.ssh_port,
      });
      expect(await logIn(created)).toMatchObject({ code: 0, stdout: 'hello' });
    }
  });

  it('REL-I8: has its connections cut and its port closed within five seconds of its end', async () => {
    const broker = await start({ TUNNEL_PORTS: (await aRange()).text });
    const created = await rent(broker);
    const { ssh_port: port = 0 } = created.session;
    const client = net.connect({ host: '127.0.0.1', port });
    client.write('SSH-2.0-test\r\n');
    await once(client, 'data');
    const cut = once(client.on('error', () => {}).resume(), 'close');
    const startedMs = performance.now();

    await broker.api('DELETE', `/api/v1/sessions/${created.session.id}`);
    await cut;

    expect(performance.now() - startedMs).toBeLessThan(5_000);
    await expect(once(net.connect({ host: '127.0.0.1', port }), 'connect')).rejects.toThrow('ECONNREFUSED');
  });

  it('waits when no port is free, says so, and runs when one is', async () => {
    const range = await aRange(1);
    const occupant = net.createServer().listen(range.first, '127.0.0.1');
    await once(occupant, 'listening');
    const broker = await start({ TUNNEL_PORTS: range.text });
    const created = await rent(broker, 4);
    const { id } = created.session;
    const waiting = await sessionOf(broker, id);

    const message = `no port of TUNNEL_PORTS (${range.first}) is free for this session`;
    expect(waiting).toMatchObject({
      status: 'provisioning',
      error: message,
      conditions: expect.arrayContaining([{ type: 'tunnel_awaited', message: `attempt 1: ${message}` }]),
    });
    expect(waiting.ssh_port).toBeUndefined();
    occupant.close();
    const running = await broker.api<WireSession>('GET', `/api/v1/sessions/${id}?wait=60&status=running`);

    expect(running.body).toMatchObject({ status: 'running', ssh_port: range.first });
    expect(running.body.error).toBeUndefined();
    expect(await logIn({ ...created, session: running.body })).toMatchObject({ code: 0 });
  });

  it('gets another port than one that another program holds, and moves when its own was taken meanwhile', async () => {
    const range = await aRange(2);
    const occupant = net.createServer().listen(range.first, '127.0.0.1');
    await once(occupant, 'listening');
    const before = await start({ TUNNEL_PORTS: range.text });
    const created = await rent(before);
    expect(created.session.ssh_port).toBe(range.last);
    await stop(before);
    occupant.close();
    const thief = net.createServer().listen(range.last, '127.0.0.1');
    await once(thief, 'listening');

    const after = await start({ TUNNEL_PORTS: range.text });
    await expect
      .poll(async () => (await sessionOf(after, created.session.id)).ssh_port, { timeout: 40_000, interval: 200 })
      .toBe(range.first);
    thief.close();

    const session = await sessionOf(after, created.session.id);
    expect(await logIn({ ...created, session })).toMatchObject({ code: 0, stdout: 'hello' });
    const { text } = await after.api('GET', `/api/v1/sessions/${session.id}/events`, undefined, { accept: 'application/json' });
    expect(text).toContain('session.address_changed');
  });

  it('is drained like any other', async () => {
    const broker = await start({ TUNNEL_PORTS: (await aRange()).text });
    const created = await rent(broker);

    await stop(broker, { drain: true });

    await expect(logIn(created)).resolves.toMatchObject({ code: 255 });
  });
});

describe('a broker with a provider that dials', () => {
  it('does not start where it cannot listen on TUNNEL_HOST, and says so', async () => {
    await expect(start({ TUNNEL_HOST: '203.0.113.99' })).rejects.toThrow(
      /TUNNEL_HOST="203\.0\.113\.99".*cannot listen there.*Example: TUNNEL_HOST=127\.0\.0\.1/,
    );
  });
});
