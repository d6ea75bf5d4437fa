import { Secret } from '../core/secret.ts';

/** A bearer key that configuration lets in. */
export interface ConfiguredApiKey {
  /** What logs call it: the consumer and its how-many-eth key, never a part of the key. */
  readonly name: string;
  /** Whose sessions it may see and make. */
  readonly consumerId: string;
  readonly secret: Secret<string>;
}

const SHORTEST_API_KEY = 16;
const DEFAULT_CONSUMER = 'default';
const CONSUMER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
// What RFC 6750 lets stand behind "Bearer"; anything else could never be presented.
const BEARER = /^[A-Za-z0-9._~+/-]+=*$/;

/**
 * Reads `alice=<key>,bob=<key>` or a bare `<key>`, which belongs to the consumer `default`; separated by commas or lines, `#` begins a comment line.
 * Keys of `earlier` lists stand first in the result. The rules that come back name an entry by its position, since its text is a secret.
 */
export function parseApiKeyList(
  text: string,
  earlier: readonly ConfiguredApiKey[] = [],
):
  | { readonly ok: true; readonly value: readonly ConfiguredApiKey[] }
  | { readonly ok: false; readonly rules: readonly string[] } {
  const entries = text
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .flatMap((line) => line.split(','))
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  const keys: ConfiguredApiKey[] = [...earlier];
  const rules: string[] = [];
  const seen = new Set(earlier.map((key) => key.secret.reveal()));
  for (const [index, entry] of entries.entries()) {
    const { consumerId, secret } = splitEntry(entry);
    const fault = faultOf(consumerId, secret, seen);
    if (fault !== undefined) {
      rules.push(`entry ${index + 1} ${fault}`);
      continue;
    }
    seen.add(secret);
    const ordinal = keys.filter((key) => key.consumerId === consumerId).length + 1;
    keys.push({ name: `${consumerId}-${ordinal}`, consumerId, secret: new Secret(secret) });
  }
  if (entries.length === 0) rules.push('holds no key');
  return rules.length > 0 ? { ok: false, rules } : { ok: true, value: keys };
}

function splitEntry(entry: string): { consumerId: string; secret: string } {
  const [, consumerId, secret] = /^([^=]*)=(?!=*$)(.*)$/.exec(entry) ?? [];
  // Without a second part, or with nothing but base64 padding in it, the whole entry is the key.
  if (consumerId === undefined || secret === undefined) return { consumerId: DEFAULT_CONSUMER, secret: entry };
  return { consumerId: consumerId.trim(), secret: secret.trim() };
}

function faultOf(consumerId: string, secret: string, seen: ReadonlySet<string>): string | undefined {
  if (!CONSUMER.test(consumerId))
    return 'must name its consumer with 1 to 64 letters, digits, dots, dashes or underscores before the =';
  if (secret.length < SHORTEST_API_KEY) return `must have a key of at least ${SHORTEST_API_KEY} characters`;
  if (!BEARER.test(secret))
    return 'must have a key of letters, digits and . _ ~ + / - only, since no other can be sent as a bearer';
  if (seen.has(secret)) return 'must not repeat the key of an earlier entry';
  return undefined;
}
