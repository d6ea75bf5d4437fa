import type { Clock, EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
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
import { isTwin } from '../sessions/sights.ts';
import type { Controller } from './controller.ts';
import { inParallel } from './in-parallel.ts';
import type { Listing, Observer } from './observer.ts';
import { earliest } from './provisioning.ts';

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
/** After a start the sweeps come often: that is when there is something to find. */
const FIRST_ROUNDS = 20;
const FIRST_PERIOD_MS = 10 * SECOND_MS;
/** A provider that hangs holds up no other one (PEER-11.2.22). */
const PROVIDERS_AT_ONCE = 100;
const CALLS_AT_ONCE = 8;

/**
 * Looks for what nobody is waiting for: first the provider's complete list, then our rows (REL-B13), compared by the exact tag.
 * - A tag with a row: the sight is a fact of its attempt. An attempt that was gone is destroyed again; one that was unknown is adopted.
 * - A tag of this deployment without a row, or a twin: destroyed after a time of grace and two sightings, each in the log.
 * - Any other tag, or none: somebody else's, never touched (RULE-R10).
 */
export function createOrphansController(deps: OrphansDeps): Controller {
  const { providers, observer, clock, log, settings } = deps;
  let rounds = 0;
  return {
    name: 'instance.orphans',
    periodMs: settings.periodMs,

    async reconcile({ signal }) {
      const startedMonotonicMs = clock.monotonicMs();
      const totals = { examined: 0, changed: 0, failed: 0, foreign: 0 };
      const wakeAts: (number | undefined)[] = [rounds < FIRST_ROUNDS ? clock.now() + FIRST_PERIOD_MS : undefined];
      rounds += 1;
      await inParallel([...providers.values()], PROVIDERS_AT_ONCE, async (provider) => {
        try {
          const listing = await observer.list(provider.id, { notBeforeMonotonicMs: startedMonotonicMs, signal });
          const swept = await sweep(deps, provider, listing, signal);
          totals.examined += listing.instances.length;
          totals.changed += swept.changed;
          totals.failed += swept.failed;
          totals.foreign += swept.foreign;
          wakeAts.push(swept.dueAt);
        } catch (error) {
          totals.failed += 1;
          if (signal.aborted) return;
          log.warn({ provider: provider.id, error: describeError(error) }, 'provider could not be swept for orphans');
        }
      });
      const wakeAt = earliest(wakeAts);
      return {
        examined: totals.examined,
        changed: totals.changed,
        failed: totals.failed,
        ...(wakeAt === undefined ? {} : { wakeAt }),
        details: { foreign: totals.foreign },
      };
    },
  };
}

interface Swept {
  changed: number;
  failed: number;
  foreign: number;
  /** When the first time of grace ends. */
  dueAt?: EpochMs;
}

async function sweep(deps: OrphansDeps, provider: Provider, listing: Listing, signal: AbortSignal): Promise<Swept> {
  const { sightings, log, deploymentId } = deps;
  const swept: Swept = { changed: 0, failed: 0, foreign: 0 };
  const strays: StraySight[] = [];
  for (const instance of listing.instances) {
    const tag = instance.tag === undefined ? undefined : parseOwnershipTag(instance.tag);
    if (tag?.deployment !== deploymentId) {
      swept.foreign += 1;
      continue;
    }
    try {
      const outcome = await tellItsAttempt(deps, provider, instance, { tag: tag.tag, askedAt: listing.startedAt });
      if (outcome === 'stray') strays.push({ provider, instance, tag: tag.tag, signal });
      else if (outcome === 'changed') swept.changed += 1;
    } catch (error) {
      swept.failed += 1; // the others are swept all the same (REL-D9)
      log.error(
        { provider: provider.id, instanceId: instance.id, tag: tag.tag, error: describeError(error) },
        'instance could not be compared with its row',
      );
    }
  }
  await inParallel(strays, CALLS_AT_ONCE, async (stray) => {
    const { outcome, dueAt } = await endStray(deps, stray);
    if (outcome === 'asked') swept.changed += 1;
    if (outcome === 'failed') swept.failed += 1;
    if (dueAt !== undefined) swept.dueAt = Math.min(dueAt, swept.dueAt ?? dueAt);
  });
  if (listing.suspect) return swept; // what it lacks may well be there
  for (const stray of await sightings.markGone(provider.id, listing.startedAt))
    log.info({ provider: provider.id, instanceId: stray.instanceId, tag: stray.tag }, 'orphan is gone');
  return swept;
}

async function tellItsAttempt(
  { sessions, writer }: OrphansDeps,
  provider: Provider,
  instance: Instance,
  { tag, askedAt }: { readonly tag: OwnershipTag; readonly askedAt: number },
): Promise<'stray' | 'changed' | 'unchanged'> {
  const attempt = await sessions.findByTag(tag);
  if (!attempt || attempt.provider !== provider.id || isTwin(attempt, instance)) return 'stray';
  const applied = await writer.apply(attempt.sessionId, {
    kind: 'seen',
    ordinal: attempt.ordinal,
    by: 'list',
    instance,
    askedAt,
  });
  return applied.outcome === 'changed' ? 'changed' : 'unchanged';
}

interface StraySight {
  readonly provider: Provider;
  readonly instance: Instance;
  readonly tag: OwnershipTag;
  readonly signal: AbortSignal;
}

/** Asked again at each sweep for as long as it is listed. */
async function endStray(
  deps: OrphansDeps,
  { provider, instance, tag, signal }: StraySight,
): Promise<{ outcome: 'watched' | 'asked' | 'failed'; dueAt?: EpochMs }> {
  const { sightings, clock, log, metrics, settings } = deps;
  const about = { provider: provider.id, instanceId: instance.id, tag };
  try {
    const now = clock.now();
    const stray = await sightings.saw(about, now);
    const seen = { sightings: stray.sightings, firstSeenAt: stray.firstSeenAt };
    if (stray.sightings === 1) {
      metrics.orphanDetected();
      log.warn({ ...about, ...seen }, 'orphan detected: an instance bears our tag and no row knows it');
    }
    const dueAt = stray.firstSeenAt + settings.graceMs;
    if (stray.sightings < LEAST_SIGHTINGS || now < dueAt) return { outcome: 'watched', dueAt: Math.max(now, dueAt) };
    if (signal.aborted) return { outcome: 'watched' };
    await sightings.markDestroyRequested(stray, now);
    log.warn({ ...about, ...seen }, 'orphan is being destroyed');
    await provider.destroyInstance(instance.id, { signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
    return { outcome: 'asked' };
  } catch (error) {
    const kind = error instanceof ProviderError ? error.kind : 'unforeseen';
    if (error instanceof ProviderError) metrics.destroyFailed();
    log.error({ ...about, kind, error: describeError(error) }, 'orphan could not be destroyed');
    return { outcome: 'failed' };
  }
}
