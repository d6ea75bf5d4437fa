import { z } from 'zod';
import type { Call, Reply } from '../kit/http-server.ts';
import type { World } from './world.ts';

/** What an endpoint is handed: the request, and a misbehaviour that only it knows to perform. */
export interface Context {
  readonly world: World;
  readonly call: Call;
  /** What the path's pattern caught. */
  readonly params: readonly string[];
  /** Parsed; undefined without a body. */
  readonly body: unknown;
  readonly outcome: string | undefined;
}

export interface Issue {
  readonly code: string;
  readonly message: string;
  readonly path: readonly PropertyKey[];
}

export const JsonObject = z.record(z.string(), z.unknown());
export type JsonObject = z.infer<typeof JsonObject>;

export function ok(json: unknown, status = 200): Reply {
  return { status, json };
}

/** A word that no endpoint knows is a mistake of the test that injected it. */
export function checkOutcome(outcome: string | undefined, known: readonly string[]): void {
  if (outcome !== undefined && !known.includes(outcome))
    throw new Error(`there is no outcome ${outcome} here: ${known.join(', ')}`);
}

/** A bare refusal in the vendor's one-field form. */
export function failure(status: number, error: string): Reply {
  return { status, json: { error } };
}

/** No room, no money: as a rule with 200. */
export function businessRefusal({ shapes }: World, error: string): Reply {
  switch (shapes.refusal) {
    case 'http-200':
      return ok({ status: 400, error });
    case 'http-400':
      return { status: 400, json: { status: 400, error } };
    case 'http-409':
      return failure(409, error);
  }
}

/** Not in this state. */
export function conflict({ shapes }: World, status: 400 | 409, error: string): Reply {
  switch (shapes.conflict) {
    case 'http-200':
      return ok({ status, error });
    case 'http-400':
      return failure(400, error);
    case 'http-409':
      return { status, json: { status, error } };
  }
}

export function invalid({ shapes }: World, issues: readonly Issue[]): Reply {
  if (shapes.validation === 'array') return { status: 400, json: issues };
  return failure(400, issues.map(({ message }) => message).join('; '));
}

export function notFound({ shapes }: World, what = 'Instance not found'): Reply {
  if (shapes.notFound === 'json') return failure(404, what);
  return { status: 404, text: '', contentType: 'text/plain' };
}

/** What Zod found, with the vendor's codes. */
export function issuesOf(error: z.ZodError): Issue[] {
  return error.issues.map(({ code, message, path }) => ({ code, message, path }));
}
