import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootCommands, faultOfBoot, type BootOrder } from './boot-commands.ts';
import { driverCommand } from './driver-command.ts';

const OWN = `ssh-ed25519 ${'B'.repeat(68)}`;
const PROBE = `ssh-ed25519 ${'A'.repeat(68)} berth-test-probe-1`;
const HOMES = ['root', 'home/user'] as const;

describe('the commands of the first boot', () => {
  let disk: string;
  beforeEach(() => {
    disk = mkdtempSync(join(tmpdir(), 'berth-boot-'));
    for (const folder of [...HOMES, 'etc/profile.d', 'bin']) mkdirSync(join(disk, folder), { recursive: true });
    tool('chown', 'echo "$@" >> $LOG');
  });
  afterEach(() => rmSync(disk, { recursive: true }));

  const path = (name: string) => join(disk, name);
  const textOf = (name: string) => readFileSync(path(name), 'utf8');
  const keysOf = (home: string) => textOf(`${home}/.ssh/authorized_keys`).split('\n').filter(Boolean);

  /** A program that stands before the system's own; `$LOG` is a file. */
  function tool(name: string, script: string) {
    writeFileSync(path(`bin/${name}`), `#!/bin/sh\nLOG=${path('log')}\n${script}\n`);
    chmodSync(path(`bin/${name}`), 0o755);
  }

  /** As their boot would, all in one script, with the folders of the machine somewhere else. */
  function boot(commands: readonly string[], shell = 'sh') {
    const script = commands
      .join('\n')
      .replace(/(^|[ ])\/(root|home\/user|etc)\b/gm, (_, before: string, folder: string) => `${before}${path(folder)}`);
    return execFileSync(shell, ['-c', script], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: `${path('bin')}:${process.env['PATH'] ?? ''}` },
    });
  }

  const order = (change: Partial<BootOrder> = {}): BootOrder => ({
    keys: [OWN, PROBE],
    environment: {},
    driverPackage: undefined,
    ...change,
  });

  it.each(['sh', 'bash'])('TD-7.2.T5: write both keys into both homes, readable by nobody else (%s)', (shell) => {
    boot(bootCommands(order()), shell);

    expect(keysOf('home/user')).toEqual([OWN, PROBE]);
    expect(keysOf('root')).toEqual([OWN, expect.stringMatching(/^expiry-time="20\d{10}" /)]);
    expect(keysOf('root')[1]).toContain(PROBE);
    for (const home of HOMES) {
      expect(statSync(path(`${home}/.ssh`)).mode & 0o777).toBe(0o700);
      expect(statSync(path(`${home}/.ssh/authorized_keys`)).mode & 0o777).toBe(0o600);
    }
    expect(textOf('log')).toBe(`-R user:user ${path('home/user/.ssh')}\n`);
  });

  it('lets the verifier into root for an hour or so, since no hand-off takes that line away', () => {
    boot(bootCommands(order()));

    const [, year, month, day, hour, minute] = /"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)"/.exec(keysOf('root')[1] ?? '') ?? [];
    const endsAt = new Date(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute)).getTime();
    const madeAt = statSync(path('root/.ssh/authorized_keys')).mtimeMs;
    expect(endsAt - madeAt).toBeGreaterThan(58 * 60_000);
    expect(endsAt - madeAt).toBeLessThan(62 * 60_000);
  });

  it('keep what stands there, also without a newline at its end', () => {
    mkdirSync(path('home/user/.ssh'));
    writeFileSync(path('home/user/.ssh/authorized_keys'), 'ssh-rsa AAAA theirs');

    boot(bootCommands(order()));

    expect(keysOf('home/user')).toEqual(['ssh-rsa AAAA theirs', OWN, PROBE]);
  });

  it('REL-K9: are lines of plain YAML, in which nothing of a consumer is read by a shell', () => {
    const commands = bootCommands(
      order({
        environment: { A: "$(reboot)'\n: # x" },
        onStart: 'echo "$(hostname)" # : {}',
        driverPackage: 'nvidia-driver-550',
      }),
    );

    for (const line of commands) {
      expect(line).not.toMatch(/\n|: | #|^[^a-z(]/);
      expect(line).not.toMatch(/reboot|hostname/);
    }
  });

  it('set the variables for logins to the letter, and for commands as far as they are plain', () => {
    const environment = { BERTH_TAG: 'berth-1', ODD: `it's "$HOME"\n\`x\`` };

    boot(bootCommands(order({ environment })));

    const login = execFileSync('sh', ['-c', `. ${path('etc/profile.d/berth.sh')}; printf %s "$BERTH_TAG|$ODD"`], {
      encoding: 'utf8',
    });
    expect(login).toBe(`${environment.BERTH_TAG}|${environment.ODD}`);
    expect(textOf('etc/environment').split('\n').filter(Boolean)).toEqual(['BERTH_TAG="berth-1"']);
  });

  it.each([
    ['a short one', 'echo "$GREETING $((1+1)) `echo \'x\'`"', 'hi 2 x\n'],
    ['one of another shell', '#!/bin/bash\n[[ -n x ]] && echo "${BASH_VERSION:+bash}"', 'bash\n'],
    ['a long one, packed', `${'# the same comment, many times over\n'.repeat(300)}echo done; exit 3`, 'done\n'],
    ['one that reads', 'cat; echo read', 'read\n'],
  ])("run the consumer's script last, with its variables: %s", (_, onStart, output) => {
    const commands = bootCommands(order({ environment: { GREETING: 'hi' }, onStart }));

    expect(boot([...commands, 'true'])).toBe(output);
    expect(commands.join('').length).toBeLessThan(3_000);
  });

  it('run it also where there are no variables, at home', () => {
    expect(boot(bootCommands(order({ onStart: 'echo $HOME' })))).toBe('/root\n');
  });

  it.each([
    ['no key', { keys: [], environment: {} }],
    ['a key with a newline', { keys: [`${OWN}\nx`], environment: {} }],
    ['a key with a quote', { keys: [`${OWN} '; reboot; '`], environment: {} }],
    ['a key with options', { keys: [`command="x" ${OWN}`], environment: {} }],
    ['a variable with a dash', { keys: [OWN], environment: { 'a-b': '1' } }],
  ])('are not made of %s', (_, order) => {
    expect(faultOfBoot(order)).toBeTypeOf('string');
  });

  it('are made of every kind of key that consumers bring', () => {
    const keys = ['ssh-ed25519', 'ssh-rsa', 'ecdsa-sha2-nistp384', 'sk-ssh-ed25519@openssh.com'].map(
      (type) => `${type} ${'A'.repeat(68)}==`,
    );

    expect(faultOfBoot({ keys, environment: {} })).toBeUndefined();
  });

  describe('TD-7.2.T6: the GPU driver', () => {
    const called = () => {
      try {
        return textOf('log').split('\n').filter(Boolean);
      } catch {
        return [];
      }
    };
    /** `works` is a shell condition that holds once the driver does. */
    function machine(works: string) {
      tool('nvidia-smi', works);
      for (const name of ['apt-get', 'dpkg', 'dkms', 'modprobe', 'systemctl', 'uname']) tool(name, `echo ${name} "$@" >> $LOG`);
      tool('fuser', 'false');
      tool('sleep', 'echo sleep >> $LOG');
    }
    const look = () => boot([driverCommand('nvidia-driver-550')]);

    it('is left alone where it works', () => {
      machine('true');

      look();

      expect(called()).toEqual([]);
    });

    it('is finished where its packages are half installed, and not installed anew', () => {
      machine('grep -q "modprobe nvidia" $LOG');

      look();

      expect(called()).toContain('dpkg --configure -a --force-confold');
      expect(called()).toContain('dkms autoinstall');
      expect(called().join()).not.toContain('nvidia-driver-550');
    });

    it('is installed where there is none, without a reboot, once the lock of the packages is free', () => {
      machine('false');
      tool('fuser', 'echo fuser >> $LOG; test $(grep -c fuser $LOG) -lt 3');

      boot([`${driverCommand('nvidia-driver-550')}`, 'true']);

      const log = called();
      expect(log.filter((line) => line === 'sleep')).toHaveLength(2);
      expect(log.findIndex((line) => line.startsWith('dpkg'))).toBeGreaterThan(log.lastIndexOf('fuser'));
      expect(log.at(-2)).toMatch(/^apt-get -y -o DPkg::Lock::Timeout=600 install linux-headers-\S* nvidia-driver-550$/);
      expect(log.at(-1)).toBe('modprobe nvidia');
      expect(log.join()).not.toContain('reboot');
    });

    it('gives up waiting for a lock that is never free', () => {
      machine('false');
      tool('fuser', 'true');

      boot([driverCommand('nvidia-driver-550'), 'true']);

      expect(called().filter((line) => line === 'sleep')).toHaveLength(120);
    });
  });
});
