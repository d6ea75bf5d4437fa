import type { EpochMs } from '../../../src/core/clock.ts';
import type { Random } from '../../../src/core/random.ts';
import type { Agenda } from '../kit/agenda.ts';
import type { HttpServer } from '../kit/http-server.ts';
import type { InstanceSsh } from '../kit/instance-ssh.ts';
import type { Dialect, DialectFacts } from './dialect.ts';
import type { Knobs } from './knobs.ts';

/** The GPUs that a node really has. */
export interface GpuModel {
  /** As the driver says it. */
  readonly name: string;
  readonly vramMib: number;
  readonly count: number;
}

export interface NodeSpec {
  readonly hostname: string;
  readonly cores: number;
  readonly ramBytes?: number;
  readonly gpus?: GpuModel;
  /** Whether it tells its NUMA topology: one node with all cores. */
  readonly hasNuma?: boolean;
}

/** The process on a node that starts and stops containers; it lives apart from them. */
export interface Runner {
  isUp: boolean;
  /** False: neither the Host nor anybody else gets through to the machine, nor it to them. */
  isReachable: boolean;
  /** Counts its lives: what an earlier one had under way, the next knows nothing of. */
  life: number;
  /** Survives its death. */
  readonly tracked: Set<string>;
  killed: { readonly taskId: bigint; readonly reason: string }[];
  /** Until when a docker command holds up everything else in it. */
  busyUntil: EpochMs;
  isBeatDue: boolean;
  port: number;
  server?: HttpServer;
}

export interface Node {
  readonly hostname: string;
  url: string;
  readonly totalCores: number;
  readonly ramBytes: number;
  readonly hasNuma: boolean;
  readonly gpus: GpuModel | undefined;
  status: 'online' | 'offline';
  lastHeartbeatAt: EpochMs;
  /** Strangers' use of it, outside the cluster's knowledge of tasks: what `occupy` takes. */
  occupiedCores: number;
  readonly occupiedGpus: Set<number>;
  /** Absent for a node that registered itself over HTTP: there is nothing behind its URL that the emulator knows. */
  readonly runner?: Runner;
}

/** A row of the Host's table. Rows are never forgotten. */
export interface Task {
  readonly id: bigint;
  readonly batchId: bigint;
  readonly type: 'command' | 'vps';
  /** For a VPS of P and S: its public keys. */
  readonly command: string;
  readonly args: readonly string[];
  readonly envVars: Readonly<Record<string, string>>;
  readonly cores: number;
  readonly gpus: readonly number[];
  readonly memoryBytes: number | null;
  readonly environment: string;
  readonly numaId: number | null;
  readonly name: string | null;
  readonly keyMode: 'upload' | 'generate' | 'none' | 'disabled';
  hostname: string | null;
  status: string;
  exitCode: number | null;
  errorMessage: string | null;
  readonly submittedAt: EpochMs;
  startedAt: EpochMs | null;
  completedAt: EpochMs | null;
  sshPort: number | null;
  suspicion: number;
}

/** created: `docker run` failed and left it; restarting: its start script fails again and again. */
export type ContainerState = 'starting' | 'created' | 'up' | 'frozen' | 'restarting' | 'stopped' | 'removed';

/** The truth on a node, whatever the row says. */
export interface Container {
  readonly taskId: bigint;
  readonly name: string;
  readonly hostname: string;
  state: ContainerState;
  /** What its start script writes into authorized_keys at every start. */
  readonly keyLines: readonly string[];
  readonly taskName: string | null;
  /** The file as it stands; a hand-off rewrites it. */
  readonly authorizedKeys: string[];
  readonly gpuCount: number;
  readonly refusesKeys: boolean;
  startedAt: EpochMs;
  bornAt: EpochMs | undefined;
  goneAt?: EpochMs;
  ssh?: InstanceSsh;
  cancelPlans: (() => void)[];
}

export type Environment = 'works' | 'broken-tarball' | 'no-package-manager';

/** Everything that exists in the cluster, and the rules by which it moves. */
export interface World {
  readonly dialect: Dialect;
  readonly facts: DialectFacts;
  readonly mode: 'strict' | 'lenient';
  readonly agenda: Agenda;
  /** On the clock that the emulator was handed; ends early, and rejects, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Aborts when the emulator closes. */
  readonly closing: AbortSignal;
  readonly random: Random;
  knobs: Knobs;
  readonly environments: ReadonlyMap<string, Environment>;
  readonly nodes: Map<string, Node>;
  /** By id in digits, oldest first. */
  readonly tasks: Map<string, Task>;
  readonly containers: Container[];
  readonly tunnels: Set<{ isClientGone: boolean }>;
  isHostUp: boolean;
  /** Counts the Host's lives. */
  hostLife: number;
  hostStartedAt: EpochMs;
  nextId(): bigint;
  now(): EpochMs;
}

export function isChance(world: World, share: number): boolean {
  return share > 0 && world.random.next() < share;
}

export function nodeOf(world: World, task: Task): Node | undefined {
  return task.hostname === null ? undefined : world.nodes.get(task.hostname);
}

/** The newest: a restart of H and K makes a second one for the same task. */
export function containerOf(world: World, taskId: bigint): Container | undefined {
  return world.containers.findLast((container) => container.taskId === taskId && container.state !== 'removed');
}

/** Has begun to hold cores and to cost somebody something, and has not ended: also while it restarts. */
export function isLiving({ bornAt, goneAt, state }: Container): boolean {
  return bornAt !== undefined && goneAt === undefined && state !== 'created';
}
