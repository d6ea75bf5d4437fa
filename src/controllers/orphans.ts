import type { Clock, EpochMs } from '../core/clock.ts';
import { HOUR_MS, SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { later, type Moment } from '../core/moment.ts';
import type { AuditData } from '../db/audit-chain.ts';
import type { AuditRepository } from '../db/audit-repository.ts';
import type { Stray } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { parseOwnershipTag, type DeploymentId, type OwnershipTag, type TagParts } from '../provider/ownership-tag.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import { rollbackEvidence, type RecoveryMode } from '../sessions/recovery-mode.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { isTwin } from '../sessions/sights.ts';
import type { Controller } from './controller.ts';
import { inParallel } from './in-parallel.ts';
import type { Listing, Observer } from './observer.ts';
import { earliest } from './provisioning.ts';
import { IDENTITY_KEEPS_MS } from './termination.ts';

/** What the sweep counts; the metrics implement it. */
export interface OrphanMetrics {
  orphanDetected(): void;
  /** It is gone after a destroy was asked for. */
  orphanDestroyed(orphan: { readonly provider: ProviderId }): void;
  destroyFailed(): void;
}

interface OrphansDeps {
  readonly sessions: Pick<SessionRepository, 'find' | 'findByTag' | 'list'>;
  readonly sightings: Pick<SightingRepository, 'saw' | 'markDestroyRequested' | 'markGone'>;
  readonly audit: Pick<AuditRepository, 'append'>;
  readonly writer: SessionWriter;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly observer: Observer;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: OrphanMetrics;
  readonly recovery: RecoveryMode;
  /** Told of each provider of which a complete sweep has told what the database does not know. */
  readonly swept: Pick<Set<ProviderId>, 'add' | 'has'>;
  readonly deploymentId: DeploymentId;
  readonly settings: { readonly periodMs: number; readonly graceMs: number; readonly callTimeoutMs: number };
}

const LEAST_SIGHTINGS = 2;
/** After a start the sweeps come often: that is when there is something to find. */
const FIRST_ROUNDS = 20;
const FIRST_PERIOD_MS = 10 * SECOND_MS;
/** And until each provider has been swept once, since sessions wait for that. */
const UNSWEPT_PERIOD_MS = 30 * SECOND_MS;
/** A provider that hangs holds up no other one (PEER-11.2.22). */
const PROVIDERS_AT_ONCE = 100;
const CALLS_AT_ONCE = 8;
const TOLD_EVERY_MS = HOUR_MS;

/**
 * Looks for what nobody is waiting for: first the provider's complete list, then our rows (REL-B13), compared by the exact tag.
 * - A tag with a row: the sight is a fact of its attempt. An attempt that was gone is destroyed again; one that was unknown is adopted.
 * - A tag of this deployment without a row, or a twin: destroyed after a time of grace and two sightings, each in the log and in the audit log. But where the
 *   missing row says that the database is older than reality, recovery mode begins, and nothing of the kind is destroyed (REL-B10).
 * - Any other tag, or none: somebody else's, never touched (RULE-R10).
 */
export function createOrphansController(deps: OrphansDeps): Controller {
  const { providers, observer, recovery, clock, log, settings } = deps;
  let rounds = 0;
  let toldMs = Number.NEGATIVE_INFINITY;

  /** Loudly, at the start and each hour: it waits for a person. */
  async function tellOfRecovery(held: number): Promise<boolean> {
    const state = await recovery.read();
    if (!state.isOn) return false;
    if (clock.monotonicMs() - toldMs < TOLD_EVERY_MS) return true;
    toldMs = clock.monotonicMs();
    const { since, cause, reason } = state;
    log.error(
      { since: new Date(since).toISOString(), cause, reason, held },
      'recovery mode is on: instances that the database does not know are not destroyed, until a person has looked (docs/recovery.md)',
    );
    return true;
  }

  return {
    name: 'instance.orphans',
    periodMs: settings.periodMs,

    async reconcile({ signal }) {
      const startedMonotonicMs = clock.monotonicMs();
      const totals = { examined: 0, changed: 0, failed: 0, foreign: 0, held: 0 };
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
          totals.held += swept.held;
          if (swept.isComplete) deps.swept.add(provider.id);
          wakeAts.push(swept.dueAt);
        } catch (error) {
          totals.failed += 1;
          if (signal.aborted) return;
          log.warn({ provider: provider.id, error: describeError(error) }, 'provider could not be swept for orphans');
        }
      });
      if ([...providers.keys()].some((id) => !deps.swept.has(id))) wakeAts.push(clock.now() + UNSWEPT_PERIOD_MS);
      const isRecovering = await tellOfRecovery(totals.held);
      const wakeAt = earliest(wakeAts);
      return {
        examined: totals.examined,
        changed: totals.changed,
        failed: totals.failed,
        ...(wakeAt === undefined ? {} : { wakeAt }),
        details: { foreign: totals.foreign, ...(isRecovering ? { held: totals.held, recovery_mode: 'on' } : {}) },
      };
    },
  };
}

interface Swept {
  changed: number;
  failed: number;
  foreign: number;
  /** Strays that recovery mode keeps. */
  held: number;
  /** By a list that can be believed, each of whose instances was compared with the rows. */
  isComplete: boolean;
  /** When the first time of grace ends. */
  dueAt?: EpochMs;
}

async function sweep(deps: OrphansDeps, provider: Provider, listing: Listing, signal: AbortSignal): Promise<Swept> {
  const { sightings, recovery, clock, log, metrics, deploymentId } = deps;
  const swept: Swept = { changed: 0, failed: 0, foreign: 0, held: 0, isComplete: !listing.suspect };
  const strays: Sighted[] = [];
  for (const instance of listing.instances) {
    const tag = instance.tag === undefined ? undefined : parseOwnershipTag(instance.tag);
    if (tag?.deployment !== deploymentId) {
      swept.foreign += 1;
      continue;
    }
    try {
      const outcome = await tellItsAttempt(deps, provider, instance, { tag: tag.tag, askedAt: listing.startedAt });
      if (outcome === 'unknown' || outcome === 'twin')
        strays.push(
          await sighted(deps, { provider, instance, tag, isUnknown: outcome === 'unknown', listedAt: listing.began, signal }),
        );
      else if (outcome === 'changed') swept.changed += 1;
    } catch (error) {
      swept.failed += 1; // the others are swept all the same (REL-D9)
      swept.isComplete = false;
      log.error(
        { provider: provider.id, instanceId: instance.id, tag: tag.tag, error: describeError(error) },
        'instance could not be compared with its row',
      );
    }
  }
  // after all of them were looked at: one that is evidence keeps the others, too
  const state = await recovery.read();
  if (state.isOn) swept.held = strays.length;
  const endedAt = state.isOn ? undefined : state.endedAt;
  await inParallel(state.isOn ? [] : strays, CALLS_AT_ONCE, async (stray) => {
    const { outcome, dueAt } = await endStray(deps, stray, endedAt);
    if (outcome === 'asked') swept.changed += 1;
    if (outcome === 'failed') swept.failed += 1;
    if (dueAt !== undefined) swept.dueAt = Math.min(dueAt, swept.dueAt ?? dueAt);
  });
  if (listing.suspect) return swept; // what it lacks may well be there
  for (const stray of await sightings.markGone(provider.id, listing.startedAt)) {
    if (stray.destroyRequestedAt !== null) metrics.orphanDestroyed({ provider: provider.id });
    log.info({ provider: provider.id, instanceId: stray.instanceId, tag: stray.tag }, 'orphan is gone');
    await tell(deps, clock.now(), 'orphan.gone', stray);
  }
  return swept;
}

async function tellItsAttempt(
  { sessions, writer }: OrphansDeps,
  provider: Provider,
  instance: Instance,
  { tag, askedAt }: { readonly tag: OwnershipTag; readonly askedAt: number },
): Promise<'unknown' | 'twin' | 'changed' | 'unchanged'> {
  const attempt = await sessions.findByTag(tag);
  if (!attempt) return 'unknown';
  if (attempt.provider !== provider.id || isTwin(attempt, instance)) return 'twin';
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
  readonly tag: TagParts & { readonly tag: OwnershipTag };
  /** No row knows its tag, as opposed to another instance's. */
  readonly isUnknown: boolean;
  /** When it was asked for what is there. */
  readonly listedAt: Moment;
  readonly signal: AbortSignal;
}

type Sighted = StraySight & { readonly stray: Stray };

/** Counts a sight, and begins recovery mode where it is evidence that nobody has explained. */
async function sighted(deps: OrphansDeps, sight: StraySight): Promise<Sighted> {
  const { sessions, sightings, recovery, clock, log, metrics } = deps;
  const { provider, instance, isUnknown } = sight;
  const { tag, sessionId, ordinal } = sight.tag;
  const now = clock.now();
  const about = { provider: provider.id, instanceId: instance.id, tag };
  const stray = await sightings.saw(about, now);
  if (stray.sightings === 1) {
    metrics.orphanDetected();
    await tell(deps, now, 'orphan.detected', stray);
    log.warn(
      { ...about, sightings: stray.sightings, firstSeenAt: stray.firstSeenAt },
      'orphan detected: an instance bears our tag and no row knows it',
    );
  }
  const state = await recovery.read();
  const isExplained = !state.isOn && state.endedAt !== undefined && stray.firstSeenAt <= state.endedAt;
  if (!isUnknown || state.isOn || isExplained) return { ...sight, stray };
  const session = (await sessions.find(sessionId))?.session;
  const newest = (await sessions.list({ limit: 1 })).at(0)?.id;
  const evidence = rollbackEvidence({ sessionId, ordinal, session, newest, now });
  if (evidence !== undefined && (await recovery.begin('evidence', `${provider.id} has instance ${instance.id}: ${evidence}`)))
    log.error({ ...about, evidence }, 'the database is older than reality: recovery mode begins');
  return { ...sight, stray };
}

/** Asked again at each sweep for as long as it is listed. Who ended recovery mode has the whole time of grace to keep it. */
async function endStray(
  deps: OrphansDeps,
  { provider, instance, tag: { tag }, signal, stray, listedAt }: Sighted,
  recoveryEndedAt = 0,
): Promise<{ outcome: 'watched' | 'asked' | 'failed'; dueAt?: EpochMs }> {
  const { sightings, clock, log, metrics, settings } = deps;
  const about = { provider: provider.id, instanceId: instance.id, tag };
  try {
    const now = clock.now();
    const seen = { sightings: stray.sightings, firstSeenAt: stray.firstSeenAt };
    const dueAt = Math.max(stray.firstSeenAt, recoveryEndedAt) + settings.graceMs;
    if (stray.sightings < LEAST_SIGHTINGS || now < dueAt) return { outcome: 'watched', dueAt: Math.max(now, dueAt) };
    if (signal.aborted) return { outcome: 'watched' };
    await sightings.markDestroyRequested(stray, now);
    await tell(deps, now, 'orphan.destroy_requested', stray, { sightings: stray.sightings, first_seen_at: stray.firstSeenAt });
    log.warn({ ...about, ...seen }, 'orphan is being destroyed');
    const answer = await provider.destroyInstance(instance.id, {
      signal: clock.timeoutSignal(settings.callTimeoutMs, signal),
      notAfter: later(listedAt, IDENTITY_KEEPS_MS),
    });
    await tell(deps, clock.now(), 'orphan.destroy_answered', stray, { answer, asked_at: now });
    return { outcome: 'asked' };
  } catch (error) {
    const kind = error instanceof ProviderError ? error.kind : 'unforeseen';
    if (error instanceof ProviderError) metrics.destroyFailed();
    log.error({ ...about, kind, error: describeError(error) }, 'orphan could not be destroyed');
    if (error instanceof ProviderError) await tell(deps, clock.now(), 'orphan.destroy_failed', stray, { error_kind: kind });
    return { outcome: 'failed' };
  }
}

/** In the installation's chain, since it has no session's. A log that cannot be written keeps no orphan alive. */
async function tell(
  { audit, log }: OrphansDeps,
  at: EpochMs,
  kind: string,
  { provider, instanceId, tag }: Pick<Stray, 'provider' | 'instanceId' | 'tag'>,
  data: AuditData = {},
): Promise<void> {
  try {
    await audit.append(at, [{ actor: 'broker', kind, data: { provider, instance_id: instanceId, tag, ...data } }]);
  } catch (error) {
    log.error({ provider, instanceId, tag, kind, error: describeError(error) }, 'orphan could not be told to the audit log');
  }
}
