import { z } from 'zod';
import type { Call, Delivery, Reply } from '../kit/http-server.ts';
import { holdUntil } from './hold.ts';
import { serveWith } from './host-api.ts';
import type { Service } from './host-api.ts';
import { answer, crashed, detail } from './host-reply.ts';
import { invalidBody, invalidJson, laxBigInt } from './pydantic.ts';
import type { RunnerAnswer } from './runner-answer.ts';
import { killOnRunner, pauseOnRunner, stopOnRunner } from './runner-end.ts';
import { parseWide } from './wide-json.ts';
import type { Node, World } from './world.ts';

const KillBody = z.object({ task_id: laxBigInt });

/**
 * A Runner's own HTTP, open to all: the one way to end what its Host will not kill any more. In the log and for faults its paths read
 * `runner/<host name>/kill`.
 */
export async function serveRunner(service: Service, node: Node, call: Call): Promise<Delivery> {
  if (node.runner?.isReachable !== true) return { as: 'silence' };
  const named = { ...call, path: `runner/${node.hostname}${call.path}` };
  return serveWith(service, named, async () => dispatch(service, node, call));
}

async function dispatch({ world }: Service, node: Node, call: Call): Promise<Reply> {
  const { prefix, isSeed } = world.facts;
  const path = call.path.startsWith(`${prefix}/`) ? call.path.slice(prefix.length) : '';
  const stopped = /^\/vps\/stop\/(\d+)$/.exec(path)?.[1];
  if (!isSeed && stopped !== undefined && call.method === 'POST')
    return replyOf(await stopOnRunner(world, node, BigInt(stopped)));
  if (!['/kill', '/pause', '/resume'].includes(path)) return detail(404, 'Not Found');
  if (call.method !== 'POST') return detail(405, 'Method Not Allowed');
  let body: unknown;
  try {
    body = parseWide(call.text);
  } catch {
    return invalidJson();
  }
  const parsed = KillBody.safeParse(body);
  if (!parsed.success) return isSeed ? detail(400, 'Missing task_id') : invalidBody(parsed.error, body);
  const id = parsed.data.task_id;
  if (path === '/kill') return replyOf(await holdUntil(world, killed(world, node, id)));
  const task = world.tasks.get(String(id));
  if (task === undefined || node.runner?.tracked.has(String(id)) !== true) return detail(404, 'Task not found.');
  return replyOf(pauseOnRunner(world, node, task, path === '/pause' ? 'pause' : 'resume'));
}

function killed(world: World, node: Node, id: bigint): Promise<RunnerAnswer> {
  return new Promise((resolve) => killOnRunner(world, node, id, resolve));
}

function replyOf(told: RunnerAnswer): Reply {
  if (told.kind === 'answered') return answer(200, told.body);
  return told.kind === 'refused' ? answer(told.status, told.body) : crashed();
}
