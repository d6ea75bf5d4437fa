import { openInstanceSsh } from '../kit/instance-ssh.ts';
import type { SshInstance } from '../kit/instance-ssh.ts';
import { gpuLoad } from './gpu-rows.ts';
import { isChance } from './world.ts';
import type { Container, Node, Task, World } from './world.ts';

/**
 * Docker on a node: it runs containers whether a Runner is alive or not. A published port is a listener of its own, taken anew at every
 * start; the host key is made once in a container's life; authorized_keys is written by the start script, so at every start.
 */
export async function openContainer(world: World, task: Task, keyLines: readonly string[]): Promise<Container> {
  const container: Container = {
    taskId: task.id,
    name: `${world.facts.containerPrefix}${task.id}`,
    hostname: task.hostname ?? '',
    state: 'starting',
    keyLines,
    taskName: task.name,
    authorizedKeys: [],
    gpuCount: task.gpus.length,
    refusesKeys: isChance(world, world.knobs.keyNeverShare),
    startedAt: world.now(),
    bornAt: undefined,
    cancelPlans: [],
  };
  world.containers.push(container);
  await publish(world, container);
  return container;
}

/** On a free port, or a given one; with the host key that the container has, if it has one. */
async function publish(world: World, container: Container, port?: number): Promise<void> {
  const wishes = port === undefined ? {} : { direct: [{ host: '127.0.0.1', port }] };
  const ssh = await openInstanceSsh(sshSide(world, container), wishes, container.ssh?.hostKey);
  container.ssh = ssh;
  if (world.closing.aborted) await ssh.close();
}

/** The port that Docker publishes now; undefined while nothing listens. */
export function portOf(container: Container): number | undefined {
  return container.ssh?.ports.direct;
}

/** From here it lives. A quotation mark among the keys breaks the start script, and Docker starts it again for ever. */
export function startContainer(world: World, container: Container, fate: { readonly isCrashing: boolean }): void {
  container.bornAt ??= world.now();
  container.startedAt = world.now();
  if (fate.isCrashing || container.keyLines.some((line) => line.includes("'"))) {
    container.state = 'restarting';
    void container.ssh?.close();
    return;
  }
  container.state = 'up';
  runStartScript(world, container);
  planRestart(world, container);
}

function runStartScript(world: World, container: Container): void {
  const { sshdDelayMs, keyDelayMs } = world.knobs;
  container.authorizedKeys.length = 0;
  if (container.refusesKeys) return;
  const write = () => void container.authorizedKeys.splice(0, Infinity, ...container.keyLines);
  if (keyDelayMs === 0) write();
  else plan(world, container, sshdDelayMs + keyDelayMs, write);
}

function planRestart(world: World, container: Container): void {
  const { restartPerHour } = world.knobs;
  if (restartPerHour === 0) return;
  const hours = -Math.log(1 - world.random.next()) / restartPerHour;
  plan(world, container, hours * 3_600_000, () => void restartContainer(world, container).catch(() => {}));
}

/** `docker restart`, or Docker's own after a crash or a reboot: another port, the same host key, the keys of the start script again. */
export function restartContainer(world: World, container: Container): Promise<void> {
  return startAgain(world, container, undefined);
}

/** A restart after which it is published on a port that was another's. */
export function takePort(world: World, container: Container, port: number): Promise<void> {
  return startAgain(world, container, port);
}

async function startAgain(world: World, container: Container, port: number | undefined): Promise<void> {
  if (!isRestartable(container)) throw new Error(`container ${container.name} is ${container.state}`);
  cancelPlans(container);
  const before = container.ssh;
  container.state = 'starting';
  await publish(world, container, port);
  await before?.close();
  container.startedAt = world.now();
  container.state = 'up';
  runStartScript(world, container);
  planRestart(world, container);
}

function isRestartable(container: Container): boolean {
  return ['up', 'frozen'].includes(container.state);
}

/** Its processes end; the container stays, and Docker does not start it again. */
export function stopContainer(world: World, container: Container): void {
  if (['stopped', 'removed'].includes(container.state)) return;
  cancelPlans(container);
  container.state = 'stopped';
  if (container.bornAt !== undefined) container.goneAt = world.now();
  void container.ssh?.close();
}

export function removeContainer(world: World, container: Container): void {
  stopContainer(world, container);
  container.state = 'removed';
}

function plan(world: World, container: Container, afterMs: number, run: () => void): void {
  container.cancelPlans.push(world.agenda.at(world.now() + afterMs, run));
}

function cancelPlans(container: Container): void {
  for (const cancel of container.cancelPlans) cancel();
  container.cancelPlans = [];
}

/** The container as its SSH listener sees it, at the moment of each connection. */
function sshSide(world: World, container: Container): SshInstance {
  const node = world.nodes.get(container.hostname);
  return {
    user: 'root',
    authorizedKeys: container.authorizedKeys,
    stage() {
      world.agenda.settle();
      if (container.state === 'frozen' || node?.runner?.isReachable === false) return 'hanging';
      if (container.state !== 'up') return 'closed';
      const sinceMs = world.now() - container.startedAt;
      if (sinceMs < world.knobs.sshdDelayMs / 2) return 'closed';
      return sinceMs < world.knobs.sshdDelayMs ? 'hanging' : 'speaking';
    },
    gpu: () => gpuOf(world, node, container),
  };
}

/** What nvidia-smi shows in the VPS, which need not be what the node reported. */
function gpuOf(world: World, node: Node | undefined, { gpuCount }: Container) {
  if (node?.gpus === undefined || gpuCount === 0) return undefined;
  const { specLie } = world.knobs;
  return {
    smiName: node.gpus.name,
    vramMib: specLie === 'vram' ? Math.round(node.gpus.vramMib / 2) : node.gpus.vramMib,
    count: specLie === 'no-gpus' ? 0 : gpuCount,
    driver: '570.133.07',
    cuda: '12.8',
    utilisationPercent: gpuLoad(world),
  };
}
