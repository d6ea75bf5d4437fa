import type { Node, Task, World } from './world.ts';

/** What a submit asks of one node. */
export interface Wish {
  readonly cores: number;
  readonly gpus: readonly number[];
  readonly memoryBytes: number | null;
}

const inUse = (world: World, node: Node, statuses: readonly string[]): Task[] =>
  [...world.tasks.values()].filter((task) => task.hostname === node.hostname && statuses.includes(task.status));

/**
 * Cores that a placement counts: P and S look at `running` alone, so what is starting takes nothing yet, and two submits at once get the
 * same cores. H and K count `assigning`, too.
 */
export function freeCores(world: World, node: Node): number {
  const tasks = inUse(world, node, world.facts.isSeed ? ['running'] : ['running', 'assigning']);
  return node.totalCores - node.occupiedCores - tasks.reduce((sum, { cores }) => sum + cores, 0);
}

/** Cores that `/nodes` shows as used: a stuck `pending` row is none of them. */
export function shownCoresInUse(world: World, node: Node): number {
  return inUse(world, node, ['running', 'assigning']).reduce((sum, { cores }) => sum + cores, node.occupiedCores);
}

function gpusInUse(world: World, node: Node): Set<number> {
  const tasks = inUse(world, node, ['running', world.facts.isSeed ? 'pending' : 'assigning']);
  return new Set([...node.occupiedGpus, ...tasks.flatMap(({ gpus }) => gpus)]);
}

function memoryInUse(world: World, node: Node): number {
  return inUse(world, node, ['running', 'pending']).reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0);
}

/** Why the node cannot take it, in the Host's words and order; undefined when it can. */
export function refusalOf(world: World, node: Node | undefined, numa: string | undefined, wish: Wish): string | undefined {
  if (numa !== undefined && !/^\d+$/.test(numa)) return 'Invalid NUMA ID format';
  if (node === undefined) return 'Node not registered';
  if (node.status !== 'online') return `Node status is ${node.status}`;
  if (numa !== undefined && !node.hasNuma) return 'Node has no NUMA topology';
  if (numa !== undefined && numa !== '0') return 'Invalid NUMA ID for node (Valid: [0])';
  // a node that reports no GPU passes: docker run fails later
  const { gpus } = node;
  const unknown = gpus === undefined ? [] : wish.gpus.filter((id) => id >= gpus.count);
  if (unknown.length > 0) return `Invalid GPU IDs: [${unknown.join(', ')}]`;
  const taken = gpusInUse(world, node);
  if (wish.gpus.some((id) => taken.has(id))) return 'Requested GPUs not available';
  if (wish.cores > 0 && freeCores(world, node) < wish.cores) return 'Insufficient available cores';
  if (wish.memoryBytes !== null && node.ramBytes - memoryInUse(world, node) < wish.memoryBytes)
    return 'Insufficient available memory';
  return undefined;
}

/** P and S: the fullest node that still has the cores; H and K: the emptiest. Memory and GPUs are looked at afterwards. */
export function chooseNode(world: World, cores: number): Node | undefined {
  const fitting = [...world.nodes.values()]
    .filter((node) => node.status === 'online' && (cores === 0 || freeCores(world, node) >= cores))
    .sort((a, b) => freeCores(world, a) - freeCores(world, b));
  return world.facts.isSeed ? fitting[0] : fitting.at(-1);
}

/** H and K, `/vps/create` alone: GPUs are looked for on every node. */
export function chooseNodeForVps(world: World, wish: Wish): Node | undefined {
  const fitting = [...world.nodes.values()].filter(
    (node) => refusalOf(world, node, undefined, wish) === undefined && (wish.gpus.length === 0 || node.gpus !== undefined),
  );
  return fitting.sort((a, b) => freeCores(world, b) - freeCores(world, a))[0];
}
