import { createHash, createPublicKey } from 'node:crypto';

/** The kinds of key that a consumer may bring. */
export type SshKeyType =
  | 'ssh-ed25519'
  | 'ecdsa-sha2-nistp256'
  | 'ecdsa-sha2-nistp384'
  | 'ecdsa-sha2-nistp521'
  | 'ssh-rsa'
  | 'sk-ssh-ed25519@openssh.com'
  | 'sk-ecdsa-sha2-nistp256@openssh.com';

export type PublicKeyOutcome =
  /** `key` is `type base64`, made anew from what was read; the comment is gone. */
  | { readonly ok: true; readonly key: string; readonly type: SshKeyType; readonly fingerprint: string }
  /** Names the field and the fix; never quotes what was sent, since people paste private keys. */
  | { readonly ok: false; readonly message: string };

const LONGEST_TEXT = 16_384;
const SMALLEST_RSA_BITS = 2048;
const LARGEST_RSA_BITS = 16_384;
const FIX = 'send the one line of a file like ~/.ssh/id_ed25519.pub (ssh-keygen -t ed25519 makes one)';

interface Curve {
  readonly name: string;
  readonly jwk: string;
  readonly bytes: number;
}
const P256: Curve = { name: 'nistp256', jwk: 'P-256', bytes: 32 };
const P384: Curve = { name: 'nistp384', jwk: 'P-384', bytes: 48 };
const P521: Curve = { name: 'nistp521', jwk: 'P-521', bytes: 66 };

/** What stands behind the type in the blob, read to its end; each gives a complaint or nothing. */
const BODIES: Record<SshKeyType, (blob: BlobReader) => string | undefined> = {
  'ssh-ed25519': checkEd25519,
  'ecdsa-sha2-nistp256': (blob) => checkEcdsa(blob, P256),
  'ecdsa-sha2-nistp384': (blob) => checkEcdsa(blob, P384),
  'ecdsa-sha2-nistp521': (blob) => checkEcdsa(blob, P521),
  'ssh-rsa': checkRsa,
  'sk-ssh-ed25519@openssh.com': (blob) => checkEd25519(blob) ?? checkApplication(blob),
  'sk-ecdsa-sha2-nistp256@openssh.com': (blob) => checkEcdsa(blob, P256) ?? checkApplication(blob),
};

/** Reads a consumer's public key and writes it anew, so that nothing but a type and base64 ever reaches a machine. */
export function parseSshPublicKey(text: string): PublicKeyOutcome {
  if (text.length > LONGEST_TEXT) return refuse('is too long to be one public key');
  if (/PRIVATE KEY|PuTTY-User-Key-File/.test(text)) {
    return refuse('holds a private key; treat that key as leaked, make a new pair, and send only its public half (.pub)');
  }
  if (/BEGIN (SSH2 |RSA )?PUBLIC KEY/.test(text)) {
    return refuse('is in another format; convert it with: ssh-keygen -i -m PKCS8 -f key.pub (or RFC4716 for SSH2 keys)');
  }
  const line = text.trim();
  if (line === '') return refuse('is empty');
  if (/[\r\n\u0085\u2028\u2029]/.test(line)) return refuse('has several lines; send exactly one key');
  if (/[^\P{Cc}\t]/u.test(line)) return refuse('holds control characters');

  const [type = '', encoded = ''] = line.split(/[ \t]+/);
  const refusal = refuseByType(type, line);
  if (refusal !== undefined) return refuse(refusal);
  if (!isSupported(type)) return refuse('does not start with a known key type');

  const bytes = Buffer.from(encoded, 'base64');
  if (encoded === '' || bytes.toString('base64') !== encoded) return refuse('is cut off or has broken base64 behind the type');
  const blob = new BlobReader(bytes);
  if (blob.string()?.toString('latin1') !== type) return refuse('names one key type and holds another');
  const complaint = BODIES[type](blob) ?? (blob.isAtEnd() ? undefined : 'has bytes behind the key');
  if (complaint !== undefined) return refuse(complaint);
  return { ok: true, key: `${type} ${encoded}`, type, fingerprint: sshFingerprint(bytes) };
}

/** `SHA256:…` as ssh-keygen prints it. */
function sshFingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** The fingerprint of a key as text: `type base64`. */
export function fingerprintOf(keyText: string): string {
  return sshFingerprint(Buffer.from(keyText.split(' ')[1] ?? '', 'base64'));
}

/** A host's key as text (`type base64`), from the blob that it presented; undefined for what is no key. */
export function publicKeyText(blob: Buffer): string | undefined {
  const type = new BlobReader(blob).string()?.toString('latin1');
  return type !== undefined && /^[a-z0-9@.-]{1,64}$/.test(type) ? `${type} ${blob.toString('base64')}` : undefined;
}

function refuse(complaint: string): PublicKeyOutcome {
  return { ok: false, message: `ssh_public_key ${complaint}; ${FIX}` };
}

function isSupported(type: string): type is SshKeyType {
  return Object.hasOwn(BODIES, type);
}

function refuseByType(type: string, line: string): string | undefined {
  if (type === 'ssh-dss') return 'is a DSA key, which is broken';
  if (/-cert-v0[01]@openssh\.com$/.test(type)) return 'is a certificate; send the plain key that it was made for';
  if (isSupported(type)) return undefined;
  if (/(^|[ \t,"])(ssh-|ecdsa-|sk-)[a-z0-9@.-]+[ \t]+AAAA/.test(line))
    return 'has options before the key; send only type and key';
  return undefined;
}

function checkEd25519(blob: BlobReader): string | undefined {
  return blob.string()?.length === 32 ? undefined : 'is not a whole ed25519 key';
}

function checkEcdsa(blob: BlobReader, curve: Curve): string | undefined {
  const broken = `is not a whole ${curve.name} key`;
  if (blob.string()?.toString('latin1') !== curve.name) return broken;
  const point = blob.string();
  if (point?.length !== 1 + 2 * curve.bytes || point[0] !== 4) return broken;
  const [x, y] = [point.subarray(1, 1 + curve.bytes), point.subarray(1 + curve.bytes)];
  try {
    const jwk = { kty: 'EC', crv: curve.jwk, x: x.toString('base64url'), y: y.toString('base64url') };
    createPublicKey({ format: 'jwk', key: jwk }); // throws for a point off the curve
    return undefined;
  } catch {
    return broken;
  }
}

function checkRsa(blob: BlobReader): string | undefined {
  const exponent = blob.positiveInteger();
  const modulus = blob.positiveInteger();
  if (exponent === undefined || modulus === undefined) return 'is not a whole RSA key';
  const bits = bitLength(modulus);
  if (bits < SMALLEST_RSA_BITS) return `is an RSA key of ${bits} bits, which is weak (${SMALLEST_RSA_BITS} at least)`;
  if (bits > LARGEST_RSA_BITS) return `is an RSA key of ${bits} bits, more than sshd reads (${LARGEST_RSA_BITS})`;
  const isOdd = ((exponent.at(-1) ?? 0) & 1) === 1 && ((modulus.at(-1) ?? 0) & 1) === 1;
  if (!isOdd || bitLength(exponent) < 2 || exponent.length > 8) return 'is an RSA key with impossible numbers';
  return undefined;
}

function checkApplication(blob: BlobReader): string | undefined {
  const application = blob.string()?.toString('latin1');
  return application !== undefined && /^[\x20-\x7e]{1,256}$/.test(application) ? undefined : 'is not a whole security-key key';
}

function bitLength(number: Buffer): number {
  return number.length * 8 - Math.clz32(number[0] ?? 0) + 24;
}

/** Reads the protocol's strings and numbers, one after the other; undefined where the bytes end early. */
class BlobReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  string(): Buffer | undefined {
    if (this.#at + 4 > this.#bytes.length) return undefined;
    const end = this.#at + 4 + this.#bytes.readUInt32BE(this.#at);
    if (end > this.#bytes.length) return undefined;
    const content = this.#bytes.subarray(this.#at + 4, end);
    this.#at = end;
    return content;
  }

  /** Without its leading zero byte; undefined for zero, a negative number, or a padded one. */
  positiveInteger(): Buffer | undefined {
    const content = this.string();
    const [first, second = 0] = content ?? [];
    if (content === undefined || first === undefined || first >= 0x80) return undefined;
    if (first > 0) return content;
    return second >= 0x80 ? content.subarray(1) : undefined;
  }

  isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }
}
