import type { EpochMs } from '../../../src/core/clock.ts';
import type { Reply } from '../kit/http-server.ts';
import { failure } from './answers.ts';
import type { World } from './world.ts';

export interface Limiter {
  /** Counts the call where it is allowed; a refused call has done nothing. */
  check(caller: string): Reply | undefined;
  /** A 429 out of turn. */
  refuse(waitMs: number): Reply;
  /** What every answer tells of the limit, or nothing: the names are not published. */
  headers(caller: string): Readonly<Record<string, string>>;
}

const MINUTE_MS = 60_000;

/** So many calls in any minute, of all tokens of the organisation together. */
export function createLimiter(world: World): Limiter {
  const recent = new Map<string, EpochMs[]>();
  const callsOf = (caller: string) => {
    const calls = (recent.get(caller) ?? []).filter((at) => at > world.now() - MINUTE_MS);
    recent.set(caller, calls);
    return calls;
  };
  const waitMs = (caller: string) => Math.max(0, (callsOf(caller)[0] ?? world.now()) + MINUTE_MS - world.now());
  const refuse = (ms: number): Reply => {
    const headers: Record<string, string> = world.shapes.retryAfter ? { 'retry-after': String(Math.ceil(ms / 1_000)) } : {};
    return { ...failure(429, 'Rate limit exceeded. Please try again later.'), headers };
  };
  return {
    check(caller) {
      if (!world.knobs.limits) return undefined;
      const calls = callsOf(caller);
      if (calls.length >= world.knobs.perMinute) return refuse(waitMs(caller));
      calls.push(world.now());
      return undefined;
    },
    refuse,
    headers(caller) {
      const { limitHeaders } = world.shapes;
      if (limitHeaders === 'none') return {};
      const prefix = limitHeaders === 'ratelimit' ? 'ratelimit' : 'x-ratelimit';
      return {
        [`${prefix}-limit`]: String(world.knobs.perMinute),
        [`${prefix}-remaining`]: String(Math.max(0, world.knobs.perMinute - callsOf(caller).length)),
        [`${prefix}-reset`]: String(Math.ceil(waitMs(caller) / 1_000)),
      };
    },
  };
}
