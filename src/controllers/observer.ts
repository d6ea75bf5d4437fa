import type { Clock, EpochMs } from '../core/clock.ts';
import { HOUR_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import { momentOf, type Moment } from '../core/moment.ts';
import { plainLine } from '../core/text.ts';
import type { Attempt, Observation } from '../db/tables.ts';
import type { InstanceId, ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { parseOwnershipTag, type DeploymentId } from '../provider/ownership-tag.ts';
import type { Provider } from '../provider/provider.ts';
import type { Log } from '../core/log.ts';

/** A complete answer to "what is there", and whether it may be believed in what it lacks. */
export interface Listing {
  readonly provider: ProviderId;
  /** Before this moment nothing of it was asked. */
  readonly began: Moment;
  readonly startedAt: EpochMs;
  readonly instances: readonly Instance[];
  /** It lacks an instance that is held to be alive, or all that is not ours at once: it proves no absence (RULE-R7). */
  readonly suspect: boolean;
}

export interface Observer {
  /**
   * Lists all instances of a provider; callers at the same time share one call, and one that began at `notBeforeMonotonicMs` or later is
   * answered again without asking. The rows are read after the provider (REL-B13). Throws ProviderError: then nothing is known.
   */
  list(
    provider: ProviderId,
    options: { readonly notBeforeMonotonicMs: number; readonly signal: AbortSignal },
  ): Promise<Listing>;
}

/** What observing counts; the metrics implement it. */
export interface ObserverMetrics {
  instancesListed(list: { readonly provider: ProviderId; readonly result: 'complete' | 'suspect' | 'failed' }): void;
}

interface ObserverDeps {
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly sessions: { findHeld(provider: ProviderId): Promise<Attempt[]> };
  readonly observations: {
    record(observation: Observation): Promise<void>;
    strangersSince(provider: ProviderId, since: EpochMs): Promise<number>;
  };
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: ObserverMetrics;
  readonly callTimeoutMs: number;
  readonly deploymentId: DeploymentId;
}

/** Fewer may well go at once by their owner's hand. */
const LEAST_STRANGERS = 2;
/** An account that has lost all strangers for so long has lost them. */
const STRANGERS_KEEP_MS = HOUR_MS;

/** The instances of others that a list showed. Nobody here knows whether they are alive; but all at once they go in an outage (REL-B2). */
interface Strangers {
  readonly count: number;
  readonly seenMs: number;
}

interface UnderWay {
  readonly began: Moment;
  readonly listing: Promise<Listing>;
  /** Begins when this one has ended, for all who need a later one: at most one list call a provider is ever on its way. */
  next?: Promise<Listing>;
}

export function createObserver(deps: ObserverDeps): Observer {
  const { providers, sessions, observations, clock, log, metrics, callTimeoutMs, deploymentId } = deps;
  const latest = new Map<ProviderId, Listing>();
  const strangers = new Map<ProviderId, Strangers>();
  const underWay = new Map<ProviderId, UnderWay>();

  async function ask(provider: Provider, began: Moment): Promise<Listing> {
    const startedAt = clock.now();
    const { id } = provider;
    let instances;
    try {
      instances = await provider.listInstances({ signal: clock.timeoutSignal(callTimeoutMs) });
    } catch (error) {
      metrics.instancesListed({ provider: id, result: 'failed' });
      const detail = plainLine(error instanceof Error ? error.message : String(error));
      await record({ provider: id, at: startedAt, complete: false, suspect: false, count: 0, strangers: 0, detail });
      throw error;
    }
    const lacking = await lackingOf(provider, instances, startedAt);
    const others = countStrangers(instances);
    const isBlind = others === 0 && (await hadStrangers(id, { nowMs: began.monotonicMs, startedAt }));
    const suspect = lacking.length > 0 || isBlind;
    if (!suspect) strangers.set(id, { count: others, seenMs: began.monotonicMs });
    metrics.instancesListed({ provider: id, result: suspect ? 'suspect' : 'complete' });
    const detail =
      lacking.length > 0 ? `lacks ${lacking.length} instances held to be alive` : isBlind ? 'lacks all that is not ours' : '';
    if (suspect) log.warn({ provider: id, count: instances.length, lacking: lacking.length }, `suspect list: it ${detail}`);
    await record({
      provider: id,
      at: startedAt,
      complete: true,
      suspect,
      count: instances.length,
      strangers: others,
      detail,
    });
    const listing = { provider: id, began, startedAt, instances, suspect };
    latest.set(id, listing);
    return listing;
  }

  async function hadStrangers(
    provider: ProviderId,
    { nowMs, startedAt }: { readonly nowMs: number; readonly startedAt: EpochMs },
  ): Promise<boolean> {
    const known = strangers.get(provider);
    const isKept = known !== undefined && nowMs - known.seenMs < STRANGERS_KEEP_MS;
    // before the start, or by another broker, some may have been seen
    const count = isKept ? known.count : await observations.strangersSince(provider, startedAt - STRANGERS_KEEP_MS);
    return count >= LEAST_STRANGERS;
  }

  const countStrangers = (instances: readonly Instance[]) => instances.filter(({ tag }) => !isOurs(tag)).length;
  const isOurs = (tag: string | undefined) => tag !== undefined && parseOwnershipTag(tag)?.deployment === deploymentId;

  /** The rows are read after the list (REL-B13). */
  async function lackingOf(
    { id, capabilities }: Provider,
    instances: readonly Instance[],
    startedAt: EpochMs,
  ): Promise<Attempt[]> {
    const held = await sessions.findHeld(id);
    const index = indexOf(instances);
    return canaries(held, startedAt, capabilities.absence.windowMs).filter((attempt) => !isListed(attempt, index));
  }

  /** A record for people: what is known is known without it. */
  async function record(observation: Observation): Promise<void> {
    try {
      await observations.record(observation);
    } catch (error) {
      log.error({ provider: observation.provider, error: describeError(error) }, 'observation could not be recorded');
    }
  }

  function begin(provider: Provider): Promise<Listing> {
    const already = underWay.get(provider.id);
    if (already) return already.listing; // somebody came in between: it began later than who waits has asked for
    const began = momentOf(clock);
    const current: UnderWay = {
      began,
      listing: ask(provider, began).finally(() => {
        if (underWay.get(provider.id) === current) underWay.delete(provider.id);
      }),
    };
    underWay.set(provider.id, current);
    return current.listing;
  }

  return {
    async list(id, { notBeforeMonotonicMs, signal }) {
      const provider = providers.get(id);
      if (!provider) throw new RangeError(`no provider is named ${id}`);
      if (signal.aborted) throw reasonOf(signal);
      const known = latest.get(id);
      if (known && known.began.monotonicMs >= notBeforeMonotonicMs) return known;
      const current = underWay.get(id);
      if (!current) return abortable(begin(provider), signal);
      if (current.began.monotonicMs >= notBeforeMonotonicMs) return abortable(current.listing, signal);
      current.next ??= current.listing.then(
        () => begin(provider),
        () => begin(provider),
      );
      return abortable(current.next, signal);
    },
  };
}

/** Instances that a complete list cannot lack: known to be alive for longer than news takes, and not themselves under suspicion. */
export function canaries(held: readonly Attempt[], listedAt: EpochMs, visibilityMs: number): Attempt[] {
  return held.filter(
    ({ state, acceptedAt, absences }) =>
      state === 'live' &&
      acceptedAt !== null &&
      listedAt - acceptedAt > visibilityMs &&
      !absences.some(({ kind }) => kind === 'get'),
  );
}

interface ListIndex {
  readonly tags: ReadonlySet<string>;
  /** Ids of instances that bear no tag. */
  readonly untagged: ReadonlySet<InstanceId>;
}

function indexOf(instances: readonly Instance[]): ListIndex {
  return {
    tags: new Set(instances.map(({ tag }) => tag).filter((tag) => tag !== undefined)),
    untagged: new Set(instances.filter(({ tag }) => tag === undefined).map(({ id }) => id)),
  };
}

function isListed({ tag, instanceId }: Attempt, { tags, untagged }: ListIndex): boolean {
  return tags.has(tag) || (instanceId !== null && untagged.has(instanceId));
}

/** One caller gives up; the call itself goes on for the others. */
function abortable<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) {
    promise.catch(() => undefined); // its outcome was recorded; this caller has gone
    return Promise.reject(reasonOf(signal));
  }
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(reasonOf(signal));
    signal.addEventListener('abort', giveUp, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('cancelled');
}
