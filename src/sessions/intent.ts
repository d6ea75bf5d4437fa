import type { EpochMs } from '../core/clock.ts';
import type { SecretId, SessionId } from '../core/ids.ts';
import type { MicroUsd } from '../core/money.ts';
import type { Attempt } from '../db/tables.ts';
import type { Offer } from '../provider/offer.ts';
import type { OwnershipTag } from '../provider/ownership-tag.ts';

interface IntentParts {
  readonly sessionId: SessionId;
  readonly ordinal: number;
  readonly tag: OwnershipTag;
  readonly offer: Offer;
  /** With the disk that was asked. */
  readonly priceMicrosPerHour: MicroUsd;
  readonly capMicrosPerHour: MicroUsd;
  readonly probe: { readonly publicKey: string; readonly secretId: SecretId };
  readonly at: EpochMs;
  /** How long the create call may still be sent, and how long it may then take. */
  readonly fenceMs: number;
  readonly callTimeoutMs: number;
}

/** An attempt of which nothing has happened yet: what is committed before the create call is sent (RULE-R1). */
export function intentOf({ offer, probe, at, fenceMs, callTimeoutMs, ...same }: IntentParts): Attempt {
  return {
    ...same,
    state: 'intent',
    provider: offer.provider,
    offerId: offer.id,
    machineId: offer.machineId ?? null,
    offer,
    instanceId: null,
    instanceState: null,
    ssh: {},
    hostKey: null,
    probePublicKey: probe.publicKey,
    probeSecretId: probe.secretId,
    intentAt: at,
    createDeadlineAt: at + fenceMs,
    acceptedAt: null,
    runningAt: null,
    instanceMadeAt: null,
    firstSeenAt: null,
    lastSeenAt: null,
    absences: [],
    destroyRequestedAt: null,
    destroyTries: 0,
    destroyAnsweredAt: null,
    goneAcceptedAt: null,
    goneVerifiedAt: null,
    tombstoneUntil: null,
    outcome: null,
    error: null,
    dueAt: at + fenceMs + callTimeoutMs,
    billingSequence: 0,
    billingRate: null,
    billingSince: null,
  };
}
