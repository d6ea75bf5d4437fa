import { openContainer, portOf, startContainer } from './containers.ts';
import { keyLinesOf } from './key-lines.ts';
import { after, later } from './runner-answer.ts';
import type { RunnerAnswer, RunOutcome } from './runner-answer.ts';
import { applyUpdate, postUpdate } from './updates.ts';
import type { TaskUpdate } from './updates.ts';
import { isChance } from './world.ts';
import type { Container, Node, Runner, Task, World } from './world.ts';

/** Answers as soon as the container runs, which is before sshd does. */
export async function runVps(world: World, node: Node, task: Task, outcome: RunOutcome | undefined): Promise<RunnerAnswer> {
  const { runner } = node;
  if (runner === undefined || !runner.isUp) return { kind: 'unreachable' };
  if (!runner.isReachable) return after(world, 15_000, () => ({ kind: 'unreachable' }));
  const life = { runner, number: runner.life };
  if (outcome !== 'stays-assigning') postUpdate(world, node, task, { status: 'pending' });
  const { runMs, slowMs, slowShare, neverStartsShare, crashLoopShare } = world.knobs;
  const begunAt = world.now();
  const environment = outcome === 'broken-tarball' ? 'broken-tarball' : world.environments.get(task.environment);
  if (environment === 'broken-tarball') return after(world, runMs / 3, () => failToLoad(world, node, task));
  // neither tarball nor image counts as up to date, and then no package manager is found in it
  const isProbeFailing = environment !== 'works';
  const isMemoryFatal = world.facts.isSeed && task.memoryBytes !== null;
  if (
    outcome === 'never-starts' ||
    outcome === 'stays-assigning' ||
    isMemoryFatal ||
    isProbeFailing ||
    isChance(world, neverStartsShare)
  )
    return after(world, runMs * (isProbeFailing ? 8 : 0.5), () => failToStart(world, node, task));
  const hasItsGpus = task.gpus.every((id) => id < (node.gpus?.count ?? 0));
  const container = await openContainer(world, task, task.keyMode === 'disabled' ? [] : keyLinesOf(task.command));
  const left = (ms: number) => begunAt + ms - world.now();
  if (!hasItsGpus) return after(world, left(runMs * 0.7), () => failInDocker(world, node, task, container));
  const isSlow = outcome === 'slow' || isChance(world, slowShare);
  const isCrashing = outcome === 'crash-loop' || isChance(world, crashLoopShare);
  const start = () => {
    startContainer(world, container, { isCrashing });
    return finishStart(world, node, task, { container, life, isUpdateLost: outcome === 'update-lost' });
  };
  return after(world, left(isSlow ? slowMs : runMs), start, left(world.facts.runTimeoutMs));
}

/** `docker run` is a process of its own: it ends even where its Runner did not live to see it. */
function finishStart(
  world: World,
  node: Node,
  task: Task,
  { container, life, isUpdateLost }: { container: Container; life: { runner: Runner; number: number }; isUpdateLost: boolean },
): RunnerAnswer {
  if (life.runner.life !== life.number || !life.runner.isUp) return { kind: 'unreachable' };
  life.runner.tracked.add(String(task.id));
  const sshPort = task.keyMode === 'disabled' ? 0 : (portOf(container) ?? 0);
  const update: TaskUpdate = { status: 'running', exitCode: 0, startedAt: world.now(), sshPort };
  if (!isUpdateLost) postUpdate(world, node, task, update);
  const { isSeed } = world.facts;
  const body = isSeed ? { ssh_port: sshPort } : { success: true, ssh_port: sshPort, container_name: container.name };
  return { kind: 'answered', body };
}

function failToLoad(world: World, node: Node, task: Task): RunnerAnswer {
  const message = `Docker image sync check/load failed for task ${task.id}: Failed to sync Docker image from /shared/hakuriver-containers/${task.environment}-1700000000.tar`;
  postUpdate(world, node, task, { status: 'failed', message, completedAt: world.now() });
  return world.facts.isSeed ? { kind: 'answered', body: { error: 'Docker setup failed' } } : { kind: 'crashed' };
}

/** P and S: an exception outside all error handling, told to nobody. H and K say `failed`. */
function failToStart(world: World, node: Node, task: Task): RunnerAnswer {
  if (world.facts.isSeed) return { kind: 'crashed' };
  postUpdate(world, node, task, { status: 'failed', exitCode: -1, message: 'docker run failed', completedAt: world.now() });
  return { kind: 'refused', status: 500, body: { detail: 'docker run failed' } };
}

/** Exit 125: the container was created and keeps its name. P loses the exception, S posts it without its reason. */
function failInDocker(world: World, node: Node, task: Task, container: Container): RunnerAnswer {
  container.state = 'created';
  void container.ssh?.close();
  if (world.dialect === 'P') return { kind: 'crashed' };
  postUpdate(world, node, task, { status: 'failed', exitCode: 125, completedAt: world.now() });
  return world.facts.isSeed
    ? { kind: 'answered', body: null }
    : { kind: 'refused', status: 500, body: { detail: 'could not select device driver with capabilities: [[gpu]]' } };
}

/** A command that runs for a while and ends. */
export function runCommand(world: World, node: Node, task: Task): RunnerAnswer {
  const { runner } = node;
  if (runner === undefined || !runner.isUp || !runner.isReachable) return { kind: 'unreachable' };
  const startedAt = world.now();
  postUpdate(world, node, task, { status: 'pending', startedAt });
  later(world, 100, () => postUpdate(world, node, task, { status: 'running', startedAt }));
  const line = [task.command, ...task.args].join(' ');
  const exitCode = task.command === 'false' ? 1 : Number(/exit (\d+)/.exec(line)?.[1] ?? 0);
  const runsMs = task.command === 'sleep' ? Number(task.args[0] ?? 0) * 1_000 : 500;
  later(world, 100 + runsMs, () => {
    if (task.status === 'killed') return;
    const end = exitCode === 0 ? 'completed' : 'failed';
    const message = exitCode === 0 ? null : `systemd-run failed with exit code ${exitCode}.`;
    applyUpdate(world, task, { status: end, exitCode, message, completedAt: world.now() });
  });
  return { kind: 'answered', body: { message: 'Task accepted for launch', task_id: task.id } };
}
