import { createHash } from 'node:crypto';
import { canonicalJson } from '../../core/canonical-json.ts';
import type { Clock } from '../../core/clock.ts';
import { MINUTE_MS } from '../../core/duration.ts';
import type { Envelope, SealedSecret } from '../../core/envelope.ts';
import { BrokerError } from '../../core/errors.ts';
import type { Ids, SecretId, SessionId } from '../../core/ids.ts';
import { toUsd } from '../../core/money.ts';
import { generateSshKeyPair } from '../../core/openssh-key-pair.ts';
import { Secret } from '../../core/secret.ts';
import type { SecretRow, Session } from '../../db/tables.ts';
import type { Offer } from '../../provider/offer.ts';
import type { OfferId } from '../../provider/ids.ts';
import type { OfferDesk } from '../offer-desk.ts';
import type { SessionChanges } from '../session-changes.ts';
import type { SessionRecord } from '../session-record.ts';
import type { SessionRepository } from '../session-repository.ts';
import type { SessionOrder } from './session-order.ts';
import { withTemplate, type TemplateFinder } from './session-template.ts';
import { abilityRefusal } from '../provider-abilities.ts';
import { termsOf, type Terms } from '../terms.ts';
import { bidRefusal } from './bid-refusal.ts';
import { withModelDisk } from './model-disk.ts';

export interface RequestedSession {
  readonly record: SessionRecord;
  /** The answer to a repeated Idempotency-Key. */
  readonly repeated: boolean;
  /** Present when the broker made the pair and it may still be told. */
  readonly privateKey?: Secret<string>;
}

export interface RequestSessionDeps {
  readonly sessions: Pick<SessionRepository, 'insert' | 'find' | 'findIdempotent' | 'findSecret'>;
  readonly offers: OfferDesk;
  readonly templates: TemplateFinder;
  readonly envelope: Pick<Envelope, 'seal' | 'open'>;
  readonly changes: SessionChanges;
  readonly clock: Pick<Clock, 'now'>;
  readonly ids: Pick<Ids, 'session' | 'secret'>;
  /** False while the disk of the database is full. Absent where there always is room. */
  readonly hasRoom?: () => boolean;
  readonly settings: { readonly hardMaxMs: number; readonly keyReplayMs: number; readonly idempotencyMs: number };
}

/**
 * Stores a session: everything that was asked, a claim on its offer, its keys and its idempotency key in one transaction.
 * No provider is called but for a template that is not remembered. Throws BrokerError: disk_full, offer_not_found, stale_inventory, duplicate_session, no_capacity, price_changed,
 * insufficient_disk, idempotency_mismatch, invalid_request (a bid that does not fit the named offer).
 */
export function createRequestSession(deps: RequestSessionDeps) {
  const { sessions, offers, changes, clock, ids } = deps;

  return async function requestSession(asked: SessionOrder): Promise<RequestedSession> {
    const earlier =
      asked.idempotency && (await sessions.findIdempotent({ consumerId: asked.consumerId, key: asked.idempotency.key }));
    if (earlier && earlier.expiresAt > clock.now()) return joinEarlier(deps, asked, earlier);
    if (deps.hasRoom?.() === false) throw diskFull();
    const order = withModelDisk(deps, await withTemplate(deps, asked), asked.request.diskGb);

    const id = ids.session();
    const keys = makeKeys(deps, order, id);
    for (const { offer, terms } of choose(offers, order, clock.now())) {
      const session = newSession({ order, id, offer, terms, now: clock.now(), hardMaxMs: deps.settings.hardMaxMs, ...keys });
      const outcome = await sessions.insert({
        session,
        event: {
          sessionId: id,
          version: 1,
          kind: 'session.requested',
          at: session.createdAt,
          data: { offer_id: offer.id, provider: offer.provider },
        },
        ...(order.idempotency ? { idempotency: idempotencyRow(deps, order, order.idempotency, session) } : {}),
        secrets: keys.secretRow ? [keys.secretRow] : [],
        beside: () => offers.claim({ offer, sessionId: id, consumerId: order.consumerId, at: session.createdAt }),
      });
      if (outcome.outcome === 'repeated') return joinEarlier(deps, order, outcome.earlier);
      if (outcome.outcome === 'declined') {
        if (order.request.offerId !== undefined) throw await taken(offers, order, offer);
        continue;
      }
      offers.claimsChanged(offer.id);
      changes.publish({ session, events: [{ kind: 'session.requested', data: {} }], failures: [], releasedOffers: [] });
      return {
        record: { session, attempts: [] },
        repeated: false,
        ...(keys.privateKey ? { privateKey: keys.privateKey } : {}),
      };
    }
    throw noCapacity();
  };
}

interface Choice {
  readonly offer: Offer;
  readonly terms: Terms;
}

/** The order in which offers are tried: the one that was named, or those that fit. */
function choose(offers: OfferDesk, { request, reservationMinutes }: SessionOrder, now: number): readonly Choice[] {
  if (request.offerId === undefined) {
    const found = offers.candidates(request, {
      exclude: { offerIds: [], machineIds: [], providers: [] },
      durationMs: reservationMinutes * MINUTE_MS,
      now,
    });
    return found.flatMap((offer) => {
      const terms = termsOf(offer, request);
      return terms ? [{ offer, terms }] : [];
    });
  }
  const offer = offers.find(request.offerId);
  if (!offer) throw offerNotFound(request.offerId);
  const beyond = offers.beyond(offer, request);
  if (beyond.length > 0) throw abilityRefusal(offer, beyond);
  const refusedBid = bidRefusal(offer, request);
  if (refusedBid) throw refusedBid;
  const terms = termsOf(offer, request);
  if (!terms) throw insufficientDisk(offer, request.diskGb);
  const { maxPriceMicrosPerHour: cap } = request;
  if (cap !== undefined && terms.priceMicrosPerHour > cap)
    throw new BrokerError({
      code: 'price_changed',
      message: `create session: offer ${offer.id} now costs ${toUsd(terms.priceMicrosPerHour)} USD an hour, above max_price ${toUsd(cap)}`,
      details: { offer_id: offer.id, price_per_hour: toUsd(terms.priceMicrosPerHour) },
    });
  return [{ offer, terms }];
}

interface Keys {
  readonly publicKey: string;
  readonly secretRow?: SecretRow;
  readonly privateKey?: Secret<string>;
}

function makeKeys({ envelope, clock, ids, settings }: RequestSessionDeps, order: SessionOrder, sessionId: SessionId): Keys {
  if (order.sshPublicKey !== undefined) return { publicKey: order.sshPublicKey };
  const pair = generateSshKeyPair(sessionId);
  const id = ids.secret();
  const now = clock.now();
  const sealed = envelope.seal(pair.privateKey, { id, purpose: 'consumer_key', context: sessionId });
  const [type, base64] = pair.publicKey.split(' ');
  return {
    publicKey: `${type} ${base64}`,
    privateKey: new Secret(pair.privateKey),
    secretRow: secretRow({
      id,
      sessionId,
      purpose: 'consumer_key',
      sealed,
      createdAt: now,
      expiresAt: now + settings.keyReplayMs,
    }),
  };
}

export function secretRow(
  row: Pick<SecretRow, 'id' | 'sessionId' | 'purpose' | 'createdAt' | 'expiresAt'> & { sealed: SealedSecret },
): SecretRow {
  const { sealed, ...rest } = row;
  return { ...rest, kekId: sealed.kekId, wrappedDek: sealed.wrappedDek, sealed: sealed.sealed };
}

interface NewSessionParts extends Keys {
  readonly order: SessionOrder;
  readonly id: SessionId;
  readonly offer: Offer;
  readonly terms: Terms;
  readonly now: number;
  readonly hardMaxMs: number;
}

function newSession({ order, id, offer, terms, now, hardMaxMs, publicKey, secretRow: secret }: NewSessionParts): Session {
  const hardDeadlineAt = now + hardMaxMs;
  return {
    id,
    consumerId: order.consumerId,
    name: order.name ?? null,
    status: 'pending',
    desired: 'run',
    reason: null,
    error: null,
    phase: 'queued',
    phaseEnteredAt: now,
    phaseDeadlineAt: null,
    dueAt: now,
    version: 1,
    workloadType: order.workloadType,
    request: order.request,
    metadata: order.metadata,
    warnings: order.warnings,
    provider: offer.provider,
    offerId: offer.id,
    offer,
    gpuType: offer.gpuType,
    gpuCount: offer.gpuCount,
    vramMib: offer.vramMib,
    diskGb: terms.diskGb,
    priceMicrosPerHour: terms.priceMicrosPerHour,
    sshHost: null,
    sshPort: null,
    sshUser: null,
    sshHostKey: null,
    sshPublicKey: publicKey,
    keySecretId: secret?.id ?? null,
    reservationMinutes: order.reservationMinutes,
    idleThresholdMinutes: order.idleThresholdMinutes,
    idleSince: null,
    idleSampledAt: null,
    idleWarnedAt: null,
    maxAttempts: order.maxAttempts,
    attemptCount: 0,
    createdAt: now,
    updatedAt: now,
    expiresAt: Math.min(now + order.reservationMinutes * MINUTE_MS, hardDeadlineAt),
    hardDeadlineAt,
    runningAt: null,
    stopRequestedAt: null,
    destroyAcceptedAt: null,
    destroyVerifiedAt: null,
    stoppedAt: null,
    settledCostMicros: null,
  };
}

function idempotencyRow(
  { settings }: RequestSessionDeps,
  order: SessionOrder,
  { key, bodyHash }: { key: string; bodyHash: string },
  session: Session,
) {
  return {
    consumerId: order.consumerId,
    key,
    bodyHash,
    sessionId: session.id,
    createdAt: session.createdAt,
    expiresAt: session.createdAt + settings.idempotencyMs,
  };
}

/** A repeated key joins the session it began: its state so far, and the private key while it may still be told. */
async function joinEarlier(
  deps: RequestSessionDeps,
  order: SessionOrder,
  earlier: { bodyHash: string; sessionId: SessionId },
): Promise<RequestedSession> {
  if (earlier.bodyHash !== order.idempotency?.bodyHash)
    throw new BrokerError({
      code: 'idempotency_mismatch',
      message: 'create session: this Idempotency-Key was used with another body; use a new key for a new request',
      details: { session_id: earlier.sessionId },
    });
  const record = await deps.sessions.find(earlier.sessionId);
  if (!record)
    throw new BrokerError({
      code: 'session_not_found',
      message: `create session: session ${earlier.sessionId} of this Idempotency-Key is past its retention`,
    });
  const privateKey = await openConsumerKey(deps, record.session);
  return { record, repeated: true, ...(privateKey ? { privateKey } : {}) };
}

async function openConsumerKey(
  { sessions, envelope, clock }: RequestSessionDeps,
  session: Session,
): Promise<Secret<string> | undefined> {
  const id: SecretId | null = session.keySecretId;
  const row = id === null ? undefined : await sessions.findSecret(id);
  if (!row || (row.expiresAt !== null && row.expiresAt <= clock.now())) return undefined;
  const opened = envelope.open(row, { id: row.id, purpose: row.purpose, context: session.id });
  if (!opened.ok) throw new Error(`secret ${row.id} cannot be opened: ${opened.failure}`);
  return opened.secret;
}

/** The hash that tells two bodies apart, whatever the order of their fields. */
export function bodyHashOf(body: unknown): string {
  return createHash('sha256').update(canonicalJson(body)).digest('hex');
}

function offerNotFound(id: OfferId): BrokerError {
  return new BrokerError({ code: 'offer_not_found', message: `offer not found: ${id}`, details: { offer_id: id } });
}

async function taken(offers: OfferDesk, order: SessionOrder, offer: Offer): Promise<BrokerError> {
  // of an offer of several units one consumer may have several: then it is only used up
  if (offer.units === 1 && (await offers.consumerHolds(order.consumerId, offer.id)))
    return new BrokerError({
      code: 'duplicate_session',
      message: `create session: consumer ${order.consumerId} already has a session on offer ${offer.id}`,
      details: { offer_id: offer.id },
    });
  return new BrokerError({
    code: 'stale_inventory',
    message: `create session: offer ${offer.id} is no longer available`,
    details: {
      offer_id: offer.id,
      provider: offer.provider,
      retry_suggested: true,
      message: 'Refresh the inventory and choose another offer.',
    },
  });
}

function insufficientDisk(offer: Offer, diskGb: number | undefined): BrokerError {
  return new BrokerError({
    code: 'insufficient_disk',
    message: `create session: offer ${offer.id} has disks of ${offer.minDiskGb} to ${offer.maxDiskGb} GB, disk_gb asked for ${diskGb ?? offer.diskGb}`,
    details: {
      offer_id: offer.id,
      requested_gb: diskGb ?? offer.diskGb,
      minimum_gb: offer.minDiskGb,
      recommended_gb: Math.min(Math.max(diskGb ?? offer.diskGb, offer.minDiskGb), offer.maxDiskGb),
      maximum_gb: offer.maxDiskGb,
    },
  });
}

function diskFull(): BrokerError {
  return new BrokerError({
    code: 'disk_full',
    message: 'create session: the disk of the broker is full; sessions that there are can be looked at and ended',
    details: { retry_suggested: true },
  });
}

function noCapacity(): BrokerError {
  return new BrokerError({
    code: 'no_capacity',
    message: 'create session: no current offer fits these requirements',
    details: { retry_suggested: true, message: 'Widen the requirements or try again later.' },
  });
}
