import type { EpochMs } from '../../../src/core/clock.ts';
import type { Call } from './http-server.ts';

export interface LoggedRequest {
  readonly at: EpochMs;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed where it is JSON, else the text. */
  readonly body: unknown;
  /** What left; absent for a cut or a silence. */
  readonly status?: number;
  readonly fault?: string;
}

export interface RequestLog {
  add(entry: { at: EpochMs; call: Call; status?: number; fault?: string }): void;
  all(): readonly LoggedRequest[];
  clear(): void;
}

const REDACTED = '[redacted]';
const SECRET_NAME = /authorization|cookie|api_?key|token|secret|password|passwd|image_login|private/i;
const LONGEST_LOG = 20_000;

/** What was asked, without what opens doors: headers, query values, body fields and environment values with a secret's name. */
export function createRequestLog(): RequestLog {
  let entries: LoggedRequest[] = [];
  return {
    add({ at, call, status, fault }) {
      entries.push({
        at,
        method: call.method,
        path: call.path,
        query: redactFlat(Object.fromEntries(call.query)),
        headers: redactFlat(call.headers),
        body: redact(parsed(call.text)),
        ...(status !== undefined && { status }),
        ...(fault !== undefined && { fault }),
      });
      if (entries.length > LONGEST_LOG) entries = entries.slice(-LONGEST_LOG / 2);
    },
    all: () => [...entries],
    clear() {
      entries = [];
    },
  };
}

function parsed(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return text;
  }
}

function redactFlat(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, SECRET_NAME.test(name) && name !== 'after_token' ? REDACTED : value]),
  );
}

function redact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, SECRET_NAME.test(name) ? REDACTED : redact(inner)]),
  );
}
