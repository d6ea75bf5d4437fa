/** JSON as Python writes it: integers of any length. One that a double cannot hold is a bigint here, both ways. */
export type WideJson =
  null | boolean | number | bigint | string | readonly WideJson[] | { readonly [name: string]: WideJson | undefined };

// a text that no peer sends, which JSON.stringify escapes
const MARK = '\0wide:';
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARKED = /"\\u0000wide:(-?\d+)"/g;

/** Throws a SyntaxError for what is no JSON. */
export function parseWide(text: string): unknown {
  const marked = text.replaceAll(TOKEN, (token) =>
    /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? JSON.stringify(MARK + token) : token,
  );
  return JSON.parse(marked, (_name, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value,
  );
}

export function formatWide(value: WideJson): string {
  const text = JSON.stringify(value, (_name, inner: unknown) => (typeof inner === 'bigint' ? MARK + String(inner) : inner));
  return text.replaceAll(MARKED, '$1');
}
