import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { momentOf, msSince } from '../core/moment.ts';
import type { Attempt } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { applyListing, instanceOf } from './apply-listing.ts';
import type { Controller } from './controller.ts';
import { inParallel } from './in-parallel.ts';
import type { Listing, Observer } from './observer.ts';
import { earliest, groupByProvider } from './provisioning.ts';

interface GhostsDeps {
  readonly sessions: Pick<SessionRepository, 'findLive'>;
  readonly writer: SessionWriter;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly observer: Observer;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: { readonly periodMs: number; readonly callTimeoutMs: number };
}

const PAGE = 5_000;
/** A provider that hangs holds up no other one (PEER-11.2.22). */
const PROVIDERS_AT_ONCE = 100;
const CALLS_AT_ONCE = 8;
/** The longest time between two looks at what may be taken back at any moment: until it is seen the consumer pays for a machine that is gone. */
const INTERRUPTIBLE_EVERY_MS = 20 * SECOND_MS;

/**
 * Looks after running sessions: each is sought in a complete list, and one that is not there is asked for by id as well. What is missing
 * long enough by both is a ghost, and its session ends with `instance_vanished`; a list or an answer alone ends nothing.
 */
export function createGhostsController(deps: GhostsDeps): Controller {
  const { sessions, providers, observer, clock, log, settings } = deps;
  return {
    name: 'session.ghosts',
    periodMs: settings.periodMs,

    async reconcile({ signal }) {
      const groups = groupByProvider(await sessions.findLive({ status: 'running', limit: PAGE }));
      const readMonotonicMs = clock.monotonicMs();
      const totals = { examined: 0, missing: 0, failed: 0 };
      const wakeAts: number[] = [];
      await inParallel([...groups], PROVIDERS_AT_ONCE, async ([id, attempts]) => {
        const provider = providers.get(id);
        totals.examined += attempts.length;
        if (attempts.some(({ offer }) => offer.interruptible)) wakeAts.push(clock.now() + INTERRUPTIBLE_EVERY_MS);
        try {
          if (!provider) throw new RangeError(`provider ${id} has live sessions and is not configured`);
          const listing = await observer.list(id, { notBeforeMonotonicMs: readMonotonicMs, signal });
          const { missing, failed } = await compare(deps, { provider, attempts, listing, signal });
          totals.missing += missing;
          totals.failed += failed;
          if (missing > 0) wakeAts.push(clock.now() + provider.capabilities.absence.spacingMs);
        } catch (error) {
          totals.failed += attempts.length;
          if (signal.aborted) return;
          log.warn(
            { provider: id, sessions: attempts.length, error: describeError(error) },
            'running sessions could not be looked for',
          );
        }
      });
      const wakeAt = earliest(wakeAts);
      return {
        examined: totals.examined,
        changed: totals.missing,
        failed: totals.failed,
        ...(wakeAt === undefined ? {} : { wakeAt }),
      };
    },
  };
}

interface Comparison {
  readonly provider: Provider;
  readonly attempts: readonly Attempt[];
  readonly listing: Listing;
  readonly signal: AbortSignal;
}

/** How many were not there, and how many could not be dealt with; one that cannot does not keep the others from it (REL-D9). */
async function compare(
  deps: GhostsDeps,
  { provider, attempts, listing, signal }: Comparison,
): Promise<{ missing: number; failed: number }> {
  const { writer, log } = deps;
  const totals = { missing: 0, failed: 0 };
  const byItself = async (attempt: Attempt, deal: () => Promise<unknown>) => {
    try {
      await deal();
    } catch (error) {
      totals.failed += 1;
      if (signal.aborted) return;
      const { sessionId, instanceId } = attempt;
      if (error instanceof ProviderError) log.debug({ sessionId, kind: error.kind }, 'instance could not be looked at');
      else log.error({ sessionId, instanceId, error: describeError(error) }, 'running session could not be dealt with');
    }
  };

  const unseen: Attempt[] = [];
  for (const attempt of attempts) {
    if (instanceOf(attempt, listing.instances))
      await byItself(attempt, () => applyListing(writer, attempt, listing, deps.clock));
    else unseen.push(attempt);
  }
  totals.missing = unseen.length;
  await inParallel(unseen, CALLS_AT_ONCE, (attempt) =>
    byItself(attempt, () => askById(deps, provider, attempt, listing, signal)),
  );
  return totals;
}

/** The id is asked first: what it denies is no canary any more, so that the next list may count. */
async function askById(
  { writer, clock, settings }: GhostsDeps,
  provider: Provider,
  attempt: Attempt,
  listing: Listing,
  signal: AbortSignal,
): Promise<void> {
  const { sessionId, ordinal, instanceId } = attempt;
  if (signal.aborted || instanceId === null) return;
  const call = { signal: clock.timeoutSignal(settings.callTimeoutMs, signal) };
  const [askedAt, asked] = [clock.now(), momentOf(clock)];
  const instance = await provider.getInstance(instanceId, call);
  await writer.apply(
    sessionId,
    instance
      ? { kind: 'seen', ordinal, by: 'get', instance, askedAt }
      : { kind: 'missing', ordinal, by: 'get', askedMsAgo: msSince(asked, clock) },
  );
  if (!instance) await applyListing(writer, attempt, listing, clock);
}
