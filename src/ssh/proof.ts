import type { Secret } from '../core/secret.ts';
import type { HandOffAnswer, ProbeAfter } from '../provider/key-hand-off.ts';
import type { FoundGpu, SoldGpus } from './gpu-probe.ts';
import type { Route, SshTarget } from './reach.ts';
import type { SshFailureKind } from './ssh-failure.ts';

/** The key pair of one attempt, injected beside the consumer's key. */
export interface ProbeKey {
  readonly privateKey: Secret<string> | string;
  /** `type base64`, a comment allowed. */
  readonly publicKey: string;
}

export interface ProofRequest extends SshTarget {
  readonly probe: ProbeKey;
  /** `type base64`, as parseSshPublicKey gave it. */
  readonly consumerPublicKey: string;
  /** The host's key from an earlier proof; it outranks what the provider says now. */
  readonly pinnedHostKey?: string;
  /** Absent where the offer has no GPU. */
  readonly gpu?: SoldGpus;
  /** What becomes of the probe key's line: `restrict` where samples are wanted later (idle shutdown). */
  readonly probeAfter: ProbeAfter;
  /** Also ask for a terminal: a container may lack only what that needs. */
  readonly terminal?: boolean;
  /**
   * Awaited when everything but the hand-off has passed, on the open connection: the place to store that hand-off begins and with
   * which host key. A rejection leaves the keys as they are and is passed on.
   */
  readonly beforeHandOff?: (proof: { readonly hostKey: string; readonly route: Route }) => Promise<void>;
  /**
   * That `beforeHandOff` was stored in an earlier life. Then a host with the pinned key that refuses the probe key, or lets it only print
   * a sample, is proven: the hand-off had happened and the answer was lost.
   */
  readonly handOffBegun?: boolean;
  /** For the whole call, all routes together. */
  readonly budgetMs: number;
}

export interface ProofTimings {
  readonly dialMs: number;
  readonly handshakeMs: number;
  readonly echoMs: number;
  /** nvidia-smi's own time, mostly. */
  readonly gpuMs: number;
  readonly handOffMs: number;
  readonly totalMs: number;
}

export type ProofOutcome =
  /** Login, echo, GPUs and the consumer's key hold. `handOff: 'earlier'`: done in an earlier life, so nothing is known about its answer. */
  | {
      readonly kind: 'proven';
      /** `type base64`, to be pinned. */
      readonly hostKey: string;
      readonly route: Route;
      readonly gpus: readonly FoundGpu[];
      /** What looks odd and proves nothing. */
      readonly warnings: readonly string[];
      readonly strictKex?: boolean;
      readonly handOff: HandOffAnswer | 'earlier';
      readonly timings: ProofTimings;
    }
  /** Try again later, until the phase's deadline. */
  | { readonly kind: 'not_yet'; readonly reason: SshFailureKind | 'gpu_not_ready'; readonly message: string }
  /** Somebody else answers there. */
  | { readonly kind: 'wrong_host'; readonly presentedFingerprint: string; readonly message: string }
  /** Forbidden by the address policy; trying again changes nothing while the address stays. */
  | { readonly kind: 'address_refused'; readonly message: string }
  /** Fewer GPUs than sold, or others. */
  | { readonly kind: 'gpu_mismatch'; readonly found: readonly FoundGpu[]; readonly message: string };
