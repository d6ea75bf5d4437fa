import { z } from 'zod';
import { HOUR_MS, MINUTE_MS } from '../../core/duration.ts';
import { toUsd } from '../../core/money.ts';
import type { Bill } from '../../costs/bill.ts';
import type { Attempt } from '../../db/tables.ts';
import { soldVramGb } from '../../offers/vram.ts';
import type { SessionRecord } from '../../sessions/session-record.ts';
import { actionsOf, SESSION_STATUSES } from '../../sessions/session-state.ts';
import { termsOf } from '../../sessions/terms.ts';
import { present } from '../present.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { conditionsOf, ConditionBody } from './session-condition.ts';
import { sshCommandOf } from './ssh-command.ts';
import { time } from './wire-values.ts';

const AttemptBody = z
  .object({
    ordinal: z.int().describe('1 for the first.'),
    offer_id: z.string(),
    provider: z.string(),
    price_per_hour: z.number().describe('US dollars, with the disk that was asked.'),
    state: z.enum(['intent', 'unknown', 'live', 'destroying', 'verifying', 'gone']),
    outcome: z.string().optional().describe('Why it was no use; absent while it is the one that counts.'),
    error: z.string().optional(),
    instance_id: z.string().optional().describe("The provider's own name of the instance."),
    began_at: time,
    accepted_at: time.optional().describe('When the provider accepted the create: its bill begins.'),
    running_at: time.optional(),
    last_seen_at: time.optional(),
    destroy_requested_at: time.optional(),
    destroy_accepted_at: time.optional().describe('When the provider itself said that it is gone.'),
    destroy_verified_at: time.optional().describe('When it was still gone after the observation window.'),
  })
  .meta({ id: 'Attempt', description: 'One create call for a session and what came of it.' });

export const SessionBody = z
  .object({
    id: z.string(),
    consumer_id: z.string(),
    name: z.string().optional(),
    status: z.enum(SESSION_STATUSES),
    reason: z.string().optional().describe('Why it ends or ended.'),
    error: z.string().optional(),
    phase: z.string().describe('What it is about now, finer than status.'),
    phase_deadline_at: time.optional().describe('When the phase counts as failed.'),
    actions: z.array(z.enum(['connect', 'extend', 'done', 'delete'])).describe('What makes sense now.'),
    conditions: z.array(ConditionBody),
    provider: z.string(),
    offer_id: z.string(),
    instance_id: z.string().optional().describe("The provider's own name of the instance of the last attempt."),
    gpu_type: z.string(),
    gpu_count: z.int(),
    vram_gb: z.int().describe('GB of each GPU.'),
    disk_gb: z.int(),
    price_per_hour: z.number().describe('US dollars; of an interruptible one with the bid, not the floor.'),
    interruptible: z.boolean().optional().describe('True when its offer goes to whoever bids more; else absent.'),
    bid_price: z.number().optional().describe('What is bid, US dollars an hour without the disk.'),
    workload_type: z.string(),
    launch_mode: z.string().optional(),
    model_id: z.string().optional().describe('The model that the disk was sized for.'),
    quantization: z.string().optional(),
    template_hash_id: z.string().optional().describe('The template that was asked for.'),
    ssh_host: z.string().optional(),
    ssh_port: z.int().optional(),
    ssh_user: z.string().optional(),
    ssh_host_key: z.string().optional().describe('The public key of the host as it was proven, for known_hosts.'),
    ssh_command: z.string().optional().describe('To paste; add -i with the file of the private key.'),
    reservation_hours: z.int().describe('Rounded up; reservation_minutes is exact.'),
    reservation_minutes: z.int(),
    idle_threshold_minutes: z.int().describe('0: no idle shutdown.'),
    storage_policy: z.string(),
    auto_retry: z.boolean().optional(),
    max_retries: z.int().optional(),
    retry_scope: z.string().optional(),
    retry_count: z.int().optional().describe('Attempts beyond the first.'),
    failed_offers: z.string().optional().describe('Ids of offers that failed, separated by commas.'),
    max_attempts: z.int(),
    attempts: z.array(AttemptBody),
    cost: z.number().describe('US dollars that the consumer pays so far; final once cost_is_final.'),
    cost_is_final: z.boolean(),
    operator_cost: z.number().describe('US dollars so far of attempts that never ran.'),
    created_at: time,
    updated_at: time,
    running_at: time.optional(),
    expires_at: time,
    hard_maximum_at: time.describe('No extension goes past it.'),
    stop_requested_at: time.optional(),
    stopped_at: time.optional(),
    destroy_accepted_at: time.optional().describe('When the provider itself said that everything is gone: the bill ends.'),
    destroy_verified_at: time.optional().describe('When it was still gone after the observation window.'),
    metadata: z.record(z.string(), z.string()),
    warnings: z.array(z.string()).optional().describe('What was accepted and does nothing.'),
    version: z.int().describe('Rises with every change.'),
  })
  .meta({ id: 'Session', description: 'A use of capacity, from its request until it is settled.' });

export type SessionBody = z.infer<typeof SessionBody>;

export const NO_COST: Bill = { consumerMicros: 0, operatorMicros: 0, hours: 0 };

/** A session as clients read it; `bill` is what it has cost so far. */
export function sessionToWire({ session, attempts }: SessionRecord, bill: Bill): SessionBody {
  const { request } = session;
  const failedOffers = attempts.filter(({ outcome }) => outcome !== null).map(({ offerId }) => offerId);
  return present({
    id: session.id,
    consumer_id: session.consumerId,
    name: session.name ?? undefined,
    status: session.status,
    reason: session.reason ?? undefined,
    error: session.error ?? undefined,
    phase: session.phase,
    phase_deadline_at: wireTimeIfAny(session.phaseDeadlineAt),
    actions: actionsOf(session),
    conditions: conditionsOf({ session, attempts }),
    provider: session.provider,
    offer_id: session.offerId,
    instance_id: attempts.at(-1)?.instanceId ?? undefined,
    gpu_type: session.gpuType,
    gpu_count: session.gpuCount,
    vram_gb: soldVramGb(session.vramMib),
    disk_gb: session.diskGb,
    price_per_hour: toUsd(session.priceMicrosPerHour),
    interruptible: session.offer.interruptible || undefined,
    bid_price: bidOf(session),
    workload_type: session.workloadType,
    launch_mode: request.launchMode,
    model_id: request.modelId,
    quantization: request.quantization,
    template_hash_id: request.templateHashId,
    // a tunnel's address stands there before it leads to a proven machine
    ssh_host: session.runningAt === null ? undefined : (session.sshHost ?? undefined),
    ssh_port: session.runningAt === null ? undefined : (session.sshPort ?? undefined),
    ssh_user: session.sshUser ?? undefined,
    ssh_host_key: session.sshHostKey ?? undefined,
    ssh_command: sshCommandOf(session),
    reservation_hours: Math.ceil((session.reservationMinutes * MINUTE_MS) / HOUR_MS),
    reservation_minutes: session.reservationMinutes,
    idle_threshold_minutes: session.idleThresholdMinutes,
    storage_policy: request.storagePolicy,
    auto_retry: request.autoRetry || undefined,
    max_retries: request.autoRetry ? request.maxRetries : undefined,
    retry_scope: request.autoRetry ? request.retryScope : undefined,
    retry_count: attempts.length > 1 ? attempts.length - 1 : undefined,
    failed_offers: failedOffers.length > 0 ? [...new Set(failedOffers)].join(',') : undefined,
    max_attempts: session.maxAttempts,
    attempts: attempts.map(attemptToWire),
    cost: toUsd(session.settledCostMicros ?? bill.consumerMicros),
    cost_is_final: session.settledCostMicros !== null,
    operator_cost: toUsd(bill.operatorMicros),
    created_at: wireTime(session.createdAt),
    updated_at: wireTime(session.updatedAt),
    running_at: wireTimeIfAny(session.runningAt),
    expires_at: wireTime(session.expiresAt),
    hard_maximum_at: wireTime(session.hardDeadlineAt),
    stop_requested_at: wireTimeIfAny(session.stopRequestedAt),
    stopped_at: wireTimeIfAny(session.stoppedAt),
    destroy_accepted_at: wireTimeIfAny(session.destroyAcceptedAt),
    destroy_verified_at: wireTimeIfAny(session.destroyVerifiedAt),
    metadata: { ...session.metadata },
    warnings: session.warnings.length > 0 ? [...session.warnings] : undefined,
    version: session.version,
  });
}

function bidOf({ offer, request }: SessionRecord['session']): number | undefined {
  const { bidMicrosPerHour } = termsOf(offer, request) ?? {};
  return bidMicrosPerHour === undefined ? undefined : toUsd(bidMicrosPerHour);
}

function attemptToWire(attempt: Attempt): z.infer<typeof AttemptBody> {
  return present({
    ordinal: attempt.ordinal,
    offer_id: attempt.offerId,
    provider: attempt.provider,
    price_per_hour: toUsd(attempt.priceMicrosPerHour),
    state: attempt.state,
    outcome: attempt.outcome ?? undefined,
    error: attempt.error ?? undefined,
    instance_id: attempt.instanceId ?? undefined,
    began_at: wireTime(attempt.intentAt),
    accepted_at: wireTimeIfAny(attempt.acceptedAt),
    running_at: wireTimeIfAny(attempt.runningAt),
    last_seen_at: wireTimeIfAny(attempt.lastSeenAt),
    destroy_requested_at: wireTimeIfAny(attempt.destroyRequestedAt),
    destroy_accepted_at: wireTimeIfAny(attempt.goneAcceptedAt),
    destroy_verified_at: wireTimeIfAny(attempt.goneVerifiedAt),
  });
}
