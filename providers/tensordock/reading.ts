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
  const attributes: unknown = outer !== undefined && 'attributes' in outer ? outer['attributes'] : undefined;
  const parts = isObject(attributes) ? { ...outer, ...attributes } : outer;
  const read = InstanceRecord.safeParse(parts);
  if (!read.success) return undefined;
  const record = read.data;
  const id = record.id ?? askedFor;
  if (id === undefined || (askedFor !== undefined && id !== askedFor)) return undefined;
  // an object that names no instance could be anything: `{"status": "error"}` is no machine that failed
  return record.id === undefined && record.name === undefined ? undefined : { ...record, id };
}

/** The rows of the list of instances; undefined for every other body. No row is read yet. */
export function instanceRowsIn(body: unknown): readonly unknown[] | undefined {
  if (!isObject(body)) return undefined;
  const data: unknown = body['data'];
  const rows: unknown = isObject(data) ? data['instances'] : data;
  return Array.isArray(rows) ? rows : undefined;
}

/** Whether a list says that it has more than it shows. They know no pages; should they begin to, half a list must not pass for a whole one. */
export function saysMore(body: unknown, shown: number): boolean {
  if (!isObject(body)) return false;
  const places = [body, body['data'], body['meta'], body['pagination']];
  return places.some((place) => {
    const hints = ListHints.safeParse(place);
    if (!hints.success) return false;
    const { total, total_count: totalSnake, totalCount, next, next_page: nextPage } = hints.data;
    const longest = Math.max(total ?? 0, totalSnake ?? 0, totalCount ?? 0);
    return longest > shown || (next ?? '') !== '' || (nextPage ?? '') !== '';
  });
}

/** What a create says it made. */
export function createdIn(body: unknown): CreateAnswer {
  const outer = inData(body);
  const attributes: unknown = outer !== undefined && 'attributes' in outer ? outer['attributes'] : undefined;
  const read = CreateAnswer.safeParse(isObject(attributes) ? { ...attributes, ...outer } : outer);
  return read.success ? read.data : { id: undefined, name: undefined };
}

function inData(body: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isObject(body)) return undefined;
  const data: unknown = body['data'];
  return isObject(data) ? data : body;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
