import { getTableColumns, sql, type Table } from 'drizzle-orm';
import type { BetterSQLite3Database } from 'drizzle-orm/better-sqlite3';

/**
 * The builders that both dialects share. Raw SQL and `$count` are missing on purpose: they execute where they stand,
 * so they can be neither prepared nor held back for a transaction. Write sql`…` inside a builder instead.
 */
export type QueryBuilder = Pick<
  BetterSQLite3Database,
  'select' | 'selectDistinct' | 'insert' | 'update' | 'delete' | 'with' | '$with'
>;

/** A query that yields rows. A write therefore ends in `.returning(…)`, whose rows count alike on both dialects. */
export interface Preparable<Row> extends PromiseLike<Row[]> {
  prepare(): { execute(values?: Record<string, unknown>): { sync(): Row[] } };
}

/** A statement by name; identity, not name, decides what a connection has prepared. */
export interface Definition {
  readonly name: string;
  build(query: QueryBuilder): Preparable<unknown>;
}

/** A statement with its values: plain data until `store.read(call)` or, in a transaction, `yield* call` has it executed. */
export interface Call<Row = unknown> extends Iterable<Call, Row[], unknown[]> {
  readonly definition: Definition;
  readonly values: Record<string, unknown>;
}

/** The body of a transaction: a generator of calls, or one call. */
export type Step<Result> = Iterable<Call, Result, unknown[]>;

/** PostgreSQL cuts longer names off, and two statements would meet. */
const LONGEST_NAME = 63;

/**
 * Defines a statement once, at the start of a repository; every connection that executes it prepares it once.
 * The values reach `build` as placeholders typed as the columns expect them: hand them to columns, or compute with them in
 * sql`…`, never with JavaScript. Two statements of one name must be the same query.
 */
export function statement<Values extends Record<string, unknown>, Row>(
  name: string,
  build: (query: QueryBuilder, values: Values) => Preparable<Row>,
): (values: Values) => Call<Row> {
  if (name.length > LONGEST_NAME) throw new RangeError(`statement name ${name} is longer than ${LONGEST_NAME} characters`);
  const definition: Definition = { name, build: (query) => build(query, placeholders<Values>()) };
  return (values) => {
    const call: Call<Row> = {
      definition,
      values,
      *[Symbol.iterator]() {
        return (yield call) as Row[]; // holds because a store answers a call with the rows of that call's statement
      },
    };
    return call;
  };
}

/** Every column of a table from placeholders of the same names, for `insert(table).values(…)`: placeholders cannot be spread. */
export function everyColumn<T extends Table>(table: T, values: T['$inferSelect']): T['$inferSelect'] {
  // holds because the keys are exactly the table's, each with its own value
  return Object.fromEntries(Object.keys(getTableColumns(table)).map((key) => [key, values[key]])) as T['$inferSelect'];
}

/**
 * A placeholder as the limit of a select. Bare, it would have SQLite plan the statement anew at each execution, which costs twenty times the
 * execution: a plan may depend on the limit's value, as long as it can be seen.
 */
export function limitTo(placeholder: number): number {
  return sql`cast(${placeholder} as integer)` as unknown as number; // holds for the builders, which put any object in a limit's place
}

function placeholders<Values extends object>(): Values {
  // holds for the builders, which take a placeholder wherever they take a value
  return new Proxy({}, { get: (_, name) => sql.placeholder(String(name)) }) as Values;
}
