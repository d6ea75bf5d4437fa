import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import type { WideJson } from './wide-json.ts';

/** Pydantic takes an integer as a number or in digits. */
export const laxInt = z.preprocess((value) => {
  if (typeof value === 'bigint') return Number(value);
  return typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
}, z.number().int());

/** As `laxInt`, of any length. */
export const laxBigInt = z.preprocess((value) => {
  const isDigits = typeof value === 'string' && /^-?\d+$/.test(value);
  return isDigits || Number.isInteger(value) ? BigInt(value as string | number) : value; // holds by the line before
}, z.bigint());

export const JsonObject = z.record(z.string(), z.unknown());

export function unprocessable(entries: readonly WideJson[]): Reply {
  return { status: 422, json: { detail: entries } };
}

export function invalidJson(): Reply {
  const ctx = { error: 'Expecting property name enclosed in double quotes' };
  return unprocessable([{ type: 'json_invalid', loc: ['body', 1], msg: 'JSON decode error', input: {}, ctx }]);
}

export function invalidPathInt(name: string, input: string): Reply {
  const msg = 'Input should be a valid integer, unable to parse string as an integer';
  return unprocessable([{ type: 'int_parsing', loc: ['path', name], msg, input }]);
}

const NOUNS: Readonly<Record<string, string>> = {
  int: 'integer',
  number: 'integer',
  boolean: 'boolean',
  string: 'string',
  array: 'list',
  record: 'dictionary',
  object: 'dictionary',
};

/** Zod's complaints in the form of the peer's framework. */
export function invalidBody(error: z.ZodError, body: unknown): Reply {
  return unprocessable(error.issues.map((issue) => entryOf(issue, body)));
}

function entryOf(issue: z.core.$ZodIssue, body: unknown): WideJson {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const input = inputAt(body, issue.path);
  if (issue.code === 'custom') {
    const list = path.slice(0, 1);
    const ctx = { error: {} };
    return {
      type: 'value_error',
      loc: ['body', ...list],
      msg: `Value error, ${issue.message}`,
      input: inputAt(body, list),
      ctx,
    };
  }
  if (issue.code === 'too_small') {
    const ge = Number(issue.minimum);
    const msg = `Input should be greater than or equal to ${ge}`;
    return { type: 'greater_than_equal', loc: ['body', ...path], msg, input, ctx: { ge } };
  }
  if (input === undefined) {
    const parent = inputAt(body, issue.path.slice(0, -1));
    return { type: 'missing', loc: ['body', ...path], msg: 'Field required', input: parent ?? null };
  }
  const noun = issue.code === 'invalid_type' ? (NOUNS[issue.expected] ?? 'value') : 'value';
  const type = noun === 'integer' ? 'int_parsing' : `${noun === 'dictionary' ? 'dict' : noun}_type`;
  return { type, loc: ['body', ...path], msg: `Input should be a valid ${noun}`, input };
}

function inputAt(body: unknown, path: readonly PropertyKey[]): WideJson | undefined {
  let value = body;
  for (const part of path) {
    value = typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[part] : undefined; // an object has members
  }
  return value as WideJson | undefined; // parsed from JSON
}
