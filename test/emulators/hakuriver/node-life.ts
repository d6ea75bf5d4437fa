import { openHttpServer } from '../kit/http-server.ts';
import type { Call, Delivery } from '../kit/http-server.ts';
import { containerOf } from './world.ts';
import { portOf, restartContainer } from './containers.ts';
import { startHeartbeats } from './heartbeats.ts';
import { postUpdate } from './updates.ts';
import type { Node, NodeSpec, Runner, World } from './world.ts';

const DEFAULT_RAM_BYTES = 64 * 2 ** 30;

export type ServeRunner = (node: Node, call: Call) => Promise<Delivery>;

/** A machine with a Runner that registers at once. */
export async function addNode(world: World, spec: NodeSpec, serve: ServeRunner): Promise<Node> {
  const runner: Runner = {
    isUp: false,
    isReachable: true,
    life: 0,
    tracked: new Set(),
    killed: [],
    busyUntil: 0,
    isBeatDue: false,
    port: 0,
  };
  const node: Node = {
    hostname: spec.hostname,
    url: '',
    totalCores: spec.cores,
    ramBytes: spec.ramBytes ?? DEFAULT_RAM_BYTES,
    hasNuma: spec.hasNuma ?? true,
    gpus: spec.gpus,
    status: 'online',
    lastHeartbeatAt: world.now(),
    occupiedCores: 0,
    occupiedGpus: new Set(),
    runner,
  };
  world.nodes.set(spec.hostname, node);
  await startRunner(world, node, serve);
  return node;
}

/** At its start a Runner registers, looks at what it left, and then sends heartbeats. */
export async function startRunner(world: World, node: Node, serve: ServeRunner): Promise<void> {
  const { runner } = node;
  if (runner === undefined || runner.isUp) return;
  runner.server = await openHttpServer(runner.port, (call) => serve(node, call));
  runner.port = runner.server.port;
  runner.isUp = true;
  runner.life += 1;
  runner.busyUntil = 0;
  if (world.isHostUp && runner.isReachable) {
    node.url = `http://127.0.0.1:${runner.port}`;
    node.status = 'online';
    node.lastHeartbeatAt = world.now();
    checkTracked(world, node);
  }
  startHeartbeats(world, node);
  planDeath(world, node, serve);
}

/** SIGKILL: what it has tracked is on its disk, its containers run on. */
export async function killRunner(node: Node): Promise<void> {
  const { runner } = node;
  if (runner === undefined || !runner.isUp) return;
  runner.isUp = false;
  await runner.server?.close();
}

/** The whole machine: every container starts again, on another port, and then the Runner. */
export async function rebootNode(world: World, node: Node, serve: ServeRunner): Promise<void> {
  await killRunner(node);
  for (const key of node.runner?.tracked ?? []) {
    const container = containerOf(world, BigInt(key));
    if (container !== undefined && ['up', 'frozen'].includes(container.state)) await restartContainer(world, container);
  }
  await startRunner(world, node, serve);
}

function planDeath(world: World, node: Node, serve: ServeRunner): void {
  const { runnerDeathPerHour, runnerReturnMs } = world.knobs;
  if (runnerDeathPerHour === 0) return;
  const hours = -Math.log(1 - world.random.next()) / runnerDeathPerHour;
  world.agenda.at(world.now() + hours * 3_600_000, () => {
    void killRunner(node);
    world.agenda.at(world.now() + runnerReturnMs, () => void startRunner(world, node, serve).catch(() => {}));
  });
}

/** What a Runner does when it starts again: dead things are told, H and K tell the ports of the living ones, too. */
function checkTracked(world: World, node: Node): void {
  const { runner } = node;
  if (runner === undefined) return;
  for (const key of runner.tracked) {
    const task = world.tasks.get(key);
    if (task === undefined) continue;
    const container = containerOf(world, task.id);
    if (container === undefined || container.state === 'stopped') {
      runner.tracked.delete(key);
      postUpdate(world, node, task, { status: 'stopped', exitCode: -1, completedAt: world.now() });
    } else if (!world.facts.isSeed) {
      postUpdate(world, node, task, { status: 'running', sshPort: portOf(container) ?? null });
    }
  }
}
