import type { EpochMs } from '../../../src/core/clock.ts';
import type { Random } from '../../../src/core/random.ts';
import type { Agenda } from '../kit/agenda.ts';
import type { InstanceSsh } from '../kit/instance-ssh.ts';
import type { Ledger } from '../kit/ledger.ts';
import type { CloudInit } from './cloud-init.ts';
import type { HostNode, Inventory } from './inventory.ts';
import type { Knobs } from './knobs.ts';
import type { Shapes } from './shapes.ts';

export type BillPart = 'gpu' | 'compute' | 'storage';

/** Accidents that this virtual machine is fated to have. */
export interface Fate {
  readonly isStuck: boolean;
  readonly stopsAtOnce: boolean;
  readonly ignoresForwards: boolean;
  readonly ignoresKeyField: boolean;
  readonly refusesKeys: boolean;
  readonly driver: Knobs['driver'];
}

/**
 * booting: the GPU is held and all is billed, from the create on; running: the same, and it has an IP. stopped keeps its GPU, which v2
 * cannot give back. reclaimed and outbid: the virtual machine exists, strangers have its GPU. error: dead for good, billed. relocating: on
 * its way to another host, billed.
 */
export type Phase =
  'booting' | 'running' | 'starting' | 'stopping' | 'stopped' | 'reclaimed' | 'outbid' | 'error' | 'relocating';

export interface Forward {
  readonly internal: number;
  readonly external: number;
}

/** What the vendor knows of one virtual machine. */
export interface Vm {
  readonly id: string;
  readonly name: string;
  readonly node: HostNode;
  gpus: number;
  vcpus: number;
  ramGb: number;
  storageGb: number;
  readonly image: string;
  readonly isDedicated: boolean;
  /** Asked for at the create: internal port, and the external one that was wished. */
  readonly wishes: readonly Forward[];
  /** Allotted; what is told of them is another matter. */
  readonly forwards: readonly Forward[];
  readonly sshKey: string | undefined;
  readonly cloudInit: CloudInit;
  /** $/h that was agreed; only a modify changes it. */
  rate: Readonly<Record<BillPart, number>>;
  readonly createdAt: EpochMs;
  /** From when the list shows it. */
  readonly listedAt: EpochMs;
  phase: Phase;
  phaseSince: EpochMs;
  ipAt: EpochMs;
  /** When runcmd has run, of the first boot. */
  readyAt: EpochMs;
  /** Whether it ever ran far enough to have one. */
  hasAddress: boolean;
  hasRunCloudInit: boolean;
  /** Whether it has been stopped and started since its driver was installed. */
  hasRestarted: boolean;
  /** It answers nobody, whatever the API says. */
  isSilent: boolean;
  readonly fate: Fate;
  readonly keys: { readonly user: string[]; readonly root: string[] };
  ssh?: InstanceSsh;
  deletedAt?: EpochMs;
  unlistedAt?: EpochMs;
  /** How often the list will show it once more after it was gone. */
  reappearances: number;
  cancelPlans: (() => void)[];
}

export interface StoredSecret {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly value: string;
}

export interface Account {
  credit(): number;
  setCredit(usd: number): void;
  /** What happens when there is none left. */
  runOut(): void;
}

/** Everything that exists at the vendor, and the rules by which it moves. */
export interface World {
  readonly mode: 'strict' | 'lenient';
  readonly agenda: Agenda;
  readonly random: Random;
  knobs: Knobs;
  readonly shapes: Shapes;
  readonly inventory: Inventory;
  readonly ledger: Ledger<BillPart>;
  readonly account: Account;
  readonly vms: Map<string, Vm>;
  readonly secrets: Map<string, StoredSecret>;
  nextId(): string;
  now(): EpochMs;
}

export function isChance(world: World, share: number): boolean {
  return share > 0 && world.random.next() < share;
}

/** Whole milliseconds of a span. */
export function between(world: World, leastMs: number, mostMs: number): number {
  return Math.round(leastMs + world.random.next() * Math.max(0, mostMs - leastMs));
}

/** Alive as the vendor's billing sees it. */
export function aliveVms(world: World): Vm[] {
  return [...world.vms.values()].filter(({ deletedAt }) => deletedAt === undefined);
}

export function aliveVm(world: World, id: string): Vm | undefined {
  const vm = world.vms.get(id);
  return vm?.deletedAt === undefined ? vm : undefined;
}
