import { z } from 'zod';
import type { EmulatorClock } from '../kit/emulator-clock.ts';
import type { FaultInput, FaultQueue } from '../kit/fault.ts';
import type { LoggedRequest, RequestLog } from '../kit/request-log.ts';
import { removeContainer, restartContainer, stopContainer, takePort } from './containers.ts';
import { Knobs, SCENARIOS } from './knobs.ts';
import { addNode, killRunner, rebootNode, startRunner } from './node-life.ts';
import type { ServeRunner } from './node-life.ts';
import { occupyNode, vacateNode } from './occupation.ts';
import { plantVps } from './plant.ts';
import type { Planted } from './plant.ts';
import { ledgerOf, livingWithTag, startingWithTag } from './truth.ts';
import type { LedgerEntry } from './truth.ts';
import { containerOf } from './world.ts';
import type { Container, Node, NodeSpec, World } from './world.ts';

/** What stands behind the cluster's back: the hand of a test. The same by method and over the control port. Ids are digits. */
export interface ClusterControls {
  injectFault(fault: FaultInput): void;
  /** Takes back all faults that still wait for a call. */
  clearFaults(): void;
  /** Moves the cluster's time. */
  advance(ms: number): void;
  /** Sets the knobs of a named scenario, or some knobs on top of what is set. */
  scenario(name: string): void;
  setKnobs(knobs: z.input<typeof Knobs>): void;
  /** A VPS that the client never asked for, running at once; its id. */
  plant(planted?: Planted): Promise<string>;
  addNode(spec: NodeSpec): Promise<void>;
  /** SIGKILL of the Runner; its containers run on. */
  killRunner(hostname: string): Promise<void>;
  returnRunner(hostname: string): Promise<void>;
  /** The network of a node: nobody gets through to it, nor it to anybody. */
  cutOff(hostname: string): void;
  reconnect(hostname: string): void;
  /** Its containers start again on other ports, then its Runner. */
  rebootNode(hostname: string): Promise<void>;
  /** `docker restart`, `docker stop`, `docker rm -f`, `docker pause`, by hand and behind the Runner's back. */
  restartContainer(taskId: string): Promise<void>;
  stopContainer(taskId: string): void;
  removeContainer(taskId: string): void;
  freezeContainer(taskId: string): void;
  /** The port that the Host has stored for one VPS, and nobody listens on, becomes another's. */
  takePort(fromTaskId: string, byTaskId: string): Promise<void>;
  /** Strangers take cores and GPUs of a node outside the Host's table (all that there are, unless said), or give them back. */
  occupy(hostname: string, what?: { cores?: number; gpus?: readonly number[] }): void;
  vacate(hostname: string): void;
  /** Writes a status into a row, as anybody can through `/update`. */
  setStatus(taskId: string, status: string): void;
  /** What really lived, from when till when, with which keys. */
  ledger(): readonly LedgerEntry[];
  livingWithTag(tag: string): readonly string[];
  startingWithTag(tag: string): readonly string[];
  /** Tunnels whose client has gone and whose VPS is still held by the Host. */
  leakedTunnels(): number;
  requests(): readonly LoggedRequest[];
}

interface ControlDeps {
  readonly world: World;
  readonly clock: EmulatorClock;
  readonly faults: FaultQueue;
  readonly log: RequestLog;
  readonly serveRunner: ServeRunner;
}

export function createClusterControls({ world, clock, faults, log, serveRunner }: ControlDeps): ClusterControls {
  const nodeNamed = (hostname: string): Node => {
    world.agenda.settle();
    const node = world.nodes.get(hostname);
    if (node === undefined) throw new Error(`there is no node ${hostname}: ${[...world.nodes.keys()].join(', ')}`);
    return node;
  };
  const containerNamed = (taskId: string): Container => {
    world.agenda.settle();
    const container = containerOf(world, BigInt(taskId));
    if (container === undefined) throw new Error(`there is no container of ${taskId}`);
    return container;
  };
  const setReachable = (hostname: string, isReachable: boolean) => {
    const { runner } = nodeNamed(hostname);
    if (runner !== undefined) runner.isReachable = isReachable;
  };
  const setKnobs = (knobs: z.input<typeof Knobs>, base: z.input<typeof Knobs> = world.knobs) => {
    world.knobs = Knobs.parse({ ...base, ...knobs });
  };
  const settled = <T>(read: () => T): T => {
    world.agenda.settle();
    return read();
  };
  return {
    injectFault: (fault) => faults.inject(fault),
    clearFaults: () => faults.clear(),
    advance(ms) {
      clock.advance(ms);
      world.agenda.settle();
    },
    scenario(name) {
      const knobs = SCENARIOS[name];
      if (knobs === undefined) throw new Error(`there is no scenario ${name}: ${Object.keys(SCENARIOS).join(', ')}`);
      setKnobs(knobs, {});
    },
    setKnobs: (knobs) => setKnobs(knobs),
    plant: (planted = {}) => plantVps(world, planted),
    addNode: async (spec) => void (await addNode(world, spec, serveRunner)),
    killRunner: (hostname) => killRunner(nodeNamed(hostname)),
    returnRunner: (hostname) => startRunner(world, nodeNamed(hostname), serveRunner),
    cutOff: (hostname) => setReachable(hostname, false),
    reconnect: (hostname) => setReachable(hostname, true),
    rebootNode: (hostname) => rebootNode(world, nodeNamed(hostname), serveRunner),
    restartContainer: (taskId) => restartContainer(world, containerNamed(taskId)),
    stopContainer: (taskId) => stopContainer(world, containerNamed(taskId)),
    removeContainer: (taskId) => removeContainer(world, containerNamed(taskId)),
    freezeContainer(taskId) {
      containerNamed(taskId).state = 'frozen';
    },
    takePort(fromTaskId, byTaskId) {
      const port = world.tasks.get(fromTaskId)?.sshPort;
      if (!port) throw new Error(`the Host knows no port of ${fromTaskId}`);
      return takePort(world, containerNamed(byTaskId), port);
    },
    occupy: (hostname, what) => occupyNode(nodeNamed(hostname), what),
    vacate: (hostname) => vacateNode(nodeNamed(hostname)),
    setStatus(taskId, status) {
      const task = world.tasks.get(taskId);
      if (task === undefined) throw new Error(`there is no row ${taskId}`);
      task.status = status;
    },
    ledger: () => settled(() => ledgerOf(world)),
    livingWithTag: (tag) => settled(() => livingWithTag(world, tag)),
    startingWithTag: (tag) => settled(() => startingWithTag(world, tag)),
    leakedTunnels: () => [...world.tunnels].filter(({ isClientGone }) => isClientGone).length,
    requests: () => log.all(),
  };
}
