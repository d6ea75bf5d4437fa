import { applyUpdate } from './updates.ts';
import type { Node, World } from './world.ts';

/** A heartbeat from its own Runner every few seconds; none while a docker command holds the Runner up (P and S). */
export function startHeartbeats(world: World, node: Node): void {
  const { runner } = node;
  if (runner === undefined) return;
  const { life } = runner;
  const beat = () => {
    if (runner.life !== life || !runner.isUp) return;
    world.agenda.at(world.now() + world.knobs.heartbeatMs, beat);
    if (world.facts.isSeed && world.now() < runner.busyUntil) runner.isBeatDue = true;
    else sendHeartbeat(world, node);
  };
  world.agenda.at(world.now() + world.knobs.heartbeatMs, beat);
}

/** Nobody repeats it, except that killed tasks are told until a heartbeat gets through. */
export function sendHeartbeat(world: World, node: Node): void {
  const { runner } = node;
  if (runner === undefined || !runner.isUp || !runner.isReachable || !world.isHostUp) return;
  runner.isBeatDue = false;
  // P and S list command tasks alone, which end in no time here
  const running = world.facts.isSeed ? new Set<string>() : runner.tracked;
  takeHeartbeat(world, node, running, runner.killed);
  runner.killed = [];
}

/** The Host's side, for a heartbeat over HTTP, too. */
export function takeHeartbeat(
  world: World,
  node: Node,
  running: ReadonlySet<string>,
  killed: readonly { readonly taskId: bigint; readonly reason: string }[],
): void {
  node.lastHeartbeatAt = world.now();
  node.status = 'online';
  for (const { taskId, reason } of killed) {
    const task = world.tasks.get(String(taskId));
    const isFinal =
      task !== undefined && ['completed', 'failed', 'killed', 'killed_oom', 'lost', 'stopped'].includes(task.status);
    if (task === undefined || isFinal) continue;
    const status = reason === 'oom' ? 'killed_oom' : 'failed';
    applyUpdate(world, task, { status, exitCode: -9, message: `Killed by runner: ${reason}`, completedAt: world.now() });
  }
  for (const task of world.tasks.values()) {
    if (task.hostname !== node.hostname) continue;
    const isReported = running.has(String(task.id));
    const ageMs = world.now() - task.submittedAt;
    if (task.status === 'assigning' && isReported && !world.facts.isSeed) task.status = 'running';
    else if (task.status === 'assigning' && ageMs > 3 * world.knobs.heartbeatMs) suspect(world, task);
    else if (world.dialect === 'K' && task.status === 'pending' && !isReported && ageMs > 90_000)
      fail(world, task, 'Task was never reported by its runner.');
  }
}

function suspect(world: World, task: Parameters<typeof fail>[1]): void {
  task.suspicion += 1;
  if (task.suspicion > 2) fail(world, task, 'Task assignment was never confirmed by the runner.');
}

function fail(world: World, task: NonNullable<ReturnType<World['tasks']['get']>>, message: string): void {
  Object.assign(task, { status: 'failed', exitCode: -1, errorMessage: message, completedAt: world.now() });
}

/** The Host comes up, and looks for silent nodes: the first time a period after its start, by when heartbeats have arrived. */
export function startHostLife(world: World): void {
  world.isHostUp = true;
  world.hostLife += 1;
  world.hostStartedAt = world.now();
  const life = world.hostLife;
  const look = () => {
    if (!world.isHostUp || world.hostLife !== life) return;
    world.agenda.at(world.now() + world.knobs.checkMs, look);
    for (const node of world.nodes.values()) {
      if (node.status === 'online' && world.now() - node.lastHeartbeatAt > world.knobs.offlineAfterMs) goOffline(world, node);
    }
  };
  world.agenda.at(world.now() + world.knobs.checkMs, look);
}

/** Running and assigning become lost, while their containers run on; for P and S that is for good. */
function goOffline(world: World, node: Node): void {
  node.status = 'offline';
  const lost = ['running', 'assigning', ...(world.dialect === 'K' ? ['pending'] : [])];
  for (const task of world.tasks.values()) {
    if (task.hostname !== node.hostname || !lost.includes(task.status)) continue;
    const message = `Node ${node.hostname} went offline (heartbeat timeout).`;
    Object.assign(task, { status: 'lost', exitCode: -1, errorMessage: message, completedAt: world.now() });
  }
}
