import { deliverWith, drawAccident, drawLatencyMs } from '../kit/accident.ts';
import type { EmulatorClock } from '../kit/emulator-clock.ts';
import type { FaultQueue } from '../kit/fault.ts';
import type { Call, Delivery, Reply } from '../kit/http-server.ts';
import type { RequestLog } from '../kit/request-log.ts';
import { failure, invalid, JsonObject } from './answers.ts';
import { refuseAtDoor } from './auth.ts';
import type { KeyRing } from './auth.ts';
import type { Limiter } from './limits.ts';
import { methodNotAllowed } from './manage.ts';
import { ROUTES } from './routes.ts';
import type { Route } from './routes.ts';
import type { World } from './world.ts';

export interface Service {
  readonly world: World;
  readonly clock: EmulatorClock;
  readonly keyRing: KeyRing;
  readonly limiter: Limiter;
  readonly faults: FaultQueue;
  readonly log: RequestLog;
}

const REFUSAL_WAIT_MS = 20_000;
/** Of the time a call takes, what passes before anything is done: who gives up early has been served nevertheless. */
const BEFORE_SHARE = 0.1;

/** One call, with an accident before or after it. */
export async function serve(service: Service, call: Call): Promise<Delivery> {
  const { world, log, clock } = service;
  const { latencyMedianMs: medianMs, latencyP99Ms: p99Ms } = world.knobs;
  const latencyMs = drawLatencyMs(world.random, { medianMs, p99Ms });
  await clock.sleep(latencyMs * BEFORE_SHARE);
  world.agenda.settle();
  const fault = service.faults.take(call.method, call.path) ?? drawAccident(world.random, world.knobs, call.method);
  const delivery = await deliverWith(fault, {
    act: (outcome) => act(service, call, outcome),
    throttle: () => service.limiter.refuse(REFUSAL_WAIT_MS),
  });
  const status = 'reply' in delivery ? delivery.reply.status : undefined;
  log.add({
    at: world.now(),
    call,
    ...(status !== undefined && { status }),
    ...(fault !== undefined && { fault: fault.kind }),
  });
  await clock.sleep(latencyMs * (1 - BEFORE_SHARE));
  return delivery;
}

async function act(service: Service, call: Call, outcome: string | undefined): Promise<Reply> {
  const { world, limiter } = service;
  const reply = await dispatch(service, call, outcome);
  const date = new Date(world.now() + world.knobs.clockSkewMs).toUTCString();
  return { ...reply, headers: { date, ...limiter.headers(callerOf(service, call)), ...reply.headers } };
}

async function dispatch(service: Service, call: Call, outcome: string | undefined): Promise<Reply> {
  const { world, keyRing, limiter } = service;
  const route = ROUTES.find(({ method, path }) => method === call.method && path.test(call.path));
  if (route === undefined) return ROUTES.some(({ path }) => path.test(call.path)) ? methodNotAllowed() : noSuchRoute();
  const refused = refuseAtDoor(world, keyRing.identify(call), { door: route.door, call });
  if (refused !== undefined) return refused;
  const throttled = limiter.check(callerOf(service, call));
  if (throttled !== undefined) return throttled;
  const parsed = route.door === 'v0' ? { json: undefined } : parse(call.text);
  if (parsed === undefined) return failure(400, 'Invalid JSON in request body');
  const strange = world.mode === 'strict' ? strangeName(route, parsed.json, call) : undefined;
  if (strange !== undefined)
    return invalid(world, [{ code: 'unrecognized_keys', message: `strict: Unrecognized key: "${strange}"`, path: [] }]);
  return route.handle({ world, call, params: route.path.exec(call.path)?.slice(1) ?? [], body: parsed.json, outcome });
}

function noSuchRoute(): Reply {
  return {
    status: 404,
    text: '<!DOCTYPE html><html><body>404: This page could not be found</body></html>',
    contentType: 'text/html',
  };
}

/** All tokens of the organisation count together; who shows none is told apart by where they come from. */
function callerOf({ keyRing }: Service, call: Call): string {
  return keyRing.identify(call) === 'organisation' ? 'organisation' : call.remoteAddress;
}

function parse(text: string): { readonly json: unknown } | undefined {
  try {
    return { json: text === '' ? undefined : JSON.parse(text) };
  } catch {
    return undefined;
  }
}

function strangeName({ fields, queries }: Route, body: unknown, call: Call): string | undefined {
  const parsed = JsonObject.safeParse(body);
  const strangeField = parsed.success ? Object.keys(parsed.data).find((key) => fields?.includes(key) === false) : undefined;
  return strangeField ?? [...call.query.keys()].find((key) => !queries.includes(key));
}
