import type { Clock, EpochMs } from '../core/clock.ts';
import type { OfferId, ProviderId } from '../provider/ids.ts';
import type { Offer, OfferListing } from '../provider/offer.ts';
import { createFailureMemory } from './failure-memory.ts';
import type { FailureMemory } from './failure-memory.ts';
import { createOfferIndex, roundedConfidence } from './offer-index.ts';
import type { OfferIndex, Ordinal } from './offer-index.ts';
import { mergeSelections } from './offer-merge.ts';
import type { Place } from './offer-merge.ts';
import { createOfferPages } from './offer-pages.ts';
import type { OfferPages } from './offer-pages.ts';
import type { BookQuery } from './offer-query.ts';
import type { ListingError, OfferSerialiser, OfferView, ProviderStatus } from './offer-view.ts';
import { medianPrices } from './price-sanity.ts';
import type { MedianPrices } from './price-sanity.ts';
import { sameOffers } from './same-offers.ts';

/** A provider whose offers the book keeps; all of them are known before the first listing. */
export interface BookProvider {
  readonly id: ProviderId;
  readonly simulated: boolean;
  /** The age from which its offers are called stale; a few refresh periods. */
  readonly staleAfterMs: number;
}

/** What the book holds of one provider; replaced as a whole, never changed. */
export interface OfferSnapshot {
  readonly provider: ProviderId;
  readonly simulated: boolean;
  /** Rises with everything that changes what is shown; means something in this process only. */
  readonly version: number;
  readonly observedAt?: EpochMs;
  readonly offers: readonly Offer[];
  readonly dropped: number;
  /** Why the last attempt failed; the offers are then those of the last that succeeded. */
  readonly error?: ListingError;
  readonly lastAttemptAt?: EpochMs;
}

/**
 * The current offers of all providers, in memory. It asks nobody: offer-refresh brings listings and failures, and a query never reaches a
 * provider nor changes what another query sees (PEER-11.2.18).
 */
export interface OfferBook extends OfferPages {
  /** Takes a whole listing, from the provider or from the database. One older than what the book holds changes nothing. */
  replace(provider: ProviderId, listing: OfferListing): void;
  /** A listing failed: what was listed before stays, with its time and the error beside it. */
  fail(provider: ProviderId, error: ListingError, at: EpochMs): void;
  /** How many units of an offer are claimed; an offer without a free one is not shown. */
  setClaims(offerId: OfferId, taken: number): void;
  /** All claims at once; offers that are not among them have none. */
  replaceClaims(taken: ReadonlyMap<OfferId, number>): void;
  setFailures(memory: FailureMemory): void;
  /** Applies what time alone changed: suppressions that ended, listings grown stale. To be called at `nextChangeAt`. */
  passTime(): void;
  nextChangeAt(): EpochMs | undefined;

  /** By id, also when it is suppressed or taken: whoever names an offer means it. */
  find(offerId: OfferId): OfferView | undefined;
  search(query: BookQuery): { readonly views: readonly OfferView[]; readonly total: number };
  providers(): readonly ProviderStatus[];
  snapshot(provider: ProviderId): OfferSnapshot | undefined;
  /** The usual prices among real offers, or among simulated ones. */
  medianPrices(of: { readonly simulated: boolean }): MedianPrices;
}

export interface OfferBookDeps {
  readonly providers: readonly BookProvider[];
  readonly serialise: OfferSerialiser;
  readonly clock: Pick<Clock, 'now'>;
  /** Different in every process and after every start: versions begin anew, and an old ETag must not match. */
  readonly epoch: string;
}

interface Shelf extends BookProvider {
  snapshot: OfferSnapshot;
  index: OfferIndex;
  /** The JSON of offers that were shown since they last changed, by ordinal. */
  fragments: (string | undefined)[];
  statusFragment: string | undefined;
  stale: boolean;
  /** Whether failures have left a mark on the index. */
  marked: boolean;
}

export function createOfferBook({ providers, serialise, clock, epoch }: OfferBookDeps): OfferBook {
  const shelves = new Map(providers.map((provider) => [provider.id, emptyShelf(provider)]));
  const anyReal = providers.some((provider) => !provider.simulated);
  const claims = new Map<OfferId, number>();
  let memory = createFailureMemory([]);
  let medians: { real?: MedianPrices; simulated?: MedianPrices } = {};

  /** Real and simulated never mix: simulated offers are for an installation without a real provider, or for who names them. */
  const shelvesFor = (query: BookQuery): Shelf[] =>
    [...shelves.values()].filter((shelf) =>
      query.providers.length > 0 ? query.providers.includes(shelf.id) : !(shelf.simulated && anyReal),
    );
  const shelfOf = (offerId: OfferId) => {
    for (const shelf of shelves.values()) {
      const ordinal = shelf.index.ordinalOf(offerId);
      if (ordinal !== undefined) return { shelf, ordinal };
    }
    return undefined;
  };
  const known = (provider: ProviderId): Shelf => {
    const shelf = shelves.get(provider);
    if (!shelf) throw new Error(`the offer book was not told of the provider ${provider}`);
    return shelf;
  };

  const raise = (shelf: Shelf) => {
    shelf.snapshot = { ...shelf.snapshot, version: shelf.snapshot.version + 1 };
    shelf.statusFragment = undefined;
  };
  const isTaken = (offer: Offer) => (claims.get(offer.id) ?? 0) >= offer.units;

  /** Brings what the index remembers of one offer up to date; true when what is shown changed. */
  const settle = (shelf: Shelf, ordinal: Ordinal, now: EpochMs): boolean => {
    const offer = shelf.index.offers[ordinal];
    if (!offer) return false;
    const { suppressedUntil, multiplier } = memory.view(offer, now);
    const hidden = suppressedUntil !== undefined || isTaken(offer);
    const changed = shelf.index.amend(ordinal, { hidden, confidence: roundedConfidence(offer.confidence * multiplier) });
    if (changed) shelf.fragments[ordinal] = undefined;
    return changed;
  };
  const settleAll = (shelf: Shelf, now: EpochMs): boolean => {
    const knows = memory.knows(shelf.id);
    if (!knows && !shelf.marked) return false;
    shelf.marked = knows;
    let changed = false;
    for (const ordinal of shelf.index.offers.keys()) if (settle(shelf, ordinal, now)) changed = true;
    return changed;
  };
  const settleAge = (shelf: Shelf, now: EpochMs): boolean => {
    const { observedAt, error } = shelf.snapshot;
    const stale = error !== undefined || observedAt === undefined || now >= observedAt + shelf.staleAfterMs;
    const changed = stale !== shelf.stale;
    shelf.stale = stale;
    return changed;
  };
  const setClaims = (offerId: OfferId, taken: number) => {
    const place = shelfOf(offerId);
    const offer = place?.shelf.index.offers[place.ordinal];
    const wasTaken = offer && isTaken(offer);
    if (taken > 0) claims.set(offerId, taken);
    else claims.delete(offerId);
    if (!place || !offer || isTaken(offer) === wasTaken) return;
    settle(place.shelf, place.ordinal, clock.now());
    // an offer that is suppressed as well stays hidden, but by its id it now reads otherwise
    place.shelf.fragments[place.ordinal] = undefined;
    raise(place.shelf);
  };

  const viewAt = ({ shelf, ordinal }: Place<Shelf>): OfferView => {
    // holds because ordinals come from this shelf's index, and an index with offers has been listed
    const offer = shelf.index.offers[ordinal]!;
    const observedAt = shelf.snapshot.observedAt!;
    const availabilityConfidence = shelf.index.confidenceOf(ordinal);
    return { offer, availabilityConfidence, observedAt, simulated: shelf.simulated, available: !isTaken(offer) };
  };
  const statusOf = ({ id, simulated, stale, index, snapshot: { observedAt, dropped, error } }: Shelf): ProviderStatus => ({
    id,
    simulated,
    ...(observedAt !== undefined && { observedAt }),
    offers: index.offers.length,
    dropped,
    ...(error && { error }),
    stale,
  });

  const select = (query: BookQuery) => {
    const covered = shelvesFor(query);
    const selections = covered.map((shelf) => ({
      shelf,
      ...shelf.index.select(query, { withCpu: query.providers.includes(shelf.id) }),
    }));
    return mergeSelections(selections, query);
  };
  const pages = createOfferPages<Shelf>({
    epoch,
    coveredBy: shelvesFor,
    select,
    offerJson: (place) => (place.shelf.fragments[place.ordinal] ??= serialise.offer(viewAt(place))),
    statusJson: (shelf) => (shelf.statusFragment ??= serialise.provider(statusOf(shelf))),
    placeOf: shelfOf,
  });

  return {
    ...pages,
    replace(provider, { offers, observedAt, dropped }) {
      const shelf = known(provider);
      if (observedAt < (shelf.snapshot.observedAt ?? -Infinity)) return;
      const now = clock.now();
      const same = sameOffers(offers, shelf.snapshot.offers);
      const { error: _, ...kept } = shelf.snapshot;
      shelf.snapshot = { ...kept, observedAt, dropped, offers: same ? kept.offers : offers, lastAttemptAt: observedAt };
      if (!same) {
        shelf.index = createOfferIndex(offers);
        shelf.marked = false;
        for (const offerId of claims.keys()) {
          const ordinal = shelf.index.ordinalOf(offerId);
          if (ordinal !== undefined) settle(shelf, ordinal, now);
        }
        medians = {};
      }
      shelf.fragments = Array.from<string | undefined>({ length: shelf.index.offers.length });
      settleAll(shelf, now);
      settleAge(shelf, now);
      raise(shelf);
    },
    fail(provider, error, at) {
      const shelf = known(provider);
      const previous = shelf.snapshot.error;
      const isNews = previous?.kind !== error.kind || previous.message !== error.message;
      shelf.snapshot = { ...shelf.snapshot, error, lastAttemptAt: at };
      if (settleAge(shelf, clock.now()) || isNews) raise(shelf);
    },
    setClaims,
    replaceClaims(taken) {
      for (const offerId of claims.keys()) if (!taken.has(offerId)) setClaims(offerId, 0);
      for (const [offerId, count] of taken) setClaims(offerId, count);
    },
    setFailures(next) {
      memory = next;
      for (const shelf of shelves.values()) if (settleAll(shelf, clock.now())) raise(shelf);
    },
    passTime() {
      const now = clock.now();
      for (const shelf of shelves.values()) {
        const offersChanged = settleAll(shelf, now);
        if (settleAge(shelf, now) || offersChanged) raise(shelf);
      }
    },
    nextChangeAt() {
      const now = clock.now();
      const ages = [...shelves.values()]
        .filter((shelf) => !shelf.stale)
        .map((shelf) => (shelf.snapshot.observedAt ?? now) + shelf.staleAfterMs);
      const moments = [memory.nextChangeAt(now) ?? Infinity, ...ages];
      const next = Math.min(...moments);
      return next === Infinity ? undefined : next;
    },
    find(offerId) {
      const place = shelfOf(offerId);
      return place && viewAt(place);
    },
    search(query) {
      const { total, places } = select(query);
      return { total, views: places.map(viewAt) };
    },
    providers: () => [...shelves.values()].map(statusOf),
    snapshot: (provider) => shelves.get(provider)?.snapshot,
    medianPrices({ simulated }) {
      const side = simulated ? 'simulated' : 'real';
      const listed = [...shelves.values()].filter((shelf) => shelf.simulated === simulated);
      return (medians[side] ??= medianPrices(listed.flatMap((shelf) => shelf.index.offers)));
    },
  };
}

function emptyShelf(provider: BookProvider): Shelf {
  return {
    ...provider,
    snapshot: { provider: provider.id, simulated: provider.simulated, version: 0, offers: [], dropped: 0 },
    index: createOfferIndex([]),
    fragments: [],
    statusFragment: undefined,
    stale: true,
    marked: false,
  };
}
