import { createHmac } from 'node:crypto';
import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { INVALID_JSON, ok, queryJson, refusal } from './context.ts';
import type { Context } from './context.ts';
import { instanceRow } from './instance-row.ts';
import type { Contract, World } from './world.ts';

const MOST_ROWS = 25;
/** Columns that are stored with the contract; the others are computed and cannot be filtered or ordered by. */
const STORED_COLUMNS = [
  'id',
  'label',
  'actual_status',
  'intended_status',
  'cur_state',
  'gpu_name',
  'verification',
  'machine_id',
];
const OPERATORS = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'notin'];

type Row = Record<string, unknown>;

/** `GET v1/instances/`: 25 rows at most, and a cursor that is a place in the order, so that what comes or goes between two pages skips no row. */
export function listInstances(context: Context): Reply {
  const { world, call } = context;
  const asked = call.query.get('limit');
  const limit = asked === null ? MOST_ROWS : Number(asked) <= 0 ? 5 : Math.min(MOST_ROWS, Number(asked));
  if (!Number.isInteger(limit)) return badQuery('limit is not a number');
  const order = readOrder(queryJson(context, 'order_by'));
  if (typeof order === 'string') return badQuery(order);
  const filters = readFilters(queryJson(context, 'select_filters'));
  if (typeof filters === 'string') return badQuery(filters);
  const columns = z.array(z.string()).optional().safeParse(queryJson(context, 'select_cols'));
  if (!columns.success) return badQuery('select_cols is not a list');
  const token = call.query.get('after_token');
  const after = token === null || token === '' ? undefined : readToken(context, token);
  if (after === 'tampered') return refusal(400, 'invalid_token', 'Invalid pagination token');

  const all = listed(world).map((contract) => instanceRow(world, contract));
  const found = all.filter((row) => filters.every((passes) => passes(row)));
  found.sort((left, right) => compareRows(order, left, right));
  const rest = after === undefined ? found : found.filter((row) => compareRows(order, after, row) < 0);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return ok({
    success: true,
    instances_found: found.length,
    total_instances: all.length,
    label_counts: countLabels(all),
    next_token: last !== undefined && rest.length > limit ? writeToken(context, order, last) : null,
    instances: page.map((row) => select(row, columns.data)),
  });
}

/** `GET v0/instances/`: retired, or, on an account that was not moved yet, as it was. */
export function legacyList({ world }: Context): Reply {
  const { legacyList: form } = world.knobs;
  if (form === '410')
    return refusal(410, 'deprecated_endpoint', '/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.');
  const rows = listed(world).map((contract) => instanceRow(world, contract));
  return ok({ success: true, instances: form === 'paged' ? rows.slice(0, MOST_ROWS) : rows });
}

/** `GET v0/instances/filters/`: what the user interface can filter by. */
export function listFilters({ world }: Context): Reply {
  const rows = listed(world).map((contract) => instanceRow(world, contract));
  const valuesOf = (column: string) => [...new Set(rows.map((row) => row[column]))].filter((value) => value !== null);
  return ok({
    success: true,
    filters: ['label', 'actual_status', 'gpu_name'].map((name) => ({ name, values: valuesOf(name) })),
  });
}

/** `GET v0/instances/{id}/`: one object under a plural key; and three ways to say that there is none. */
export function getInstance({ world, params }: Context): Reply {
  const contract = world.contracts.get(Number(params[0]));
  if (contract === undefined || contract.destroyedAt !== undefined) {
    if (world.shapes.gone === '404') return refusal(404, 'no_such_instance', 'No such instance.');
    return ok(world.shapes.gone === 'null' ? { instances: null } : {});
  }
  const row = instanceRow(world, contract);
  return ok({ instances: world.shapes.single === 'array' ? [row] : row });
}

/** What the list shows: not yet what was just made, still what is just gone. */
function listed(world: World): Contract[] {
  const now = world.now();
  return [...world.contracts.values()].filter(
    ({ listedAt, destroyedAt, unlistedAt }) => listedAt <= now && (destroyedAt === undefined || (unlistedAt ?? 0) > now),
  );
}

function badQuery(text: string): Reply {
  return { status: 400, json: { error: 'invalid_request', msg: `Error in query parameters: ${text}` } };
}

type Order = readonly { readonly col: string; readonly dir: 'asc' | 'desc' }[];

const OrderBy = z.array(z.object({ col: z.string(), dir: z.enum(['asc', 'desc']).default('asc') }));

function readOrder(value: unknown): Order | string {
  const parsed = OrderBy.safeParse(value ?? []);
  if (!parsed.success) return 'order_by is not a list of {col, dir}';
  const strange = parsed.data.find(({ col }) => !STORED_COLUMNS.includes(col));
  if (strange !== undefined) return `${strange.col} is not a valid search key`;
  return parsed.data.some(({ col }) => col === 'id') ? parsed.data : [...parsed.data, { col: 'id', dir: 'asc' }];
}

function readFilters(value: unknown): readonly ((row: Row) => boolean)[] | string {
  if (value === undefined) return [];
  const parsed = z.record(z.string(), z.record(z.string(), z.unknown())).safeParse(value);
  if (value === INVALID_JSON || !parsed.success) return 'select_filters is not an object';
  const filters: ((row: Row) => boolean)[] = [];
  for (const [column, operations] of Object.entries(parsed.data)) {
    if (!STORED_COLUMNS.includes(column)) return `${column} is not a valid search key`;
    for (const [operator, wanted] of Object.entries(operations)) {
      if (!OPERATORS.includes(operator)) return `${operator} is not a valid operator`;
      filters.push((row) => matches(operator, row[column], wanted));
    }
  }
  return filters;
}

function matches(operator: string, actual: unknown, wanted: unknown): boolean {
  switch (operator) {
    case 'eq':
      return actual === wanted;
    case 'neq':
      return actual !== wanted;
    case 'in':
      return Array.isArray(wanted) && wanted.includes(actual);
    case 'notin':
      return Array.isArray(wanted) && !wanted.includes(actual);
    default: {
      const by = compareValues(actual, wanted);
      if (operator === 'gt') return by > 0;
      if (operator === 'gte') return by >= 0;
      return operator === 'lt' ? by < 0 : by <= 0;
    }
  }
}

function compareRows(order: Order, left: Row, right: Row): number {
  for (const { col, dir } of order) {
    const by = compareValues(left[col], right[col]);
    if (by !== 0) return dir === 'asc' ? by : -by;
  }
  return 0;
}

function compareValues(left: unknown, right: unknown): number {
  if (typeof left === 'number' && typeof right === 'number') return left - right;
  const [a, b] = [left, right].map((value) => (typeof value === 'string' ? value : ''));
  return a === b ? 0 : (a ?? '') < (b ?? '') ? -1 : 1;
}

/** Base64 of a small object, signed, since a changed one is refused. Opaque to clients. */
function writeToken(context: Context, order: Order, row: Row): string {
  const values = Object.fromEntries(order.map(({ col }) => [col, row[col] ?? null]));
  const content = JSON.stringify({ values, os_page: 0 });
  return Buffer.from(JSON.stringify({ content, sum: sign(context, content) })).toString('base64');
}

const Token = z.object({ content: z.string(), sum: z.string() });
const TokenContent = z.object({ values: z.record(z.string(), z.unknown()) });

function readToken(context: Context, token: string): Row | 'tampered' {
  try {
    const { content, sum } = Token.parse(JSON.parse(Buffer.from(token, 'base64').toString('utf8')));
    return sum === sign(context, content) ? TokenContent.parse(JSON.parse(content)).values : 'tampered';
  } catch {
    return 'tampered';
  }
}

function sign({ call }: Context, content: string): string {
  const order = call.query.get('order_by') ?? '';
  return createHmac('sha256', 'cursor').update(`${order}\n${content}`).digest('hex').slice(0, 16);
}

function countLabels(rows: readonly Row[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { label } of rows) {
    const key = typeof label === 'string' ? label : '';
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

function select(row: Row, columns: readonly string[] | undefined): Row {
  if (columns === undefined || columns.includes('*')) return row;
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]));
}
