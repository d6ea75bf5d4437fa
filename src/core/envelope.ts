import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { Secret } from './secret.ts';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What a sealed text belongs to. It opens only for the same three: a row that is copied to another place stays shut. */
export interface SecretBinding {
  /** The row's id. */
  readonly id: string;
  readonly purpose: string;
  /** Whose it is, the session as a rule. */
  readonly context: string;
}

/** A secret as the database keeps it; all three are texts. */
export interface SealedSecret {
  /** Which key-encryption key wrapped it. */
  readonly kekId: string;
  readonly wrappedDek: string;
  readonly sealed: string;
}

/**
 * `unknown_key`: wrapped by a key that this process does not have; another secret.key belongs to this database.
 * `refused`: changed since it was sealed, or sealed for another row, purpose or owner. `malformed`: not a sealed secret at all.
 */
export type OpenFailure = 'unknown_key' | 'refused' | 'malformed';

export type OpenedSecret =
  { readonly ok: true; readonly secret: Secret<string> } | { readonly ok: false; readonly failure: OpenFailure };

/** Encryption of secrets at rest. */
export interface Envelope {
  /** Names the key-encryption key without telling anything of it. */
  readonly kekId: string;
  seal(plain: string, binding: SecretBinding): SealedSecret;
  open(sealed: SealedSecret, binding: SecretBinding): OpenedSecret;
  /** A text to keep in the database at the first start. */
  makeCanary(): string;
  /** At every later start, before anything is sealed: whether the database and the key belong together. */
  checkCanary(canary: string): { readonly ok: true } | { readonly ok: false; readonly failure: OpenFailure };
}

const CANARY: SecretBinding = { id: 'canary', purpose: 'canary', context: 'installation' };

/**
 * Each secret gets a data key of its own (AES-256-GCM, used once, so that no nonce can ever repeat under it); the data key is wrapped
 * by the key-encryption key. Throws RangeError for a key that is not of 32 bytes.
 */
export function createEnvelope(kek: Secret<Uint8Array>): Envelope {
  if (kek.reveal().length !== KEY_BYTES) throw new RangeError(`the key-encryption key must be ${KEY_BYTES} bytes`);
  const kekId = createHash('sha256').update('berth kek id\0').update(kek.reveal()).digest('hex').slice(0, 16);

  const seal = (plain: string, binding: SecretBinding): SealedSecret => {
    const dek = randomBytes(KEY_BYTES);
    try {
      return {
        kekId,
        wrappedDek: encrypt(kek.reveal(), dek, boundTo('dek', kekId, binding)),
        sealed: encrypt(dek, Buffer.from(plain, 'utf8'), boundTo('secret', kekId, binding)),
      };
    } finally {
      dek.fill(0);
    }
  };

  const open = (row: SealedSecret, binding: SecretBinding): OpenedSecret => {
    if (row.kekId !== kekId) return { ok: false, failure: 'unknown_key' };
    const dek = decrypt(kek.reveal(), row.wrappedDek, boundTo('dek', kekId, binding));
    if (typeof dek === 'string') return { ok: false, failure: dek };
    if (dek.length !== KEY_BYTES) return { ok: false, failure: 'malformed' };
    const plain = decrypt(dek, row.sealed, boundTo('secret', kekId, binding));
    dek.fill(0);
    if (typeof plain === 'string') return { ok: false, failure: plain };
    return { ok: true, secret: new Secret(plain.toString('utf8')) };
  };

  return {
    kekId,
    seal,
    open,
    makeCanary: () => {
      const { wrappedDek, sealed } = seal('canary', CANARY);
      return `${kekId}.${wrappedDek}.${sealed}`;
    },
    checkCanary: (canary) => {
      const [id, wrappedDek, sealed, ...rest] = canary.split('.');
      if (id === undefined || wrappedDek === undefined || sealed === undefined || rest.length > 0) {
        return { ok: false, failure: 'malformed' };
      }
      const opened = open({ kekId: id, wrappedDek, sealed }, CANARY);
      if (!opened.ok) return opened;
      return opened.secret.reveal() === 'canary' ? { ok: true } : { ok: false, failure: 'refused' };
    },
  };
}

/** JSON, since joined texts could be cut elsewhere and mean something else. */
function boundTo(layer: 'dek' | 'secret', kekId: string, { id, purpose, context }: SecretBinding): Buffer {
  return Buffer.from(JSON.stringify([layer, kekId, purpose, id, context]), 'utf8');
}

/** Base64 of nonce, ciphertext and tag. */
function encrypt(key: Uint8Array, plain: Uint8Array, aad: Uint8Array): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad);
  const parts = [nonce, cipher.update(plain), cipher.final()];
  return Buffer.concat([...parts, cipher.getAuthTag()]).toString('base64');
}

function decrypt(key: Uint8Array, text: string, aad: Uint8Array): Buffer | 'refused' | 'malformed' {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString('base64') !== text) return 'malformed';
  const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(aad);
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  const plain = decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES));
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    return 'refused'; // the only thing that final() has to say in this mode
  }
}
