/** Both ends belong to it. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

const LOWEST_PORT = 1_024;
const HIGHEST_PORT = 65_535;
const RULE = `must be a range of TCP ports, its first and last port with a hyphen between them, from ${LOWEST_PORT} to ${HIGHEST_PORT}`;

type ParsedRange = { readonly ok: true; readonly value: PortRange } | { readonly ok: false; readonly rules: readonly string[] };

/** `22000-22099`, or one port alone. Ports under 1024 belong to the system. */
export function parsePortRange(text: string): ParsedRange {
  const [, from, to] = /^(\d{1,5})(?:\s*-\s*(\d{1,5}))?$/.exec(text) ?? [];
  const first = Number(from);
  const last = Number(to ?? from);
  if (from === undefined || first < LOWEST_PORT || last > HIGHEST_PORT || last < first) return { ok: false, rules: [RULE] };
  return { ok: true, value: { first, last } };
}

export function isInRange(port: number, { first, last }: PortRange): boolean {
  return port >= first && port <= last;
}
