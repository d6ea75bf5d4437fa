import type { EpochMs } from '../core/clock.ts';
import { madeAt, type Ids, type SessionId } from '../core/ids.ts';
import type { Attempt, Session, SessionEvent } from '../db/tables.ts';
import { offerId, type ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import type { Offer } from '../provider/offer.ts';
import { ownershipTag, type DeploymentId, type OwnershipTag } from '../provider/ownership-tag.ts';
import { adoptedEntry } from './audit-entries.ts';
import { TOMBSTONE_MS } from './endings.ts';
import { intentOf } from './intent.ts';
import { brokenInvariants } from './invariants.ts';
import type { StepRules } from './step-rules.ts';
import { step, type Transition } from './step.ts';

interface Adoption {
  readonly deployment: DeploymentId;
  readonly sessionId: SessionId;
  readonly ordinal: number;
  readonly tag: OwnershipTag;
  readonly provider: ProviderId;
  readonly instance: Instance;
  readonly consumerId: string;
  readonly now: EpochMs;
  /** How long it is kept, and at most, from now. */
  readonly keepMs: number;
  readonly hardMaxMs: number;
  readonly ids: Pick<Ids, 'secret'>;
  readonly rules: StepRules;
}

/** A whole session that was lost, as far as its instance tells of it. */
export type AdoptedSession = Pick<Transition, 'session' | 'attempts' | 'segments' | 'audit'> & {
  readonly events: readonly SessionEvent[];
};

export const ADOPTED_WARNING =
  'adopted by the operator: its rows were lost. SSH was not proven, and which keys open it is not known to the broker';

/**
 * The rows of an instance that bears our tag and has none: from then on it is watched, billed to `consumerId`, and ends at its expiry. Its first
 * sight goes through `step` like any other, so that one that has failed or is paused is at once one to be destroyed. Its keys are lost with its
 * rows: it counts as running without a proof, and says so. Attempts before it are held to be gone, and stay watched.
 */
export function adoptInstance(adoption: Adoption): AdoptedSession {
  const { sessionId, ordinal, instance, now, ids, rules } = adoption;
  const session = lostSession(adoption);
  const intents = Array.from({ length: ordinal }, (_, index) => lostIntent(adoption, index + 1, ids));
  const closed = intents.slice(0, -1).map((attempt) => ({
    ...attempt,
    state: 'gone' as const,
    goneAcceptedAt: now,
    goneVerifiedAt: null,
    tombstoneUntil: now + TOMBSTONE_MS,
    outcome: 'create_lost',
  }));
  const before = { session, attempts: [...closed, ...intents.slice(-1)] };
  const seen = step(before, { kind: 'seen', ordinal, by: 'list', instance }, now, rules);
  if (!seen) throw new Error(`instance ${instance.id} is not that of attempt ${ordinal}`);
  const { session: after, attempts, segments } = seen;
  if (after.desired === 'run') hold(after, attempts.at(-1), instance, now);
  const kinds = [{ kind: 'session.adopted', data: { instance_id: instance.id } }, ...seen.events];
  const events = kinds.map(({ kind, data }, index) => ({ sessionId, version: index + 1, kind, at: now, data }));
  after.version = events.length;
  after.updatedAt = now;
  const broken = brokenInvariants({ session: after, attempts });
  if (broken.length > 0) throw new Error(`adopting ${instance.id} would break: ${broken.join('; ')}`);
  const audit = [adoptedEntry({ session: after, attempts }), ...seen.audit];
  return { session: after, attempts, segments, events, audit };
}

/** The consumer's as it is: nobody can prove it, and nobody shall destroy it for that. */
function hold(session: Session, attempt: Attempt | undefined, instance: Instance, now: EpochMs): void {
  if (attempt) attempt.runningAt = now;
  const routes = instance.state === 'running' && instance.ssh.routes !== 'dial' ? instance.ssh.routes : [];
  Object.assign(session, {
    status: 'running',
    phase: 'running',
    phaseEnteredAt: now,
    phaseDeadlineAt: null,
    runningAt: now,
    sshHost: routes[0]?.host ?? null,
    sshPort: routes[0]?.port ?? null,
    sshUser: instance.state === 'running' ? instance.ssh.user : null,
    sshHostKey: (instance.state === 'running' ? instance.ssh.hostKey : undefined) ?? null,
  } satisfies Partial<Session>);
}

function lostSession({ sessionId, ordinal, provider, instance, consumerId, now, keepMs, hardMaxMs }: Adoption): Session {
  const offer = lostOffer(provider, instance);
  return {
    id: sessionId,
    consumerId,
    name: null,
    status: 'provisioning',
    desired: 'run',
    reason: null,
    error: null,
    phase: 'creating',
    phaseEnteredAt: now,
    phaseDeadlineAt: null,
    dueAt: now,
    version: 0,
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
    warnings: [ADOPTED_WARNING],
    provider,
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
    sshPublicKey: '',
    keySecretId: null,
    reservationMinutes: Math.ceil(Math.min(keepMs, hardMaxMs) / 60_000),
    idleThresholdMinutes: 0,
    idleSince: null,
    idleSampledAt: null,
    idleWarnedAt: null,
    maxAttempts: ordinal,
    attemptCount: ordinal,
    createdAt: now,
    updatedAt: now,
    expiresAt: now + Math.min(keepMs, hardMaxMs),
    hardDeadlineAt: now + hardMaxMs,
    runningAt: null,
    stopRequestedAt: null,
    destroyAcceptedAt: null,
    destroyVerifiedAt: null,
    stoppedAt: null,
    settledCostMicros: null,
  };
}

/** Billed from its making, as what no answer told of (ADR 0022): as the provider dates it, else since its session was asked for. */
function lostIntent(
  { deployment, sessionId, provider, instance, now }: Adoption,
  ordinal: number,
  ids: Pick<Ids, 'secret'>,
): Attempt {
  const offer = lostOffer(provider, instance);
  return intentOf({
    sessionId,
    ordinal,
    tag: ownershipTag({ deployment, sessionId, ordinal }),
    offer,
    priceMicrosPerHour: offer.priceMicrosPerHour,
    capMicrosPerHour: Number.MAX_SAFE_INTEGER, // what was agreed is lost; it runs and is paid
    probe: { publicKey: '', secretId: ids.secret() }, // none is kept under that id
    at: Math.min(now, madeAt(sessionId)),
    fenceMs: 0,
    callTimeoutMs: 0,
  });
}

/** What it was offered as is lost; only the price is the provider's own word. */
function lostOffer(provider: ProviderId, { id, priceMicrosPerHour = 0 }: Instance): Offer {
  return {
    id: offerId(`${provider}-adopted-${id}`),
    provider,
    providerOfferId: `adopted-${id}`,
    gpuType: 'unknown',
    gpuCount: 0,
    vramMib: 0,
    cpuCores: 0,
    memoryMib: 0,
    diskGb: 0,
    minDiskGb: 0,
    maxDiskGb: 0,
    priceMicrosPerHour,
    diskMicrosPerGbHour: 0,
    location: 'unknown',
    reliability: 0,
    confidence: 0,
    interruptible: false,
    units: 1,
  };
}
