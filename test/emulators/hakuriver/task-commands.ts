import type { Reply } from '../kit/http-server.ts';
import type { Context } from './context.ts';
import { answer, detail } from './host-reply.ts';
import { killOnRunner, pauseOnRunner } from './runner-end.ts';
import { nodeOf } from './world.ts';
import type { Task, World } from './world.ts';

const KILL_PATIENCE_MS = 10_000;
const UNCONFIRMED = 'Runner unreachable for kill confirmation';

/** Answers before anything has stopped. A Runner is told only of what runs: whatever it is still starting becomes an orphan. */
export function kill({ world, params }: Context): Reply {
  const task = world.tasks.get(params[0] ?? '');
  if (task === undefined) return detail(404, 'Task not found.');
  const before = task.status;
  const killable = ['pending', 'assigning', 'running', ...(world.facts.isSeed ? [] : ['paused'])];
  if (!killable.includes(before)) return detail(409, `Task cannot be killed (state: ${before})`);
  Object.assign(task, { status: 'killed', errorMessage: 'Kill requested by user.', completedAt: world.now() });
  if (before === 'running' || before === 'paused') tellRunner(world, task);
  return answer(202, { message: `Kill requested for task ${task.id}. Task marked as killed.` });
}

function tellRunner(world: World, task: Task): void {
  const node = nodeOf(world, task);
  if (node?.status !== 'online') return;
  const giveUp = () => {
    task.errorMessage = `Kill requested by user. ${UNCONFIRMED}`;
  };
  if (node.runner === undefined || !node.runner.isUp) return giveUp();
  const cancel = world.agenda.at(world.now() + KILL_PATIENCE_MS, giveUp);
  if (!node.runner.isReachable) return;
  killOnRunner(world, node, task.id, ({ kind }) => {
    if (kind === 'answered') cancel();
  });
}

/** Pause and resume. That the Runner failed stands in the text alone. */
export function command({ world, params }: Context): Reply {
  const [id = '', action = ''] = params;
  const task = world.tasks.get(id);
  if (task === undefined) return detail(404, 'Task id not found');
  const isValid = (action === 'pause' && task.status === 'running') || (action === 'resume' && task.status === 'paused');
  if (!isValid) return detail(400, `Invalid command or task state: ${action} for ${task.status}`);
  const node = nodeOf(world, task);
  const told =
    node === undefined ? { kind: 'unreachable' as const } : pauseOnRunner(world, node, task, action as 'pause' | 'resume'); // holds by the check above
  const name = action === 'pause' ? 'Pause' : 'Resume';
  const outcome = {
    answered: `${name} command sent successfully.`,
    refused: `Runner error during ${action} command.`,
    crashed: `Runner error during ${action} command.`,
    unreachable: `Failed to send ${action} command.`,
  }[told.kind];
  return answer(200, { message: `${name} for task ${task.id} sent to runner: ${outcome}` });
}
