import type { Reply } from '../kit/http-server.ts';
import { isRentable, offerRow } from './offer-row.ts';
import type { SearchType } from './offer-row.ts';
import type { World } from './world.ts';

const DEFAULT_STORAGE_GB = 8;
const DEFAULT_LIMIT = 64;
const TYPES = ['on-demand', 'ondemand', 'bid', 'reserved'];
const CONTROL_KEYS = ['order', 'type', 'limit', 'allocated_storage', 'disable_bundling'];
const OPERATORS = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'notin'];

type Row = Record<string, unknown>;
interface Condition {
  readonly field: string;
  readonly operator: string;
  readonly value: unknown;
}

/** The rows that a query gets, or the refusal. Bundling shows one of several equal slices of a machine. */
export function search(world: World, query: unknown): { readonly rows: readonly Row[] } | { readonly refusal: Reply } {
  if (!isObject(query)) return { refusal: invalid('Invalid json body') };
  const {
    order = [],
    type = 'on-demand',
    limit = DEFAULT_LIMIT,
    allocated_storage: storage,
    disable_bundling: isUnbundled,
    ...filters
  } = query;
  if (typeof type !== 'string' || !TYPES.includes(type))
    return { refusal: invalid(`type ${String(type)} is not a valid type`) };
  if (typeof limit !== 'number' || limit < 0) return { refusal: invalid('limit must be a number') };
  if (storage !== undefined && typeof storage !== 'number') return { refusal: invalid('allocated_storage must be a number') };
  const sorting = readOrder(order);
  const conditions = readConditions(filters);
  if (typeof conditions === 'string') return { refusal: invalid(conditions) };
  if (sorting === undefined) return { refusal: invalid('order must be a list of [field, direction]') };

  world.market.drift(world.now(), world.knobs.priceDriftPerMinute);
  const searchType: SearchType = type === 'bid' ? 'bid' : 'on-demand';
  const rows: Row[] = [];
  const bundled = new Set<string>();
  const unknown = conditions.find(({ field }) => !isKnownField(world, field));
  if (unknown !== undefined && (world.mode === 'strict' || world.shapes.unknownFilter === 'refused'))
    return { refusal: invalid(`Error in query: ${unknown.field} is not a valid search key`) };
  for (const ask of world.market.asks()) {
    const bundle = `${ask.bundleId} ${isRentable(ask, searchType)}`;
    if (isUnbundled !== true && bundled.has(bundle)) continue;
    const row = offerRow(world, ask, searchType, storage ?? DEFAULT_STORAGE_GB);
    if (!conditions.every((condition) => passes(world, row, condition))) continue;
    bundled.add(bundle);
    rows.push(row);
  }
  rows.sort((left, right) => compareBy(sorting, left, right));
  const cap = world.knobs.searchCap ?? (world.shapes.searchCap === 64 ? 64 : Infinity);
  return { rows: rows.slice(0, Math.min(limit, cap)) };
}

export function isKnownField(world: World, field: string): boolean {
  if (PSEUDO_FIELDS[field] !== undefined) return true;
  const [ask] = world.market.asks();
  return ask !== undefined && field in offerRow(world, ask, 'on-demand', DEFAULT_STORAGE_GB);
}

function invalid(text: string): Reply {
  return { status: 400, json: { error: 'invalid_request', msg: text } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readOrder(order: unknown): readonly (readonly [string, number])[] | undefined {
  if (!Array.isArray(order)) return undefined;
  const sorting: [string, number][] = [];
  for (const each of order as unknown[]) {
    if (!Array.isArray(each) || typeof each[0] !== 'string' || (each[1] !== 'asc' && each[1] !== 'desc')) return undefined;
    sorting.push([each[0], each[1] === 'asc' ? 1 : -1]);
  }
  return sorting;
}

function readConditions(filters: Record<string, unknown>): readonly Condition[] | string {
  const conditions: Condition[] = [];
  for (const [field, operations] of Object.entries(filters)) {
    if (CONTROL_KEYS.includes(field)) continue;
    if (!isObject(operations)) return `${field}: an object of operators is needed`;
    for (const [operator, value] of Object.entries(operations)) {
      if (!OPERATORS.includes(operator)) return `${operator} is not a valid operator`;
      if ((operator === 'in' || operator === 'notin') && !Array.isArray(value)) return `${field}: ${operator} takes a list`;
      conditions.push({ field, operator, value });
    }
  }
  return conditions;
}

/** Scope controls that are filters but not, or not reliably, columns. Undefined means that every row passes. */
const PSEUDO_FIELDS: Readonly<Record<string, (row: Row) => unknown>> = {
  verified: (row) => row['verification'] === 'verified',
  external: (row) => Boolean(row['external']),
  datacenter: (row) => row['hosting_type'] === 1,
  chunked: () => undefined,
  georegion: () => undefined,
  geolocation: (row) => (typeof row['geolocation'] === 'string' ? row['geolocation'].slice(-2) : null),
};

function passes(world: World, row: Row, { field, operator, value }: Condition): boolean {
  if (field === 'id') return false;
  if (field === world.knobs.ignoredFilter) return true;
  const pseudo = PSEUDO_FIELDS[field];
  if (pseudo === undefined && !(field in row)) return true;
  const actual = pseudo === undefined ? row[field] : pseudo(row);
  if (actual === undefined) return true;
  const wanted: unknown = Array.isArray(value) ? value.map((each: unknown) => asTyped(each, actual)) : asTyped(value, actual);
  switch (operator) {
    case 'eq':
      return actual === wanted;
    case 'neq':
      return actual !== wanted;
    case 'in':
      return Array.isArray(wanted) && wanted.includes(actual);
    case 'notin':
      return Array.isArray(wanted) && !wanted.includes(actual);
    default:
      return compares(operator, actual, wanted);
  }
}

/** The official client sends numbers as text: `{"num_gpus": {"eq": "1"}}`. */
function asTyped(value: unknown, like: unknown): unknown {
  if (typeof value !== 'string' || typeof like === 'string') return value;
  if (typeof like === 'boolean') return value.toLowerCase() === 'true';
  return value !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
}

function compares(operator: string, actual: unknown, value: unknown): boolean {
  if (typeof actual !== 'number' || typeof value !== 'number') return false;
  if (operator === 'gt') return actual > value;
  if (operator === 'gte') return actual >= value;
  if (operator === 'lt') return actual < value;
  return actual <= value;
}

function compareBy(sorting: readonly (readonly [string, number])[], left: Row, right: Row): number {
  for (const [field, direction] of sorting) {
    const a = left[field];
    const b = right[field];
    if (a === b) continue;
    const isLess = typeof a === 'number' && typeof b === 'number' ? a < b : String(a) < String(b);
    return isLess ? -direction : direction;
  }
  return 0;
}
