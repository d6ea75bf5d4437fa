import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import type { Context } from './context.ts';
import { answer, crashed, detail } from './host-reply.ts';
import { occupyNode, vacateNode } from './occupation.ts';
import { chooseNode, refusalOf } from './placement.ts';
import { invalidBody, laxInt } from './pydantic.ts';
import { runCommand, runVps } from './runner-start.ts';
import type { RunnerAnswer } from './runner-answer.ts';
import { applyUpdate } from './updates.ts';
import { isChance } from './world.ts';
import type { Node, Task, World } from './world.ts';

const STRANGERS_STAY_MS = 60_000;
const TARGET = /^[a-zA-Z0-9.-]+(:\d+)?$/;

export const TaskRequest = z.object({
  task_type: z.string().default('command'),
  command: z.string().default(''),
  arguments: z.array(z.string()).default([]),
  env_vars: z.record(z.string(), z.string()).default({}),
  required_cores: laxInt.pipe(z.number().min(0)).default(1),
  required_gpus: z.array(z.array(laxInt)).nullish(),
  required_memory_bytes: laxInt.pipe(z.number().min(0)).nullish(),
  targets: z.array(z.string()).nullish(),
  container_name: z.string().nullish(),
  privileged: z.boolean().nullish(),
  additional_mounts: z.array(z.string()).nullish(),
  // K
  registry_image: z.string().nullish(),
  ip_reservation_token: z.string().nullish(),
});
type TaskRequest = z.infer<typeof TaskRequest>;

/** P and S check the form of a target. */
const SeedTaskRequest = TaskRequest.superRefine(({ targets }, refinement) => {
  const bad = targets?.find((target) => !TARGET.test(target));
  if (bad === undefined) return;
  const message = `Invalid target format: '${bad}'. Use 'hostname' or 'hostname:numa_id'.`;
  refinement.addIssue({ code: 'custom', path: ['targets'], message });
});

/** `POST /submit`: 202 says that a row was made, and nothing more. A VPS holds the answer back until its Runner has answered. */
export async function submit({ world, body, outcome }: Context): Promise<Reply> {
  const parsed = (world.facts.isSeed ? SeedTaskRequest : TaskRequest).safeParse(body);
  if (!parsed.success) return invalidBody(parsed.error, body);
  const request = parsed.data;
  const refused = refusalOfKind(request);
  if (refused !== undefined) return refused;
  const targets = request.targets?.length ? request.targets : chosenTarget(world, request);
  if (targets === undefined) return world.facts.isSeed ? crashed() : detail(503, 'No available nodes found matching the requested resources.'); // prettier-ignore
  const gpuLists = request.required_gpus ?? targets.map(() => []);
  if (gpuLists.length !== targets.length && !world.facts.isSeed)
    return detail(400, 'Length of required_gpus must match the number of targets.');

  const batch: Task[] = [];
  const failed: { target: string; reason: string }[] = [];
  let node: Node | undefined;
  let ran: RunnerAnswer | undefined;
  for (const [index, target] of targets.entries()) {
    const gpus = gpuLists[index];
    if (gpus === undefined) return crashed();
    const [hostname = '', numa] = target.split(':');
    const candidate = world.nodes.get(hostname);
    const wish = { cores: request.required_cores, gpus, memoryBytes: request.required_memory_bytes ?? null };
    if (isChance(world, world.knobs.goneBeforeCreateShare) && candidate !== undefined) occupyForAWhile(world, candidate);
    const reason = refusalOf(world, candidate, numa, wish);
    if (reason !== undefined || candidate === undefined) {
      failed.push({ target, reason: reason ?? '' });
      continue;
    }
    node = candidate;
    const numaId = numa === undefined ? null : Number(numa);
    const task = addRow(world, { request, node, gpus, numaId, batchId: batch[0]?.id });
    batch.push(task);
    ran = await dispatch(world, node, task, outcome);
  }
  // the first target may have been started by now, and its row bears an id that no answer tells
  if (gpuLists.length !== targets.length) return crashed();
  if (batch.length === 0 || node === undefined)
    return detail(503, `Failed to schedule task for any target. Failures: ${pythonList(failed)}`);
  return answer(202, {
    message: `Task batch submitted successfully. ${batch.length} tasks created.`,
    task_ids: batch.map(({ id }) => String(id)),
    ...(failed.length > 0
      ? { failed_targets: failed.map((each) => ({ ...each })) }
      : { assigned_node: { hostname: node.hostname, url: node.url } }),
    ...(failed.length === 0 && runnerResponse(world, request, ran)),
  });
}

/** Absent when the Runner failed, or answered null, or too late. */
function runnerResponse(world: World, { task_type: type }: TaskRequest, ran: RunnerAnswer | undefined) {
  if (ran?.kind !== 'answered' || ran.body === null) return {};
  if (type === 'vps') return { runner_response: ran.body };
  return world.facts.isSeed ? {} : { runner_response: true };
}

function refusalOfKind(request: TaskRequest): Reply | undefined {
  const isVps = request.task_type === 'vps';
  if (!isVps && request.task_type !== 'command')
    return detail(400, "Invalid task type. Only 'command' and 'vps' are supported.");
  if (isVps && request.container_name === 'NULL') return detail(400, 'VPS tasks require a Docker container.');
  if (isVps && (request.targets?.length ?? 0) > 1) return detail(400, 'VPS tasks cannot be submitted to multiple targets.');
  const wantsGpus = (request.required_gpus?.length ?? 0) > 0;
  if (wantsGpus && !request.targets?.length) return detail(400, 'No target node specified for GPU task is not allowed.');
  return undefined;
}

function chosenTarget(world: World, request: TaskRequest): string[] | undefined {
  const node = chooseNode(world, request.required_cores);
  return node === undefined ? undefined : [node.hostname];
}

function occupyForAWhile(world: World, node: Node): void {
  occupyNode(node);
  world.agenda.at(world.now() + STRANGERS_STAY_MS, () => vacateNode(node));
}

interface NewRow {
  readonly request: TaskRequest;
  readonly node: Node;
  readonly gpus: readonly number[];
  readonly numaId: number | null;
  readonly batchId: bigint | undefined;
}

function addRow(world: World, { request, node, gpus, numaId, batchId }: NewRow): Task {
  const id = world.nextId();
  const isVps = request.task_type === 'vps';
  const task: Task = {
    id,
    batchId: batchId ?? id,
    type: isVps ? 'vps' : 'command',
    command: request.command,
    args: isVps ? [] : request.arguments,
    envVars: isVps ? {} : request.env_vars,
    cores: request.required_cores,
    gpus,
    memoryBytes: request.required_memory_bytes ?? null,
    environment: request.container_name ?? world.facts.defaultEnvironment,
    numaId,
    name: null,
    // H and K do not pass the key on by this route: a VPS without SSH
    keyMode: isVps && world.facts.isSeed ? 'upload' : 'disabled',
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

/** The Host's call of the Runner, and its patience. The Runner goes on whether anybody still waits or not. */
async function dispatch(world: World, node: Node, task: Task, outcome: Context['outcome']): Promise<RunnerAnswer> {
  const { hostLife } = world;
  const ran = task.type === 'vps' ? await runVps(world, node, task, outcome) : runCommand(world, node, task);
  // the one message that bears the port: a Host that was restarted meanwhile never learns it
  if (!world.isHostUp || world.hostLife !== hostLife || !world.facts.isSeed) return ran;
  if (ran.kind === 'unreachable' && task.status === 'assigning') failContact(world, task);
  task.sshPort = sshPortIn(ran) ?? null;
  return ran;
}

function failContact(world: World, task: Task): void {
  const message = 'Failed to contact runner: All connection attempts failed';
  applyUpdate(world, task, { status: 'failed', message, completedAt: world.now() });
}

export function sshPortIn(ran: RunnerAnswer): number | undefined {
  const body = ran.kind === 'answered' ? z.object({ ssh_port: z.int() }).safeParse(ran.body) : undefined;
  return body?.success === true ? body.data.ssh_port : undefined;
}

function pythonList(failed: readonly { readonly target: string; readonly reason: string }[]): string {
  return `[${failed.map(({ target, reason }) => `{'target': '${target}', 'reason': '${reason}'}`).join(', ')}]`;
}
