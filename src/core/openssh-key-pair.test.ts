import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { describe, expect, it } from 'vitest';
import { generateSshKeyPair } from './openssh-key-pair.ts';

const hasSshKeygen = spawnSync('ssh-keygen', ['-?']).error === undefined;

describe('generateSshKeyPair', () => {
  it('makes a pair that ssh2 signs and verifies with, every time (leading zero bytes included)', () => {
    const message = randomBytes(32);

    for (let made = 0; made < 1000; made += 1) {
      const pair = generateSshKeyPair();
      const secret = ssh2.utils.parseKey(pair.privateKey);
      const known = ssh2.utils.parseKey(pair.publicKey);
      if (secret instanceof Error || known instanceof Error) throw new Error(`unusable pair: ${pair.publicKey}`);
      expect(known.verify(message, secret.sign(message))).toBe(true);
      expect(known.getPublicSSH().equals(pair.blob)).toBe(true);
    }
  });

  it.runIf(hasSshKeygen)(
    'is read by ssh-keygen whatever the comment’s length, which derives the same public key and comment',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'berth-key-pair-'));
      try {
        for (let made = 0; made < 20; made += 1) {
          const pair = generateSshKeyPair('c'.repeat(made));
          const file = join(folder, `key-${made}`);
          writeFileSync(file, pair.privateKey, { mode: 0o600 });

          const derived = execFileSync('ssh-keygen', ['-y', '-P', '', '-f', file], { encoding: 'utf8' }).trim();

          expect(derived).toBe(pair.publicKey);
        }
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );

  it('gives one line without a comment, and no two alike', () => {
    const pair = generateSshKeyPair();

    expect(pair.publicKey).toMatch(/^ssh-ed25519 [A-Za-z0-9+/]{68}$/);
    expect(generateSshKeyPair().publicKey).not.toBe(pair.publicKey);
  });

  it('refuses a comment that would break the line', () => {
    expect(() => generateSshKeyPair('two\nlines')).toThrow(RangeError);
  });
});
