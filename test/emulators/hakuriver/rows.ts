import { gpuRows } from './gpu-rows.ts';
import { naiveTime, naiveTimeOrNull } from './naive-time.ts';
import { shownCoresInUse } from './placement.ts';
import type { WideJson } from './wide-json.ts';
import { isChance } from './world.ts';
import type { Node, Task, World } from './world.ts';

type Row = Record<string, WideJson>;

const NO_VERSION_WRITES = 'defragmenting';

/** `/status/{id}`. P and S keep the port, the kind and (in practice) the node to themselves. */
export function statusRow(world: World, task: Task): Row {
  const { isSeed, idsInStatus, imagePrefix } = world.facts;
  const id = (value: bigint) => (idsInStatus === 'bare' ? value : String(value));
  const common = {
    arguments: task.args,
    env_vars: isSeed && Object.keys(task.envVars).length === 0 ? [] : task.envVars,
    required_cores: task.cores,
    required_gpus: task.gpus,
    required_memory_bytes: task.memoryBytes,
    status: statusOf(world, task),
    assigned_node: isSeed ? null : task.hostname,
    target_numa_node_id: task.numaId,
    stdout_path: logPath(world, task, 'out'),
    stderr_path: logPath(world, task, 'err'),
    exit_code: task.exitCode,
    error_message: task.errorMessage,
    submitted_at: naiveTime(world, task.submittedAt),
    started_at: naiveTimeOrNull(world, task.startedAt),
    completed_at: naiveTimeOrNull(world, task.completedAt),
  };
  const head = { task_id: id(task.id), batch_id: id(task.batchId) };
  if (isSeed) {
    return dressed(world, {
      ...head,
      command: task.command,
      ...common,
      systemd_unit_name: unitOf(task),
      assignment_suspicion_count: task.suspicion,
    });
  }
  return dressed(world, {
    ...head,
    task_type: task.type,
    command: task.type === 'vps' && world.knobs.keysHidden ? '' : task.command,
    ...common,
    container_name: task.environment,
    docker_image_name: `${imagePrefix}${task.environment}:base`,
    docker_privileged: false,
    docker_mount_dirs: [],
    ssh_port: task.sshPort,
    ...(world.dialect === 'K' && {
      name: task.name,
      owner_id: null,
      approval_status: null,
      approved_by_id: null,
      approved_at: null,
      rejection_reason: null,
      vps_backend: task.type === 'vps' ? 'docker' : null,
      vm_image: null,
      vm_disk_size: null,
      vm_ip: null,
    }),
  });
}

/** `/vps`: every VPS that ever was, with neither keys nor, in P and S, a port. */
export function vpsRow(world: World, task: Task): Row {
  return dressed(world, {
    task_id: String(task.id),
    required_cores: task.cores,
    required_gpus: task.gpus,
    required_memory_bytes: task.memoryBytes,
    status: statusOf(world, task),
    assigned_node: task.hostname,
    target_numa_node_id: task.numaId,
    exit_code: task.exitCode,
    error_message: task.errorMessage,
    submitted_at: naiveTime(world, task.submittedAt),
    started_at: naiveTimeOrNull(world, task.startedAt),
    completed_at: naiveTimeOrNull(world, task.completedAt),
    ...(!world.facts.isSeed && { container_name: task.environment, ssh_port: task.sshPort }),
    ...(world.dialect === 'K' && { name: task.name }),
  });
}

/** `/vps/status`: what is not at its end, with the port that the Host was told. */
export function activeVpsRow(world: World, task: Task): Row {
  return dressed(world, {
    task_id: String(task.id),
    status: statusOf(world, task),
    assigned_node: task.hostname,
    target_numa_node_id: task.numaId,
    required_cores: task.cores,
    required_gpus: task.gpus,
    required_memory_bytes: task.memoryBytes,
    submitted_at: naiveTime(world, task.submittedAt),
    started_at: naiveTimeOrNull(world, task.startedAt),
    ssh_port: task.sshPort,
  });
}

/** `/tasks`: command tasks, with their node. */
export function taskRow(world: World, task: Task): Row {
  return { ...statusRow(world, task), task_id: String(task.id), batch_id: String(task.batchId), assigned_node: task.hostname };
}

export function nodeRow(world: World, node: Node): Row {
  const isOnline = node.status === 'online';
  const used = shownCoresInUse(world, node);
  const memoryUsed = Math.round(node.ramBytes * 0.05);
  const nulls = world.knobs.everyOptionalNull;
  return dressed(world, {
    hostname: node.hostname,
    url: node.url,
    total_cores: node.totalCores,
    cores_in_use: isOnline ? used : 'N/A',
    available_cores: isOnline ? node.totalCores - used : 0,
    status: node.status,
    last_heartbeat: naiveTime(world, node.lastHeartbeatAt),
    numa_topology: node.hasNuma && !nulls ? numaOf(node) : null,
    gpu_info: nulls && node.gpus === undefined ? null : gpuRows(world, node),
    ...(!world.facts.isSeed && {
      cpu_percent: nulls ? null : 3.1,
      memory_percent: nulls ? null : 5,
      memory_used_bytes: nulls ? null : memoryUsed,
      memory_total_bytes: nulls ? null : node.ramBytes,
      current_avg_temp: null,
      current_max_temp: null,
    }),
    ...(world.dialect === 'K' && { vm_capable: false, vfio_gpus: [], runner_version: nulls ? null : '0.4.0' }),
  });
}

export function unitOf(task: Task): string {
  return `hakuriver-task-${task.id}.scope`;
}

function numaOf(node: Node): WideJson {
  return { 0: { cores: Array.from({ length: node.totalCores }, (_, index) => index), memory_bytes: node.ramBytes } };
}

function logPath({ facts }: World, task: Task, stream: 'out' | 'err'): string {
  if (!facts.isSeed) return `/mnt/cluster-share/logs/${task.id}/std${stream}.log`;
  return `/shared/${stream === 'out' ? 'task_outputs' : 'task_errors'}/${task.id}.${stream}`;
}

function statusOf(world: World, task: Task): string {
  return task.type === 'vps' && isChance(world, world.knobs.unknownStatusShare) ? NO_VERSION_WRITES : task.status;
}

function dressed(world: World, row: Row): Row {
  return world.knobs.extraFields ? { ...row, colour: 'teal', nested: { depth: [1, null] } } : row;
}
