import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../core/openssh-key-pair.ts';
import {
  formatHandOffAnswer,
  formatSample,
  handOffCommand,
  parseHandOffAnswer,
  parseHandOffCommand,
  parseSample,
  restrictedLine,
  SAMPLE_COMMAND,
  type HandOff,
} from './key-hand-off.ts';

const consumerKey = generateSshKeyPair().publicKey;
const probeKey = generateSshKeyPair().publicKey;
const strangerLine = `${generateSshKeyPair().publicKey} somebody@else`;
const TAG = 'berth-test-00000000000000000000000000-1';
const remove: HandOff = { consumerKey, probeKey, probeAfter: { kind: 'remove' } };
const restrict: HandOff = { consumerKey, probeKey, probeAfter: { kind: 'restrict', tag: TAG } };
const isInstalled = (shell: string) => spawnSync(shell, ['-c', 'true']).error === undefined;
const shells = ['dash', 'bash', 'busybox', 'fish'].filter(isInstalled);

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'berth-hand-off-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const file = () => join(home, '.ssh', 'authorized_keys');
const lines = () => readFileSync(file(), 'utf8').split('\n').slice(0, -1);

function givenLines(...content: string[]): void {
  mkdirSync(join(home, '.ssh'), { mode: 0o700 });
  writeFileSync(file(), content.map((line) => `${line}\n`).join(''));
}

/** As sshd does it: the login shell gets the text behind -c. */
function run(shell: string, command: string, environment: Record<string, string> = {}) {
  const args = shell.endsWith('busybox') ? ['sh', '-c', command] : ['-c', command];
  return spawnSync(shell, args, { env: { PATH: process.env['PATH'] ?? '', HOME: home, ...environment }, encoding: 'utf8' });
}

describe.each(shells)('the hand-off in %s', (shell) => {
  it('removes the probe key, keeps the consumer’s line and everybody else’s', () => {
    givenLines('# a comment', strangerLine, `${consumerKey} me@home`, `${probeKey} ${TAG}`, `command="x y" ${probeKey}`);

    const { stdout } = run(shell, handOffCommand(remove));

    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'present', probe: 'removed', probeWasListed: true });
    expect(lines()).toEqual(['# a comment', strangerLine, `${consumerKey} me@home`]);
  });

  it('restricts the probe key, and adds the consumer’s line where it is missing or bound by options', () => {
    givenLines(`from="10.0.0.1" ${consumerKey}`, `${probeKey} ${TAG}`);

    const { stdout } = run(shell, handOffCommand(restrict));

    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'added', probe: 'restricted', probeWasListed: true });
    expect(lines()).toEqual([`from="10.0.0.1" ${consumerKey}`, consumerKey, restrictedLine(probeKey, TAG)]);
  });

  it('gives the same file when it runs again', () => {
    givenLines(probeKey);
    run(shell, handOffCommand(restrict));
    const once = readFileSync(file(), 'utf8');

    const { stdout } = run(shell, handOffCommand(restrict));

    expect(parseHandOffAnswer(stdout)).toMatchObject({ consumer: 'present', probe: 'restricted' });
    expect(readFileSync(file(), 'utf8')).toBe(once);
  });

  it('makes folder and file where there are none, closed to others, and leaves nothing behind', () => {
    const { stdout } = run(shell, handOffCommand(remove));

    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'added', probe: 'removed', probeWasListed: false });
    expect(lines()).toEqual([consumerKey]);
    expect(statSync(join(home, '.ssh')).mode & 0o777).toBe(0o700);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(home, '.ssh'))).toEqual(['authorized_keys']);
  });

  it('keeps a last line without a newline, backslashes and leading blanks as they are', () => {
    givenLines();
    writeFileSync(file(), `  # C:\\new *\n${strangerLine}`);

    run(shell, handOffCommand(remove));

    expect(lines()).toEqual(['  # C:\\new *', strangerLine, consumerKey]);
  });

  it('writes through a link to where the image keeps the file', () => {
    givenLines();
    rmSync(file());
    writeFileSync(join(home, 'elsewhere'), `${probeKey}\n`);
    symlinkSync(join(home, 'elsewhere'), file());

    run(shell, handOffCommand(remove));

    expect(readFileSync(join(home, 'elsewhere'), 'utf8')).toBe(`${consumerKey}\n`);
  });

  it('says what failed, without an acknowledgment', () => {
    writeFileSync(join(home, '.ssh'), 'a file where the folder should be');

    const { stdout, status } = run(shell, handOffCommand(remove));

    expect(stdout).toBe('berth-hand-off-failed cannot make ~/.ssh\n');
    expect(parseHandOffAnswer(stdout)).toBeUndefined();
    expect(status).toBe(1);
  });
});

describe.each(shells)('the sample in %s', (shell) => {
  const tool = (name: string, script: string) => {
    mkdirSync(join(home, 'bin'), { recursive: true });
    writeFileSync(join(home, 'bin', name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(home, 'bin', name), 0o755);
  };
  beforeEach(() => tool('sleep', 'exit 0'));
  const withTools = () => ({ PATH: `${join(home, 'bin')}:${process.env['PATH'] ?? ''}` });

  it('is one line, whatever is missing on the machine', () => {
    const path = (program: string) => execFileSync('which', [program], { encoding: 'utf8' }).trim();
    const command = SAMPLE_COMMAND.replace('exec sh', `exec ${path('sh')}`);

    const { stdout, stderr, status } = run(path(shell), command, { PATH: '/nonexistent' });

    expect(stdout).toMatch(/^berth-sample v1 gpu=- cpu=(-|\d+) ssh=-\n$/);
    expect([stderr, status]).toEqual(['', 0]);
  });

  it('means the GPUs', () => {
    tool('nvidia-smi', 'echo 100; echo 51');

    expect(parseSample(run(shell, SAMPLE_COMMAND, withTools()).stdout)).toMatchObject({ gpuPercent: 75 });
  });

  it.each(['echo 100; echo "[N/A]"', 'echo "NVIDIA-SMI has failed, error 9"; exit 9', 'echo "error 9"', 'true'])(
    'does not guess a GPU’s use from `%s`',
    (script) => {
      tool('nvidia-smi', script);

      const sample = parseSample(run(shell, SAMPLE_COMMAND, withTools()).stdout);

      expect(sample).toBeDefined();
      expect(sample?.gpuPercent).toBeUndefined();
    },
  );

  it.runIf(existsSync('/proc/net/tcp'))('counts no connection where there is none but ours', () => {
    const sample = parseSample(run(shell, SAMPLE_COMMAND, { SSH_CONNECTION: '127.0.0.1 1 127.0.0.1 1' }).stdout);

    expect(sample).toMatchObject({ sshConnections: 0, cpuPercent: expect.any(Number) });
  });
});

describe('handOffCommand', () => {
  it.each([remove, restrict])('is read back to the letter', (handOff) => {
    expect(parseHandOffCommand(handOffCommand(handOff))).toEqual(handOff);
  });

  it('REL-H9: refuses whatever is not type and base64', () => {
    for (const key of [
      '',
      "ssh-ed25519 x'; id; '",
      `${consumerKey}\nmore`,
      `${consumerKey} comment`,
      `command="x" ${consumerKey}`,
      probeKey,
    ]) {
      expect(() => handOffCommand({ ...remove, consumerKey: key }), key).toThrow(RangeError);
    }
    expect(() => handOffCommand({ ...remove, probeKey: `${probeKey} comment` })).toThrow(RangeError);
    expect(() => handOffCommand({ ...restrict, probeAfter: { kind: 'restrict', tag: 'a b' } })).toThrow(RangeError);
  });

  it('REL-H9: no other text is taken for one', () => {
    const command = handOffCommand(restrict);
    fc.assert(
      fc.property(fc.nat(command.length), fc.string({ minLength: 1, maxLength: 3 }), (at, more) => {
        const changed = command.slice(0, at) + more + command.slice(at);
        const read = parseHandOffCommand(changed);
        return read === undefined || handOffCommand(read) === changed;
      }),
      { numRuns: 2_000 },
    );
    expect(parseHandOffCommand('echo hello')).toBeUndefined();
  });

  it('keeps its scripts free of what the quoting cannot carry', () => {
    const sampler = SAMPLE_COMMAND.slice("exec sh -c '".length, -1);
    expect(sampler).not.toMatch(/['\\\n]/);
    expect(handOffCommand(remove).split(' berth-hand-off ')[0]?.slice("exec sh -c '".length, -1)).not.toContain("'");
    expect(restrictedLine(probeKey, TAG).length).toBeLessThan(4_000); // dropbear reads lines of some 4,200 bytes
  });
});

describe('answers', () => {
  it('are found among what a login shell prints besides', () => {
    const answer = { consumer: 'added', probe: 'restricted', probeWasListed: true } as const;
    expect(parseHandOffAnswer(`Welcome!\r\n${formatHandOffAnswer(answer)}\r\nbye`)).toEqual(answer);
    expect(parseHandOffAnswer(`x ${formatHandOffAnswer(answer)}`)).toBeUndefined();
  });

  it.each([{}, { gpuPercent: 0 }, { gpuPercent: 100, cpuPercent: 7, sshConnections: 12 }])(
    'of use are read back: %j',
    (sample) => {
      expect(parseSample(`motd\n${formatSample(sample)}\n`)).toEqual(sample);
    },
  );

  it('of use are not believed outside 0 to 100', () => {
    expect(parseSample('berth-sample v1 gpu=101 cpu=999 ssh=3')).toEqual({ sshConnections: 3 });
    expect(parseSample('berth-sample v1 gpu=-5 cpu=1 ssh=0')).toBeUndefined();
  });
});
