import type { Reply } from '../kit/http-server.ts';
import type { Context } from './context.ts';
import type { Dialect } from './dialect.ts';
import { answer, crashed, detail } from './host-reply.ts';
import { naiveTime } from './naive-time.ts';
import { activeVpsRow, nodeRow, statusRow, taskRow, vpsRow } from './rows.ts';
import { heartbeat, register, update } from './runner-messages.ts';
import { submit, TaskRequest } from './submit.ts';
import { command, kill } from './task-commands.ts';
import { createVps, restartVps, stopVps, VPS_FIELDS } from './vps.ts';
import type { Task, World } from './world.ts';

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** With `{name}` for what it catches; `{task_id}` must be an integer. Without the prefix. */
  readonly path: string;
  /** Fields of the body that the version knows; strict mode refuses others. Absent: anything goes. */
  readonly fields?: readonly string[];
  /** Of K's authentication; absent: open to all even where it is on. */
  readonly role?: 'viewer' | 'user' | 'operator';
  handle(context: Context): Reply | Promise<Reply>;
}

export function createHostRoutes(dialect: Dialect): readonly Route[] {
  const isSeed = dialect === 'P' || dialect === 'S';
  const common: Route[] = [
    { method: 'GET', path: '/docker/host/containers', handle: () => answer(200, []), role: 'operator' },
    { method: 'GET', path: '/docker/list', handle: dockerList, role: 'operator' },
    { method: 'POST', path: '/register', handle: register },
    { method: 'PUT', path: '/heartbeat/{hostname}', handle: heartbeat },
    { method: 'GET', path: isSeed ? '/task/{task_id}/stdout' : '/tasks/{task_id}/stdout', handle: log('stdout'), role: 'user' },
    { method: 'GET', path: isSeed ? '/task/{task_id}/stderr' : '/tasks/{task_id}/stderr', handle: log('stderr'), role: 'user' },
    { method: 'GET', path: '/tasks', handle: listTasks, role: 'viewer' },
    { method: 'GET', path: '/vps', handle: listVps, role: 'viewer' },
    { method: 'POST', path: '/submit', handle: submit, fields: Object.keys(TaskRequest.shape), role: 'user' },
    { method: 'POST', path: '/update', handle: update },
    { method: 'GET', path: '/status/{task_id}', handle: status, role: 'viewer' },
    { method: 'GET', path: '/vps/status', handle: listActiveVps, role: 'viewer' },
    { method: 'POST', path: '/kill/{task_id}', handle: kill, fields: [], role: 'user' },
    { method: 'POST', path: '/command/{task_id}/{command}', handle: command, fields: [], role: 'user' },
    { method: 'GET', path: '/nodes', handle: listNodes },
    { method: 'GET', path: '/health', handle: health },
  ];
  if (isSeed) return common;
  const later: Route[] = [
    { method: 'POST', path: '/vps/create', handle: createVps, fields: VPS_FIELDS, role: 'operator' },
    { method: 'POST', path: '/vps/stop/{task_id}', handle: stopVps, fields: [], role: 'operator' },
    { method: 'POST', path: '/vps/restart/{task_id}', handle: restartVps, fields: [], role: 'operator' },
  ];
  return [...common, ...later];
}

function status({ world, params }: Context): Reply {
  const task = world.tasks.get(params[0] ?? '');
  return task === undefined ? detail(404, 'Task id not found') : answer(200, statusRow(world, task));
}

function newestFirst(world: World, type: Task['type']): Task[] {
  return [...world.tasks.values()].filter((task) => task.type === type).reverse();
}

function listVps({ world }: Context): Reply {
  return answer(
    200,
    newestFirst(world, 'vps').map((task) => vpsRow(world, task)),
  );
}

function listActiveVps({ world }: Context): Reply {
  const active = newestFirst(world, 'vps').filter((task) =>
    ['pending', 'assigning', 'running', 'paused'].includes(task.status),
  );
  return answer(
    200,
    active.map((task) => activeVpsRow(world, task)),
  );
}

function listTasks({ world, call }: Context): Reply {
  const rows = newestFirst(world, 'command').map((task) => taskRow(world, task));
  if (world.facts.isSeed) return answer(200, rows);
  const offset = Number(call.query.get('offset') ?? 0);
  const wanted = call.query.get('status');
  const found = rows.filter((row) => wanted === null || row['status'] === wanted);
  return answer(200, found.slice(offset, offset + Number(call.query.get('limit') ?? 100)));
}

function listNodes({ world }: Context): Reply {
  return answer(
    200,
    [...world.nodes.values()].map((node) => nodeRow(world, node)),
  );
}

/** The sampler died, or froze, at the first node: what it says is of the Host's start. */
function health({ world }: Context): Reply {
  const zeros = {
    totalNodes: 0,
    onlineNodes: 0,
    totalCores: 0,
    totalMemBytes: 0,
    usedMemBytes: 0,
    avgCpuPercent: 0,
    avgMemPercent: 0,
    maxAvgCpuTemp: 0,
    maxMaxCpuTemp: 0,
  };
  return answer(200, { nodes: [[]], aggregate: [{ ...zeros, lastUpdated: naiveTime(world, world.hostStartedAt) }] });
}

function log(stream: 'stdout' | 'stderr'): Route['handle'] {
  return ({ world, params }) => {
    const task = world.tasks.get(params[0] ?? '');
    if (task === undefined) return detail(404, 'Task id not found');
    if (task.type === 'vps') return detail(400, `VPS tasks do not have ${stream}.`);
    // P and S: the 404 that was meant is caught, and becomes this
    if (task.startedAt === null) return world.facts.isSeed ? crashed() : text('');
    const echoed = (stream === 'stdout' ? /echo (\w+)(?:;|$)/ : /echo (\w+) >&2/).exec(task.args.join(' '))?.[1];
    return text(echoed === undefined ? '' : `${echoed}\n`);
  };
}

function text(content: string): Reply {
  return { status: 200, text: content, contentType: 'text/plain; charset=utf-8' };
}

function dockerList({ world }: Context): Reply {
  const timestamp = 1_795_318_377;
  const entries = [...world.environments.keys()].map((name) => {
    const tarball = `${name}-${timestamp}.tar`;
    return [name, { latest_timestamp: timestamp, latest_tarball: tarball, all_versions: [{ timestamp, tarball }] }] as const;
  });
  return answer(200, Object.fromEntries(entries));
}
