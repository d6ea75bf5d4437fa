import { z } from 'zod';
import { generateSshKeyPair } from '../../../src/core/openssh-key-pair.ts';
import type { Reply } from '../kit/http-server.ts';
import { removeContainer } from './containers.ts';
import type { Context } from './context.ts';
import { answer, detail } from './host-reply.ts';
import { chooseNodeForVps, refusalOf } from './placement.ts';
import { invalidBody, laxInt } from './pydantic.ts';
import { stopOnRunner } from './runner-end.ts';
import { runVps } from './runner-start.ts';
import { sshPortIn } from './submit.ts';
import { containerOf, nodeOf } from './world.ts';
import type { Node, Task, World } from './world.ts';

// The routes of H and K for a VPS. P and S have none of them.

const FIRST_PLACEHOLDER = 2_222;

const VpsRequest = z.object({
  required_cores: laxInt.pipe(z.number().min(0)).default(1),
  required_gpus: z.array(laxInt).nullish(),
  required_memory_bytes: laxInt.pipe(z.number().min(0)).nullish(),
  target_hostname: z.string().nullish(),
  target_numa_node_id: laxInt.nullish(),
  container_name: z.string().nullish(),
  ssh_key_mode: z.string().default('disabled'),
  ssh_public_key: z.string().nullish(),
  // K
  name: z.string().nullish(),
  registry_image: z.string().nullish(),
  ip_reservation_token: z.string().nullish(),
  vps_backend: z.string().nullish(),
  vm_image: z.string().nullish(),
  vm_disk_size: z.string().nullish(),
  memory_mb: laxInt.nullish(),
});
type VpsRequest = z.infer<typeof VpsRequest>;

export const VPS_FIELDS = Object.keys(VpsRequest.shape);

export async function createVps({ world, body, outcome }: Context): Promise<Reply> {
  const parsed = VpsRequest.safeParse(body);
  if (!parsed.success) return invalidBody(parsed.error, body);
  const request = parsed.data;
  const mode = request.ssh_key_mode;
  if (!isKeyMode(mode)) return detail(400, `Invalid ssh_key_mode: ${mode}`);
  if (mode === 'upload' && !request.ssh_public_key) return detail(400, 'ssh_public_key is required for upload mode.');
  const node = nodeFor(world, request);
  if (node === undefined) return detail(503, 'No suitable node available for this VPS.');
  const pair = mode === 'generate' ? generateSshKeyPair() : undefined;
  const task = addRow(world, request, { node, mode, publicKey: pair?.publicKey ?? request.ssh_public_key ?? '' });
  const placeholder = FIRST_PLACEHOLDER + [...world.tasks.values()].filter(({ type }) => type === 'vps').length - 1;
  const ran = await runVps(world, node, task, outcome);
  const facts = { task_id: String(task.id), ssh_key_mode: mode, ssh_port: placeholder, assigned_node: node.hostname };
  if (ran.kind === 'unreachable') return answer(200, { message: 'VPS creation requested.', ...facts, status: 'assigning' });
  if (ran.kind !== 'answered') {
    // the reason that the Runner has posted is overwritten
    Object.assign(task, { status: 'failed', errorMessage: 'Runner rejected VPS creation.', completedAt: world.now() });
    return detail(502, 'Runner rejected VPS creation.');
  }
  if (task.sshPort === null) task.sshPort = sshPortIn(ran) ?? null;
  return answer(200, {
    message: 'VPS created successfully.',
    ...facts,
    runner_response: ran.body,
    ...(pair !== undefined && { ssh_private_key: pair.privateKey, ssh_public_key: pair.publicKey }),
  });
}

function isKeyMode(mode: string): mode is Task['keyMode'] {
  return ['disabled', 'none', 'upload', 'generate'].includes(mode);
}

function nodeFor(world: World, request: VpsRequest): Node | undefined {
  const wish = {
    cores: request.required_cores,
    gpus: request.required_gpus ?? [],
    memoryBytes: request.required_memory_bytes ?? null,
  };
  // a NUMA id is looked for in another shape of the topology, and never found
  if (typeof request.target_numa_node_id === 'number') return undefined;
  if (typeof request.target_hostname !== 'string') return chooseNodeForVps(world, wish);
  const node = world.nodes.get(request.target_hostname);
  return refusalOf(world, node, undefined, wish) === undefined ? node : undefined;
}

function addRow(
  world: World,
  request: VpsRequest,
  { node, mode, publicKey }: { node: Node; mode: Task['keyMode']; publicKey: string },
): Task {
  const id = world.nextId();
  const task: Task = {
    id,
    batchId: id,
    type: 'vps',
    command: mode === 'none' || mode === 'disabled' ? '' : publicKey,
    args: [],
    envVars: {},
    cores: request.required_cores,
    gpus: request.required_gpus ?? [],
    memoryBytes: request.required_memory_bytes ?? null,
    environment: typeof request.registry_image === 'string' ? world.facts.defaultEnvironment : (request.container_name ?? world.facts.defaultEnvironment), // prettier-ignore
    numaId: null,
    name: world.dialect === 'K' ? (request.name ?? null) : null,
    keyMode: mode,
    hostname: node.hostname,
    status: 'assigning',
    exitCode: null,
    errorMessage: null,
    submittedAt: world.now(),
    startedAt: null,
    completedAt: null,
    sshPort: null,
    suspicion: 0,
  };
  world.tasks.set(String(id), task);
  return task;
}

/** `stopped` at once; the Runner takes its time behind the answer. */
export function stopVps({ world, params }: Context): Reply {
  const task = vpsOf(world, params[0]);
  if (task === undefined) return detail(404, 'VPS not found.');
  const { status } = task;
  if (!['pending', 'assigning', 'running', 'paused'].includes(status))
    return detail(409, `VPS cannot be stopped (state: ${status})`);
  Object.assign(task, { status: 'stopped', errorMessage: 'Stopped by user.', completedAt: world.now() });
  const node = nodeOf(world, task);
  const isRunnerTold = (status === 'running' || status === 'paused') && node?.status === 'online';
  if (isRunnerTold && node?.runner?.isReachable === true) void stopOnRunner(world, node, task.id);
  return answer(202, { message: `VPS ${task.id} stop requested.` });
}

/** The container is made anew, on another port; its keys come from the snapshot. */
export async function restartVps({ world, params, outcome }: Context): Promise<Reply> {
  const task = vpsOf(world, params[0]);
  const node = task && nodeOf(world, task);
  if (task === undefined || node === undefined) return detail(404, 'VPS not found.');
  if (!['running', 'paused', 'failed'].includes(task.status))
    return detail(409, `VPS cannot be restarted (state: ${task.status})`);
  Object.assign(task, { status: 'assigning', sshPort: null, completedAt: null, errorMessage: null });
  const container = containerOf(world, task.id);
  if (container !== undefined) removeContainer(world, container);
  await runVps(world, node, task, outcome);
  return answer(202, { message: `VPS ${task.id} restart requested.` });
}

function vpsOf(world: World, id = ''): Task | undefined {
  const task = world.tasks.get(id);
  return task?.type === 'vps' ? task : undefined;
}
