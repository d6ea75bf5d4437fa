import type { EpochMs } from '../../../src/core/clock.ts';
import { isChance } from './world.ts';
import type { Node, Task, World } from './world.ts';

/** What a Runner posts to `/update`. Neither null nor absence changes what the row has. */
export interface TaskUpdate {
  readonly status: string;
  readonly exitCode?: number | null;
  readonly message?: string | null;
  readonly startedAt?: EpochMs | null;
  readonly completedAt?: EpochMs | null;
  readonly sshPort?: number | null;
}

const SEED_FINAL = ['completed', 'failed', 'killed', 'lost'];
const FINAL = [...SEED_FINAL, 'killed_oom', 'stopped'];

/** The Host's side: any status string is taken, a final row only lets another final one through. */
export function applyUpdate(world: World, task: Task | undefined, update: TaskUpdate): string {
  const { isSeed } = world.facts;
  if (task === undefined) return isSeed ? 'Task ID not recognized' : 'Task ID unknown or update invalid for its state';
  const final = isSeed ? SEED_FINAL : FINAL;
  const isRecovery = !isSeed && task.type === 'vps' && task.status === 'lost' && update.status === 'running';
  if (final.includes(task.status) && !final.includes(update.status) && !isRecovery)
    return isSeed ? 'Task already in a final state' : 'Task ID unknown or update invalid for its state';
  task.status = update.status;
  task.suspicion = 0;
  task.exitCode = update.exitCode ?? task.exitCode;
  task.errorMessage = update.message ?? task.errorMessage;
  task.startedAt = update.startedAt ?? task.startedAt;
  task.completedAt = update.completedAt ?? task.completedAt;
  if (!isSeed) task.sshPort = update.sshPort ?? task.sshPort;
  if (isRecovery) Object.assign(task, { completedAt: null, errorMessage: null, exitCode: 0 });
  return 'Task status updated successfully.';
}

/** The Runner's side: said once. A Host that is down, a broken network or bad luck, and it is never said again. */
export function postUpdate(world: World, node: Node, task: Task, update: TaskUpdate): void {
  const isHeard = world.isHostUp && node.runner?.isUp === true && node.runner.isReachable;
  if (!isHeard || isChance(world, world.knobs.lostUpdateShare)) return;
  applyUpdate(world, task, update);
}
