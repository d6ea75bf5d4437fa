import type { EpochMs } from '../../../src/core/clock.ts';
import { portOf } from './containers.ts';
import { tagsOf } from './key-lines.ts';
import { isLiving } from './world.ts';
import type { Container, ContainerState, World } from './world.ts';

/** One container as it really was. It costs from its birth until its processes have ended, whatever its row says. */
export interface LedgerEntry {
  readonly taskId: string;
  readonly hostname: string;
  readonly container: string;
  readonly state: ContainerState;
  readonly keys: readonly string[];
  /** The comments of the keys. */
  readonly tags: readonly string[];
  readonly cores: number;
  readonly gpus: readonly number[];
  /** Absent for one that never ran. */
  readonly fromAt?: EpochMs;
  /** Absent while it lives. */
  readonly toAt?: EpochMs;
  readonly livedMs: number;
  /** Where its sshd is really published now. */
  readonly sshPort?: number;
  readonly isLiving: boolean;
  /** Its Runner does not know of it, so that no call to anybody ends it: only a person on its machine. */
  readonly isForgotten: boolean;
  /** What the Host's row says. */
  readonly status: string;
}

export function ledgerOf(world: World): LedgerEntry[] {
  return world.containers.map((container) => {
    const task = world.tasks.get(String(container.taskId));
    const { bornAt, goneAt } = container;
    const sshPort = isLiving(container) ? portOf(container) : undefined;
    return {
      taskId: String(container.taskId),
      hostname: container.hostname,
      container: container.name,
      state: container.state,
      keys: container.keyLines,
      tags: tagsOf(container.keyLines),
      cores: task?.cores ?? 0,
      gpus: task?.gpus ?? [],
      ...(bornAt !== undefined && { fromAt: bornAt }),
      ...(goneAt !== undefined && { toAt: goneAt }),
      livedMs: bornAt === undefined ? 0 : (goneAt ?? world.now()) - bornAt,
      ...(sshPort !== undefined && { sshPort }),
      isLiving: isLiving(container),
      isForgotten:
        world.facts.isSeed &&
        bornAt !== undefined &&
        world.nodes.get(container.hostname)?.runner?.tracked.has(String(container.taskId)) === false,
      status: task?.status ?? '',
    };
  });
}

/** Ids of the VPS that run and were started with a key of this comment, or, with K, under this name. */
export function livingWithTag(world: World, tag: string): string[] {
  return world.containers.filter((each) => isLiving(each) && bearsTag(each, tag)).map(({ taskId }) => String(taskId));
}

/** As `livingWithTag`, of what a Runner has still to start. */
export function startingWithTag(world: World, tag: string): string[] {
  const starting = world.containers.filter(({ state, bornAt }) => state === 'starting' && bornAt === undefined);
  return starting.filter((each) => bearsTag(each, tag)).map(({ taskId }) => String(taskId));
}

function bearsTag({ keyLines, taskName }: Container, tag: string): boolean {
  return taskName === tag || tagsOf(keyLines).includes(tag);
}
