import type { Call } from '../kit/http-server.ts';
import type { RunOutcome } from './runner-answer.ts';
import type { World } from './world.ts';

/** What an endpoint is handed: the request, and a misbehaviour that only it knows to perform. */
export interface Context {
  readonly world: World;
  readonly call: Call;
  /** What the path's pattern caught. */
  readonly params: readonly string[];
  /** Parsed; an empty object without a body. */
  readonly body: unknown;
  readonly outcome: RunOutcome | undefined;
}
