import type { MicroUsd } from '../core/money.ts';
import type { CallOptions } from './provider.ts';
import type { OwnershipTag } from './ownership-tag.ts';

/** Room on a machine that a session could have: a share of its GPUs with cores and memory in proportion. */
export interface PoolSlot {
  /** Changes after each claim, so that an old offer cannot be taken for the new one. */
  readonly slotId: string;
  readonly machineId: string;
  readonly machineName: string;
  readonly gpuType: string;
  readonly gpuCount: number;
  readonly vramMib: number;
  readonly cpuCores: number;
  readonly memoryMib: number;
  readonly diskGb: number;
  readonly priceMicrosPerHour: MicroUsd;
  readonly location: string;
  readonly cudaVersion?: number;
}

export interface PoolStart {
  readonly slotId: string;
  readonly tag: OwnershipTag;
  readonly sshPublicKeys: readonly string[];
  readonly image?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly onStart?: string;
}

/** A session's share of a machine as its runner reports it. */
export interface PoolInstance {
  readonly instanceId: string;
  readonly tag?: string;
  readonly state: 'starting' | 'running' | 'stopping' | 'failed' | 'paused';
  readonly failure?: string;
  readonly ssh?: { readonly host: string; readonly port: number; readonly user: string; readonly hostKey?: string };
  readonly cpuPercent?: number;
  readonly gpuPercent?: number;
  readonly createdAt: number;
}

/**
 * The machines of this installation as a provider sees them. Errors are `PoolError`s, so that the provider can tell a full machine
 * from one that does not answer.
 */
export interface MachinePool {
  listSlots(options: CallOptions): Promise<readonly PoolSlot[]>;
  start(request: PoolStart, options: CallOptions): Promise<PoolInstance>;
  get(instanceId: string, options: CallOptions): Promise<PoolInstance | undefined>;
  list(options: CallOptions): Promise<readonly PoolInstance[]>;
  /** Asks for the end; resolves when the machine has taken the order. */
  stop(instanceId: string, options: CallOptions): Promise<void>;
  /** Why the pool cannot serve right now, in plain words with the fix; undefined when it can. */
  preflight(options: CallOptions): Promise<string | undefined>;
}

/** `full`: no room. `unreachable`: nothing was done. `unknown`: cut off after the order was sent. `refused`: the order is at fault. */
export type PoolErrorKind = 'full' | 'unreachable' | 'unknown' | 'refused';

export class PoolError extends Error {
  readonly kind: PoolErrorKind;

  constructor(kind: PoolErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'PoolError';
    this.kind = kind;
  }
}
