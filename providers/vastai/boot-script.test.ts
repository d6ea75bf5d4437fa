import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootScript, LONGEST_SCRIPT, templateBootScript } from './boot-script.ts';

const OWN = `ssh-ed25519 ${'B'.repeat(68)} me@home $(reboot) 'x'`;
const PROBE = `ssh-ed25519 ${'A'.repeat(68)} probe`;

describe('bootScript', () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'berth-boot-'))));
  afterEach(() => rmSync(root, { recursive: true }));

  /** As a container would at its start, with another home. */
  const boot = (script: string | undefined, shell = 'sh') =>
    execFileSync(shell, ['-c', (script ?? 'exit 9').replaceAll('/root', root)], { encoding: 'utf8' });
  const file = () => join(root, '.ssh/authorized_keys');
  const lines = () => readFileSync(file(), 'utf8').split('\n').filter(Boolean);

  it.each(['sh', 'bash'])('REL-K9: writes the keys to the letter, readable by nobody else (%s)', (shell) => {
    boot(bootScript({ keys: [OWN, PROBE] }), shell);

    expect(lines()).toEqual([OWN, PROBE]);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(statSync(join(root, '.ssh')).mode & 0o777).toBe(0o700);
  });

  it('keeps what stands there, also without a newline at its end, and adds no key twice', () => {
    mkdirSync(join(root, '.ssh'));
    writeFileSync(file(), `${PROBE}\nssh-rsa AAAA theirs`);

    boot(bootScript({ keys: [OWN, PROBE] }));

    expect(lines()).toEqual([PROBE, 'ssh-rsa AAAA theirs', OWN]);
  });

  it('does not bring the probe key back at a second start', () => {
    const script = bootScript({ keys: [OWN, PROBE] });
    boot(script);
    writeFileSync(file(), `${OWN}\n`);

    boot(script);

    expect(lines()).toEqual([OWN]);
  });

  it.each([
    ['a short one', 'echo "it\'s $((1+1)) `echo @KEYS@ @UNZIP@`"', "it's 2 @KEYS@ @UNZIP@\n"],
    ['one of another shell', '#!/bin/bash\n[[ -n x ]] && echo "${BASH_VERSION:+bash}"', 'bash\n'],
    ['a long one, packed', `${'# the same comment, many times over\n'.repeat(300)}echo done`, 'done\n'],
  ])("runs the consumer's script at each start: %s", (_, onStart, output) => {
    const script = bootScript({ keys: [OWN], onStart });

    expect(script?.length).toBeLessThanOrEqual(LONGEST_SCRIPT);
    expect(boot(script)).toBe(output);
    expect(boot(script)).toBe(output);
  });

  it('leaves the keys to their API when there is no room for both, and gives up when the script alone has none', () => {
    const noise = (length: number) => Array.from({ length }, (_, n) => ((n * 7919) ** 3 % 1e12).toString(36)).join('\n');
    const big = bootScript({ keys: [`ssh-rsa ${'C'.repeat(2_500)}`], onStart: `: '${noise(150)}'; echo ok` });

    expect(big).not.toContain('authorized_keys');
    expect(boot(big)).toBe('ok\n');
    expect(bootScript({ keys: [], onStart: noise(2_000) })).toBeUndefined();
    expect(bootScript({ keys: [] })).toBe('');
  });

  it.each([
    ['in the shell that the market has', 'bash', '[[ -n x ]] && echo "${BASH_VERSION:+in bash}" $PPID', /^in bash \d+\n$/],
    ['in the shell that it names', 'sh', '#!/bin/bash\n[[ -n x ]] && echo "${BASH_VERSION:+in bash}"', /^in bash\n$/],
  ])("runs a template's script behind the keys, %s", (_, shell, script, output) => {
    const whole = templateBootScript({ keys: [OWN], script });

    expect(boot(whole, shell)).toMatch(output);
    expect(lines()).toEqual([OWN]);
  });

  it("leaves a template's script to the market when it does not fit behind the keys", () => {
    expect(templateBootScript({ keys: [OWN], script: `: ${'x'.repeat(LONGEST_SCRIPT)}` })).toBeUndefined();
    expect(templateBootScript({ keys: [], script: 'echo' })).toBeUndefined();
  });
});
