import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Attempt } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { applyListing, instanceOf } from './apply-listing.ts';
import type { Controller } from './controller.ts';
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
      const startedMonotonicMs = clock.monotonicMs();
      const groups = groupByProvider(await sessions.findLive({ status: 'running', limit: PAGE }));
      const totals = { examined: 0, missing: 0, failed: 0 };
      const spacings: number[] = [];
      for (const [id, attempts] of groups) {
        const provider = providers.get(id);
        totals.examined += attempts.length;
        try {
          if (!provider) throw new RangeError(`provider ${id} has live sessions and is not configured`);
          const listing = await observer.list(id, { notBeforeMonotonicMs: startedMonotonicMs, signal });
          const missing = await compare(deps, { provider, attempts, listing, signal });
          totals.missing += missing;
          if (missing > 0) spacings.push(clock.now() + provider.capabilities.absence.spacingMs);
        } catch (error) {
          totals.failed += attempts.length;
          log.warn(
            { provider: id, sessions: attempts.length, error: describeError(error) },
            'running sessions could not be looked for',
          );
        }
      }
      const wakeAt = earliest(spacings);
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

/** How many were not there. */
async function compare(deps: GhostsDeps, { provider, attempts, listing, signal }: Comparison): Promise<number> {
  const { writer, clock, log, settings } = deps;
  let missing = 0;
  for (const attempt of attempts) {
    if (instanceOf(attempt, listing.instances)) {
      await applyListing(writer, attempt, listing);
      continue;
    }
    missing += 1;
    if (attempt.instanceId === null) continue;
    try {
      // the id is asked first: what it denies is no canary any more, so that the list may count
      const instance = await provider.getInstance(attempt.instanceId, {
        signal: clock.timeoutSignal(settings.callTimeoutMs, signal),
      });
      const fact = instance ? ({ kind: 'seen', instance } as const) : ({ kind: 'missing' } as const);
      await writer.apply(attempt.sessionId, { ...fact, ordinal: attempt.ordinal, by: 'get' });
      if (!instance) await applyListing(writer, attempt, listing);
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.debug({ sessionId: attempt.sessionId, kind: error.kind }, 'instance could not be looked at');
    }
  }
  return missing;
}
