import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../core/openssh-key-pair.ts';
import { fingerprintOf, parseSshPublicKey, publicKeyText } from './public-key.ts';

const hasSshKeygen = spawnSync('ssh-keygen', ['-?']).error === undefined;
const good = generateSshKeyPair();
const [, goodBase64 = ''] = good.publicKey.split(' ');

function sshString(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function aLine(type: string, ...parts: (string | Buffer)[]): string {
  return `${type} ${Buffer.concat([type, ...parts].map(sshString)).toString('base64')}`;
}

/** An RSA public key line of so many bits. */
function anRsaLine(bits: number): string {
  const { n = '', e = '' } = generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ format: 'jwk' });
  const number = (text: string) => Buffer.concat([Buffer.from([0]), Buffer.from(text, 'base64url')]);
  return aLine('ssh-rsa', Buffer.from(e, 'base64url'), number(n));
}

function anEcdsaLine(curve: 'P-256' | 'P-384' | 'P-521', prefix = 'ecdsa-sha2-', suffix = '', ...more: string[]): string {
  const { x = '', y = '' } = generateKeyPairSync('ec', { namedCurve: curve }).publicKey.export({ format: 'jwk' });
  const name = `nistp${curve.slice(2)}`;
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  return aLine(`${prefix}${name}${suffix}`, name, point, ...more);
}

describe('parseSshPublicKey', () => {
  it.each([
    ['ssh-ed25519', good.publicKey],
    ['ssh-rsa', anRsaLine(2048)],
    ['ecdsa-sha2-nistp256', anEcdsaLine('P-256')],
    ['ecdsa-sha2-nistp384', anEcdsaLine('P-384')],
    ['ecdsa-sha2-nistp521', anEcdsaLine('P-521')],
    ['sk-ssh-ed25519@openssh.com', aLine('sk-ssh-ed25519@openssh.com', Buffer.alloc(32, 7), 'ssh:')],
    ['sk-ecdsa-sha2-nistp256@openssh.com', anEcdsaLine('P-256', 'sk-ecdsa-sha2-', '@openssh.com', 'ssh:')],
  ])('takes %s and gives type and base64 alone', (type, line) => {
    const outcome = parseSshPublicKey(`  ${line}\t someone's "key" $(id)\r\n`);

    expect(outcome).toEqual({ ok: true, key: line, type, fingerprint: fingerprintOf(line) });
  });

  it.each([
    ['nothing', '  \n', /is empty/],
    ['several lines', `${good.publicKey}\n${good.publicKey}`, /several lines/],
    ['a line separator of Unicode', `${good.publicKey} a\u2028b`, /several lines/],
    ['control characters', `${good.publicKey} \u0000`, /control characters/],
    ['a private key', good.privateKey, /holds a private key.*leaked/],
    ['a private key on one line', good.privateKey.replaceAll('\n', ' '), /holds a private key/],
    ['a PuTTY private key', 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none', /holds a private key/],
    ['a PEM public key', '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----', /another format/],
    ['DSA', aLine('ssh-dss', Buffer.alloc(64, 1)), /DSA key/],
    ['a certificate', aLine('ssh-ed25519-cert-v01@openssh.com', Buffer.alloc(32)), /certificate/],
    ['a forced command', `command="rm -rf /" ${good.publicKey}`, /options/],
    ['options', `restrict,pty ${good.publicKey}`, /options/],
    ['prose', 'my key is in the mail', /known key type/],
    ['a key of no type', goodBase64, /known key type/],
    ['a type without a key', 'ssh-ed25519', /base64/],
    ['broken base64', `ssh-ed25519 ${goodBase64.slice(0, -3)}!!!`, /base64/],
    ['a key cut off', `ssh-ed25519 ${goodBase64.slice(0, -8)}`, /not a whole ed25519 key/],
    ['base64 of the other alphabet', `ssh-ed25519 ${goodBase64.slice(0, -1)}_`, /base64/],
    ['a type that the blob does not name', `ssh-rsa ${goodBase64}`, /names one key type and holds another/],
    ['bytes behind the key', aLine('ssh-ed25519', Buffer.alloc(32), 'more'), /bytes behind/],
    ['an ed25519 key of 31 bytes', aLine('ssh-ed25519', Buffer.alloc(31)), /not a whole ed25519/],
    [
      'a point off the curve',
      aLine('ecdsa-sha2-nistp256', 'nistp256', Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 1)])),
      /nistp256/,
    ],
    ['a curve that is not the type’s', aLine('ecdsa-sha2-nistp256', 'nistp384', Buffer.alloc(97, 4)), /nistp256/],
    ['a negative modulus', aLine('ssh-rsa', Buffer.from([1, 0, 1]), Buffer.alloc(256, 0xff)), /not a whole RSA/],
    ['a security key without application', aLine('sk-ssh-ed25519@openssh.com', Buffer.alloc(32)), /security-key/],
    ['a book', 'a'.repeat(20_000), /too long/],
  ])('refuses %s, names the field and the fix', (_case, text, complaint) => {
    const outcome = parseSshPublicKey(text);

    if (outcome.ok) throw new Error('it was taken');
    expect(outcome.message).toMatch(complaint);
    expect(outcome.message).toMatch(/^ssh_public_key .*ssh-keygen/);
  });

  it('REL-H10: refuses RSA keys under 2048 bits', () => {
    const outcome = parseSshPublicKey(anRsaLine(1024));

    expect(outcome).toMatchObject({ ok: false, message: expect.stringMatching(/RSA key of 1024 bits, which is weak/) });
  });

  it('never repeats a private key that was pasted by mistake', () => {
    const outcome = parseSshPublicKey(good.privateKey);

    expect(JSON.stringify(outcome)).not.toContain(good.privateKey.split('\n')[2]);
  });

  it('REL-H9: whatever comes in, at most one line of type and base64 goes out', () => {
    const hostile = fc.constantFrom(
      '\n',
      '\r',
      '\u0000',
      "'",
      '"',
      '`',
      '$(id)',
      ';',
      ' command="x" ',
      '\u2028',
      good.publicKey,
      goodBase64,
      'ssh-ed25519',
      ' ',
    );
    const text = fc.oneof(
      fc
        .array(fc.oneof(hostile, fc.string({ unit: 'binary', maxLength: 10 })), { maxLength: 8 })
        .map((parts) => parts.join('')),
      fc
        .tuple(fc.nat(good.publicKey.length), hostile)
        .map(([at, bit]) => good.publicKey.slice(0, at) + bit + good.publicKey.slice(at)),
      fc.string({ unit: 'grapheme' }).map((comment) => `${good.publicKey} ${comment}`),
    );
    let taken = 0;
    fc.assert(
      fc.property(text, (input) => {
        const outcome = parseSshPublicKey(input);
        if (!outcome.ok) return !/[^\P{Cc}]/u.test(outcome.message);
        taken += 1;
        return /^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}$/.test(outcome.key);
      }),
      { numRuns: 5_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it('reads blobs of any bytes without throwing', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom('ssh-rsa', 'ssh-ed25519', 'ecdsa-sha2-nistp256'),
        (bytes, type) => {
          parseSshPublicKey(`${type} ${Buffer.concat([sshString(type), bytes]).toString('base64')}`);
          publicKeyText(Buffer.from(bytes));
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe.runIf(hasSshKeygen)('parseSshPublicKey and ssh-keygen', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-public-key-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['ed25519', '256'],
    ['rsa', '3072'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ])('agree on %s %s and its fingerprint', (type, bits) => {
    const file = join(folder, `${type}-${bits}`);
    execFileSync('ssh-keygen', ['-q', '-t', type, '-b', bits, '-N', '', '-C', 'a comment', '-f', file]);

    const outcome = parseSshPublicKey(readFileSync(`${file}.pub`, 'utf8'));

    const printed = execFileSync('ssh-keygen', ['-l', '-f', `${file}.pub`], { encoding: 'utf8' });
    expect(outcome).toMatchObject({ ok: true, fingerprint: printed.split(' ')[1] });
  });
});
