import { DrizzleError, DrizzleQueryError } from 'drizzle-orm';

/**
 * What a failed statement or commit means to its caller.
 * - `unique`, `foreign-key`: the rows forbid it. An expected duplicate is not this but ON CONFLICT DO NOTHING.
 * - `try-again`: it lost against another transaction; the store has already tried again and given up.
 * - `disk-full`: nothing was written; reads go on.
 * - `io`: the disk, what stands on it, or the way to the database failed. See `outcomeUnknown`.
 */
export type StoreErrorKind = 'unique' | 'foreign-key' | 'try-again' | 'disk-full' | 'io' | 'other';

const KINDS: readonly (readonly [pattern: RegExp, kind: StoreErrorKind])[] = [
  [/^SQLITE_CONSTRAINT_(UNIQUE|PRIMARYKEY|ROWID)$/, 'unique'],
  [/^SQLITE_CONSTRAINT_FOREIGNKEY$/, 'foreign-key'],
  [/^SQLITE_(BUSY|LOCKED)/, 'try-again'],
  [/^SQLITE_FULL$/, 'disk-full'],
  [/^SQLITE_(IOERR|CORRUPT|NOTADB|CANTOPEN|READONLY)/, 'io'],
  [/^23505$/, 'unique'],
  [/^23503$/, 'foreign-key'],
  [/^(40001|40P01|55P03)$/, 'try-again'], // serialization failure, deadlock, lock time-out
  [/^53100$/, 'disk-full'],
  [/^(08...|57P0[1-5]|53300|58030|XX001|XX002)$/, 'io'], // connection lost, server going or full, disk error, corruption
  [/^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_)/, 'io'],
  [/^(CONNECTION_(LOST|TIMEOUT)|QUERY_TIMEOUT)$/, 'io'],
];

/** PostgreSQL's errors about data (class 22) and raised ones (P0) quote values in their message; other classes name objects only. */
const QUOTES_VALUES = /^(22|P0)/;

/** What every driver's error becomes: one vocabulary, and never a bound value in message, cause or field. */
export class StoreError extends Error {
  readonly kind: StoreErrorKind;
  /** The driver's own code: `SQLITE_…`, five characters of SQLSTATE, or a socket's `E…`. */
  readonly code: string;
  /** True when a COMMIT got no answer that can be trusted: it may have happened. Read by key before doing anything else. */
  readonly outcomeUnknown: boolean;

  constructor(operation: string, thrown: unknown, { atCommit = false }: { atCommit?: boolean } = {}) {
    const error = driverError(thrown);
    const code = codeOf(error);
    const reason = error instanceof Error && !QUOTES_VALUES.test(code) ? error.message : undefined;
    super(`${operation} failed: ${code}`, reason === undefined ? {} : { cause: new Error(reason) }); // the driver's own error carries details
    this.name = 'StoreError';
    this.code = code;
    this.kind = KINDS.find(([pattern]) => pattern.test(code))?.[1] ?? 'other';
    this.outcomeUnknown = atCommit && this.kind === 'io';
  }
}

/** Drizzle puts every bound value into the message of the error that it wraps round the driver's. */
function driverError(thrown: unknown): unknown {
  const wrapped = thrown instanceof DrizzleQueryError || thrown instanceof DrizzleError;
  return wrapped && thrown.cause !== undefined ? driverError(thrown.cause) : thrown;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if ('code' in error && typeof error.code === 'string') return error.code;
  // pg gives a broken connection no code, only one of these sentences
  if (/timeout exceeded when trying to connect/i.test(error.message)) return 'CONNECTION_TIMEOUT';
  if (/query read timeout/i.test(error.message)) return 'QUERY_TIMEOUT';
  return /connection (terminated|ended|error)|not queryable/i.test(error.message) ? 'CONNECTION_LOST' : 'unknown';
}
