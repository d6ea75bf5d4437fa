import type { Call, Delivery, Reply } from '../kit/http-server.ts';
import type { EmulatorClock } from '../kit/emulator-clock.ts';
import type { Fault, FaultQueue } from '../kit/fault.ts';
import type { RequestLog } from '../kit/request-log.ts';
import { refuseAtDoor, tokenOf } from './auth.ts';
import type { KeyRing } from './auth.ts';
import { INVALID_JSON, JsonObject, refusal } from './context.ts';
import type { Identity } from './identity.ts';
import type { Limiter } from './limits.ts';
import type { Route } from './routes.ts';
import { isChance } from './world.ts';
import type { World } from './world.ts';

export interface Service {
  readonly world: World;
  readonly clock: EmulatorClock;
  readonly keyRing: KeyRing;
  readonly limiter: Limiter;
  readonly routes: readonly Route[];
  readonly faults: FaultQueue;
  readonly log: RequestLog;
}

const PAGE_502 =
  '<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>';

/** One call, in the vendor's order: redirect, key, interval, then the endpoint; with an accident before or after it. */
export async function serve(service: Service, call: Call): Promise<Delivery> {
  const { world, log } = service;
  await service.clock.sleep(latencyMs(world));
  world.agenda.settle();
  const fault = service.faults.take(call.method, call.path) ?? chanceFault(world, call.method);
  const delivery = await answer(service, call, fault);
  const status = 'reply' in delivery ? delivery.reply.status : undefined;
  log.add({
    at: world.now(),
    call,
    ...(status !== undefined && { status }),
    ...(fault !== undefined && { fault: fault.kind }),
  });
  return delivery;
}

async function answer(service: Service, call: Call, fault: Fault | undefined): Promise<Delivery> {
  if (fault === undefined) return { as: 'reply', reply: await act(service, call) };
  switch (fault.kind) {
    case 'reset-before':
      return { as: 'reset' };
    case 'silence-before':
      return { as: 'silence' };
    case 'status-before':
      return { as: 'reply', reply: faultReply(fault) };
    case 'throttle':
      return { as: 'reply', reply: service.limiter.refuse(routeOf(service, call)?.endpoint ?? call.path, 4_500) };
    case 'reset-after':
      await act(service, call);
      return { as: 'reset' };
    case 'silence-after':
      await act(service, call);
      return { as: 'silence' };
    case 'status-after':
      await act(service, call);
      return { as: 'reply', reply: faultReply(fault) };
    case 'half':
      return { as: 'half', reply: await act(service, call) };
    case 'patch':
      return { as: 'reply', reply: patched(await act(service, call), fault.patch ?? {}) };
    case 'outcome':
      return { as: 'reply', reply: await act(service, call, fault.outcome) };
  }
}

async function act(service: Service, call: Call, outcome?: string): Promise<Reply> {
  return withDate(service.world, await dispatch(service, call, outcome));
}

async function dispatch(service: Service, call: Call, outcome: string | undefined): Promise<Reply> {
  const { world, keyRing, limiter } = service;
  if (!call.path.endsWith('/')) return moved(call);
  const route = routeOf(service, call);
  if (route === undefined) return refusal(404, 'not_found', 'No such endpoint.');
  const params = route.path.exec(call.path)?.slice(1) ?? [];
  const identity = keyRing.identify(world, call);
  const refused = refuseAtDoor(identity, {
    ...route.door,
    ...(route.door.isOpenToNobody === true && { isOpenToNobody: world.knobs.anonymousSearch }),
    ...(route.isOfInstance === true && { contractId: Number(params[0]) }),
  });
  if (refused !== undefined) return refused;
  const throttled = limiter.check({ endpoint: route.endpoint, identity: nameOf(identity, call), address: call.remoteAddress }, route.limit); // prettier-ignore
  if (throttled !== undefined) return throttled;
  const body = parseBody(call.text);
  if (world.mode === 'strict') {
    const strange = strangeName(route, body, call);
    if (strange !== undefined) return refusal(400, 'invalid_args', `strict: ${strange} is nothing that this endpoint knows`);
  }
  return route.handle({ world, call, identity, params, body, outcome });
}

function routeOf({ routes }: Service, call: Call): Route | undefined {
  return routes.find(({ method, path }) => method === call.method && path.test(call.path));
}

/** It parses as JSON and has none of the keys that a client looks for. */
function moved(call: Call): Reply {
  const query = call.query.size > 0 ? `?${call.query.toString()}` : '';
  return {
    status: 301,
    headers: { location: `${call.path}/${query}` },
    json: {
      message: 'The resource has been moved to a new location; please see the Location header.',
      code: '301 Moved Permanently',
    },
  };
}

function parseBody(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return INVALID_JSON;
  }
}

function strangeName(route: Route, body: unknown, call: Call): string | undefined {
  const { fields, queries } = route;
  const parsed = JsonObject.safeParse(body);
  const strangeField =
    parsed.success && fields !== undefined ? Object.keys(parsed.data).find((key) => !fields.includes(key)) : undefined;
  return strangeField ?? (queries === undefined ? undefined : [...call.query.keys()].find((key) => !queries.includes(key)));
}

function nameOf(identity: Identity, call: Call): string {
  return identity.kind === 'nobody' ? 'nobody' : (tokenOf(call) ?? 'nobody');
}

function faultReply({ status = 502, json, text, contentType = 'text/html', headers = {} }: Fault): Reply {
  if (json !== undefined) return { status, json, headers };
  return { status, text: text ?? PAGE_502, contentType, headers };
}

function patched(reply: Reply, patch: Record<string, unknown>): Reply {
  const parsed = 'json' in reply ? JsonObject.safeParse(reply.json) : undefined;
  return parsed?.success === true ? { ...reply, json: mergeInto(parsed.data, patch) } : reply;
}

/** Objects go into each other; in a list the patch goes into every element. */
function mergeInto(value: Record<string, unknown>, patch: Record<string, unknown>): Record<string, unknown> {
  const result = { ...value };
  for (const [name, change] of Object.entries(patch)) {
    const inner = JsonObject.safeParse(change);
    const list = result[name];
    const object = JsonObject.safeParse(list);
    if (inner.success && Array.isArray(list)) {
      result[name] = list.map((element: unknown) => {
        const parsed = JsonObject.safeParse(element);
        return parsed.success ? mergeInto(parsed.data, inner.data) : element;
      });
    } else if (inner.success && object.success) result[name] = mergeInto(object.data, inner.data);
    else result[name] = change;
  }
  return result;
}

function withDate(world: World, reply: Reply): Reply {
  if (world.knobs.clockSkewMs === 0) return reply;
  return { ...reply, headers: { ...reply.headers, date: new Date(world.now() + world.knobs.clockSkewMs).toUTCString() } };
}

function chanceFault(world: World, method: string): Fault | undefined {
  const { knobs } = world;
  const by = (kind: Fault['kind']): Fault => ({ kind, times: 1, skip: 0 });
  if (isChance(world, knobs.resetBeforeShare)) return by('reset-before');
  if (isChance(world, knobs.htmlShare)) return by('status-before');
  if (isChance(world, knobs.throttleShare)) return by('throttle');
  if (method !== 'GET' && isChance(world, knobs.resetAfterShare)) return by('reset-after');
  if (isChance(world, knobs.halfBodyShare)) return by('half');
  return undefined;
}

/** Log-normal, from its median and its 99th percentile. */
function latencyMs(world: World): number {
  const { latencyMedianMs: median, latencyP99Ms: p99 } = world.knobs;
  if (median === 0) return 0;
  const normal = Math.sqrt(-2 * Math.log(1 - world.random.next())) * Math.cos(2 * Math.PI * world.random.next());
  const sigma = p99 > median ? Math.log(p99 / median) / 2.326 : 0;
  return median * Math.exp(sigma * normal);
}
