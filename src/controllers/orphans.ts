import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { parseOwnershipTag, type DeploymentId, type OwnershipTag } from '../provider/ownership-tag.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { isTwin } from '../sessions/step.ts';
import type { Controller } from './controller.ts';
import type { Listing, Observer } from './observer.ts';

/** What the sweep counts; the metrics implement it. */
export interface OrphanMetrics {
  orphanDetected(): void;
  destroyFailed(): void;
}

interface OrphansDeps {
  readonly sessions: Pick<SessionRepository, 'findByTag'>;
  readonly sightings: Pick<SightingRepository, 'saw' | 'markDestroyRequested' | 'markGone'>;
  readonly writer: SessionWriter;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly observer: Observer;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: OrphanMetrics;
  readonly deploymentId: DeploymentId;
  readonly settings: { readonly periodMs: number; readonly graceMs: number; readonly callTimeoutMs: number };
}

const LEAST_SIGHTINGS = 2;

/**
 * Looks for what nobody is waiting for: first the provider's complete list, then our rows (REL-B13), compared by the exact tag.
 * - A tag with a row: the sight is a fact of its attempt. An attempt that was gone is destroyed again; one that was unknown is adopted.
 * - A tag of this deployment without a row, or a twin: destroyed after a time of grace and two sightings, each in the log.
 * - Any other tag, or none: somebody else's, never touched (RULE-R10).
 */
export function createOrphansController(deps: OrphansDeps): Controller {
  const { providers, observer, clock, log, settings } = deps;
  return {
    name: 'instance.orphans',
    periodMs: settings.periodMs,

    async reconcile({ signal }) {
      const startedMonotonicMs = clock.monotonicMs();
      const totals = { examined: 0, changed: 0, failed: 0, foreign: 0 };
      for (const provider of providers.values()) {
        try {
          const listing = await observer.list(provider.id, { notBeforeMonotonicMs: startedMonotonicMs, signal });
          const swept = await sweep(deps, provider, listing, signal);
          totals.examined += listing.instances.length;
          totals.changed += swept.changed;
          totals.foreign += swept.foreign;
        } catch (error) {
          totals.failed += 1;
          log.warn({ provider: provider.id, error: describeError(error) }, 'provider could not be swept for orphans');
        }
      }
      return {
        examined: totals.examined,
        changed: totals.changed,
        failed: totals.failed,
        details: { foreign: totals.foreign },
      };
    },
  };
}

async function sweep(
  deps: OrphansDeps,
  provider: Provider,
  listing: Listing,
  signal: AbortSignal,
): Promise<{ changed: number; foreign: number }> {
  const { sessions, sightings, writer, log, deploymentId } = deps;
  let changed = 0;
  let foreign = 0;
  for (const instance of listing.instances) {
    const tag = instance.tag === undefined ? undefined : parseOwnershipTag(instance.tag);
    if (tag?.deployment !== deploymentId) {
      foreign += 1;
      continue;
    }
    const attempt = await sessions.findByTag(tag.tag);
    if (attempt && attempt.provider === provider.id && !isTwin(attempt, instance)) {
      const applied = await writer.apply(attempt.sessionId, { kind: 'seen', ordinal: attempt.ordinal, by: 'list', instance });
      if (applied.outcome === 'changed') changed += 1;
      continue;
    }
    if (await endStray(deps, { provider, instance, tag: tag.tag, signal })) changed += 1;
  }
  for (const stray of await sightings.markGone(provider.id, listing.startedAt))
    log.info({ provider: provider.id, instanceId: stray.instanceId, tag: stray.tag }, 'orphan is gone');
  return { changed, foreign };
}

interface StraySight {
  readonly provider: Provider;
  readonly instance: Instance;
  readonly tag: OwnershipTag;
  readonly signal: AbortSignal;
}

/** Asked again at each sweep for as long as it is listed. */
async function endStray(deps: OrphansDeps, { provider, instance, tag, signal }: StraySight): Promise<boolean> {
  const { sightings, clock, log, metrics, settings } = deps;
  const now = clock.now();
  const stray = await sightings.saw({ provider: provider.id, instanceId: instance.id, tag }, now);
  const about = {
    provider: provider.id,
    instanceId: instance.id,
    tag,
    sightings: stray.sightings,
    firstSeenAt: stray.firstSeenAt,
  };
  if (stray.sightings === 1) {
    metrics.orphanDetected();
    log.warn(about, 'orphan detected: an instance bears our tag and no row knows it');
  }
  if (stray.sightings < LEAST_SIGHTINGS || now - stray.firstSeenAt < settings.graceMs) return false;
  await sightings.markDestroyRequested(stray, now);
  log.warn(about, 'orphan is being destroyed');
  try {
    await provider.destroyInstance(instance.id, { signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    metrics.destroyFailed();
    log.error({ ...about, kind: error.kind, error: describeError(error) }, 'orphan could not be destroyed');
  }
  return true;
}
