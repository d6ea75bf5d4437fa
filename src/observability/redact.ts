import { describeError } from '../core/errors.ts';

const REDACTED = '[redacted]';
const DEEPEST = 6;

// Fields that hold a secret by their name, in any writing: apiKey, api_key, x-api-key, sshPrivateKey, Set-Cookie.
const SECRET_FIELD =
  /(^|[-_.])(authorization|cookie|set-cookie|password|passphrase|secret|token|credentials?|kek|dek)s?$|(password|passphrase|secret|token|credentials?|(api|private|secret|access|auth|probe)[-_]?keys?)$/i;

// Secrets inside of texts: private keys, bearer headers, our own keys, passwords in URLs.
const SECRET_TEXTS: readonly [pattern: RegExp, replacement: string][] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${REDACTED}`],
  [/\bberth_[0-9a-z]{12}_[\w-]{43}/g, REDACTED],
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]+@/gi, `$1:${REDACTED}@`],
];

/** Fields as they may be written down: what is secret by name or by form is replaced, at any depth; errors become name, message, stack. */
export function redactFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return redactEntries(fields, DEEPEST);
}

/** A text as it may be written down. */
export function redactText(text: string): string {
  // Nearly every text has none of these marks, and looking for them is cheaper than four replacements.
  if (!text.includes('-----BEGIN') && !text.includes('berth_') && !text.includes('://') && !/bearer|basic/i.test(text))
    return text;
  return SECRET_TEXTS.reduce((clean, [pattern, replacement]) => clean.replace(pattern, replacement), text);
}

function redactEntries(fields: Readonly<Record<string, unknown>>, depth: number): Record<string, unknown> {
  const clean: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    clean[name] = isSecretField(name) && mayHoldSecret(value) ? REDACTED : redactValue(value, depth);
  }
  return clean;
}

function isSecretField(name: string): boolean {
  return SECRET_FIELD.test(name);
}

/** Counts and switches are no secrets, whatever their name. */
function mayHoldSecret(value: unknown): boolean {
  return typeof value === 'string' || (typeof value === 'object' && value !== null);
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return describedError(value);
  // Dates, addresses and wrapped secrets know how they print.
  if ('toJSON' in value && typeof value.toJSON === 'function') return value;
  if (depth === 0) return '[too deep]';
  if (Array.isArray(value)) return value.map((item: unknown) => redactValue(item, depth - 1));
  if (value instanceof Map || value instanceof Set) return redactValue([...value], depth - 1);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  // Objects with a life of their own, as a request of the HTTP framework, are left to the serializer that knows them.
  return isPlain(value) ? redactEntries(value, depth - 1) : value;
}

function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describedError(error: Error): Record<string, unknown> {
  const known = unwrapQueryError(error);
  return {
    name: known.name,
    message: redactText(describeError(known)),
    ...('code' in known && typeof known.code === 'string' && { code: known.code }),
    ...('kind' in known && typeof known.kind === 'string' && { kind: known.kind }),
    ...('internal' in known && typeof known.internal === 'string' && { internal: redactText(known.internal) }),
    // Frames only: the head of a stack repeats the message.
    ...(error.stack !== undefined && { stack: framesOf(error.stack) }),
  };
}

/** Query builders put the bound values into the message; only the cause, which the database itself said, may be told. */
function unwrapQueryError(error: Error): Error {
  if (!('query' in error) || !('params' in error)) return error;
  const cause = error.cause instanceof Error ? error.cause : undefined;
  const plain = new Error('a database query failed', cause && { cause });
  plain.name = error.name;
  return plain;
}

function framesOf(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .map((line) => line.trim())
    .join('\n');
}
