import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { Envelope } from '../core/envelope.ts';
import { describeError } from '../core/errors.ts';
import type { SessionId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { momentOf, msSince } from '../core/moment.ts';
import type { Secret } from '../core/secret.ts';
import type { Attempt, Session } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Offer } from '../provider/offer.ts';
import type { Provider } from '../provider/provider.ts';
import type { Fact } from '../sessions/fact.ts';
import type { SessionChanges } from '../sessions/session-changes.ts';
import { accessOf, attemptOf, needsTunnel, type SessionRecord } from '../sessions/session-record.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { Applied, SessionWriter } from '../sessions/session-writer.ts';
import type { SoldGpus } from '../ssh/gpu-probe.ts';
import type { ProofOutcome, ProofRequest } from '../ssh/proof.ts';
import type { SshVerifier } from '../ssh/verifier.ts';
import type { Controller } from './controller.ts';
import { createAttachedKeys, type AttachedKeys } from './attached-keys.ts';
import { linkedAbort } from './linked-abort.ts';
import type { TaskPool } from './task-pool.ts';

/** What verification counts; the metrics implement it. */
export interface VerificationMetrics {
  sshAttemptFailed(provider: ProviderId, kind: string): void;
  sshProven(provider: ProviderId, figures: { readonly seconds: number; readonly attempts: number }): void;
}

interface VerificationDeps {
  readonly sessions: Pick<SessionRepository, 'find' | 'findLiveKeys' | 'findSecret'>;
  readonly writer: SessionWriter;
  readonly changes: SessionChanges;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly verifier: Pick<SshVerifier, 'prove'>;
  readonly envelope: Pick<Envelope, 'open'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: VerificationMetrics;
  readonly pool: TaskPool;
  readonly settings: {
    readonly periodMs: number;
    readonly slowestIntervalMs: number;
    readonly callTimeoutMs: number;
    readonly proofBudgetMs: number;
  };
}

const PAGE = 5_000;
const FIRST_INTERVAL_MS = 250;
/** All that boot at once share so many looks a second: 50 are still looked at every 250 ms, 1,000 every 5 s. */
const LOOK_SPACING_MS = 5;
const LEAST_INTERVAL_MS = 10;
/** A knock costs next to nothing: 250 ms for the first minute, 2.5 s after ten. Asking the provider costs its quota. */
const KNOCK_SHARE = 1 / 240;
const ASK_SHARE = 1 / 18;
/** A refused login is held against us by newer sshd: keys that arrive late are waited for at this pace. */
const AFTER_REFUSED_LOGIN_MS = 2 * SECOND_MS;
/** The address may move while it boots; the provider is asked for it from time to time. */
const ASK_PROVIDER_EVERY_MS = 5 * SECOND_MS;

/**
 * Proves that a live instance can be used, and hands it over. Each has a task of its own, which waits for an address, then knocks every
 * 250 ms, slower as the phase ages, until it is proven, fails for good, its deadline passes, or nobody wants it any more.
 */
export function createVerificationController(deps: VerificationDeps): Controller {
  const { sessions, pool, settings } = deps;
  return {
    name: 'session.verification',
    periodMs: settings.periodMs,
    idle: () => pool.idle(),

    async reconcile({ signal }) {
      const waiting = await sessions.findLiveKeys({ status: 'provisioning', limit: PAGE });
      let begun = 0;
      for (const { sessionId, ordinal } of waiting) {
        const task = (stopped: AbortSignal) => verify(deps, { sessionId, ordinal }, [stopped, signal]);
        if (pool.start(`verify:${sessionId}:${ordinal}`, task)) begun += 1;
      }
      return { examined: waiting.length, changed: begun, failed: 0, details: { in_flight: pool.inFlight } };
    },
  };
}

interface Target {
  readonly sessionId: SessionId;
  readonly ordinal: number;
}

/** Ends with the first of its signals: the driver's stop is enough, since a start takes up the proof where it was. */
async function verify(deps: VerificationDeps, target: Target, ends: readonly AbortSignal[]): Promise<void> {
  const { sessions, changes, clock, settings } = deps;
  const over = linkedAbort(ends);
  const { signal } = over;
  const unsubscribe = changes.on(target.sessionId, ({ session }) => {
    if (session.desired === 'gone' || session.status !== 'provisioning')
      over.abort(new Error('the session is not to be verified any more'));
  });
  const rounds = createRounds(deps, target);
  const startedMs = clock.monotonicMs();
  try {
    while (!signal.aborted) {
      // read anew each time: another replica may have proven it, and a time-out by an old record would end a session that runs
      const record = await sessions.find(target.sessionId);
      if (!record || !isToBeVerified(record, target.ordinal)) return;
      const after = await rounds.round(record, signal);
      if (!after || !isToBeVerified(after, target.ordinal)) return;
      const ageMs = clock.monotonicMs() - startedMs;
      const leftMs = (after.session.phaseDeadlineAt ?? Number.POSITIVE_INFINITY) - clock.now();
      const pauseMs = Math.min(
        Math.max(rounds.pauseMs(ageMs), deps.pool.inFlight * LOOK_SPACING_MS),
        settings.slowestIntervalMs,
      );
      await clock.sleep(Math.min(pauseMs, Math.max(leftMs, LEAST_INTERVAL_MS)), signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    unsubscribe();
    over.release();
  }
}

function isToBeVerified(record: SessionRecord, ordinal: number): boolean {
  return (
    record.session.status === 'provisioning' && record.session.desired === 'run' && attemptOf(record, ordinal)?.state === 'live'
  );
}

/** One look at the provider when it is time, one knock when there is an address. Hands back the record as it is then. */
function createRounds(deps: VerificationDeps, { sessionId, ordinal }: Target) {
  const { writer, clock, providers, metrics, log } = deps;
  let askedMs = Number.NEGATIVE_INFINITY;
  let knocks = 0;
  let knockingSinceMs: number | undefined;
  let probeKey: Secret<string> | undefined;
  let keys: AttachedKeys | undefined;
  let refusedLogins = 0;
  let lastKnock: ProofOutcome | undefined;

  const recordOf = (applied: Applied) => (applied.outcome === 'missing' ? undefined : applied.record);
  const tell = async (fact: Fact) => recordOf(await writer.apply(sessionId, fact));

  function keysOf({ session }: SessionRecord, attempt: Attempt, provider: Provider): AttachedKeys {
    return (keys ??= createAttachedKeys({
      session,
      attempt,
      provider,
      clock,
      log,
      callTimeoutMs: deps.settings.callTimeoutMs,
    }));
  }

  async function ask(
    record: SessionRecord,
    attempt: Attempt,
    provider: Provider,
    signal: AbortSignal,
  ): Promise<SessionRecord | undefined> {
    if (attempt.instanceId === null) return record;
    const asked = momentOf(clock);
    askedMs = asked.monotonicMs;
    try {
      const call = { signal: clock.timeoutSignal(deps.settings.callTimeoutMs, signal) };
      const askedAt = clock.now();
      const instance = await provider.getInstance(attempt.instanceId, call);
      const after = await tell(
        instance
          ? { kind: 'seen', ordinal, by: 'get', instance, askedAt }
          : { kind: 'missing', ordinal, by: 'get', askedMsAgo: msSince(asked, clock) },
      );
      if (instance?.state === 'running') await keysOf(record, attempt, provider).ensure(refusedLogins, signal);
      return after;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.debug(
        { sessionId, provider: provider.id, kind: error.kind, error: describeError(error) },
        'instance could not be looked at',
      );
      return record;
    }
  }

  /** An end that another replica has stored shreds the key at once. */
  async function whoseKeyIsShredded(attempt: Attempt): Promise<SessionRecord | undefined> {
    const record = await deps.sessions.find(sessionId);
    if (record && isToBeVerified(record, ordinal)) throw new Error(`the probe key of attempt ${attempt.ordinal} is gone`);
    return record;
  }

  async function knock(
    record: SessionRecord,
    attempt: Attempt,
    provider: Provider,
    signal: AbortSignal,
  ): Promise<SessionRecord | undefined> {
    if (record.session.phase === 'booting') await tell({ kind: 'proof_phase', ordinal, phase: 'connecting' });
    probeKey ??= await openProbeKey(deps, record.session, attempt);
    if (!probeKey) return whoseKeyIsShredded(attempt);
    knocks += 1;
    knockingSinceMs ??= clock.monotonicMs();
    const request = proofRequest({ record, attempt, provider, probeKey, budgetMs: deps.settings.proofBudgetMs });
    const outcome = await deps.verifier.prove(
      { ...request, beforeHandOff: async ({ hostKey }) => void (await tell({ kind: 'hand_off_begun', ordinal, hostKey })) },
      { signal },
    );
    lastKnock = outcome;
    if (outcome.kind === 'not_yet') metrics.sshAttemptFailed(provider.id, outcome.reason);
    if (outcome.kind === 'not_yet' && outcome.reason === 'auth_failed') refusedLogins += 1;
    if (outcome.kind === 'proven') await keysOf(record, attempt, provider).forgetProbe(signal);
    if (outcome.kind === 'proven')
      metrics.sshProven(provider.id, { seconds: (clock.monotonicMs() - knockingSinceMs) / SECOND_MS, attempts: knocks });
    const fact = factOf(outcome, record, attempt);
    return fact ? tell(fact) : record;
  }

  async function round(record: SessionRecord, signal: AbortSignal): Promise<SessionRecord | undefined> {
    const attempt = attemptOf(record, ordinal);
    if (!attempt) return undefined;
    const { phaseDeadlineAt } = record.session;
    if (phaseDeadlineAt !== null && clock.now() >= phaseDeadlineAt) return tell(tooLate(record, attempt));
    const provider = providers.get(attempt.provider);
    if (!provider) return record; // not configured any more: nothing but its deadline is left

    const hasAddress = accessOf(attempt) !== undefined;
    const current =
      !hasAddress || clock.monotonicMs() - askedMs >= ASK_PROVIDER_EVERY_MS
        ? await ask(record, attempt, provider, signal)
        : record;
    const fresh = current && attemptOf(current, ordinal);
    if (!current || !fresh || !isToBeVerified(current, ordinal) || !accessOf(fresh) || fresh.instanceState !== 'running')
      return current;
    if (awaitsTunnel(current, fresh)) return current; // before the proof, which ends with a hand-off: running is told with its address
    return knock(current, fresh, provider, signal);
  }

  return {
    round,
    /** How long to wait after a round. */
    pauseMs(ageMs: number): number {
      if (!lastKnock) return Math.max(FIRST_INTERVAL_MS, ageMs * ASK_SHARE);
      const refusedLogin = lastKnock.kind === 'not_yet' && lastKnock.reason === 'auth_failed';
      return Math.max(refusedLogin ? AFTER_REFUSED_LOGIN_MS : FIRST_INTERVAL_MS, ageMs * KNOCK_SHARE);
    },
  };
}

function awaitsTunnel({ session }: SessionRecord, attempt: Attempt): boolean {
  return needsTunnel(attempt) && session.sshPort === null;
}

function tooLate(record: SessionRecord, attempt: Attempt): Fact {
  const { session } = record;
  const { ordinal, instanceState } = attempt;
  const waitedMinutes = Math.round(((session.phaseDeadlineAt ?? session.phaseEnteredAt) - session.phaseEnteredAt) / 6_000) / 10;
  if (session.phase === 'driver')
    return {
      kind: 'attempt_failed',
      ordinal,
      reason: 'gpu_driver_timeout',
      message: `SSH worked, but the GPU driver did not answer within ${waitedMinutes} minutes`,
    };
  if (instanceState === 'running' && awaitsTunnel(record, attempt) && session.error !== null)
    return {
      kind: 'attempt_failed',
      ordinal,
      reason: 'no_capacity',
      message: `${session.error}, for ${waitedMinutes} minutes`,
    };
  const stage =
    session.phase === 'booting'
      ? `the instance was ${instanceState ?? 'not seen'} and had no SSH address`
      : 'no SSH login succeeded';
  return {
    kind: 'attempt_failed',
    ordinal,
    reason: 'ssh_verify_timeout',
    message: `SSH verification timeout: ${stage} until the deadline`,
  };
}

interface ProofParts {
  readonly record: SessionRecord;
  readonly attempt: Attempt;
  readonly provider: Provider;
  readonly probeKey: Secret<string>;
  readonly budgetMs: number;
}

function proofRequest({ record: { session }, attempt, provider, probeKey, budgetMs }: ProofParts): ProofRequest {
  const { instanceId, hostKey, offer } = attempt;
  const access = accessOf(attempt);
  if (!access || instanceId === null) throw new Error('an attempt without an address cannot be proven');
  const { dialSsh } = provider;
  return {
    access,
    ...(dialSsh ? { dial: (signal) => dialSsh.call(provider, instanceId, { signal }) } : {}),
    privateAddresses: provider.capabilities.privateAddresses,
    probe: { privateKey: probeKey, publicKey: attempt.probePublicKey },
    consumerPublicKey: session.sshPublicKey,
    ...(hostKey === null ? {} : { pinnedHostKey: hostKey, handOffBegun: true }),
    ...(offer.gpuCount > 0 ? { gpu: soldGpus(offer) } : {}),
    probeAfter: session.idleThresholdMinutes > 0 ? { kind: 'restrict', tag: attempt.tag } : { kind: 'remove' },
    budgetMs,
  };
}

function soldGpus({ gpuCount, gpuType, vramMib, cudaVersion }: Offer): SoldGpus {
  return { count: gpuCount, type: gpuType, vramMib, ...(cudaVersion !== undefined && { cudaVersion }) };
}

async function openProbeKey(
  { sessions, envelope }: VerificationDeps,
  session: Session,
  attempt: Attempt,
): Promise<Secret<string> | undefined> {
  const row = await sessions.findSecret(attempt.probeSecretId);
  if (!row) return undefined;
  const opened = envelope.open(row, { id: row.id, purpose: row.purpose, context: session.id });
  if (!opened.ok) throw new Error(`the probe key of attempt ${attempt.ordinal} cannot be opened: ${opened.failure}`);
  return opened.secret;
}

/** Undefined: knock again. */
function factOf(outcome: ProofOutcome, { session }: SessionRecord, attempt: Attempt): Fact | undefined {
  const { ordinal } = attempt;
  switch (outcome.kind) {
    case 'proven': {
      const user = accessOf(attempt)?.user ?? 'root';
      const address = outcome.route === 'dial' ? {} : { host: outcome.route.host, port: outcome.route.port };
      const details = {
        gpus: outcome.gpus.map(({ name }) => name),
        warnings: outcome.warnings,
        ...(outcome.strictKex === undefined ? {} : { strict_kex: outcome.strictKex }),
      };
      return { kind: 'proven', ordinal, proof: { user, hostKey: outcome.hostKey, ...address, details } };
    }
    case 'not_yet':
      return outcome.reason === 'gpu_not_ready' && session.phase !== 'driver'
        ? { kind: 'proof_phase', ordinal, phase: 'driver' }
        : undefined;
    case 'wrong_host':
      return { kind: 'attempt_failed', ordinal, reason: 'wrong_host', message: outcome.message };
    case 'address_refused':
      return { kind: 'attempt_failed', ordinal, reason: 'ssh_address_refused', message: outcome.message };
    case 'gpu_mismatch':
      return { kind: 'attempt_failed', ordinal, reason: 'gpu_mismatch', message: outcome.message };
  }
}
