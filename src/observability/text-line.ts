/** A log line for people: time, level, message, then the fields as `name=value`. Anything that is no JSON object passes as it is. */
export function textLine(json: string): string {
  let line: unknown;
  try {
    line = JSON.parse(json);
  } catch {
    return json;
  }
  if (typeof line !== 'object' || line === null) return json;
  const { time, level, message, ...fields } = line as Record<string, unknown>; // JSON objects are just that
  const head = `${shown(time)} ${shown(level).toUpperCase().padEnd(5)} ${shown(message)}`;
  const tail = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${shown(isDescribedError(value) ? value.message : value)}`,
  );
  const stacks = Object.values(fields).flatMap((value) => (isDescribedError(value) ? value.stack.split('\n') : []));
  return [`${head}${tail.join('')}`, ...stacks.map((frame) => `    ${frame}`), ''].join('\n');
}

function isDescribedError(value: unknown): value is { message: string; stack: string } {
  if (typeof value !== 'object' || value === null) return false;
  return 'message' in value && typeof value.message === 'string' && 'stack' in value && typeof value.stack === 'string';
}

function shown(value: unknown): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') return JSON.stringify(value);
  // Quoted where a reader could not tell the end of it, or where it could forge a line.
  return /^[^\s"\p{Cc}]+( [^\s"=\p{Cc}]+)*$/u.test(value) ? value : JSON.stringify(value);
}
