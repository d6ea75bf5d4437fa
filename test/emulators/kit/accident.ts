import { z } from 'zod';
import type { Random } from '../../../src/core/random.ts';
import type { Fault } from './fault.ts';
import type { Delivery, Reply } from './http-server.ts';

/** How often a call goes wrong by itself: shares of calls, 0 to 1. */
export interface AccidentShares {
  readonly resetBeforeShare: number;
  readonly htmlShare: number;
  readonly throttleShare: number;
  /** Of writes. */
  readonly resetAfterShare: number;
  readonly silenceAfterShare: number;
  readonly halfBodyShare: number;
}

const GATEWAY_TEXTS: Readonly<Record<number, string>> = {
  502: '502 Bad Gateway',
  503: '503 Service Temporarily Unavailable',
};
const JsonObject = z.record(z.string(), z.unknown());

/** One call with its accident, before or after the vendor acts. */
export async function deliverWith(
  fault: Fault | undefined,
  vendor: { act(outcome?: string): Promise<Reply>; throttle(): Reply },
): Promise<Delivery> {
  if (fault === undefined) return { as: 'reply', reply: await vendor.act() };
  switch (fault.kind) {
    case 'reset-before':
      return { as: 'reset' };
    case 'silence-before':
      return { as: 'silence' };
    case 'status-before':
      return { as: 'reply', reply: faultReply(fault) };
    case 'throttle':
      return { as: 'reply', reply: vendor.throttle() };
    case 'reset-after':
      await vendor.act();
      return { as: 'reset' };
    case 'silence-after':
      await vendor.act();
      return { as: 'silence' };
    case 'status-after':
      await vendor.act();
      return { as: 'reply', reply: faultReply(fault) };
    case 'half':
      return { as: 'half', reply: await vendor.act() };
    case 'patch':
      return { as: 'reply', reply: patched(await vendor.act(), fault.patch ?? {}) };
    case 'outcome':
      return { as: 'reply', reply: await vendor.act(fault.outcome) };
  }
}

export function drawAccident(random: Random, shares: AccidentShares, method: string): Fault | undefined {
  const by = (kind: Fault['kind']): Fault => ({ kind, times: 1, skip: 0 });
  const isChance = (share: number) => share > 0 && random.next() < share;
  if (isChance(shares.resetBeforeShare)) return by('reset-before');
  if (isChance(shares.htmlShare)) return { ...by('status-before'), status: random.next() < 0.5 ? 502 : 503 };
  if (isChance(shares.throttleShare)) return by('throttle');
  if (method !== 'GET' && isChance(shares.resetAfterShare)) return by('reset-after');
  if (method !== 'GET' && isChance(shares.silenceAfterShare)) return by('silence-after');
  if (isChance(shares.halfBodyShare)) return by('half');
  return undefined;
}

/** Log-normal, from its median and its 99th percentile. */
export function drawLatencyMs(random: Random, { medianMs, p99Ms }: { medianMs: number; p99Ms: number }): number {
  if (medianMs === 0) return 0;
  const normal = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const sigma = p99Ms > medianMs ? Math.log(p99Ms / medianMs) / 2.326 : 0;
  return medianMs * Math.exp(sigma * normal);
}

function faultReply({ status = 502, json, text, contentType = 'text/html', headers = {} }: Fault): Reply {
  if (json !== undefined) return { status, json, headers };
  return { status, text: text ?? pageOf(GATEWAY_TEXTS[status] ?? String(status)), contentType, headers };
}

function pageOf(title: string): string {
  return `<html><head><title>${title}</title></head><body><center><h1>${title}</h1></center></body></html>`;
}

function patched(reply: Reply, patch: Record<string, unknown>): Reply {
  return 'json' in reply ? { ...reply, json: mergeInto(reply.json, patch) } : reply;
}

/** Objects go into each other; in a list the patch goes into every element. */
function mergeInto(value: unknown, patch: Record<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((element: unknown) => mergeInto(element, patch));
  const target = JsonObject.safeParse(value);
  if (!target.success) return value;
  const result = { ...target.data };
  for (const [name, change] of Object.entries(patch)) {
    const inner = JsonObject.safeParse(change);
    const old = result[name];
    const isNest = inner.success && typeof old === 'object' && old !== null;
    result[name] = isNest ? mergeInto(old, inner.data) : change;
  }
  return result;
}
