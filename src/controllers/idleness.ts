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
import { linkedAbort } from './linked-abort.ts';
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
  const { sessions, pool, log, settings } = deps;
  /** Those that wait for their turn, each once: with more sessions than room in the pool all of them get it. */
  const waiting = new Set<Session['id']>();
  const atWork = new Set<Session['id']>();
  let workers = 0;

  /** Takes one after the other for as long as somebody waits. */
  async function work(ends: readonly AbortSignal[]): Promise<void> {
    for (const id of waiting) {
      waiting.delete(id);
      if (ends.some(({ aborted }) => aborted)) continue;
      atWork.add(id);
      try {
        await watch(deps, id, ends);
      } catch (error) {
        if (!ends.some(({ aborted }) => aborted))
          log.error({ sessionId: id, error: describeError(error) }, 'use of a session could not be looked at');
      } finally {
        atWork.delete(id);
      }
    }
  }

  return {
    name: 'session.idleness',
    periodMs: settings.sampleIntervalMs,
    idle: () => pool.idle(),
    async reconcile({ signal }) {
      const watched = await sessions.findIdleWatched({ limit: PAGE });
      for (const { id } of watched) if (!atWork.has(id)) waiting.add(id);
      while (waiting.size > 0) {
        workers += 1; // each takes one at once
        if (!pool.start(`sample:${workers}`, (stopped) => work([stopped, signal]))) break;
      }
      return {
        examined: watched.length,
        changed: 0,
        failed: 0,
        details: { sampling: atWork.size, waiting: waiting.size },
      };
    },
  };
}

async function watch(deps: IdlenessDeps, id: Session['id'], ends: readonly AbortSignal[]): Promise<void> {
  const { writer, clock, settings } = deps;
  const over = linkedAbort(ends);
  try {
    const idle = await look(deps, id, over.signal);
    if (over.signal.aborted || idle === undefined) return;
    const applied = await writer.apply(id, {
      kind: 'sampled',
      sampledAt: clock.now(),
      idle,
      longestGapMs: GAP_INTERVALS * settings.sampleIntervalMs,
    });
    if (applied.outcome === 'changed') await judge(deps, applied.record.session);
  } finally {
    over.release();
  }
}

/** Whether it is idle now; undefined when it runs no more. */
async function look(deps: IdlenessDeps, id: Session['id'], signal: AbortSignal): Promise<boolean | undefined> {
  const { sessions, settings } = deps;
  const record = await sessions.find(id);
  const attempt = record?.attempts.find(({ state }) => state === 'live');
  if (!record || !attempt || record.session.status !== 'running') return undefined;
  return isIdle(await usage(deps, record, attempt, signal), record.session, settings);
}

/** Never ended without a warning: where looks are rare, the end waits for the look after it. */
async function judge({ writer, clock, settings }: IdlenessDeps, session: Session): Promise<void> {
  if (session.idleSince === null) return;
  const thresholdMs = session.idleThresholdMinutes * MINUTE_MS;
  const idleMs = clock.now() - session.idleSince;
  const warnBeforeMs = Math.max(Math.min(thresholdMs * WARN_SHARE, WARN_AT_MOST_MS), settings.sampleIntervalMs);
  if (session.idleWarnedAt !== null && idleMs >= thresholdMs) {
    await writer.apply(session.id, { kind: 'stop_requested', reason: 'idle' });
  } else if (session.idleWarnedAt === null && idleMs >= thresholdMs - warnBeforeMs) {
    const endsAt = Math.max(session.idleSince + thresholdMs, clock.now() + settings.sampleIntervalMs);
    await writer.apply(session.id, { kind: 'idle_warned', endsAt });
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
    // a reading from the future is no better than an old one: it would look fresh for as long as the provider repeats it
    const isFresh = reading !== undefined && Math.abs(clock.now() - reading.sampledAt) <= 2 * settings.sampleIntervalMs;
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
