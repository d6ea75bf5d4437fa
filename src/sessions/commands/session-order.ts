import type { StoredRequest } from '../../db/tables.ts';

/** What a consumer asks for, in inside units; the HTTP layer has checked each field by itself. */
export interface SessionOrder {
  readonly consumerId: string;
  readonly name?: string;
  readonly workloadType: string;
  readonly request: StoredRequest;
  readonly reservationMinutes: number;
  readonly idleThresholdMinutes: number;
  /** `type base64`, parsed and re-serialised; absent: the broker makes a pair. */
  readonly sshPublicKey?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
  /** How many create calls at most, over all offers. */
  readonly maxAttempts: number;
  readonly idempotency?: { readonly key: string; readonly bodyHash: string };
}
