import type { Clock } from '../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { later, momentOf, msSince, type Moment } from '../core/moment.ts';
import type { Attempt } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { Fact } from '../sessions/fact.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { whoseIs } from '../sessions/sights.ts';
import { applyListing, instanceOf } from './apply-listing.ts';
import type { Controller } from './controller.ts';
import type { Observer } from './observer.ts';
import { earliest, refusalOf } from './provisioning.ts';
import type { TaskPool } from './task-pool.ts';

/** What termination counts; the metrics implement it. */
export interface TerminationMetrics {
  destroyFailed(): void;
}

interface TerminationDeps {
  readonly sessions: Pick<SessionRepository, 'findDueAttempts' | 'nextDueAttemptAt'>;
  readonly writer: SessionWriter;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly observer: Observer;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: TerminationMetrics;
  readonly pool: TaskPool;
  readonly settings: { readonly periodMs: number; readonly callTimeoutMs: number };
}

const PAGE = 2_000;
/** An instance seen with its tag this recently need not be looked at again before it is destroyed. */
const IDENTITY_FRESH_MS = 60 * SECOND_MS;
/** A destroy that has not been sent so long after its instance was looked at is not sent: who was paused looks again (RULE-R11). */
export const IDENTITY_KEEPS_MS = 2 * MINUTE_MS;
/** Nothing is made to wait for so long: such a row was written when the clock was ahead (REL-F2). */
const LONGEST_WAIT_MS = 10 * MINUTE_MS;
/** How often those rows are looked for; it is also their pace, since their own instant means nothing. */
const MISDATED_PAUSE_MS = 15 * SECOND_MS;

/**
 * Ends instances: destroy is asked for until the provider says gone, for ever (RULE-R8); then absence is observed until it is a verdict.
 * Every end comes here, whoever wished it. After a start everything is due (RULE-R5).
 */
export function createTerminationController(deps: TerminationDeps): Controller {
  const { sessions, clock, pool, settings } = deps;
  let hasRun = false;
  let readAllMs = 0;

  return {
    name: 'session.termination',
    periodMs: settings.periodMs,
    idle: () => pool.idle(),

    async reconcile() {
      const now = clock.now();
      const nowMs = clock.monotonicMs();
      const isFirstPass = !hasRun;
      const readsAll = isFirstPass || nowMs - readAllMs >= MISDATED_PAUSE_MS;
      const request = { now: readsAll ? Number.MAX_SAFE_INTEGER : now, limit: PAGE };
      const destroying = await sessions.findDueAttempts({ state: 'destroying', ...request });
      const verifying = await sessions.findDueAttempts({ state: 'verifying', ...request });
      const readMonotonicMs = clock.monotonicMs();
      hasRun = true;
      if (readsAll) readAllMs = nowMs;
      const due = ({ dueAt }: Attempt) => isFirstPass || dueAt <= now || dueAt > now + LONGEST_WAIT_MS;

      let begun = 0;
      for (const attempt of destroying.filter(due)) {
        const task = (signal: AbortSignal) => destroy(deps, attempt, signal);
        if (pool.start(keyOf(attempt), task, `destroy:${attempt.provider}`)) begun += 1;
      }
      for (const attempt of verifying.filter(due)) {
        const task = (signal: AbortSignal) => look(deps, attempt, readMonotonicMs, signal);
        if (pool.start(keyOf(attempt), task, `look:${attempt.provider}`)) begun += 1;
      }
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
  const tell = async (fact: Fact) => {
    const applied = await writer.apply(sessionId, fact);
    if (applied.outcome === 'changed' && applied.transition.events.some(({ kind }) => kind === 'instance.destroy_overdue'))
      log.error(
        { sessionId, instanceId, provider: attempt.provider, tries: attempt.destroyTries + 1 },
        'instance destroy is overdue: it may still exist and cost money; it is asked for again',
      );
    return applied;
  };
  if (!provider) return postpone(deps, attempt, `provider ${attempt.provider} is not configured`);
  if (instanceId === null) return postpone(deps, attempt, 'no instance is known');

  const looked = momentOf(clock);
  const there = await identify(deps, provider, attempt, signal);
  if (signal.aborted) return;
  const askedAt = clock.now();
  let result: 'destroying' | 'gone';
  try {
    if (there === 'others') throw othersInstance(provider, attempt);
    if (there !== 'ours' && provider.capabilities.reusesIds === true) throw unseenInstance(provider, attempt);
    result = await provider.destroyInstance(instanceId, {
      ...call(),
      notAfter: later(looked, IDENTITY_KEEPS_MS),
    });
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (signal.aborted) return;
    deps.metrics.destroyFailed();
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
    await tell({ kind: 'destroy_failed', ordinal, refusal: refusalOf(error), askedAt });
    // it may have gone by itself: then nobody will ever confirm, and absence has to be the verdict
    if (there === 'absent' || there === 'others') await observeAbsence(deps, provider, attempt, { looked, signal });
    return;
  }
  const applied = await tell({ kind: 'destroy_answered', ordinal, result, askedAt });
  if (applied.outcome !== 'changed' || result === 'gone') return;
  try {
    const [lookedAt, asked] = [clock.now(), momentOf(clock)];
    const instance = await provider.getInstance(instanceId, call());
    await tell(
      instance
        ? { kind: 'seen', ordinal, by: 'get', instance, askedAt: lookedAt }
        : { kind: 'missing', ordinal, by: 'get', askedMsAgo: msSince(asked, clock) },
    );
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    log.debug({ sessionId, instanceId, kind: error.kind }, 'instance could not be looked at after its destroy');
  }
}

function othersInstance(provider: Provider, { sessionId }: Attempt): ProviderError {
  return new ProviderError({
    kind: 'rejected',
    provider: provider.id,
    operation: 'DestroyInstance',
    message: `instance of session ${sessionId}: the id now belongs to an instance with another tag, which is not destroyed`,
  });
}

function unseenInstance(provider: Provider, { sessionId }: Attempt): ProviderError {
  return new ProviderError({
    kind: 'unavailable',
    provider: provider.id,
    operation: 'DestroyInstance',
    message: `instance of session ${sessionId}: not asked for, since neither its id nor the list shows it, and the id may be another's by now`,
  });
}

/**
 * What answers to the id must be ours (RULE-R10). When it cannot be seen, the last sight of it counts: the wish to end is certain, and a destroy
 * of what is gone does no harm. Where ids are reused it may: there the list has the last word.
 */
async function identify(
  deps: TerminationDeps,
  provider: Provider,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<'ours' | 'absent' | 'others' | 'unknown'> {
  const there = await lookById(deps, provider, attempt, signal);
  if ((there !== 'absent' && there !== 'unknown') || provider.capabilities.reusesIds !== true) return there;
  try {
    const notBeforeMonotonicMs = deps.clock.monotonicMs();
    const { instances } = await deps.observer.list(provider.id, { notBeforeMonotonicMs, signal });
    return instanceOf(attempt, instances)?.id === attempt.instanceId ? 'ours' : there;
  } catch (error) {
    if (!signal.aborted && !(error instanceof ProviderError)) throw error;
    return there;
  }
}

async function lookById(
  { log, clock, settings }: TerminationDeps,
  provider: Provider,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<'ours' | 'absent' | 'others' | 'unknown'> {
  const { sessionId, instanceId, lastSeenAt } = attempt;
  if (attempt.destroyTries === 0 && lastSeenAt !== null && clock.now() - lastSeenAt < IDENTITY_FRESH_MS) return 'ours';
  if (instanceId === null) return 'unknown';
  try {
    const instance = await provider.getInstance(instanceId, { signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
    if (instance === undefined) return 'absent';
    return whoseIs(attempt, instance) === 'ours' ? 'ours' : 'others';
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    log.debug({ sessionId, instanceId, kind: error.kind }, 'instance could not be looked at before its destroy');
    return 'unknown';
  }
}

/** An id that is denied, or is another's by now, and the list: both are told as facts. */
async function observeAbsence(
  { writer, observer, clock, log }: TerminationDeps,
  provider: Provider,
  attempt: Attempt,
  { looked, signal }: { readonly looked: Moment; readonly signal: AbortSignal },
): Promise<void> {
  const { sessionId, ordinal } = attempt;
  await writer.apply(sessionId, { kind: 'missing', ordinal, by: 'get', askedMsAgo: msSince(looked, clock) });
  try {
    const listing = await observer.list(provider.id, { notBeforeMonotonicMs: clock.monotonicMs(), signal });
    await applyListing(writer, attempt, listing, clock);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ProviderError)) throw error;
    log.debug({ sessionId, kind: error.kind }, 'instance that was not there could not be looked for in the list');
  }
}

/** The second fact: still gone, by every kind of call, over the provider's window (RULE-R6). */
async function look(deps: TerminationDeps, attempt: Attempt, readMonotonicMs: number, signal: AbortSignal): Promise<void> {
  const { writer, providers, observer, clock, log } = deps;
  const { sessionId, ordinal, instanceId } = attempt;
  const provider = providers.get(attempt.provider);
  if (!provider) return postpone(deps, attempt, `provider ${attempt.provider} is not configured`);
  let isDenied = false;
  try {
    if (instanceId !== null && provider.capabilities.absence.kinds.includes('get')) {
      const asked = momentOf(clock);
      const instance = await provider.getInstance(instanceId, {
        signal: clock.timeoutSignal(deps.settings.callTimeoutMs, signal),
      });
      const isThere = instance !== undefined && whoseIs(attempt, instance) === 'ours';
      await writer.apply(
        sessionId,
        isThere
          ? { kind: 'seen', ordinal, by: 'get', instance }
          : { kind: 'missing', ordinal, by: 'get', askedMsAgo: msSince(asked, clock) },
      );
      if (isThere) return;
      isDenied = true;
    }
    const listing = await observer.list(provider.id, { notBeforeMonotonicMs: readMonotonicMs, signal });
    if (isDenied && instanceOf(attempt, listing.instances))
      return await postpone(deps, attempt, 'the list still shows what the id denies'); // its news travel slowly (REL-B8)
    const said = await applyListing(writer, attempt, listing, clock);
    if (said === 'nothing') await postpone(deps, attempt, 'the list is suspect');
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ProviderError)) throw error;
    log.debug({ sessionId, instanceId, kind: error.kind, error: describeError(error) }, 'absence could not be observed');
    await postpone(deps, attempt, error.message);
  }
}

async function postpone(
  { writer, clock, log }: TerminationDeps,
  { sessionId, ordinal, provider, state: whileIn }: Attempt,
  why: string,
): Promise<void> {
  log.debug({ sessionId, ordinal, provider, why }, 'termination postponed');
  await writer.apply(sessionId, { kind: 'postponed', ordinal, untilAt: clock.now() + 15 * SECOND_MS, whileIn });
}
