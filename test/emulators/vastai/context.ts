import { z } from 'zod';
import type { Call, Reply } from '../kit/http-server.ts';
import type { Identity } from './identity.ts';
import type { World } from './world.ts';

/** What an endpoint is handed: the request, who sent it, and a misbehaviour that only it knows to perform. */
export interface Context {
  readonly world: World;
  readonly call: Call;
  readonly identity: Identity;
  /** What the path's pattern caught. */
  readonly params: readonly string[];
  /** Parsed; undefined without a body; `INVALID_JSON` for what is none. */
  readonly body: unknown;
  readonly outcome: string | undefined;
}

export const INVALID_JSON = Symbol('invalid json');

export const JsonObject = z.record(z.string(), z.unknown());
export type JsonObject = z.infer<typeof JsonObject>;

export function bodyOf(context: Context): JsonObject | undefined {
  const parsed = JsonObject.safeParse(context.body ?? {});
  return parsed.success ? parsed.data : undefined;
}

export function ok(json: unknown): Reply {
  return { status: 200, json };
}

export function refusal(status: number, error: string, text?: string, more: object = {}): Reply {
  return { status, json: { success: false, error, ...(text !== undefined && { msg: text }), ...more } };
}

export function noSuchInstance(): Reply {
  return refusal(404, 'no_such_instance', 'No such instance.');
}

/** A JSON value in the query: undefined when absent, `INVALID_JSON` when it is none. */
export function queryJson(context: Context, name: string): unknown {
  const text = context.call.query.get(name);
  if (text === null) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return INVALID_JSON;
  }
}
