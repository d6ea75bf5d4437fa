import type { EpochMs } from '../core/clock.ts';
import type { MicroUsd } from '../core/money.ts';
import type { InstanceId } from './ids.ts';

/** One way to an instance's sshd. */
export interface SshRoute {
  readonly host: string;
  readonly port: number;
}

/** How to log in: the routes are tried in order each round; `'dial'` means that only the provider's `dialSsh` gets there. */
export interface SshAccess {
  readonly user: string;
  /** The host's public key (`ssh-ed25519 AAAA…`, no comment) where the provider itself can vouch for it; else the first proof pins it. */
  readonly hostKey?: string;
  readonly routes: readonly SshRoute[] | 'dial';
}

/** A reading of the provider's own meters. */
export interface Utilisation {
  /** Percent over all GPUs; absent without a GPU or where the provider does not tell. */
  readonly gpuPercent?: number;
  /** Percent of the cores that were rented. */
  readonly cpuPercent?: number;
  readonly sampledAt: EpochMs;
}

interface InstanceBase {
  readonly id: InstanceId;
  /** The ownership-tag text that it bears (label or name, else a second mark), exactly as read, of whatever installation; absent when it bears none. */
  readonly tag?: string;
  /** The vendor's own rate now, in this state. */
  readonly priceMicrosPerHour?: MicroUsd;
  readonly utilisation?: Utilisation;
  /** A further mark of identity where the vendor reuses ids. */
  readonly createdAt?: EpochMs;
}

/** The thing that runs at the provider. Each state may be billed; only absence is not. A word of the vendor that nobody knows is `starting`, never an end. */
export type Instance =
  | (InstanceBase & { readonly state: 'starting' })
  | (InstanceBase & { readonly state: 'running'; readonly ssh: SshAccess })
  | (InstanceBase & { readonly state: 'stopping' })
  | (InstanceBase & {
      readonly state: 'failed';
      readonly reason: string;
      /** `funds`: the account ran dry, which says nothing of the machine. */
      readonly fault?: 'funds';
    })
  | (InstanceBase & { readonly state: 'paused' });

export type InstanceState = Instance['state'];
