import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { handOffCommand, parseHandOffAnswer, parseSample } from '../../src/provider/key-hand-off.ts';
import { describePart } from '../../test/support/parts.ts';
import { exec, shell } from './fixtures/ssh-client.ts';
import {
  cleanUp,
  consumer,
  probe,
  bare,
  aFolder,
  aMarket,
  tagNumber,
  anOffer,
  untilState,
  aRunningInstance,
  portOf,
  aConnection,
} from './fixtures/a-market.ts';

afterEach(cleanUp);

describe('the SSH server of a simulated instance', () => {
  it('lets in the keys of the session and nobody else, as root only', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    for (const key of [consumer, probe])
      expect(await exec(await aConnection(instance, key), 'whoami')).toMatchObject({ code: 0, stdout: 'root\n' });
    await expect(aConnection(instance, generateSshKeyPair())).rejects.toMatchObject({ level: 'client-authentication' });
    await expect(aConnection(instance, consumer, 'ubuntu')).rejects.toMatchObject({ level: 'client-authentication' });
  });

  it('says in its banner that it is simulated', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    const client = await aConnection(instance);

    expect(client.banner).toContain('simulated by Berth');
  });

  it.each([
    ['echo ok', 'ok\n'],
    ['echo "two  words" and \'one $HOME\' # no more', 'two  words and one $HOME\n'],
    ['echo $GREETING ${BERTH_TAG}', `hello there ${tagNumber(1)}\n`],
    ['hostname', `${tagNumber(1)}\n`],
    ['whoami', 'root\n'],
    ['id -u', '0\n'],
    ['pwd', '/root\n'],
    ['ls', 'README\n'],
    ['uname', 'Linux\n'],
    ['printenv GREETING', 'hello there\n'],
    ['false || echo other; true && echo more', 'other\nmore\n'],
    ['sleep 0.01 && echo awake', 'awake\n'],
    ['cat /etc/hostname 2>/dev/null', `${tagNumber(1)}\n`],
  ])('answers %s', async (command, stdout) => {
    const { provider } = await aMarket();
    const client = await aConnection(await aRunningInstance(provider));

    expect(await exec(client, command)).toEqual({ code: 0, stdout, stderr: '' });
  });

  it('shows cores, memory, environment, keys and a text about itself', async () => {
    const { provider } = await aMarket();
    const offer = await anOffer(provider);
    const client = await aConnection(await aRunningInstance(provider, { offer }));
    const outputOf = async (command: string) => (await exec(client, command)).stdout;

    expect(await outputOf('nproc')).toBe(`${offer.cpuCores}\n`);
    expect(await outputOf('free -m')).toContain(` ${offer.memoryMib} `);
    expect(await outputOf('env')).toContain(`BERTH_TAG=${tagNumber(1)}\n`);
    expect(await outputOf('cat ~/.ssh/authorized_keys')).toBe(`${consumer.publicKey}\n${probe.publicKey}\n`);
    expect(await outputOf('cat README')).toContain('simulated by Berth');
    expect(Math.abs(Number(await outputOf('date +%s')) * 1_000 - systemClock.now())).toBeLessThan(60_000);
  });

  it('refuses the rest politely', async () => {
    const { provider } = await aMarket();
    const client = await aConnection(await aRunningInstance(provider));

    for (const command of [
      'python train.py',
      'echo $(id)',
      'cat README | head',
      "sh -c 'id'",
      'echo x > file',
      'constructor',
    ]) {
      const { code, stdout, stderr } = await exec(client, command);
      expect({ code, stdout }).toEqual({ code: 127, stdout: '' });
      expect(stderr).toMatch(/^simulated machine: .*: not available \(this GPU is simulated by Berth\)\n$/);
    }
    expect(await exec(client, 'exit 7')).toMatchObject({ code: 7 });
    expect(await exec(client, 'false')).toMatchObject({ code: 1 });
  });

  it('forgets a command whose client hangs up', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    const client = await aConnection(instance);
    const burning = exec(client, 'gpu-burn 600').catch(() => undefined);
    const gpuPercent = async () => (await untilState(provider, instance.id, 'running')).utilisation?.gpuPercent;
    await vi.waitFor(async () => expect(await gpuPercent()).toBeGreaterThan(90));

    client.destroy();

    await vi.waitFor(async () => expect(await gpuPercent()).toBeLessThan(5), { timeout: 5_000 });
    await burning;
  });

  it('keeps burning with nobody logged in when told to', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    expect(await exec(await aConnection(instance), 'gpu-burn 600 &')).toMatchObject({ code: 0 });

    const { utilisation } = await untilState(provider, instance.id, 'running');
    expect(utilisation?.gpuPercent).toBeGreaterThan(90);
    expect(Math.abs((utilisation?.sampledAt ?? 0) - systemClock.now())).toBeLessThan(60_000);
  });
});

describe('nvidia-smi on a simulated instance', () => {
  it('shows the GPU that was sold, as often as it was sold', async () => {
    const { provider } = await aMarket();
    const offer = await anOffer(provider, ({ gpuType, gpuCount }) => gpuType === 'H100 SXM' && gpuCount > 1);
    const client = await aConnection(await aRunningInstance(provider, { offer }));
    const smi = (args: string) => exec(client, `nvidia-smi ${args}`);
    const lines = Array.from({ length: offer.gpuCount });

    const plain = await smi('--query-gpu=name,memory.total,driver_version --format=csv,noheader');
    expect(plain.stdout).toBe(lines.map(() => 'NVIDIA H100 80GB HBM3, 81559 MiB, 570.133.20\n').join(''));
    const numbers = await smi('--query-gpu=index,memory.total,count --format=csv,noheader,nounits');
    expect(numbers.stdout).toBe(lines.map((_, index) => `${index}, 81559, ${offer.gpuCount}\n`).join(''));
    const headed = await smi('--query-gpu=name,memory.used,utilization.gpu,temperature.gpu,power.draw --format=csv -i 0');
    expect(headed.stdout).toMatch(
      /^name, memory\.used \[MiB\], utilization\.gpu \[%\], temperature\.gpu, power\.draw \[W\]\nNVIDIA H100 80GB HBM3, 1 MiB, [0-2] %, \d+, \d+\.\d\d W\n$/,
    );
    const list = await smi('-L');
    expect(list.stdout.split('\n').slice(0, 2)).toEqual([
      expect.stringMatching(/^GPU 0: NVIDIA H100 80GB HBM3 \(UUID: GPU-[0-9a-f-]{36}\)$/),
      expect.stringMatching(/^GPU 1: /),
    ]);
    const { stdout: uuids } = await smi('--query-gpu=uuid --format=csv,noheader');
    expect(
      uuids
        .trim()
        .split('\n')
        .every((uuid) => list.stdout.includes(uuid)),
    ).toBe(true);
    const table = await smi('');
    expect(table).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/NVIDIA-SMI 570\.133\.20[^]*NVIDIA H100 80GB HBM3[^]*Simulated by Berth/),
    });
    expect(
      new Set(
        table.stdout
          .trim()
          .split('\n')
          .map((line) => line.length),
      ),
    ).toEqual(new Set([91]));
  });

  it('complains about what it does not know', async () => {
    const { provider } = await aMarket();
    const client = await aConnection(await aRunningInstance(provider));

    expect(await exec(client, 'nvidia-smi --query-gpu=name,colour --format=csv')).toMatchObject({
      code: 2,
      stdout: 'Field "colour" is not a valid field to query.\n',
    });
    expect((await exec(client, 'nvidia-smi --reset')).code).not.toBe(0);
  });

  it('is not there on a host without a GPU', async () => {
    const { provider } = await aMarket();
    const offer = await anOffer(provider, ({ gpuType }) => gpuType === 'CPU');
    const instance = await aRunningInstance(provider, { offer });

    const { code, stderr } = await exec(await aConnection(instance), 'nvidia-smi');

    expect(code).toBe(127);
    expect(stderr).toContain('command not found');
    expect(instance.utilisation).not.toHaveProperty('gpuPercent');
  });
});

describe('the shell of a simulated instance', () => {
  it('prompts, echoes, edits and ends, on a terminal', async () => {
    const { provider } = await aMarket();
    const terminal = await shell(await aConnection(await aRunningInstance(provider)), { hasTerminal: true });
    await terminal.until('# ');

    terminal.type('echo hallp\x7fo\x1b[A\r');
    await terminal.until('hallo\r\nroot@simulated:~# ');
    terminal.type('sleep 600\r');
    await terminal.until('sleep 600\r\n');
    terminal.type('\x03');
    await terminal.until('^C\r\nroot@simulated:~# ');
    terminal.type('echo $?\r');
    await terminal.until('130\r\n');
    terminal.type('false\r\x04');

    expect(await terminal.ended).toBe(1);
    expect(terminal.output()).toContain('logout');
  });

  it('reads lines without a terminal, with neither prompt nor echo', async () => {
    const { provider } = await aMarket();
    const input = await shell(await aConnection(await aRunningInstance(provider)), { hasTerminal: false });

    input.finish('echo one\nexit 3\necho never\n');

    expect(await input.ended).toBe(3);
    expect(input.output()).toBe('one\n');
  });
});

describe('the hand-off on a simulated instance', () => {
  const restrict = handOffCommand({
    consumerKey: bare(consumer),
    probeKey: bare(probe),
    probeAfter: { kind: 'restrict', tag: tagNumber(1) },
  });

  it('leaves the probe key a sample and nothing else', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    const { stdout } = await exec(await aConnection(instance, probe), restrict);
    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'present', probe: 'restricted', probeWasListed: true });

    const restricted = await aConnection(instance, probe);
    await aConnection(instance, consumer);
    for (const command of ['whoami', 'cat README', restrict]) {
      const sample = await exec(restricted, command);
      expect(parseSample(sample.stdout)).toEqual({
        gpuPercent: expect.any(Number),
        cpuPercent: expect.any(Number),
        sshConnections: 2,
      });
      expect(sample.stdout.trim().split('\n')).toHaveLength(1);
    }
    await expect(shell(restricted, { hasTerminal: true })).rejects.toThrow();
    expect(await exec(await aConnection(instance, consumer), 'whoami')).toMatchObject({ stdout: 'root\n' });
  });

  it("removes the probe key and adds the consumer's when it was missing", async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider, { sshPublicKeys: [probe.publicKey] });
    await expect(aConnection(instance, consumer)).rejects.toMatchObject({ level: 'client-authentication' });

    const remove = handOffCommand({ consumerKey: bare(consumer), probeKey: bare(probe), probeAfter: { kind: 'remove' } });
    const { stdout } = await exec(await aConnection(instance, probe), remove);

    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'added', probe: 'removed', probeWasListed: true });
    await expect(aConnection(instance, probe)).rejects.toMatchObject({ level: 'client-authentication' });
    expect((await exec(await aConnection(instance, consumer), 'cat .ssh/authorized_keys')).stdout).toBe(`${bare(consumer)}\n`);
  });

  it('samples the load', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    await exec(await aConnection(instance, probe), restrict);
    await exec(await aConnection(instance, consumer), 'gpu-burn 600 &');

    const { stdout } = await exec(await aConnection(instance, probe), 'anything');

    expect(parseSample(stdout)?.gpuPercent).toBeGreaterThan(90);
  });
});

describePart('sshd', 'the stock ssh client', () => {
  it('logs in, runs a command and sees the banner', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    const folder = aFolder();
    const file = (name: string, content: string) => {
      writeFileSync(join(folder, name), content, { mode: 0o600 });
      return join(folder, name);
    };
    const settings = [
      ['Port', String(portOf(instance))],
      ['IdentityFile', file('key', consumer.privateKey)],
      ['IdentitiesOnly', 'yes'],
      ['StrictHostKeyChecking', 'yes'],
      ['UserKnownHostsFile', file('known_hosts', `[127.0.0.1]:${portOf(instance)} ${instance.ssh.hostKey}\n`)],
    ];
    const args = ['-F', '/dev/null', ...settings.flatMap(([name, value]) => ['-o', `${name}=${value}`]), 'root@127.0.0.1'];

    const once_ = await promisify(execFile)('ssh', [...args, 'nvidia-smi', '-L']);
    const typed = promisify(execFile)('ssh', ['-tt', ...args]);
    typed.child.stdin?.write('hostname\rexit\r');

    expect(once_.stdout).toContain('GPU 0: NVIDIA');
    expect(once_.stderr).toContain('This machine is simulated by Berth');
    expect((await typed).stdout).toContain(tagNumber(1));
  });
});
