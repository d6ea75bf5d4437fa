import type { EpochMs } from '../../../src/core/clock.ts';
import type { Reply } from '../kit/http-server.ts';
import { refusal } from './context.ts';
import type { World } from './world.ts';

/** How often one endpoint may be called: a least interval between two calls, or so many in a minute for one address. */
export type Limit = { readonly intervalMs: number; readonly penaltyMs?: number } | { readonly perMinute: number };

export interface Limiter {
  /** Counts the call where it is allowed; a refused call has done nothing. */
  check(
    key: { readonly endpoint: string; readonly identity: string; readonly address: string },
    limit: Limit,
  ): Reply | undefined;
  /** A 429 out of turn. */
  refuse(endpoint: string, intervalMs: number): Reply;
  /** How many rows today's search may still return; the refusal when it is none. */
  takeRows(wanted: number): { readonly granted: number } | { readonly refusal: Reply };
  clear(): void;
}

const DAY_MS = 86_400_000;

export function createLimiter(world: World): Limiter {
  const last = new Map<string, EpochMs>();
  const blockedUntil = new Map<string, EpochMs>();
  const recent = new Map<string, EpochMs[]>();
  let quotaDay = -1;
  let rowsToday = 0;

  const refuse = (endpoint: string, intervalMs: number, waitMs = intervalMs) =>
    throttleReply({
      form: (hash(endpoint) + world.shapes.throttle) % 4,
      seconds: intervalMs / 1_000,
      ...(world.knobs.retryAfterHeader && { retryAfterSeconds: Math.ceil(waitMs / 1_000) }),
    });
  return {
    check({ endpoint, identity, address }, limit) {
      if (!world.knobs.limits) return undefined;
      const now = world.now();
      if ('perMinute' in limit) {
        const key = `${endpoint} ${address}`;
        const calls = (recent.get(key) ?? []).filter((at) => at > now - 60_000);
        recent.set(key, calls);
        if (calls.length >= limit.perMinute)
          return refuse(endpoint, 60_000 / limit.perMinute, (calls[0] ?? now) + 60_000 - now);
        calls.push(now);
        return undefined;
      }
      const key = `${endpoint} ${identity} ${address}`;
      const openAt = Math.max((last.get(key) ?? -Infinity) + limit.intervalMs, blockedUntil.get(key) ?? -Infinity);
      if (now < openAt) {
        if (limit.penaltyMs !== undefined) blockedUntil.set(key, now + limit.penaltyMs);
        return refuse(endpoint, limit.intervalMs, openAt - now);
      }
      last.set(key, now);
      return undefined;
    },
    refuse,
    takeRows(wanted) {
      const now = world.now();
      const day = Math.floor(now / DAY_MS);
      if (day !== quotaDay) {
        quotaDay = day;
        rowsToday = 0;
      }
      const { dailyRows } = world.knobs;
      if (rowsToday >= dailyRows) {
        const resetAt = (day + 1) * DAY_MS;
        const reply = refusal(429, 'search_quota_exceeded', 'Daily offer search quota used up.', {
          limit: dailyRows,
          remaining: 0,
          retry_after: Math.ceil((resetAt - now) / 1_000),
        });
        const headers = world.knobs.retryAfterHeader ? { 'x-ratelimit-reset': String(resetAt / 1_000) } : {};
        return { refusal: { ...reply, headers } };
      }
      const granted = Math.min(wanted, dailyRows - rowsToday);
      rowsToday += granted;
      return { granted };
    },
    clear() {
      last.clear();
      blockedUntil.clear();
      recent.clear();
      quotaDay = -1;
    },
  };
}

/** The same refusal in the bodies that were seen, one an endpoint; nothing in the headers unless asked for. */
function throttleReply({
  form,
  seconds,
  retryAfterSeconds,
}: {
  form: number;
  seconds: number;
  retryAfterSeconds?: number;
}): Reply {
  const headers: Record<string, string> = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  const threshold = seconds.toFixed(1);
  switch (form) {
    case 0:
      return { status: 429, headers, json: { detail: `API requests too frequent endpoint threshold=${threshold}` } };
    case 1: {
      const text = `The action could not be performed because there were too many requests by the client.\n\nAPI requests too frequent: endpoint threshold=${threshold}*1.0\n\n`;
      return { status: 429, headers, json: { message: text, code: '429 Too Many Requests' } };
    }
    case 2: {
      const text = `API requests too frequent endpoint threshold=${threshold}`;
      return { status: 429, headers, json: { success: false, error: 'rate_limit_exceeded', msg: text } };
    }
    default:
      return { status: 429, headers, text: 'API requests too frequent', contentType: 'text/plain' };
  }
}

function hash(text: string): number {
  let sum = 0;
  for (const char of text) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return sum;
}
