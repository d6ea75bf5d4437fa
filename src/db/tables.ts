import { sql } from 'drizzle-orm';
import type { SecretId, SessionId } from '../core/ids.ts';
import type { InstanceId, OfferId, ProviderId } from '../provider/ids.ts';
import type { InstanceState, SshAccess } from '../provider/instance.ts';
import type { Offer } from '../provider/offer.ts';
import type { OwnershipTag } from '../provider/ownership-tag.ts';
import type { TemplateNeed } from '../provider/template.ts';
import type { ObservationKind } from '../provider/capabilities.ts';
import type { Kit } from './columns.ts';

/** The six words of the wire; everything finer is a phase, a reason or a condition. */
export type SessionStatus = 'pending' | 'provisioning' | 'running' | 'stopping' | 'stopped' | 'failed';
/** What the consumer wants of it; `gone` is never taken back. */
export type SessionWish = 'run' | 'gone';
export type SessionPhase =
  | 'queued'
  | 'creating'
  | 'resolving'
  | 'booting'
  | 'connecting'
  | 'driver'
  | 'retrying'
  | 'running'
  | 'destroying'
  | 'verifying'
  | 'settled';
/** Where an attempt is; the prose stands in sessions/session-state.ts. */
export type AttemptState = 'intent' | 'unknown' | 'live' | 'destroying' | 'verifying' | 'gone';

/** What the consumer asked for, normalised; kept as it was. */
export interface StoredRequest {
  /** Absent when the broker picks by requirements. */
  readonly offerId?: OfferId;
  readonly providers?: readonly string[];
  readonly gpuTypes?: readonly string[];
  readonly minVramMib?: number;
  readonly gpuCount?: number;
  readonly maxPriceMicrosPerHour?: number;
  readonly locations?: readonly string[];
  readonly minReliability?: number;
  readonly interruptible?: boolean;
  /** What to bid an hour for an interruptible offer, without its disk; absent: the floor and the margin. */
  readonly bidMicrosPerHour?: number;
  /** How far above the floor the broker bids by itself; written down, so that a setting that changes changes no session. */
  readonly bidMarginPercent?: number;
  readonly diskGb?: number;
  readonly image?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly onStart?: string;
  readonly templateHashId?: string;
  /** What the template asked for when it was looked up: another offer is chosen by it without looking it up again. */
  readonly templateTerms?: {
    readonly provider: ProviderId;
    readonly needs: readonly TemplateNeed[];
    readonly bootMinutes?: number;
  };
  readonly sshTimeoutMinutes?: number;
  readonly autoRetry: boolean;
  readonly maxRetries: number;
  readonly retryScope: 'same_gpu' | 'same_vram' | 'any';
  readonly storagePolicy: string;
  readonly launchMode: string;
  readonly modelId?: string;
  readonly quantization?: string;
}

/** Plain data from a lease's holder to those who wait for it. */
export type LeaseNote = Readonly<Record<string, string | number>>;

/** One look that did not find the instance. */
export interface Absence {
  readonly at: number;
  readonly kind: ObservationKind;
}

/** Every table, once; a kit makes it SQLite's or PostgreSQL's. Instants are epoch milliseconds, money is micro-dollars. */
export function defineTables(kit: Kit) {
  const sessions = kit.table(
    'sessions',
    {
      id: kit.text<SessionId>('id').primaryKey(),
      consumerId: kit.text('consumer_id').notNull(),
      name: kit.text('name'),
      status: kit.text<SessionStatus>('status').notNull(),
      desired: kit.text<SessionWish>('desired').notNull(),
      /** Why it ends or ended; null while all is well. */
      reason: kit.text('reason'),
      error: kit.text('error'),
      phase: kit.text<SessionPhase>('phase').notNull(),
      phaseEnteredAt: kit.instant('phase_entered_at').notNull(),
      phaseDeadlineAt: kit.instant('phase_deadline_at'),
      /** When the life cycle has to look at it next. */
      dueAt: kit.instant('due_at').notNull(),
      /** Rises with every write; a write that read an older one is refused. */
      version: kit.int('version').notNull(),
      workloadType: kit.text('workload_type').notNull(),
      request: kit.json<StoredRequest>('request'),
      metadata: kit.json<Readonly<Record<string, string>>>('metadata'),
      warnings: kit.json<readonly string[]>('warnings'),
      provider: kit.text<ProviderId>('provider').notNull(),
      offerId: kit.text<OfferId>('offer_id').notNull(),
      /** The offer as it was when it was chosen. */
      offer: kit.json<Offer>('offer'),
      gpuType: kit.text('gpu_type').notNull(),
      gpuCount: kit.int('gpu_count').notNull(),
      vramMib: kit.int('vram_mib').notNull(),
      diskGb: kit.int('disk_gb').notNull(),
      priceMicrosPerHour: kit.int('price_micros_per_hour').notNull(),
      sshHost: kit.text('ssh_host'),
      sshPort: kit.int('ssh_port'),
      sshUser: kit.text('ssh_user'),
      sshHostKey: kit.text('ssh_host_key'),
      /** The consumer's key, `type base64`. */
      sshPublicKey: kit.text('ssh_public_key').notNull(),
      /** The encrypted private key, when the broker made the pair; null otherwise. */
      keySecretId: kit.text<SecretId>('key_secret_id'),
      reservationMinutes: kit.int('reservation_minutes').notNull(),
      idleThresholdMinutes: kit.int('idle_threshold_minutes').notNull(),
      /** Since when every fresh sample was idle; null when it is not, or not known. */
      idleSince: kit.instant('idle_since'),
      idleSampledAt: kit.instant('idle_sampled_at'),
      idleWarnedAt: kit.instant('idle_warned_at'),
      maxAttempts: kit.int('max_attempts').notNull(),
      attemptCount: kit.int('attempt_count').notNull(),
      createdAt: kit.instant('created_at').notNull(),
      updatedAt: kit.instant('updated_at').notNull(),
      expiresAt: kit.instant('expires_at').notNull(),
      hardDeadlineAt: kit.instant('hard_deadline_at').notNull(),
      runningAt: kit.instant('running_at'),
      stopRequestedAt: kit.instant('stop_requested_at'),
      /** The provider itself said gone; the consumer's bill is closed. */
      destroyAcceptedAt: kit.instant('destroy_accepted_at'),
      /** Still gone after the provider's observation window. */
      destroyVerifiedAt: kit.instant('destroy_verified_at'),
      stoppedAt: kit.instant('stopped_at'),
      /** What the consumer pays, rounded once, when every segment is closed. */
      settledCostMicros: kit.int('settled_cost_micros'),
    },
    (column) => [
      kit.index('sessions_status_due').on(column.status, column.dueAt),
      kit.index('sessions_consumer').on(column.consumerId, column.createdAt),
      kit.index('sessions_created').on(column.createdAt),
      kit.index('sessions_expiry').on(column.desired, column.expiresAt),
      kit.index('sessions_hard_deadline').on(column.desired, column.hardDeadlineAt),
      kit.index('sessions_retired').on(column.phase, column.stoppedAt),
      kit
        .index('sessions_unsettled')
        .on(column.status)
        .where(sql`${column.settledCostMicros} is null`),
    ],
  );

  const attempts = kit.table(
    'attempts',
    {
      sessionId: kit
        .text<SessionId>('session_id')
        .notNull()
        .references(() => sessions.id),
      ordinal: kit.int('ordinal').notNull(),
      tag: kit.text<OwnershipTag>('tag').notNull(),
      state: kit.text<AttemptState>('state').notNull(),
      provider: kit.text<ProviderId>('provider').notNull(),
      offerId: kit.text<OfferId>('offer_id').notNull(),
      machineId: kit.text('machine_id'),
      /** The offer as it was when the intent was stored. */
      offer: kit.json<Offer>('offer'),
      instanceId: kit.text<InstanceId>('instance_id'),
      instanceState: kit.text<InstanceState>('instance_state'),
      /** When it was made, by its provider's clock, as last told of what bore our tag: what bears the same id and was made later is another's. */
      instanceMadeAt: kit.instant('instance_made_at'),
      /** How to get in, as last seen; `{}` while unknown. */
      ssh: kit.json<SshAccess | Record<string, never>>('ssh'),
      /** Pinned at the first proof. */
      hostKey: kit.text('host_key'),
      probePublicKey: kit.text('probe_public_key').notNull(),
      probeSecretId: kit.text<SecretId>('probe_secret_id').notNull(),
      /** Offered, with the disk that was asked. */
      priceMicrosPerHour: kit.int('price_micros_per_hour').notNull(),
      /** The most that may be paid: above it the instance is destroyed. */
      capMicrosPerHour: kit.int('cap_micros_per_hour').notNull(),
      intentAt: kit.instant('intent_at').notNull(),
      /** Past it nobody may send the create call any more; an intent without a verdict is then unknown. */
      createDeadlineAt: kit.instant('create_deadline_at').notNull(),
      /** When the create was accepted: billing starts here. */
      acceptedAt: kit.instant('accepted_at'),
      runningAt: kit.instant('running_at'),
      firstSeenAt: kit.instant('first_seen_at'),
      lastSeenAt: kit.instant('last_seen_at'),
      absences: kit.json<readonly Absence[]>('absences'),
      destroyRequestedAt: kit.instant('destroy_requested_at'),
      destroyTries: kit.int('destroy_tries').notNull(),
      /** The last destroy that the provider answered with success. */
      destroyAnsweredAt: kit.instant('destroy_answered_at'),
      goneAcceptedAt: kit.instant('gone_accepted_at'),
      goneVerifiedAt: kit.instant('gone_verified_at'),
      /** Until then a reappearance is looked for. */
      tombstoneUntil: kit.instant('tombstone_until'),
      /** How it ended, in a word: `capacity`, `ssh_verify_timeout`; null while it is the one that counts. */
      outcome: kit.text('outcome'),
      error: kit.text('error'),
      dueAt: kit.instant('due_at').notNull(),
      /** The open cost segment; 0 and null when none is open. */
      billingSequence: kit.int('billing_sequence').notNull(),
      billingRate: kit.int('billing_rate'),
      billingSince: kit.instant('billing_since'),
    },
    (column) => [
      kit.primaryKey({ columns: [column.sessionId, column.ordinal] }),
      kit.uniqueIndex('attempts_tag').on(column.tag),
      kit.index('attempts_state_due').on(column.state, column.dueAt),
    ],
  );

  /** One row for each change that somebody may want to hear of; `version` is the session's at that moment. */
  const events = kit.table(
    'events',
    {
      sessionId: kit
        .text<SessionId>('session_id')
        .notNull()
        .references(() => sessions.id),
      version: kit.int('version').notNull(),
      kind: kit.text('kind').notNull(),
      at: kit.instant('at').notNull(),
      data: kit.json<Readonly<Record<string, unknown>>>('data'),
    },
    (column) => [kit.primaryKey({ columns: [column.sessionId, column.version] })],
  );

  /** What lists of instances said; the last ones are kept. */
  const observations = kit.table(
    'observations',
    {
      provider: kit.text<ProviderId>('provider').notNull(),
      at: kit.instant('at').notNull(),
      complete: kit.bool('complete'),
      /** It lacks something that is held to be alive: it proves no absence. */
      suspect: kit.bool('suspect'),
      count: kit.int('count').notNull(),
      /** How many of them are not ours. */
      strangers: kit.int('strangers').notNull().default(0),
      detail: kit.text('detail').notNull(),
    },
    (column) => [kit.primaryKey({ columns: [column.provider, column.at] })],
  );

  const idempotency = kit.table(
    'idempotency',
    {
      consumerId: kit.text('consumer_id').notNull(),
      key: kit.text('key').notNull(),
      bodyHash: kit.text('body_hash').notNull(),
      sessionId: kit
        .text<SessionId>('session_id')
        .notNull()
        .references(() => sessions.id),
      createdAt: kit.instant('created_at').notNull(),
      expiresAt: kit.instant('expires_at').notNull(),
    },
    (column) => [
      kit.primaryKey({ columns: [column.consumerId, column.key] }),
      kit.index('idempotency_expiry').on(column.expiresAt),
      kit.index('idempotency_session').on(column.sessionId),
    ],
  );

  /** Private keys, each under a key of its own that the key-encryption key wraps. */
  const secrets = kit.table(
    'secrets',
    {
      id: kit.text<SecretId>('id').primaryKey(),
      sessionId: kit.text<SessionId>('session_id').notNull(),
      purpose: kit.text<'consumer_key' | 'probe_key'>('purpose').notNull(),
      kekId: kit.text('kek_id').notNull(),
      wrappedDek: kit.text('wrapped_dek').notNull(),
      sealed: kit.text('sealed').notNull(),
      createdAt: kit.instant('created_at').notNull(),
      expiresAt: kit.instant('expires_at'),
    },
    (column) => [kit.index('secrets_session').on(column.sessionId), kit.index('secrets_expiry').on(column.expiresAt)],
  );

  /** Which unit of which offer is taken by whom, so that replicas agree. */
  const claims = kit.table(
    'claims',
    {
      offerId: kit.text<OfferId>('offer_id').notNull(),
      unit: kit.int('unit').notNull(),
      sessionId: kit.text<SessionId>('session_id').notNull(),
      consumerId: kit.text('consumer_id').notNull(),
      claimedAt: kit.instant('claimed_at').notNull(),
    },
    (column) => [kit.primaryKey({ columns: [column.offerId, column.unit] }), kit.index('claims_session').on(column.sessionId)],
  );

  /** Append-only: a price holds from one instant to another. The open one has no end yet. */
  const costSegments = kit.table(
    'cost_segments',
    {
      sessionId: kit
        .text<SessionId>('session_id')
        .notNull()
        .references(() => sessions.id),
      ordinal: kit.int('ordinal').notNull(),
      sequence: kit.int('sequence').notNull(),
      consumerId: kit.text('consumer_id').notNull(),
      provider: kit.text<ProviderId>('provider').notNull(),
      gpuType: kit.text('gpu_type').notNull(),
      /** `attempt`: the consumer, if the attempt ever ran, else the operator. `operator`: in any case (it came back after gone). */
      payer: kit.text<'attempt' | 'operator'>('payer').notNull(),
      priceMicrosPerHour: kit.int('price_micros_per_hour').notNull(),
      fromAt: kit.instant('from_at').notNull(),
      toAt: kit.instant('to_at'),
    },
    (column) => [
      kit.primaryKey({ columns: [column.sessionId, column.ordinal, column.sequence] }),
      kit.index('cost_segments_from').on(column.fromAt),
    ],
  );

  /**
   * The last listings of each provider's account. `slice` is empty for what anybody may want, else names what was asked for of late; `term` is
   * that of the lease by which it was listed, so that a process whose lease has gone cannot overwrite what its successor wrote. A long listing
   * has several parts, since one large write would keep everybody waiting; the first of them says how many, and speaks for all.
   */
  const offerSlices = kit.table(
    'offer_slices',
    {
      provider: kit.text<ProviderId>('provider').notNull(),
      account: kit.text('account').notNull(),
      slice: kit.text('slice').notNull(),
      part: kit.int('part').notNull(),
      parts: kit.int('parts').notNull(),
      version: kit.int('version').notNull(),
      term: kit.int('term').notNull(),
      observedAt: kit.instant('observed_at').notNull(),
      dropped: kit.int('dropped').notNull(),
      truncated: kit.bool('truncated'),
      offers: kit.json<readonly Offer[]>('offers'),
    },
    (column) => [kit.primaryKey({ columns: [column.provider, column.account, column.slice, column.part] })],
  );

  /** What only one replica shall do at a time. The term rises with each new holder; `note` is what the holder wants the others to know. */
  const leases = kit.table('leases', {
    name: kit.text('name').primaryKey(),
    holder: kit.text('holder').notNull(),
    term: kit.int('term').notNull(),
    expiresAt: kit.instant('expires_at').notNull(),
    note: kit.json<LeaseNote>('note'),
  });

  const offerFailures = kit.table(
    'offer_failures',
    {
      sessionId: kit.text<SessionId>('session_id').notNull(),
      ordinal: kit.int('ordinal').notNull(),
      provider: kit.text<ProviderId>('provider').notNull(),
      offerId: kit.text<OfferId>('offer_id').notNull(),
      machineId: kit.text('machine_id'),
      gpuType: kit.text('gpu_type').notNull(),
      kind: kit.text('kind').notNull(),
      reason: kit.text('reason').notNull(),
      at: kit.instant('at').notNull(),
    },
    (column) => [kit.primaryKey({ columns: [column.sessionId, column.ordinal] }), kit.index('offer_failures_at').on(column.at)],
  );

  /** Instances that bear a tag of this deployment for which no row exists. */
  const strays = kit.table(
    'strays',
    {
      provider: kit.text<ProviderId>('provider').notNull(),
      instanceId: kit.text<InstanceId>('instance_id').notNull(),
      tag: kit.text('tag').notNull(),
      firstSeenAt: kit.instant('first_seen_at').notNull(),
      lastSeenAt: kit.instant('last_seen_at').notNull(),
      sightings: kit.int('sightings').notNull(),
      destroyRequestedAt: kit.instant('destroy_requested_at'),
      goneAt: kit.instant('gone_at'),
    },
    (column) => [kit.primaryKey({ columns: [column.provider, column.instanceId] })],
  );

  const controllers = kit.table('controllers', {
    name: kit.text('name').primaryKey(),
    lastStartedAt: kit.instant('last_started_at').notNull(),
    lastDurationMs: kit.int('last_duration_ms').notNull(),
    lastSuccessAt: kit.instant('last_success_at'),
    consecutiveFailures: kit.int('consecutive_failures').notNull(),
    lastError: kit.text('last_error'),
    report: kit.json<Readonly<Record<string, unknown>>>('report'),
  });

  /** What is known of this installation: its deployment id, the canary of the key-encryption key. */
  const installation = kit.table('installation', {
    name: kit.text('name').primaryKey(),
    value: kit.text('value').notNull(),
  });

  /**
   * What was done and why it was believed: append-only, a hash chain for each session and one for the installation (ADR 0025). Rows outlive
   * what they tell of, so nothing refers to a session's row. `data` is the canonical JSON that was hashed, kept as text to the letter.
   */
  const audit = kit.table(
    'audit',
    {
      /** A session's id, or `installation`. */
      chain: kit.text('chain').notNull(),
      /** From 1, without gaps. */
      seq: kit.int('seq').notNull(),
      at: kit.instant('at').notNull(),
      actor: kit.text('actor').notNull(),
      kind: kit.text('kind').notNull(),
      data: kit.text('data').notNull(),
      prevHash: kit.text('prev_hash').notNull(),
      hash: kit.text('hash').notNull(),
    },
    (column) => [kit.primaryKey({ columns: [column.chain, column.seq] }), kit.index('audit_at').on(column.at)],
  );

  return {
    audit,
    sessions,
    attempts,
    events,
    observations,
    idempotency,
    secrets,
    claims,
    costSegments,
    offerSlices,
    leases,
    offerFailures,
    strays,
    controllers,
    installation,
  };
}

export type Tables = ReturnType<typeof defineTables>;
export type AuditRow = Tables['audit']['$inferSelect'];
export type Session = Tables['sessions']['$inferSelect'];
export type Attempt = Tables['attempts']['$inferSelect'];
export type SessionEvent = Tables['events']['$inferSelect'];
export type Observation = Tables['observations']['$inferSelect'];
export type IdempotencyRow = Tables['idempotency']['$inferSelect'];
export type SecretRow = Tables['secrets']['$inferSelect'];
export type Claim = Tables['claims']['$inferSelect'];
export type CostSegment = Tables['costSegments']['$inferSelect'];
export type OfferSliceRow = Tables['offerSlices']['$inferSelect'];
export type LeaseRow = Tables['leases']['$inferSelect'];
export type OfferFailure = Tables['offerFailures']['$inferSelect'];
export type Stray = Tables['strays']['$inferSelect'];
export type ControllerRow = Tables['controllers']['$inferSelect'];
