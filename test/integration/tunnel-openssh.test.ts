import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { generateSshKeyPair, type SshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { sshConfigOf } from '../../src/http/schemas/ssh-config.ts';
import { providerId } from '../../src/provider/ids.ts';
import { createSshVerifier } from '../../src/ssh/verifier.ts';
import { dialTo, freePort, sessionIdOf, withTunnel, type OpenTunnel } from '../../src/tunnel/fixtures/tunnels.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { recordingLog } from '../support/log.ts';
import { describePart } from '../support/parts.ts';

// The stock ssh client through a tunnel to a real sshd, with the block and the known_hosts line that the API hands out, and nothing else.

const SSHD = '/usr/sbin/sshd';
const verifier = createSshVerifier({ clock: systemClock, log: recordingLog() });
const consumer = generateSshKeyPair('consumer');
const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

let folder: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-tunnel-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

const options = (settings: Record<string, string | number>) =>
  Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);

/** A sshd of our own on loopback that lets the consumer in as whoever runs the tests. */
async function startSshd(hostKey: SshKeyPair): Promise<number> {
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true }); // its privilege separation wants the folder
  const port = await freePort();
  const settings = {
    ListenAddress: '127.0.0.1',
    Port: port,
    HostKey: write(`host-${port}`, hostKey.privateKey),
    AuthorizedKeysFile: write('authorized_keys', `${consumer.publicKey}\n`),
    PidFile: 'none',
    StrictModes: 'no',
    UsePAM: 'no',
  };
  const child = spawn(SSHD, ['-D', '-e', '-f', '/dev/null', ...options(settings)], { stdio: 'ignore' });
  children.push(child);
  const probe = () =>
    verifier.probePort(
      { host: '127.0.0.1', port },
      { privateAddresses: true, budgetMs: 1_000, signal: new AbortController().signal },
    );
  await expect.poll(async () => (await probe()).kind, { timeout: 10_000, interval: 20 }).toBe('banner');
  return port;
}

/** What the API hands out for a session behind this port, in files of the test's own; the client's arguments to use them. */
function clientOf({ port, route }: Pick<OpenTunnel, 'port' | 'route'>, hostKey: SshKeyPair): readonly string[] {
  const handedOut = sshConfigOf(
    {
      id: route.sessionId,
      provider: providerId('market'),
      sshHost: '127.0.0.1',
      sshPort: port,
      sshUser: userInfo().username,
      sshHostKey: hostKey.publicKey.split(' ').slice(0, 2).join(' '),
      sshPublicKey: consumer.publicKey.split(' ').slice(0, 2).join(' '),
    },
    { identityFile: write('my key', consumer.privateKey), knownHostsFile: join(folder, 'known hosts') },
  );
  if (!handedOut) throw new Error('nothing was handed out');
  write('known hosts', handedOut.known_hosts);
  const strict = options({ BatchMode: 'yes', IdentityAgent: 'none', GlobalKnownHostsFile: '/dev/null', ConnectTimeout: 10 });
  return ['-F', write(`config-${port}`, handedOut.config), ...strict, handedOut.host];
}

interface Result {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The client with what it reads and what it says; stdin ends after `input`. */
async function ssh(args: readonly string[], command: string, input: string | Uint8Array = ''): Promise<Result> {
  const child = spawn('ssh', [...args, command], { stdio: 'pipe' });
  children.push(child);
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (piece: Buffer) => stdout.push(piece));
  child.stderr.on('data', (piece: Buffer) => stderr.push(piece));
  child.stdin.on('error', () => {}); // a client that ends early does not read to the end
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

async function withMachine(
  use: (machine: { tunnel: OpenTunnel; args: readonly string[]; hostKey: SshKeyPair }) => Promise<void>,
) {
  const hostKey = generateSshKeyPair();
  const sshd = await startSshd(hostKey);
  await withTunnel({ dial: dialTo(sshd) }, (tunnel) => use({ tunnel, args: clientOf(tunnel, hostKey), hostKey }));
}

describePart('sshd', 'the stock ssh client through a tunnel', () => {
  it('logs in with nothing but the block and the line of the API, and the host key checked', async () => {
    await withMachine(async ({ args }) => {
      const { code, stdout, stderr } = await ssh(args, 'echo hello; exit 7');

      expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 7, stdout: 'hello\n', stderr: '' });
    });
  });

  it('works as plain ssh -p too', async () => {
    await withMachine(async ({ tunnel, hostKey }) => {
      const known = write('plain', `[127.0.0.1]:${tunnel.port} ${hostKey.publicKey}\n`);
      const settings = { BatchMode: 'yes', IdentityAgent: 'none', StrictHostKeyChecking: 'yes', UserKnownHostsFile: known };
      const args = ['-F', 'none', ...options(settings), '-i', write('key', consumer.privateKey)];

      const { stdout } = await ssh([...args, '-p', `${tunnel.port}`, `${userInfo().username}@127.0.0.1`], 'echo hello');

      expect(stdout.toString()).toBe('hello\n');
    });
  });

  it('refuses a machine with another host key than the one that was handed out', async () => {
    await withMachine(async ({ tunnel }) => {
      const { code, stderr } = await ssh(clientOf(tunnel, generateSshKeyPair()), 'echo hello');

      expect(code).toBe(255);
      expect(stderr).toContain('REMOTE HOST IDENTIFICATION HAS CHANGED');
    });
  });

  it('takes several logins at once', async () => {
    await withMachine(async ({ args, tunnel }) => {
      const results = await Promise.all(['one', 'two', 'three', 'four'].map((word) => ssh(args, `sleep 0.5; echo ${word}`)));

      expect(results.map(({ stdout }) => stdout.toString())).toEqual(['one\n', 'two\n', 'three\n', 'four\n']);
      await expect.poll(() => tunnel.counts.ended, { timeout: 5_000 }).toHaveLength(4);
    });
  });

  it('REL-I4: lets the machine answer after the end of what it was sent', async () => {
    await withMachine(async ({ args }) => {
      const { stdout } = await ssh(args, 'cat; sleep 0.3; echo end', 'x');

      expect(stdout.toString()).toBe('xend\n');
    });
  });

  it('carries 32 MiB there and back unchanged', async () => {
    await withMachine(async ({ args }) => {
      const sent = randomBytes(32 * 1_048_576);
      const there = await ssh(args, 'sha256sum', sent);
      expect(there.stdout.toString()).toMatch(new RegExp(`^${sha(sent)} `));

      const back = await ssh(args, `cat ${write('big', sent)}`);
      expect(sha(back.stdout)).toBe(sha(sent));
    });
  });

  it('opens a terminal', async () => {
    await withMachine(async ({ args }) => {
      const { stdout } = await ssh(['-tt', ...args], 'tty >/dev/null && echo a terminal');

      expect(stdout.toString()).toContain('a terminal');
    });
  });

  it('REL-I8: is cut within five seconds when the session is over', async () => {
    await withMachine(async ({ args, tunnel }) => {
      const running = ssh(args, 'echo up; sleep 600');
      await expect.poll(() => tunnel.counts.bytes.to_consumer, { timeout: 10_000 }).toBeGreaterThan(2_000);
      const startedMs = performance.now();

      tunnel.server.close(tunnel.route.sessionId);

      expect((await running).code).toBe(255);
      expect(performance.now() - startedMs).toBeLessThan(5_000);
    });
  });

  it('gets in although the machine answers only at the third try', async () => {
    const hostKey = generateSshKeyPair();
    const sshd = await startSshd(hostKey);
    let tries = 0;
    const dial = async () => {
      tries += 1;
      if (tries < 3) throw new Error('ECONNREFUSED');
      return dialTo(sshd)();
    };
    await withTunnel({ dial }, async (tunnel) => {
      const { stdout } = await ssh(clientOf(tunnel, hostKey), 'echo late');

      expect(stdout.toString()).toBe('late\n');
    });
  });

  it('says in verbose mode why nobody answers', async () => {
    const clock = new FakeClock();
    const dial = () => Promise.reject(new Error('no such machine'));
    await withTunnel({ dial, clock }, async (tunnel) => {
      const answer = ssh(['-v', ...clientOf(tunnel, generateSshKeyPair())], 'echo hello');
      await expect
        .poll(() => clock.advance(1_000).then(() => tunnel.counts.ended), { timeout: 20_000 })
        .toEqual(['unreachable']);

      const { code, stderr } = await answer;
      expect(code).toBe(255);
      expect(stderr).toContain('Berth: the machine of this session does not answer');
    });
  });

  it('reaches each session under its own port, and its known_hosts line fits no other', async () => {
    await withMachine(async ({ tunnel }) => {
      const hostKey = generateSshKeyPair();
      const sshd = await startSshd(hostKey);
      const other = { ...tunnel.route, sessionId: sessionIdOf(2), port: await freePort(), dial: dialTo(sshd) };
      await tunnel.server.open(other);
      tunnel.server.admit(other.sessionId);

      const own = await ssh(clientOf({ port: other.port, route: other }, hostKey), 'echo two');
      const crossed = await ssh(clientOf({ port: tunnel.port, route: tunnel.route }, hostKey), 'echo one');

      expect(own.stdout.toString()).toBe('two\n');
      expect(crossed.code).toBe(255);
    });
  });
});

it('has the client that these tests are about', async () => {
  const version = await new Promise<string>((done, fail) =>
    execFile('ssh', ['-V'], (error, _stdout, stderr) => (error ? fail(error) : done(stderr))),
  );
  expect(version).toContain('OpenSSH');
});
