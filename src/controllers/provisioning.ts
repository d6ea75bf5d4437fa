import type { Clock } from '../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Envelope } from '../core/envelope.ts';
import { describeError } from '../core/errors.ts';
import type { Ids } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { later, momentOf, type Moment } from '../core/moment.ts';
import type { MicroUsd } from '../core/money.ts';
import { generateSshKeyPair } from '../core/openssh-key-pair.ts';
import type { Attempt, SecretRow, Session } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { ownershipTag, type DeploymentId } from '../provider/ownership-tag.ts';
import { ProviderError, provesNothingCreated } from '../provider/provider-error.ts';
import type { CreateRequest, Provider } from '../provider/provider.ts';
import { secretRow } from '../sessions/commands/request-session.ts';
import type { Fact, Refusal } from '../sessions/fact.ts';
import { intentOf } from '../sessions/intent.ts';
import type { RecoveryMode } from '../sessions/recovery-mode.ts';
import type { OfferDesk } from '../sessions/offer-desk.ts';
import type { SessionRecord } from '../sessions/session-record.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';
import { termsOf } from '../sessions/terms.ts';
import { mayBeginAttempt } from '../sessions/step.ts';
import { applyListing } from './apply-listing.ts';
import { chooseOffers, failureOf, type Failing } from './choose-offers.ts';
import type { Controller } from './controller.ts';
import type { Listing, Observer } from './observer.ts';
import type { TaskPool } from './task-pool.ts';

interface ProvisioningDeps {
  readonly sessions: Pick<
    SessionRepository,
    | 'find'
    | 'findAwaitingAttempt'
    | 'findDueKeys'
    | 'nextAwaitingAttemptAt'
    | 'findDueAttempts'
    | 'nextDueAttemptAt'
    | 'insertSecretStep'
  >;
  readonly sightings: Pick<SightingRepository, 'lostOrdinals'>;
  readonly writer: SessionWriter;
  readonly offers: OfferDesk;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly observer: Observer;
  readonly envelope: Pick<Envelope, 'seal'>;
  readonly clock: Clock;
  readonly ids: Pick<Ids, 'secret'>;
  readonly log: Log;
  readonly pool: TaskPool;
  readonly recovery: Pick<RecoveryMode, 'read'>;
  /** Providers that this process has swept for what the database does not know. */
  readonly swept: Pick<ReadonlySet<ProviderId>, 'has'>;
  readonly deploymentId: DeploymentId;
  readonly settings: {
    readonly periodMs: number;
    /** How long after its intent a create call may still be sent. */
    readonly createFenceMs: number;
    /** No other process works on this database: an intent that is not ours to send belongs to a dead one. */
    readonly exclusive: boolean;
    /** How far above the shown price a create may turn out, in percent, when the consumer named no maximum. */
    readonly priceTolerancePercent: number;
  };
}

const PAGE = 200;
/** Looking for what may exist never waits for creates that hang. */
const RESOLVE_LANE = 'resolve';
const UNRESOLVED_PAUSE_MS = 5 * SECOND_MS;
const HELD_PAUSE_MS = 15 * SECOND_MS;
/** So long a session from before the start waits for the first sweeps; then offers of providers that cannot be swept are passed over. */
const FIRST_SWEEPS_MS = 2 * MINUTE_MS;
const UNSWEPT_PAUSE_MS = 2 * SECOND_MS;

/**
 * Turns wishes into instances. The intent is committed, then the create call is sent, once, by the process that committed it; what nobody
 * answered is looked for by its tag, never sent again (RULE-R1, RULE-R3). Within a pass: unknown attempts first, creates last.
 */
export function createProvisioningController(deps: ProvisioningDeps): Controller {
  const { sessions, writer, observer, clock, log, pool, settings } = deps;
  const [startedAt, startedMs] = [clock.now(), clock.monotonicMs()];

  /** Intents whose call can no more be sent, and that nobody here is sending. */
  async function giveUpIntents(): Promise<{ givenUp: number; failed: number }> {
    const now = settings.exclusive ? Number.MAX_SAFE_INTEGER : clock.now();
    const intents = (await sessions.findDueKeys({ state: 'intent', now, limit: PAGE })).filter(
      ({ sessionId }) => !pool.has(createKey(sessionId)),
    );
    const message = 'the broker stopped between the intent and the answer to the create call';
    const failed = await eachByItself(intents, ({ sessionId, ordinal }) =>
      writer.apply(sessionId, { kind: 'create_unknown', ordinal, message }),
    );
    return { givenUp: intents.length - failed, failed };
  }

  /** One row that cannot be dealt with does not keep the others from it (REL-D9). How many could not. */
  async function eachByItself<Key extends Pick<Attempt, 'sessionId' | 'ordinal'>>(
    attempts: readonly Key[],
    deal: (attempt: Key) => Promise<unknown>,
  ): Promise<number> {
    let failed = 0;
    for (const attempt of attempts) {
      try {
        await deal(attempt);
      } catch (error) {
        failed += 1;
        const { sessionId, ordinal } = attempt;
        log.error({ sessionId, ordinal, error: describeError(error) }, 'attempt could not be dealt with');
      }
    }
    return failed;
  }

  function resolveUnknown(attempts: readonly Attempt[], readMonotonicMs: number): number {
    const byProvider = groupByProvider(attempts);
    let begun = 0;
    for (const [provider, group] of byProvider) {
      const task = (signal: AbortSignal) => resolve(provider, group, { readMonotonicMs, signal });
      if (pool.start(`resolve:${provider}`, task, RESOLVE_LANE)) begun += group.length;
    }
    return begun;
  }

  async function resolve(
    provider: ProviderId,
    attempts: readonly Attempt[],
    { readMonotonicMs, signal }: { readMonotonicMs: number; signal: AbortSignal },
  ): Promise<void> {
    let listing: Listing | undefined;
    let pauseMs = UNRESOLVED_PAUSE_MS;
    try {
      listing = await observer.list(provider, { notBeforeMonotonicMs: readMonotonicMs, signal });
    } catch (error) {
      if (signal.aborted || !(error instanceof ProviderError)) throw error;
      pauseMs = error.retryAfterMs ?? pauseMs;
      log.warn(
        { provider, kind: error.kind, error: describeError(error), unknown: attempts.length },
        'unknown creates cannot be looked for',
      );
    }
    const failed = await eachByItself(attempts, async (attempt) => {
      const said = listing ? await applyListing(writer, attempt, listing, clock) : 'nothing';
      if (said === 'nothing') await postpone(attempt, pauseMs);
    });
    if (failed > 0) throw new Error(`${failed} of ${attempts.length} unknown creates could not be resolved`);
  }

  async function postpone({ sessionId, ordinal, state: whileIn }: Attempt, ms: number): Promise<void> {
    await writer.apply(sessionId, { kind: 'postponed', ordinal, untilAt: clock.now() + ms, whileIn });
  }

  async function begin(id: Session['id'], signal: AbortSignal): Promise<void> {
    const record = await sessions.find(id);
    if (!record || record.session.desired === 'gone') return;
    if (record.session.expiresAt <= clock.now()) {
      await writer.apply(id, { kind: 'stop_requested', reason: 'expired' }); // after a long time down: nothing is rented for it any more
      return;
    }
    const recovery = await deps.recovery.read();
    if (recovery.isOn && record.session.createdAt < recovery.since) {
      // its next attempt may have been made by a life that this database does not know of: the tag would be used twice (REL-B10)
      await hold(id, HELD_PAUSE_MS);
      return;
    }
    const isFromBefore = record.session.createdAt < startedAt;
    const begun = await storeIntent(deps, record, {
      isUnswept: (provider) => isFromBefore && !deps.swept.has(provider),
      mayWait: clock.monotonicMs() - startedMs < FIRST_SWEEPS_MS,
    });
    if (begun === 'unswept') await hold(id, UNSWEPT_PAUSE_MS);
    else if (begun) await create(deps, begun, signal);
  }

  const hold = (id: Session['id'], ms: number) => writer.apply(id, { kind: 'postponed', untilAt: clock.now() + ms });

  return {
    name: 'session.provisioning',
    periodMs: settings.periodMs,
    idle: () => pool.idle(),

    async reconcile() {
      const { givenUp, failed } = await giveUpIntents();
      const now = clock.now();
      const unknown = await sessions.findDueAttempts({ state: 'unknown', now, limit: PAGE });
      const resolving = resolveUnknown(unknown, clock.monotonicMs());

      let begun = 0;
      const isFull = [...deps.providers.keys()].every((id) => pool.isFull(createLane(id)));
      const waiting = isFull ? [] : await sessions.findAwaitingAttempt({ now, limit: PAGE });
      for (const { id, provider } of waiting)
        if (pool.start(createKey(id), (signal) => begin(id, signal), createLane(provider))) begun += 1;

      const wakeAts = [
        await sessions.nextAwaitingAttemptAt(now),
        await sessions.nextDueAttemptAt('unknown', now),
        await sessions.nextDueAttemptAt('intent', now),
      ];
      const wakeAt = earliest(wakeAts);
      return {
        examined: givenUp + failed + unknown.length + waiting.length,
        changed: givenUp + resolving + begun,
        failed,
        ...(wakeAt === undefined ? {} : { wakeAt }),
        details: { in_flight: pool.inFlight },
      };
    },
  };
}

export function groupByProvider<Row extends { readonly provider: ProviderId }>(rows: readonly Row[]): Map<ProviderId, Row[]> {
  const groups = new Map<ProviderId, Row[]>();
  for (const row of rows) {
    const group = groups.get(row.provider);
    if (group) group.push(row);
    else groups.set(row.provider, [row]);
  }
  return groups;
}

export function earliest(instants: readonly (number | undefined)[]): number | undefined {
  const known = instants.filter((at) => at !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

const createKey = (id: Session['id']) => `create:${id}`;
/** A provider that hangs holds up no other one (PEER-11.2.22). */
const createLane = (id: ProviderId) => `create:${id}`;

interface Begun {
  readonly record: SessionRecord;
  readonly attempt: Attempt;
  readonly offer: Offer;
  /** Taken before the intent was committed, so that a pause in between counts (REL-A15). */
  readonly notAfter: Moment;
}

/**
 * Commits the next attempt with a claim on its offer and its probe key, or says that nothing is left to try. A session from before the start gets
 * nothing where this process has not yet looked what is there: a restored database may lack its last attempt, and with it the tag (REL-B10).
 */
async function storeIntent(
  deps: ProvisioningDeps,
  record: SessionRecord,
  { isUnswept, mayWait }: { readonly isUnswept: (provider: ProviderId) => boolean; readonly mayWait: boolean },
): Promise<Begun | 'unswept' | undefined> {
  const { writer, offers, clock, settings, providers } = deps;
  const { session } = record;
  if (!mayBeginAttempt(record)) {
    if (session.attemptCount >= session.maxAttempts) await giveUp(deps, record);
    return undefined;
  }
  const ordinal = await nextOrdinal(deps, record);
  const choice = chooseOffers(deps, record);
  const unswept = choice.offers.filter(({ provider }) => isUnswept(provider));
  if (unswept.length > 0 && mayWait) return 'unswept';
  for (const offer of choice.offers.filter((each) => !unswept.includes(each))) {
    const terms = termsOf(offer, session.request);
    const provider = providers.get(offer.provider);
    if (!terms || !provider) continue;
    const notAfter = later(momentOf(clock), settings.createFenceMs);
    const { attempt, secret } = newAttempt(deps, {
      session,
      ordinal,
      offer,
      provider,
      price: terms.priceMicrosPerHour,
      agreedCap: choice.agreedCapMicrosPerHour,
    });
    const applied = await writer.apply(record, { kind: 'attempt_begun', attempt }, function* () {
      if (!(yield* offers.claim({ offer, sessionId: session.id, consumerId: session.consumerId, at: attempt.intentAt })))
        return false;
      yield* deps.sessions.insertSecretStep(secret);
      return true;
    });
    if (applied.outcome === 'declined') continue;
    if (applied.outcome !== 'changed') return undefined; // somebody else was faster, or it is not wanted any more
    offers.claimsChanged(offer.id);
    return { record: applied.record, attempt, offer, notAfter };
  }
  if (unswept.length > 0) return 'unswept';
  await giveUp(deps, record, choice.failing);
  return undefined;
}

/** No tag is used twice, not even one that a database which was lost had used: its instance may have been seen (RULE-R2, REL-B10). */
async function nextOrdinal(
  { sightings, deploymentId }: ProvisioningDeps,
  { session, attempts }: SessionRecord,
): Promise<number> {
  const lost = await sightings.lostOrdinals({ deployment: deploymentId, sessionId: session.id });
  return Math.max(attempts.at(-1)?.ordinal ?? 0, ...lost) + 1;
}

async function giveUp({ writer }: ProvisioningDeps, { session, attempts }: SessionRecord, failing?: Failing): Promise<void> {
  if (failing) return void (await writer.apply(session.id, { kind: 'no_candidate', ...failing }));
  const last = attempts.at(-1);
  const reason = last ? failureOf(last) : 'no_capacity';
  const tried = attempts.map(({ offerId }) => offerId).join(', ');
  const message = last
    ? `nothing is left to try after ${attempts.length} ${attempts.length === 1 ? 'attempt' : 'attempts'} (${tried}); the last one: ${last.error ?? reason}`
    : `offer ${session.offerId} is no longer available`;
  const everyOfferGone = attempts.length > 1 && reason === 'stale_inventory';
  await writer.apply(session.id, { kind: 'no_candidate', reason: everyOfferGone ? 'no_capacity' : reason, message });
}

interface NewAttemptParts {
  readonly session: Session;
  readonly ordinal: number;
  readonly offer: Offer;
  readonly provider: Provider;
  readonly price: MicroUsd;
  readonly agreedCap: MicroUsd | undefined;
}

function newAttempt(
  deps: ProvisioningDeps,
  { session, ordinal, offer, provider, price, agreedCap }: NewAttemptParts,
): { attempt: Attempt; secret: SecretRow } {
  const { clock, ids, envelope, deploymentId, settings } = deps;
  const tag = ownershipTag({ deployment: deploymentId, sessionId: session.id, ordinal });
  const now = clock.now();
  const pair = generateSshKeyPair(tag);
  const probeSecretId = ids.secret();
  const sealed = envelope.seal(pair.privateKey, { id: probeSecretId, purpose: 'probe_key', context: session.id });
  return {
    secret: secretRow({
      id: probeSecretId,
      sessionId: session.id,
      purpose: 'probe_key',
      sealed,
      createdAt: now,
      expiresAt: null,
    }),
    attempt: intentOf({
      sessionId: session.id,
      ordinal,
      tag,
      offer,
      priceMicrosPerHour: price,
      capMicrosPerHour:
        agreedCap ?? session.request.maxPriceMicrosPerHour ?? Math.ceil((price * (100 + settings.priceTolerancePercent)) / 100),
      probe: { publicKey: pair.publicKey, secretId: probeSecretId },
      at: now,
      fenceMs: settings.createFenceMs,
      callTimeoutMs: provider.capabilities.createTimeoutMs,
    }),
  };
}

/** The one create call of an attempt. Whatever comes of it, or does not, is stored as a fact. */
async function create(deps: ProvisioningDeps, begun: Begun, signal: AbortSignal): Promise<void> {
  const { writer, providers, clock, settings } = deps;
  const { record, attempt } = begun;
  const provider = providers.get(attempt.provider);
  if (!provider) throw new RangeError(`no provider is named ${attempt.provider}`);
  const fact = await askOnce(
    provider,
    createRequest(record.session, begun),
    clock.timeoutSignal(settings.createFenceMs + provider.capabilities.createTimeoutMs, signal), // it may wait for its turn before it is sent
    attempt.ordinal,
  );
  await writer.apply(record.session.id, fact);
}

async function askOnce(provider: Provider, request: CreateRequest, signal: AbortSignal, ordinal: number): Promise<Fact> {
  try {
    return { kind: 'create_accepted', ordinal, instance: await provider.createInstance(request, { signal }) };
  } catch (error) {
    if (provesNothingCreated(error)) return { kind: 'create_refused', ordinal, refusal: refusalOf(error) };
    return { kind: 'create_unknown', ordinal, message: error instanceof ProviderError ? error.message : describeError(error) };
  }
}

export function refusalOf({ kind, message, retryAfterMs }: ProviderError): Refusal {
  return { kind, message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

function createRequest(session: Session, { attempt, offer, notAfter }: Begun): CreateRequest {
  const { request } = session;
  const { bidMicrosPerHour } = termsOf(offer, request) ?? {}; // as when the attempt's price was reckoned: both are pure
  return {
    tag: attempt.tag,
    offer,
    sshPublicKeys: [session.sshPublicKey, attempt.probePublicKey],
    diskGb: session.diskGb,
    ...(request.image === undefined ? {} : { image: request.image }),
    environment: { ...request.environment, BERTH_TAG: attempt.tag },
    ...(request.onStart === undefined ? {} : { onStart: request.onStart }),
    ...(request.templateHashId === undefined ? {} : { templateHashId: request.templateHashId }),
    maxPriceMicrosPerHour: attempt.capMicrosPerHour,
    ...(bidMicrosPerHour === undefined ? {} : { bidMicrosPerHour }),
    notAfter,
  };
}
