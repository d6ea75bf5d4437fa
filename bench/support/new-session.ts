import { HOUR_MS } from '../../src/core/duration.ts';
import type { SessionId } from '../../src/core/ids.ts';
import type { Session } from '../../src/db/tables.ts';
import type { Offer } from '../../src/provider/offer.ts';

interface NewSession {
  readonly id: SessionId;
  readonly offer: Offer;
  readonly at: number;
  readonly sshPublicKey: string;
}

/** A session as it is stored when it is requested. */
export function newSession({ id, offer, at, sshPublicKey }: NewSession): Session {
  return {
    id,
    consumerId: 'bench',
    name: null,
    status: 'pending',
    desired: 'run',
    reason: null,
    error: null,
    phase: 'queued',
    phaseEnteredAt: at,
    phaseDeadlineAt: null,
    dueAt: at,
    version: 1,
    workloadType: 'ssh',
    request: {
      offerId: offer.id,
      environment: {},
      autoRetry: false,
      maxRetries: 0,
      retryScope: 'same_gpu',
      storagePolicy: 'destroy',
      launchMode: 'ssh',
    },
    metadata: {},
    warnings: [],
    provider: offer.provider,
    offerId: offer.id,
    offer,
    gpuType: offer.gpuType,
    gpuCount: offer.gpuCount,
    vramMib: offer.vramMib,
    diskGb: offer.diskGb,
    priceMicrosPerHour: offer.priceMicrosPerHour,
    sshHost: null,
    sshPort: null,
    sshUser: null,
    sshHostKey: null,
    sshPublicKey,
    keySecretId: null,
    reservationMinutes: 60,
    idleThresholdMinutes: 0,
    idleSince: null,
    idleSampledAt: null,
    idleWarnedAt: null,
    maxAttempts: 6,
    attemptCount: 0,
    createdAt: at,
    updatedAt: at,
    expiresAt: at + HOUR_MS,
    hardDeadlineAt: at + 12 * HOUR_MS,
    runningAt: null,
    stopRequestedAt: null,
    destroyAcceptedAt: null,
    destroyVerifiedAt: null,
    stoppedAt: null,
    settledCostMicros: null,
  };
}
