import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { restrictedLine } from '../../src/provider/key-hand-off.ts';
import type { ProofRequest } from '../../src/ssh/proof.ts';
import { parseSshPublicKey } from '../../src/ssh/public-key.ts';
import { createSampler } from '../../src/ssh/sampler.ts';
import { createSshVerifier } from '../../src/ssh/verifier.ts';
import { recordingLog } from '../support/log.ts';
import { describePart } from '../support/parts.ts';

// A sshd of our own on loopback whose login user is whoever runs the tests, with a home made for the test: SetEnv moves HOME there, and
// with it everything that the hand-off writes.

const SSHD = '/usr/sbin/sshd';
const run = promisify(execFile);
const verifier = createSshVerifier({ clock: systemClock, log: recordingLog() });
const sampler = createSampler({ clock: systemClock });
const { signal } = new AbortController();
const TAG = 'berth-test-00000000000000000000000000-1';

interface Sshd {
  readonly port: number;
  readonly child: ChildProcess;
}

let folder: string;
let sshd: Sshd | undefined;
const hostKey = generateSshKeyPair();
const consumer = generateSshKeyPair('consumer');
const probe = generateSshKeyPair(TAG);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-openssh-'));
  mkdirSync(join(folder, 'home', '.ssh'), { recursive: true, mode: 0o700 });
  mkdirSync(join(folder, 'bin'));
});

afterEach(async () => {
  if (sshd?.child.exitCode === null) {
    sshd.child.kill();
    await once(sshd.child, 'exit');
  }
  sshd = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const keysFile = () => join(folder, 'home', '.ssh', 'authorized_keys');
const keyLines = () => readFileSync(keysFile(), 'utf8').trimEnd().split('\n');

function write(name: string, content: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

async function startSshd(authorizedKeys: readonly string[]): Promise<Sshd> {
  writeFileSync(keysFile(), authorizedKeys.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true }); // its privilege separation wants the folder
  const port = await freePort();
  const settings = {
    ListenAddress: '127.0.0.1',
    Port: port,
    HostKey: write('host', hostKey.privateKey),
    AuthorizedKeysFile: keysFile(),
    PidFile: 'none',
    StrictModes: 'no',
    UsePAM: 'no',
    SetEnv: `HOME=${join(folder, 'home')} PATH=${join(folder, 'bin')}:/usr/bin:/bin`,
  };
  const args = ['-D', '-e', '-f', '/dev/null', ...optionList(settings)];
  const child = spawn(SSHD, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaints = '';
  child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  sshd = { port, child };
  await expect
    .poll(async () => (child.exitCode === null ? portOutcome(port) : `sshd ended: ${complaints}`), {
      timeout: 10_000,
      interval: 20,
    })
    .toBe('banner');
  return sshd;
}

async function portOutcome(port: number): Promise<string> {
  return (await verifier.probePort({ host: '127.0.0.1', port }, { privateAddresses: true, budgetMs: 1_000, signal })).kind;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // holds because the server listens on TCP
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function optionList(settings: Record<string, string | number>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The stock client's arguments, with the host key checked. */
function clientArgs({ port }: Sshd, privateKey: string): string[] {
  const settings = {
    IdentityFile: write(`key-${Buffer.from(privateKey).subarray(-80, -50).toString('hex')}`, privateKey),
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    BatchMode: 'yes',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: write('known_hosts', `[127.0.0.1]:${port} ${hostKey.publicKey}\n`),
    GlobalKnownHostsFile: '/dev/null',
    ConnectTimeout: 10,
  };
  return ['-F', '/dev/null', ...optionList(settings), '-p', String(port), `${userInfo().username}@127.0.0.1`];
}

/** Also for a command that fails. */
async function ssh(at: Sshd, privateKey: string, before: readonly string[], ...command: string[]) {
  return run('ssh', [...before, ...clientArgs(at, privateKey), ...command], { timeout: 20_000 }).then(
    ({ stdout, stderr }) => ({ stdout, stderr, isOk: true }),
    ({ stdout, stderr }: { stdout: string; stderr: string }) => ({ stdout, stderr, isOk: false }),
  );
}

function aRequest({ port }: Sshd, changes: Partial<ProofRequest> = {}): ProofRequest {
  return {
    access: { user: userInfo().username, routes: [{ host: '127.0.0.1', port }], hostKey: hostKey.publicKey },
    privateAddresses: true,
    probe,
    consumerPublicKey: consumer.publicKey.split(' ').slice(0, 2).join(' '),
    probeAfter: { kind: 'remove' },
    budgetMs: 15_000,
    ...changes,
  };
}

const aSample = (at: Sshd) => {
  const { access, privateAddresses } = aRequest(at);
  return sampler.sample({ access, privateAddresses, probe, pinnedHostKey: hostKey.publicKey, budgetMs: 10_000 }, { signal });
};

describePart('sshd', 'verification against OpenSSH', () => {
  it('proves a machine, removes the probe key, and leaves the consumer a login with the stock client', async () => {
    const at = await startSshd(['# kept', probe.publicKey]);
    write('bin/nvidia-smi', '#!/bin/sh\necho "NVIDIA H100 80GB HBM3, 81559, 550.54.15"\n', 0o755);

    const outcome = await verifier.prove(
      aRequest(at, { gpu: { count: 1, type: 'H100 SXM', vramMib: 81_920 }, terminal: true }),
      { signal },
    );

    expect(outcome).toMatchObject({
      kind: 'proven',
      hostKey: hostKey.publicKey,
      strictKex: true,
      gpus: [{ name: 'NVIDIA H100 80GB HBM3' }],
      warnings: [],
      handOff: { consumer: 'added', probe: 'removed', probeWasListed: true },
    });
    expect(keyLines()).toEqual(['# kept', aRequest(at).consumerPublicKey]);
    expect((await ssh(at, consumer.privateKey, [], 'echo in')).stdout).toBe('in\n');
    expect(await ssh(at, probe.privateKey, [], 'echo in')).toMatchObject({ isOk: false, stdout: '' });
  });

  it('leaves a restricted probe key that prints a sample and can do nothing else', async () => {
    const at = await startSshd([consumer.publicKey, probe.publicKey]);

    const outcome = await verifier.prove(aRequest(at, { probeAfter: { kind: 'restrict', tag: TAG } }), { signal });

    expect(outcome).toMatchObject({ kind: 'proven', handOff: { consumer: 'present', probe: 'restricted' } });
    expect(keyLines()).toEqual([
      consumer.publicKey,
      restrictedLine(aRequest(at).probe.publicKey.split(' ').slice(0, 2).join(' '), TAG),
    ]);
    const onlySample = /^berth-sample v1 gpu=- cpu=\d+ ssh=0\r?\n$/;
    expect((await ssh(at, probe.privateKey, [], 'cat /etc/passwd')).stdout).toMatch(onlySample);
    expect((await ssh(at, probe.privateKey, [])).stdout).toMatch(onlySample);
    const terminal = await ssh(at, probe.privateKey, ['-tt'], 'sh');
    expect(terminal.stderr).toMatch(/PTY allocation request failed/);
    const forwarded = await ssh(at, probe.privateKey, ['-W', `127.0.0.1:${at.port}`]);
    expect(forwarded).toMatchObject({ isOk: false, stdout: '' });
    expect((await ssh(at, consumer.privateKey, [], 'echo in')).stdout).toBe('in\n');
  });

  it('samples GPU, processor and the connections of others', async () => {
    const at = await startSshd([consumer.publicKey, probe.publicKey]);
    write('bin/nvidia-smi', '#!/bin/sh\necho 40\necho 60\n', 0o755);
    await verifier.prove(aRequest(at, { probeAfter: { kind: 'restrict', tag: TAG } }), { signal });
    expect(await aSample(at)).toMatchObject({
      kind: 'sample',
      sample: { gpuPercent: 50, cpuPercent: expect.any(Number), sshConnections: 0 },
    });

    const guest = spawn('ssh', [...clientArgs(at, consumer.privateKey), 'echo in; cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
    await once(guest.stdout, 'data');
    expect(await aSample(at)).toMatchObject({ kind: 'sample', sample: { sshConnections: 1 } });

    guest.stdin.end();
    await once(guest, 'exit');
    await expect.poll(async () => aSample(at), { timeout: 15_000 }).toMatchObject({ sample: { sshConnections: 0 } });
  });

  it('gets no sample once the consumer removed our line', async () => {
    const at = await startSshd([consumer.publicKey, probe.publicKey]);
    await verifier.prove(aRequest(at, { probeAfter: { kind: 'restrict', tag: TAG } }), { signal });

    await ssh(at, consumer.privateKey, [], 'sed -i /berth-sample/d $HOME/.ssh/authorized_keys');

    expect(await aSample(at)).toMatchObject({ kind: 'failed', reason: 'auth_failed' });
  });

  it.each([{ kind: 'remove' as const }, { kind: 'restrict' as const, tag: TAG }])(
    'recognises its own hand-off ($kind) after the broker died with the answer',
    async (probeAfter) => {
      const at = await startSshd([consumer.publicKey, probe.publicKey]);
      await verifier.prove(aRequest(at, { probeAfter }), { signal });

      const again = aRequest(at, { probeAfter, pinnedHostKey: hostKey.publicKey, handOffBegun: true });

      expect(await verifier.prove(again, { signal })).toMatchObject({ kind: 'proven', handOff: 'earlier' });
    },
  );

  it('REL-H1: REL-H2: refuses a sshd with another host key before it asks for a login', async () => {
    const at = await startSshd([consumer.publicKey, probe.publicKey]);

    const outcome = await verifier.prove(aRequest(at, { pinnedHostKey: generateSshKeyPair().publicKey }), { signal });

    expect(outcome).toMatchObject({ kind: 'wrong_host' });
    expect(keyLines()).toEqual([consumer.publicKey, probe.publicKey]);
  });

  it('waits while the GPU’s driver is not there', async () => {
    const at = await startSshd([probe.publicKey]);

    const outcome = await verifier.prove(aRequest(at, { gpu: { count: 1, type: 'RTX 4090', vramMib: 24_564 } }), { signal });

    expect(outcome).toMatchObject({ kind: 'not_yet', reason: 'gpu_not_ready' });
  });

  it.each(['ed25519', 'rsa', 'ecdsa'])('hands over to a consumer’s own %s key', async (type) => {
    const at = await startSshd([probe.publicKey]);
    const file = join(folder, 'own');
    await run('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', 'my "own" $(key)', '-f', file]);
    const parsed = parseSshPublicKey(readFileSync(`${file}.pub`, 'utf8'));
    if (!parsed.ok) throw new Error(parsed.message);

    const outcome = await verifier.prove(aRequest(at, { consumerPublicKey: parsed.key }), { signal });

    expect(outcome).toMatchObject({ kind: 'proven', handOff: { consumer: 'added' } });
    expect((await ssh(at, readFileSync(file, 'utf8'), [], 'echo in')).stdout).toBe('in\n');
  });

  it('calls the port of a stopped sshd connection_refused', async () => {
    const at = await startSshd([probe.publicKey]);
    at.child.kill();
    await once(at.child, 'exit');

    expect(await verifier.prove(aRequest(at), { signal })).toMatchObject({ kind: 'not_yet', reason: 'connection_refused' });
  });
});
