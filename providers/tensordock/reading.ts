import { CreateAnswer, InstanceRecord, ListHints } from './schema.ts';

// Their answers come in several shapes; which one is not announced.

export interface ToldInstance extends InstanceRecord {
  readonly id: string;
}

/**
 * The record of one instance, which may be the body, its `data`, or the `attributes` of that. `askedFor` is its id where the record is
 * the answer to a question about one instance: then it need not repeat it, but must not name another. Undefined for what is no record.
 */
export function instanceIn(body: unknown, askedFor?: string): ToldInstance | undefined {
  const outer = inData(body);
  const read = InstanceRecord.safeParse(outer && { ...outer, ...told(attributesOf(outer)) });
  if (!read.success) return undefined;
  const record = read.data;
  const id = record.id ?? askedFor;
  if (id === undefined || (askedFor !== undefined && id !== askedFor)) return undefined;
  // an object that names no instance could be anything: `{"status": "error"}` is no machine that failed
  return (record.id ?? record.name) === undefined ? undefined : { ...record, id };
}

/** The rows of the list of instances; undefined for every other body. No row is read yet. */
export function instanceRowsIn(body: unknown): readonly unknown[] | undefined {
  if (!isObject(body)) return undefined;
  const data: unknown = body['data'];
  const rows: unknown = isObject(data) ? data['instances'] : (data ?? body['instances']);
  return Array.isArray(rows) ? rows : undefined;
}

/** Whether a list says that it has more than it shows. They know no pages; should they begin to, half a list must not pass for a whole one. */
export function saysMore(body: unknown, shown: number): boolean {
  if (!isObject(body)) return false;
  const data: unknown = body['data'];
  const places = [body, ...(isObject(data) ? [data] : [])].flatMap((place) => [
    place,
    ...PLACES_OF_HINTS.map((name) => place[name]),
  ]);
  return places.some((place) => {
    const hints = ListHints.safeParse(place);
    if (!hints.success) return false;
    const { total, total_count: totalSnake, totalCount, total_pages: pagesSnake, totalPages, ...more } = hints.data;
    const longest = Math.max(total ?? 0, totalSnake ?? 0, totalCount ?? 0);
    const pages = Math.max(pagesSnake ?? 0, totalPages ?? 0);
    return longest > shown || pages > 1 || Object.values(more).some((hint) => hint !== undefined && !SAYS_NO_MORE.has(hint));
  });
}

const PLACES_OF_HINTS = ['meta', 'pagination', 'links'] as const;
const SAYS_NO_MORE: ReadonlySet<unknown> = new Set([null, '', false, 0]);

/** What a create says it made. */
export function createdIn(body: unknown): CreateAnswer {
  const outer = inData(body);
  const read = CreateAnswer.safeParse(outer && { ...attributesOf(outer), ...told(outer) });
  return read.success ? read.data : { id: undefined, name: undefined };
}

function inData(body: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isObject(body)) return undefined;
  const data: unknown = body['data'];
  return isObject(data) ? data : body;
}

function attributesOf(outer: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const attributes: unknown = outer['attributes'];
  return isObject(attributes) ? attributes : {};
}

/** Without the nulls, which must not hide what stands elsewhere. */
function told(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
