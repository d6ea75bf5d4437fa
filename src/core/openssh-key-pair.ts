import { generateKeyPairSync, randomBytes } from 'node:crypto';

export interface SshKeyPair {
  /** The private key in OpenSSH's own PEM format, unencrypted, with a final newline. */
  readonly privateKey: string;
  /** One line as `authorized_keys` has it: `ssh-ed25519 AAAA…`, and the comment where one was given; no newline. */
  readonly publicKey: string;
  /** The public key as the protocol carries it, for comparing and fingerprints. */
  readonly blob: Buffer;
}

/**
 * Makes an ed25519 key pair in OpenSSH's format. The comment is printable ASCII; RangeError otherwise.
 * node:crypto makes the key because ssh2's generator drops leading zero bytes: about one key in 300 is refused by OpenSSH.
 */
export function generateSshKeyPair(comment = ''): SshKeyPair {
  if (!/^[\x20-\x7e]*$/.test(comment)) throw new RangeError('the comment of an SSH key must be printable ASCII');
  const { x, d } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  if (x === undefined || d === undefined) throw new Error('node:crypto exported an ed25519 key without its parts');
  const publicPart = Buffer.from(x, 'base64url');
  const seed = Buffer.from(d, 'base64url');
  const blob = Buffer.concat([sshString('ssh-ed25519'), sshString(publicPart)]);

  const check = randomBytes(4); // stands twice: a reader sees from it that decryption worked
  const secret = Buffer.concat([check, check, blob, sshString(Buffer.concat([seed, publicPart])), sshString(comment)]);
  const padding = Buffer.from(Array.from({ length: -secret.length & 7 }, (_, index) => index + 1));
  const encoded = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    sshString('none'), // cipher
    sshString('none'), // key derivation
    sshString(''), // its options
    Buffer.from([0, 0, 0, 1]), // one key
    sshString(blob),
    sshString(Buffer.concat([secret, padding])),
  ]).toString('base64');

  const lines = encoded.match(/.{1,70}/g) ?? [];
  return {
    privateKey: ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n'),
    publicKey: `ssh-ed25519 ${blob.toString('base64')} ${comment}`.trimEnd(),
    blob,
  };
}

/** The protocol's string: its length, then its bytes. */
function sshString(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
