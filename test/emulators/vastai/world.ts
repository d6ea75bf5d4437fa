import type { EpochMs } from '../../../src/core/clock.ts';
import type { Random } from '../../../src/core/random.ts';
import type { Agenda } from '../kit/agenda.ts';
import type { InstanceSsh } from '../kit/instance-ssh.ts';
import type { Knobs, Shapes } from './knobs.ts';
import type { Ledger } from './ledger.ts';
import type { Machine, Market } from './market.ts';

export interface StoredKey {
  readonly id: number;
  readonly publicKey: string;
  readonly createdAt: EpochMs;
}

/** Accidents that this contract is fated to have. */
export interface Fate {
  readonly isStuck: boolean;
  readonly hasOciFailure: boolean;
  readonly isProxyDead: boolean;
  readonly isDirectDead: boolean;
  readonly refusesKeys: boolean;
}

/**
 * booting: the GPU is held, the disk is billed; running: both are billed; stopping, stopped: the disk is billed; failed: stopped by an
 * error of the host that it never recovers from. What the record says (`actual_status` and the rest) follows from these and from `override`.
 */
export type Phase = 'booting' | 'running' | 'stopping' | 'stopped' | 'failed';

/** What the vendor knows of one rented slice. */
export interface Contract {
  readonly id: number;
  readonly bundleId: number;
  readonly machine: Machine;
  readonly gpus: readonly number[];
  readonly isBid: boolean;
  /** $/h for all its GPUs: the bid, or the price on demand that was agreed. */
  gpuPerHour: number;
  readonly diskGb: number;
  readonly image: string;
  readonly runtype: string;
  readonly env: readonly (readonly [string, string])[];
  readonly onstart: string;
  readonly templateHash: string | null;
  readonly instanceKey: string;
  label: string | null;
  readonly createdAt: EpochMs;
  /** From when the list shows it. */
  readonly listedAt: EpochMs;
  intended: 'running' | 'stopped';
  /** What `cur_state` and `next_state` say. */
  current: 'running' | 'stopped';
  phase: Phase;
  phaseSince: EpochMs;
  bootMs: number;
  /** An `actual_status` that stands above the phase: `offline`, `rebooting`, `loading` of a contract that was outbid. */
  override?: string;
  statusMessage: string | null;
  /** When the host was last heard, once it is not any more. */
  frozenAt?: EpochMs;
  isQueued: boolean;
  isOutbid: boolean;
  readonly fate: Fate;
  readonly attachedKeys: StoredKey[];
  readonly authorizedKeys: string[];
  /** Whether this container's start script has written its keys: scripts like ours do so once in a container's life. */
  hasRunScript: boolean;
  /** Container port and protocol, to the port of the host. */
  readonly ports: ReadonlyMap<string, number>;
  ssh?: InstanceSsh;
  destroyedAt?: EpochMs;
  unlistedAt?: EpochMs;
  cancelPlans: (() => void)[];
}

export interface Account {
  readonly userId: number;
  credit(): number;
  setCredit(usd: number): void;
  readonly keys: StoredKey[];
}

export interface PriceRise {
  readonly id: number;
  readonly contractId: number;
  readonly factor: number;
  readonly createdAt: EpochMs;
}

export interface Webhook {
  readonly id: number;
  readonly url: string;
  readonly secret: string;
  readonly events: readonly string[];
}

/** Everything that exists at the vendor, and the rules by which it moves. */
export interface World {
  readonly mode: 'strict' | 'lenient';
  readonly agenda: Agenda;
  readonly random: Random;
  knobs: Knobs;
  readonly shapes: Shapes;
  readonly market: Market;
  readonly ledger: Ledger;
  readonly account: Account;
  readonly contracts: Map<number, Contract>;
  readonly priceRises: PriceRise[];
  readonly webhooks: Webhook[];
  nextId(): number;
  now(): EpochMs;
}

export function isChance(world: World, share: number): boolean {
  return share > 0 && world.random.next() < share;
}

/** Alive as the vendor's billing sees it. */
export function aliveContracts(world: World): Contract[] {
  return [...world.contracts.values()].filter((contract) => contract.destroyedAt === undefined);
}

export function aliveContract(world: World, id: number): Contract | undefined {
  const contract = world.contracts.get(id);
  return contract?.destroyedAt === undefined ? contract : undefined;
}
