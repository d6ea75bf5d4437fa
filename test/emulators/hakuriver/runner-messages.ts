import { z } from 'zod';
import type { EpochMs } from '../../../src/core/clock.ts';
import type { Reply } from '../kit/http-server.ts';
import type { Context } from './context.ts';
import { takeHeartbeat } from './heartbeats.ts';
import { answer, detail } from './host-reply.ts';
import { invalidBody, laxBigInt, laxInt } from './pydantic.ts';
import { applyUpdate } from './updates.ts';

// What Runners say to the Host. Anybody may say it: a node that registers itself this way has no Runner that the emulator knows.

const instant = z.string().nullish();

const TaskStatusUpdate = z.object({
  task_id: laxBigInt,
  status: z.string(),
  exit_code: laxInt.nullish(),
  message: z.string().nullish(),
  started_at: instant,
  completed_at: instant,
  ssh_port: laxInt.nullish(),
});

/** Any id and any status are taken, and answered with 200. */
export function update({ world, body }: Context): Reply {
  const parsed = TaskStatusUpdate.safeParse(body);
  if (!parsed.success) return invalidBody(parsed.error, body);
  const { task_id: id, status, exit_code: exitCode, message, ssh_port: sshPort } = parsed.data;
  const said = applyUpdate(world, world.tasks.get(String(id)), {
    status,
    exitCode: exitCode ?? null,
    message: message ?? null,
    startedAt: instantOf(parsed.data.started_at),
    completedAt: instantOf(parsed.data.completed_at),
    sshPort: sshPort ?? null,
  });
  return answer(200, { message: said });
}

const RunnerInfo = z.object({
  hostname: z.string(),
  total_cores: laxInt,
  total_ram_bytes: laxInt.nullish(),
  runner_url: z.string().nullish(),
  url: z.string().nullish(),
});

/** Upsert by host name: anybody may move a node to another URL. */
export function register({ world, body }: Context): Reply {
  const { isSeed } = world.facts;
  const parsed = RunnerInfo.required(isSeed ? { runner_url: true, total_ram_bytes: true } : { url: true }).safeParse(body);
  if (!parsed.success) return invalidBody(parsed.error, body);
  const { hostname, total_cores: totalCores, total_ram_bytes: ramBytes, runner_url: runnerUrl, url } = parsed.data;
  const known = world.nodes.get(hostname);
  const place = { url: (isSeed ? runnerUrl : url) ?? '', status: 'online', lastHeartbeatAt: world.now() } as const;
  if (known === undefined) {
    const fresh = { hostname, totalCores, ramBytes: ramBytes ?? 0, hasNuma: false, gpus: undefined };
    world.nodes.set(hostname, { ...fresh, ...place, occupiedCores: 0, occupiedGpus: new Set() });
  } else Object.assign(known, place);
  const message = `Runner ${hostname} acknowledged.`;
  if (isSeed) return answer(200, { message });
  return answer(200, { message, created: known === undefined, ...(world.dialect === 'K' && { overlay: null }) });
}

const HeartbeatData = z.object({
  running_tasks: z.array(laxBigInt),
  killed_tasks: z.array(z.object({ task_id: laxBigInt, reason: z.string() })).default([]),
});

export function heartbeat({ world, params, body }: Context): Reply {
  const schema = world.facts.isSeed
    ? HeartbeatData
    : HeartbeatData.extend({ running_tasks: HeartbeatData.shape.running_tasks.default([]) });
  const parsed = schema.safeParse(body);
  if (!parsed.success) return invalidBody(parsed.error, body);
  const node = world.nodes.get(decodeURIComponent(params[0] ?? ''));
  if (node === undefined) return detail(404, 'Node not registered');
  const killed = parsed.data.killed_tasks.map(({ task_id: taskId, reason }) => ({ taskId, reason }));
  takeHeartbeat(world, node, new Set(parsed.data.running_tasks.map(String)), killed);
  return answer(200, { message: 'Heartbeat received' });
}

function instantOf(text: string | null | undefined): EpochMs | null {
  if (typeof text !== 'string') return null;
  const at = Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
  return Number.isNaN(at) ? null : at;
}
