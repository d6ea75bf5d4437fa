import { deliverWith, drawAccident, drawLatencyMs } from '../kit/accident.ts';
import type { EmulatorClock } from '../kit/emulator-clock.ts';
import type { FaultInput, FaultQueue } from '../kit/fault.ts';
import type { Call, Delivery, Reply } from '../kit/http-server.ts';
import type { RequestLog } from '../kit/request-log.ts';
import type { Context } from './context.ts';
import { answer, crashed, detail } from './host-reply.ts';
import type { Route } from './host-routes.ts';
import { invalidJson, invalidPathInt, JsonObject } from './pydantic.ts';
import { RUN_OUTCOMES } from './runner-answer.ts';
import { formatWide, parseWide } from './wide-json.ts';
import type { WideJson } from './wide-json.ts';
import { isChance } from './world.ts';
import type { World } from './world.ts';

export interface Service {
  readonly world: World;
  readonly clock: EmulatorClock;
  readonly routes: readonly Route[];
  /** Of K with authentication on; undefined: every caller is admin. */
  readonly tokens: Readonly<Record<Role, string>> | undefined;
  readonly faults: FaultQueue;
  readonly log: RequestLog;
}

export const ROLES = ['viewer', 'user', 'operator'] as const;
export type Role = (typeof ROLES)[number];

/** One call of the Host, with an accident before or after it. */
export async function serveHost(service: Service, call: Call): Promise<Delivery> {
  return serveWith(service, call, (outcome) => dispatch(service, call, outcome));
}

/** What Host and Runners have in common. `name` stands for the path in the log and before the faults. */
export async function serveWith(
  { world, clock, faults, log }: Service,
  call: Call,
  act: (outcome?: string) => Promise<Reply>,
): Promise<Delivery> {
  await clock.sleep(latencyMs(world));
  world.agenda.settle();
  const fault = faults.take(call.method, call.path) ?? accident(world, call.method);
  const delivery = await deliverWith(fault, {
    act: async (outcome) => {
      const reply = await act(outcome);
      world.agenda.settle();
      return reply;
    },
    throttle: () => ({ status: 429, text: 'Too Many Requests', contentType: 'text/plain' }),
  });
  const status = 'reply' in delivery ? delivery.reply.status : undefined;
  log.add({
    at: world.now(),
    call,
    ...(status !== undefined && { status }),
    ...(fault !== undefined && { fault: fault.kind }),
  });
  return 'reply' in delivery ? { ...delivery, reply: written(delivery.reply) } : delivery;
}

function latencyMs({ random, knobs }: World): number {
  return drawLatencyMs(random, { medianMs: knobs.latencyMedianMs, p99Ms: knobs.latencyP99Ms });
}

function accident(world: World, method: string): ReturnType<typeof drawAccident> {
  const failure: FaultInput = { kind: 'status-before', status: 500, text: 'Internal Server Error', contentType: 'text/plain; charset=utf-8' }; // prettier-ignore
  if (isChance(world, world.knobs.errorShare)) return { ...failure, times: 1, skip: 0 };
  return drawAccident(world.random, world.knobs, method);
}

/** Ids leave as bare integers, however long. */
function written(reply: Reply): Reply {
  if (!('json' in reply)) return reply;
  const { json, ...rest } = reply;
  // answers are made of what JSON can hold, and of bigints
  return { ...rest, text: formatWide(json as WideJson), contentType: 'application/json' };
}

async function dispatch({ world, routes, tokens }: Service, call: Call, outcome: string | undefined): Promise<Reply> {
  if (call.method === 'GET' && call.path === '/openapi.json') return answer(200, openApi(world, routes));
  const { prefix } = world.facts;
  const path = call.path.startsWith(`${prefix}/`) ? call.path.slice(prefix.length) : undefined;
  if (world.dialect === 'K' && call.method === 'GET' && path === '/auth/status')
    return answer(200, { auth_enabled: tokens !== undefined, user: null });
  const matching = path === undefined ? [] : routes.filter((route) => patternOf(route.path).test(path));
  const route = matching.find(({ method }) => method === call.method);
  if (path === undefined || matching.length === 0) return detail(404, 'Not Found');
  if (route === undefined) return detail(405, 'Method Not Allowed');
  const refused = refuseAtDoor(route, tokens, call);
  if (refused !== undefined) return refused;
  const params = patternOf(route.path).exec(path)?.slice(1) ?? [];
  if (route.path.includes('{task_id}') && !/^-?\d+$/.test(params[0] ?? '')) return invalidPathInt('task_id', params[0] ?? '');
  const body = bodyOf(call);
  if (body === undefined) return invalidJson();
  const strange = world.mode === 'strict' ? strangeField(route, body) : undefined;
  if (strange !== undefined) return detail(400, `strict: ${strange} is nothing that this endpoint knows`);
  try {
    return await route.handle({ world, call, params, body, outcome: runOutcome(outcome) });
  } catch (error) {
    if (world.closing.aborted) return crashed();
    throw error;
  }
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/\{\w+\}/g, '([^/]+)')}$`);
}

function refuseAtDoor({ role }: Route, tokens: Service['tokens'], call: Call): Reply | undefined {
  if (role === undefined || tokens === undefined) return undefined;
  const token = /^Bearer (.+)$/.exec(call.headers['authorization'] ?? '')?.[1];
  const held = ROLES.find((each) => tokens[each] === token);
  if (held === undefined) return detail(401, 'Authentication required');
  return ROLES.indexOf(held) < ROLES.indexOf(role) ? detail(403, `Requires role ${role} or higher`) : undefined;
}

function bodyOf({ text }: Call): unknown {
  try {
    return text === '' ? {} : parseWide(text);
  } catch {
    return undefined;
  }
}

function strangeField({ fields }: Route, body: unknown): string | undefined {
  const parsed = JsonObject.safeParse(body);
  if (fields === undefined || !parsed.success) return undefined;
  return Object.keys(parsed.data).find((name) => !fields.includes(name));
}

function runOutcome(outcome: string | undefined): Context['outcome'] {
  if (outcome === undefined) return undefined;
  const known = RUN_OUTCOMES.find((each) => each === outcome);
  if (known === undefined) throw new Error(`no outcome ${outcome}: ${RUN_OUTCOMES.join(', ')}`);
  return known;
}

/** The one place that tells the versions apart. */
function openApi({ facts, dialect }: World, routes: readonly Route[]): WideJson {
  const paths: Record<string, Record<string, WideJson>> = {};
  for (const { method, path } of routes)
    paths[`${facts.prefix}${path}`] = { ...paths[`${facts.prefix}${path}`], [method.toLowerCase()]: { responses: {} } };
  const info = facts.isSeed
    ? { title: 'HakuRiver Cluster Manager', version: '0.1.0' }
    : { title: 'HakuRiver Host', version: '0.4.0' };
  const auth = dialect === 'K' ? { '/api/auth/status': { get: { responses: {} } } } : {};
  return { openapi: '3.1.0', info, paths: { ...auth, ...paths } };
}
