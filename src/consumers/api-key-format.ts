import { createHash } from 'node:crypto';

/** How many random bytes a key is made of. */
export const API_KEY_BYTES = 36;
const ID_BYTES = 4;
const KEY = /^berth_([0-9a-f]{8})([0-9a-f]{4})_([A-Za-z0-9_-]{43})$/;

/**
 * `berth_<12 characters>_<43 characters>`: the prefix lets scanners find a key that got lost, the first part names it and ends in
 * four checksum digits, the second is 256 bits of secret. `bytes` must come from node:crypto; throws RangeError for any other number than 36.
 */
export function generateApiKey(bytes: Uint8Array): string {
  if (bytes.length !== API_KEY_BYTES) throw new RangeError(`an API key is made of ${API_KEY_BYTES} random bytes`);
  const id = Buffer.from(bytes.subarray(0, ID_BYTES)).toString('hex');
  const secret = Buffer.from(bytes.subarray(ID_BYTES)).toString('base64url');
  return `berth_${id}${checksum(id, secret)}_${secret}`;
}

/** The part that names the key, which may be shown; undefined for anything that is no such key, a typo included. */
export function parseApiKey(text: string): { readonly id: string } | undefined {
  const [, id, digits, secret] = KEY.exec(text) ?? [];
  if (id === undefined || digits === undefined || secret === undefined || digits !== checksum(id, secret)) return undefined;
  return { id: `${id}${digits}` };
}

function checksum(id: string, secret: string): string {
  return createHash('sha256').update(`${id}_${secret}`).digest('hex').slice(0, 4);
}
