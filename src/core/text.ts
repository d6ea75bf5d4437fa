// Control characters, direction overrides and unpaired surrogates: they forge log lines and terminal output.
const UNSAFE = /[\p{Cc}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** Foreign text made fit for a record: one line, no control characters, no direction overrides, at most `limit` characters. */
export function plainLine(text: string, limit = 300): string {
  const line = text
    .slice(0, limit * 8)
    .replace(UNSAFE, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > limit ? `${line.slice(0, limit - 1)}…` : line;
}
