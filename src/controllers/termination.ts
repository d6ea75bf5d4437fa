import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Attempt } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { CallOptions, Provider } from '../provider/provider.ts';
import type { Fact } from '../sessions/fact.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { applyListing } from './apply-listing.ts';
import type { Controller } from './controller.ts';
import type { Observer } from './observer.ts';
import { earliest, refusalOf } from './provisioning.ts';
import type { TaskPool } from './task-pool.ts';

interface TerminationDeps {
  readonly sessions: Pick<SessionRepository, 'findDueAttempts' | 'nextDueAttemptAt'>;
  readonly writer: SessionWriter;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly observer: Observer;
  readonly clock: Clock;
  readonly log: Log;
  readonly pool: TaskPool;
  readonly settings: { readonly periodMs: number; readonly callTimeoutMs: number };
}

const PAGE = 500;
/** An instance seen with its tag this recently need not be looked at again before it is destroyed. */
const IDENTITY_FRESH_MS = 60 * SECOND_MS;

/**
 * Ends instances: destroy is asked for until the provider says gone, for ever (RULE-R8); then absence is observed until it is a verdict.
 * Every end comes here, whoever wished it.
 */
export function createTerminationController(deps: TerminationDeps): Controller {
  const { sessions, clock, pool, settings } = deps;

  return {
    name: 'session.termination',
    periodMs: settings.periodMs,
    idle: () => pool.idle(),

    async reconcile() {
      const now = clock.now();
      const destroying = await sessions.findDueAttempts({ state: 'destroying', now, limit: PAGE });
      const verifying = await sessions.findDueAttempts({ state: 'verifying', now, limit: PAGE });
      let begun = 0;
      for (const attempt of destroying) if (pool.start(keyOf(attempt), (signal) => destroy(deps, attempt, signal))) begun += 1;
      for (const attempt of verifying) if (pool.start(keyOf(attempt), (signal) => look(deps, attempt, signal))) begun += 1;
      const wakeAt = earliest([
        await sessions.nextDueAttemptAt('destroying', now),
        await sessions.nextDueAttemptAt('verifying', now),
      ]);
      return {
        examined: destroying.length + verifying.length,
        changed: begun,
        failed: 0,
        ...(wakeAt === undefined ? {} : { wakeAt }),
        details: { in_flight: pool.inFlight, destroying: destroying.length, verifying: verifying.length },
      };
    },
  };
}

const keyOf = ({ sessionId, ordinal }: Attempt) => `${sessionId}:${ordinal}`;

async function destroy(deps: TerminationDeps, attempt: Attempt, signal: AbortSignal): Promise<void> {
  const { writer, providers, clock, log } = deps;
  const { sessionId, ordinal, instanceId } = attempt;
  const provider = providers.get(attempt.provider);
  const call = () => ({ signal: clock.timeoutSignal(deps.settings.callTimeoutMs, signal) });
  const tell = (fact: Fact) => writer.apply(sessionId, fact);
  if (!provider || instanceId === null) return postpone(deps, attempt, `provider ${attempt.provider} is not configured`);
  if (!(await isOurs(deps, provider, attempt, call()))) return;
  try {
    const result = await provider.destroyInstance(instanceId, call());
    const applied = await tell({ kind: 'destroy_answered', ordinal, result });
    if (applied.outcome === 'changed' && result === 'destroying') {
      const instance = await provider.getInstance(instanceId, call());
      await tell(instance ? { kind: 'seen', ordinal, by: 'get', instance } : { kind: 'missing', ordinal, by: 'get' });
    }
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (signal.aborted) return;
    log.warn(
      {
        sessionId,
        instanceId,
        provider: provider.id,
        kind: error.kind,
        tries: attempt.destroyTries + 1,
        error: describeError(error),
      },
      'instance destroy not confirmed',
    );
    await tell({ kind: 'destroy_failed', ordinal, refusal: refusalOf(error) });
  }
}

/**
 * Ids are reused: what answers to the id must bear the tag, or bear none and have borne it (RULE-R10). When it cannot be asked, the last
 * sight of it counts: the wish to end is certain, and a destroy of what is gone does no harm.
 */
async function isOurs(
  { writer, log }: TerminationDeps,
  provider: Provider,
  attempt: Attempt,
  call: CallOptions,
): Promise<boolean> {
  const { sessionId, ordinal, instanceId, tag, lastSeenAt, destroyRequestedAt } = attempt;
  const requestedAt = destroyRequestedAt ?? 0;
  if (attempt.destroyTries === 0 && lastSeenAt !== null && requestedAt - lastSeenAt < IDENTITY_FRESH_MS) return true;
  if (instanceId === null) return false;
  try {
    const instance = await provider.getInstance(instanceId, call);
    if (instance?.tag === undefined || instance.tag === tag) return true;
    log.error({ sessionId, instanceId, provider: provider.id }, 'instance bears another tag: it is not destroyed');
    await writer.apply(sessionId, { kind: 'seen', ordinal, by: 'get', instance });
    await writer.apply(sessionId, {
      kind: 'destroy_failed',
      ordinal,
      refusal: { kind: 'rejected', message: 'the id now belongs to an instance with another tag' },
    });
    return false;
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    log.debug({ sessionId, instanceId, kind: error.kind }, 'instance could not be looked at before its destroy');
    return true;
  }
}

/** The second fact: still gone, by every kind of call, over the provider's window (RULE-R6). */
async function look(deps: TerminationDeps, attempt: Attempt, signal: AbortSignal): Promise<void> {
  const { writer, providers, observer, clock, log } = deps;
  const { sessionId, ordinal, instanceId } = attempt;
  const provider = providers.get(attempt.provider);
  if (!provider) return postpone(deps, attempt, `provider ${attempt.provider} is not configured`);
  try {
    if (instanceId !== null && provider.capabilities.absence.kinds.includes('get')) {
      const instance = await provider.getInstance(instanceId, {
        signal: clock.timeoutSignal(deps.settings.callTimeoutMs, signal),
      });
      await writer.apply(
        sessionId,
        instance ? { kind: 'seen', ordinal, by: 'get', instance } : { kind: 'missing', ordinal, by: 'get' },
      );
    }
    const listing = await observer.list(provider.id, { notBeforeMonotonicMs: clock.monotonicMs(), signal });
    const said = await applyListing(writer, attempt, listing);
    if (said === 'nothing') await postpone(deps, attempt, 'the list is suspect');
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    log.debug({ sessionId, instanceId, kind: error.kind, error: describeError(error) }, 'absence could not be observed');
    await postpone(deps, attempt, error.message);
  }
}

async function postpone(
  { writer, clock, log }: TerminationDeps,
  { sessionId, ordinal, provider }: Attempt,
  why: string,
): Promise<void> {
  log.debug({ sessionId, ordinal, provider, why }, 'termination postponed');
  await writer.apply(sessionId, { kind: 'postponed', ordinal, untilAt: clock.now() + 15 * SECOND_MS });
}
