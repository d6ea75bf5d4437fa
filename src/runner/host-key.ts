const KEY_TYPE = 'ssh-ed25519';
/** Two lengths of four bytes, the type, 32 bytes of key. */
const BLOB_BYTES = 4 + KEY_TYPE.length + 4 + 32;

/** The host key of a container's sshd from its `.pub` file, without the comment; undefined for anything else that stands there. */
export function parseHostKey(file: string): string | undefined {
  const [type, base64] = file.trim().split(/\s+/, 2);
  if (type !== KEY_TYPE || base64 === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const blob = Buffer.from(base64, 'base64');
  if (blob.length !== BLOB_BYTES || blob.toString('latin1', 4, 4 + KEY_TYPE.length) !== KEY_TYPE) return undefined;
  return `${KEY_TYPE} ${base64}`;
}
