import type { Clock } from '../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Envelope } from '../core/envelope.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Attempt, Session } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { UsageSample } from '../provider/key-hand-off.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import { accessOf, type SessionRecord } from '../sessions/session-record.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { Sampler } from '../ssh/sampler.ts';
import type { Controller } from './controller.ts';
import type { TaskPool } from './task-pool.ts';

interface IdlenessDeps {
  readonly sessions: Pick<SessionRepository, 'find' | 'findIdleWatched' | 'findSecret'>;
  readonly writer: SessionWriter;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly sampler: Sampler;
  readonly envelope: Pick<Envelope, 'open'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly pool: TaskPool;
  readonly settings: {
    /** How often a session's use is looked at. */
    readonly sampleIntervalMs: number;
    /** At or under these an instance is idle, percent. */
    readonly gpuPercent: number;
    readonly cpuPercent: number;
    readonly callTimeoutMs: number;
  };
}

const PAGE = 2_000;
/** So many intervals without a look, and the idle time begins anew. */
const GAP_INTERVALS = 3;
const SAMPLE_BUDGET_MS = 20 * SECOND_MS;
/** The warning comes this share of the threshold before the end, five minutes at most. */
const WARN_SHARE = 0.2;
const WARN_AT_MOST_MS = 5 * MINUTE_MS;

/**
 * Ends sessions that asked for it and are idle: use of the GPU (without one, of the CPU), and live SSH connections where they can be seen,
 * at or under the threshold for the whole time, on fresh samples. What could not be seen is not idle. Warned by an event before.
 */
export function createIdlenessController(deps: IdlenessDeps): Controller {
  const { sessions, pool, settings } = deps;
  return {
    name: 'session.idleness',
    periodMs: settings.sampleIntervalMs,
    idle: () => pool.idle(),
    async reconcile() {
      const watched = await sessions.findIdleWatched({ limit: PAGE });
      let begun = 0;
      for (const { id } of watched) if (pool.start(id, (signal) => watch(deps, id, signal))) begun += 1;
      return { examined: watched.length, changed: 0, failed: 0, details: { sampling: begun } };
    },
  };
}

async function watch(deps: IdlenessDeps, id: Session['id'], signal: AbortSignal): Promise<void> {
  const { sessions, writer, clock, settings } = deps;
  const record = await sessions.find(id);
  const attempt = record?.attempts.find(({ state }) => state === 'live');
  if (!record || !attempt || record.session.status !== 'running') return;
  const idle = isIdle(await usage(deps, record, attempt, signal), record.session, settings);
  if (signal.aborted) return;
  const applied = await writer.apply(id, {
    kind: 'sampled',
    sampledAt: clock.now(),
    idle,
    longestGapMs: GAP_INTERVALS * settings.sampleIntervalMs,
  });
  if (applied.outcome === 'changed') await judge(deps, applied.record.session);
}

async function judge({ writer, clock }: IdlenessDeps, session: Session): Promise<void> {
  if (session.idleSince === null) return;
  const thresholdMs = session.idleThresholdMinutes * MINUTE_MS;
  const idleMs = clock.now() - session.idleSince;
  if (idleMs >= thresholdMs) {
    await writer.apply(session.id, { kind: 'stop_requested', reason: 'idle' });
  } else if (session.idleWarnedAt === null && idleMs >= thresholdMs - Math.min(thresholdMs * WARN_SHARE, WARN_AT_MOST_MS)) {
    await writer.apply(session.id, { kind: 'idle_warned', endsAt: session.idleSince + thresholdMs });
  }
}

export function isIdle(
  sample: UsageSample,
  session: Pick<Session, 'gpuCount'>,
  limits: { readonly gpuPercent: number; readonly cpuPercent: number },
): boolean {
  const [use, limit] = session.gpuCount > 0 ? [sample.gpuPercent, limits.gpuPercent] : [sample.cpuPercent, limits.cpuPercent];
  return use !== undefined && use <= limit && (sample.sshConnections ?? 0) === 0;
}

/** What the instance says of itself over SSH, filled up with what the provider measures. */
async function usage(deps: IdlenessDeps, record: SessionRecord, attempt: Attempt, signal: AbortSignal): Promise<UsageSample> {
  const provider = deps.providers.get(attempt.provider);
  if (!provider) return {};
  const told = await measured(deps, provider, attempt, signal);
  const own = await sampled(deps, record, attempt, provider, signal);
  return { ...told, ...own };
}

async function measured(
  { clock, settings, log }: IdlenessDeps,
  provider: Provider,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<UsageSample> {
  if (attempt.instanceId === null) return {};
  try {
    const instance = await provider.getInstance(attempt.instanceId, {
      signal: clock.timeoutSignal(settings.callTimeoutMs, signal),
    });
    const reading = instance?.utilisation;
    const isFresh = reading !== undefined && clock.now() - reading.sampledAt <= 2 * settings.sampleIntervalMs;
    if (!isFresh) return {};
    const { gpuPercent, cpuPercent } = reading;
    return { ...(gpuPercent === undefined ? {} : { gpuPercent }), ...(cpuPercent === undefined ? {} : { cpuPercent }) };
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    log.debug(
      { sessionId: attempt.sessionId, kind: error.kind, error: describeError(error) },
      'use could not be read at the provider',
    );
    return {};
  }
}

async function sampled(
  { sessions, sampler, envelope, log }: IdlenessDeps,
  { session }: SessionRecord,
  attempt: Attempt,
  provider: Provider,
  signal: AbortSignal,
): Promise<UsageSample> {
  const access = accessOf(attempt);
  const { instanceId, hostKey } = attempt;
  const row = await sessions.findSecret(attempt.probeSecretId);
  if (!access || instanceId === null || hostKey === null || !row) return {};
  const opened = envelope.open(row, { id: row.id, purpose: row.purpose, context: session.id });
  if (!opened.ok) throw new Error(`the probe key of attempt ${attempt.ordinal} cannot be opened: ${opened.failure}`);
  const { dialSsh } = provider;
  const outcome = await sampler.sample(
    {
      access,
      ...(dialSsh ? { dial: (dialSignal: AbortSignal) => dialSsh.call(provider, instanceId, { signal: dialSignal }) } : {}),
      privateAddresses: provider.capabilities.privateAddresses,
      probe: { privateKey: opened.secret, publicKey: attempt.probePublicKey },
      pinnedHostKey: hostKey,
      budgetMs: SAMPLE_BUDGET_MS,
    },
    { signal },
  );
  if (outcome.kind === 'sample') return outcome.sample;
  log.debug({ sessionId: session.id, reason: outcome.reason, message: outcome.message }, 'use could not be sampled over SSH');
  return {};
}
