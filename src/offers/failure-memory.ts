import type { EpochMs } from '../core/clock.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { OfferFailure } from '../db/tables.ts';
import type { OfferId, ProviderId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';

/**
 * What an attempt's failure says about the offer, and what follows. Only what is the offer's own fault is on this list (PEER-11.2.19):
 * refused credentials, a rate limit, an open breaker, a cancelled client or a broken request say nothing about a machine.
 * - `taken`: it was not there. Hidden for a short while, longer each time it is still not there afterwards.
 * - `boot`: it was there and did not become a usable machine. Hidden after several sessions met that.
 * - `doubt`: it only counts against its confidence.
 * `preempted` says that others bid more than we did. That is the price's fault, not the machine's: it hides that one offer for as long as a taken one,
 * and tells against neither the machine, which may be had on demand, nor its type.
 */
const VERDICTS = {
  stale_inventory: 'taken',
  ssh_verify_timeout: 'boot',
  gpu_driver_timeout: 'boot',
  instance_vanished: 'boot',
  instance_stopped: 'boot',
  gpu_mismatch: 'boot',
  wrong_host: 'boot',
  price_changed: 'doubt',
  preempted: 'taken',
} as const;

export type OfferFaultKind = keyof typeof VERDICTS;

/** Past it a failure is forgotten and its row may go. */
export const FAILURE_MEMORY_MS = 60 * MINUTE_MS;
const RECENT_MS = 30 * MINUTE_MS;
const FIRST_HIDE_MS = 3 * MINUTE_MS;
const LONGEST_HIDE_MS = 30 * MINUTE_MS;
const BOOT_FAILURES_TO_HIDE = 3;
const FACTOR_PER_FAILURE = 0.7;
const MACHINES_TO_DEGRADE = 3;
export const DEGRADED_FACTOR = 0.3;
const LOWEST_FACTOR = 0.05;

/** What we remember of one offer at one moment. */
export interface FailureView {
  /** Hidden from search until then; an offer named by its id is found all the same. */
  readonly suppressedUntil?: EpochMs;
  /** What is left of the provider's own confidence, 0.05 to 1. */
  readonly multiplier: number;
}

/** What the memory has to know of an offer. */
export type RememberedOffer = Pick<Offer, 'id' | 'provider' | 'gpuType'> & { readonly machineId?: string | undefined };

export interface OfferHealth {
  readonly offerId: OfferId;
  readonly provider: ProviderId;
  readonly gpuType: string;
  readonly recentFailures: number;
  readonly suppressedAt?: EpochMs;
  readonly suppressedUntil?: EpochMs;
  readonly multiplier: number;
  readonly lastFailureAt: EpochMs;
  readonly lastFailureKind: string;
  readonly lastFailureReason: string;
}

export interface GpuTypeHealth {
  readonly provider: ProviderId;
  readonly gpuType: string;
  /** Distinct machines (or offers, where the machine is not known) that failed within the memory. */
  readonly failedMachines: number;
  readonly isDegraded: boolean;
}

export interface FailureMemory {
  view(offer: RememberedOffer, now: EpochMs): FailureView;
  /** Whether anything is remembered of a provider at all. */
  knows(provider: ProviderId): boolean;
  /** The next moment after `now` at which some view changes because time passes; undefined when none will. */
  nextChangeAt(now: EpochMs): EpochMs | undefined;
  health(now: EpochMs): { readonly offers: readonly OfferHealth[]; readonly gpuTypes: readonly GpuTypeHealth[] };
}

export function isOfferFault(kind: string): kind is OfferFaultKind {
  return Object.hasOwn(VERDICTS, kind);
}

/** The rules over the rows of the last hour, in any order. Pure: a new memory is made when rows come or go. */
export function createFailureMemory(rows: readonly OfferFailure[]): FailureMemory {
  const faults = rows.filter((row) => isOfferFault(row.kind)).toSorted((one, other) => one.at - other.at);
  const providers = new Map([...grouped(faults, (row) => row.provider)].map(([id, failures]) => [id, remember(failures)]));

  // asked for every offer of a book at one moment
  const failedMachines = atOneMoment((provider: ProviderId, gpuType: string, now: EpochMs) => {
    const failures = providers.get(provider)?.gpuTypes.get(gpuType) ?? [];
    return new Set(within(failures, now, FAILURE_MEMORY_MS).map((row) => row.machineId ?? row.offerId)).size;
  });
  const subjectOf = ({ provider, machineId, id }: Pick<RememberedOffer, 'provider' | 'machineId' | 'id'>) => {
    const remembered = providers.get(provider);
    return machineId ? joined(remembered?.machines.get(machineId), remembered?.lostBids.get(id)) : remembered?.offers.get(id);
  };
  const view = (offer: RememberedOffer, now: EpochMs): FailureView => {
    if (!providers.has(offer.provider)) return NOTHING;
    const subject = subjectOf(offer);
    const isDegraded = failedMachines(offer.provider, offer.gpuType, now) >= MACHINES_TO_DEGRADE;
    if (!subject && !isDegraded) return NOTHING;
    const recent = subject ? within(subject.failures, now, RECENT_MS).length : 0;
    const multiplier = Math.max(LOWEST_FACTOR, FACTOR_PER_FAILURE ** recent * (isDegraded ? DEGRADED_FACTOR : 1));
    const span = subject && spanAt(subject.spans, now);
    return span ? { suppressedUntil: span.until, multiplier } : { multiplier };
  };

  return {
    view,
    knows: (provider) => providers.has(provider),
    nextChangeAt(now) {
      const spans = [...providers.values()].flatMap(({ machines, offers }) =>
        [...machines.values(), ...offers.values()].flatMap((subject) => subject.spans),
      );
      const moments = [
        ...faults.flatMap((row) => [row.at, row.at + RECENT_MS, row.at + FAILURE_MEMORY_MS]),
        ...spans.flatMap((span) => [span.from, span.until]),
      ].filter((moment) => moment > now);
      return moments.length > 0 ? moments.reduce((one, other) => Math.min(one, other)) : undefined;
    },
    health(now) {
      const byOffer = grouped(within(faults, now, FAILURE_MEMORY_MS), (row) => row.offerId);
      const offers = [...byOffer.values()].flatMap((failures): OfferHealth[] => {
        const last = failures.at(-1);
        if (!last) return [];
        const { provider, offerId, gpuType } = last;
        const offer = { id: offerId, provider, gpuType, machineId: last.machineId ?? undefined };
        const subject = subjectOf(offer);
        const span = subject && spanAt(subject.spans, now);
        return [
          {
            offerId,
            provider,
            gpuType,
            recentFailures: within(subject?.failures ?? [], now, RECENT_MS).length,
            ...(span && { suppressedAt: span.from, suppressedUntil: span.until }),
            multiplier: view(offer, now).multiplier,
            lastFailureAt: last.at,
            lastFailureKind: last.kind,
            lastFailureReason: last.reason,
          },
        ];
      });
      const gpuTypes = [...providers].flatMap(([provider, remembered]) =>
        [...remembered.gpuTypes.keys()].map((gpuType): GpuTypeHealth => {
          const failed = failedMachines(provider, gpuType, now);
          return { provider, gpuType, failedMachines: failed, isDegraded: failed >= MACHINES_TO_DEGRADE };
        }),
      );
      return { offers, gpuTypes: gpuTypes.filter((health) => health.failedMachines > 0) };
    },
  };
}

const NOTHING: FailureView = { multiplier: 1 };

/** A machine, or an offer. */
interface Subject {
  readonly failures: readonly OfferFailure[];
  readonly spans: readonly Span[];
}

/** What is remembered of one provider. Markets rename their offers, so failures follow the machine where the offer tells it, else the offer. */
interface Remembered {
  readonly machines: ReadonlyMap<string, Subject>;
  readonly offers: ReadonlyMap<string, Subject>;
  /** By offer, where the offer tells its machine as well. */
  readonly lostBids: ReadonlyMap<string, Subject>;
  readonly gpuTypes: ReadonlyMap<string, readonly OfferFailure[]>;
}

function remember(failures: readonly OfferFailure[]): Remembered {
  const subjects = (of: readonly OfferFailure[], keyOf: (row: OfferFailure) => string) =>
    new Map([...grouped(of, keyOf)].map(([key, own]) => [key, { failures: own, spans: suppressions(own) }]));
  return {
    machines: subjects(
      failures.filter((row) => row.machineId && !isLostBid(row)),
      (row) => row.machineId ?? '',
    ),
    offers: subjects(failures, (row) => row.offerId),
    lostBids: subjects(failures.filter(isLostBid), (row) => row.offerId),
    gpuTypes: grouped(
      failures.filter((row) => !isLostBid(row)),
      (row) => row.gpuType,
    ),
  };
}

const isLostBid = ({ kind }: OfferFailure) => kind === 'preempted';

function joined(one: Subject | undefined, other: Subject | undefined): Subject | undefined {
  if (!one || !other) return one ?? other;
  return { failures: [...one.failures, ...other.failures], spans: [...one.spans, ...other.spans] };
}

interface Span {
  readonly from: EpochMs;
  readonly until: EpochMs;
}

/** When the failures of one machine hide it. They come oldest first. */
function suppressions(failures: readonly OfferFailure[]): Span[] {
  const spans: Span[] = [];
  let hideMs = FIRST_HIDE_MS;
  let takenUntil = -Infinity;
  for (const [at, failure] of failures.entries()) {
    const verdict = isOfferFault(failure.kind) ? VERDICTS[failure.kind] : undefined;
    // ten sessions that meet a taken machine at once are one observation: only one after the hiding ended makes the next longer
    if (verdict === 'taken' && failure.at >= takenUntil) {
      takenUntil = failure.at + hideMs;
      hideMs = Math.min(hideMs * 2, LONGEST_HIDE_MS);
      spans.push({ from: failure.at, until: takenUntil });
    }
    if (verdict === 'boot') {
      const boots = within(failures.slice(0, at + 1), failure.at, RECENT_MS).filter(
        (earlier) => isOfferFault(earlier.kind) && VERDICTS[earlier.kind] === 'boot',
      );
      const sessions = new Set(boots.map((boot) => boot.sessionId));
      if (sessions.size >= BOOT_FAILURES_TO_HIDE) spans.push({ from: failure.at, until: failure.at + RECENT_MS });
    }
  }
  return spans;
}

function within(rows: readonly OfferFailure[], now: EpochMs, windowMs: number): OfferFailure[] {
  return rows.filter((row) => row.at <= now && now - row.at < windowMs);
}

function spanAt(spans: readonly Span[], now: EpochMs): Span | undefined {
  const current = spans.filter((span) => span.from <= now && now < span.until);
  return current.reduce<Span | undefined>(
    (longest, span) => (longest && longest.until >= span.until ? longest : span),
    undefined,
  );
}

type CountAt = (provider: ProviderId, gpuType: string, now: EpochMs) => number;

/** Remembers counts while the moment stays the same. */
function atOneMoment(count: CountAt): CountAt {
  let moment: EpochMs | undefined;
  const known = new Map<ProviderId, Map<string, number>>();
  return (provider, gpuType, now) => {
    if (now !== moment) known.clear();
    moment = now;
    const ofProvider = known.get(provider) ?? new Map<string, number>();
    known.set(provider, ofProvider);
    const counted = ofProvider.get(gpuType) ?? count(provider, gpuType, now);
    ofProvider.set(gpuType, counted);
    return counted;
  };
}

function grouped<Row, Key>(rows: readonly Row[], keyOf: (row: Row) => Key): Map<Key, Row[]> {
  const groups = new Map<Key, Row[]>();
  for (const row of rows) {
    const group = groups.get(keyOf(row));
    if (group) group.push(row);
    else groups.set(keyOf(row), [row]);
  }
  return groups;
}
