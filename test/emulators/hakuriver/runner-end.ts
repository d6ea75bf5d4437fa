import { removeContainer, stopContainer } from './containers.ts';
import { sendHeartbeat } from './heartbeats.ts';
import { after, later } from './runner-answer.ts';
import type { RunnerAnswer } from './runner-answer.ts';
import { postUpdate } from './updates.ts';
import { containerOf } from './world.ts';
import type { Node, Runner, Task, World } from './world.ts';

/**
 * The Runner's `/kill`. P and S: `docker stop`, which takes its ten seconds where PID 1 ignores the signal, then `docker rm`, one after
 * the other and nothing beside. H and K: `docker kill` at once, and the stopped container stays.
 */
export function killOnRunner(world: World, node: Node, taskId: bigint, onTold: (told: RunnerAnswer) => void): void {
  const { runner } = node;
  if (runner === undefined || !runner.isUp) return onTold({ kind: 'unreachable' });
  if (!world.facts.isSeed) return onTold(killAtOnce(world, runner, taskId));
  if (world.now() < runner.busyUntil)
    return later(world, runner.busyUntil - world.now(), () => killOnRunner(world, node, taskId, onTold));
  const refusal = refusalOfKill(world, node, runner, taskId);
  if (refusal !== undefined) return onTold(refusal);
  runner.busyUntil = world.now() + world.knobs.stopMs;
  later(world, world.knobs.stopMs, () => onTold(finishKill(world, node, taskId, runner)));
}

function refusalOfKill(world: World, node: Node, runner: Runner, taskId: bigint): RunnerAnswer | undefined {
  const task = world.tasks.get(String(taskId));
  if (!runner.tracked.has(String(taskId))) {
    if (task !== undefined) postUpdate(world, node, task, { status: 'killed', exitCode: -9, completedAt: world.now() });
    return { kind: 'refused', status: 404, body: { detail: 'Task not found or not tracked by this runner.' } };
  }
  const container = containerOf(world, taskId);
  // its own error handling fails, so the dead VPS stays tracked
  return task?.type === 'vps' && container === undefined ? { kind: 'crashed' } : undefined;
}

/** A Runner that died meanwhile has left the container stopped, and not removed. */
function finishKill(world: World, node: Node, taskId: bigint, runner: Runner): RunnerAnswer {
  const container = containerOf(world, taskId);
  if (container !== undefined) stopContainer(world, container);
  if (!runner.isUp) return { kind: 'unreachable' };
  if (container !== undefined) removeContainer(world, container);
  runner.tracked.delete(String(taskId));
  runner.killed.push({ taskId, reason: 'killed_by_host' });
  if (runner.isBeatDue) sendHeartbeat(world, node);
  return {
    kind: 'answered',
    body: { message: `Kill processed for task ${taskId}. Final status will be reported via heartbeat.` },
  };
}

function killAtOnce(world: World, runner: Runner, taskId: bigint): RunnerAnswer {
  const container = containerOf(world, taskId);
  if (!runner.tracked.has(String(taskId)) || container === undefined)
    return { kind: 'refused', status: 404, body: { detail: 'Task not found or not tracked by this runner.' } };
  stopContainer(world, container);
  runner.tracked.delete(String(taskId));
  return { kind: 'answered', body: { message: `Kill processed for task ${taskId}.` } };
}

/** H and K: `docker stop` and `docker rm`; a snapshot is taken first, which the emulator does not keep. */
export function stopOnRunner(world: World, node: Node, taskId: bigint): Promise<RunnerAnswer> {
  const { runner } = node;
  const container = containerOf(world, taskId);
  if (runner === undefined || !runner.isUp) return Promise.resolve({ kind: 'unreachable' });
  if (container === undefined)
    return Promise.resolve({ kind: 'refused', status: 404, body: { detail: `VPS ${taskId} not found.` } });
  return after(world, world.knobs.stopMs, () => {
    removeContainer(world, container);
    runner.tracked.delete(String(taskId));
    return { kind: 'answered', body: { message: `VPS ${taskId} stopped.` } };
  });
}

/** P and S cannot do it to a VPS; H and K freeze it. */
export function pauseOnRunner(world: World, node: Node, task: Task, action: 'pause' | 'resume'): RunnerAnswer {
  const { runner } = node;
  if (runner === undefined || !runner.isUp || !runner.isReachable) return { kind: 'unreachable' };
  if (world.facts.isSeed && (task.type === 'vps' || action === 'resume')) return { kind: 'crashed' };
  const container = containerOf(world, task.id);
  if (task.type === 'vps' && container === undefined)
    return { kind: 'refused', status: 404, body: { detail: 'Task not found.' } };
  if (container !== undefined) container.state = action === 'pause' ? 'frozen' : 'up';
  const update =
    action === 'pause'
      ? { status: 'paused', message: task.type === 'vps' ? 'VPS paused.' : 'Task paused using kill.' }
      : { status: 'running', message: 'Task resumed.' };
  postUpdate(world, node, task, update);
  return { kind: 'answered', body: { message: `${action} command sent successfully.` } };
}
