import type { Clock, EpochMs } from '../core/clock.ts';
import { atOnce, gently, type Breather, type Piecework } from '../core/gently.ts';
import { offerId as asOfferId, type OfferId, type ProviderId } from '../provider/ids.ts';
import type { Offer, OfferListing } from '../provider/offer.ts';
import { createFailureMemory } from './failure-memory.ts';
import type { FailureMemory } from './failure-memory.ts';
import { buildOfferIndex, createOfferIndex, roundedConfidence } from './offer-index.ts';
import type { OfferIndex, Ordinal } from './offer-index.ts';
import { mergeSelections } from './offer-merge.ts';
import type { Place } from './offer-merge.ts';
import { createOfferPages } from './offer-pages.ts';
import type { OfferPages } from './offer-pages.ts';
import type { BookQuery } from './offer-query.ts';
import type { ListingError, OfferSerialiser, OfferView, ProviderStatus } from './offer-view.ts';
import { medianPrices } from './price-sanity.ts';
import type { MedianPrices } from './price-sanity.ts';
import { sameOffersInPieces } from './same-offers.ts';

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
  replace(provider: ProviderId, listing: BookListing): void;
  /** The same for long listings: indexed and serialised in pieces, then shown at one moment. Of two for one provider the later is to wait for the earlier. */
  replaceGently(provider: ProviderId, listing: BookListing, breather: Breather): Promise<void>;
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

/** A listing with what is older in it: offers of a part of the market that was asked for by itself, and when that was. */
export type BookListing = OfferListing & { readonly seenAt?: ReadonlyMap<OfferId, EpochMs> };

export interface OfferBookDeps {
  readonly providers: readonly BookProvider[];
  readonly serialise: OfferSerialiser;
  readonly clock: Pick<Clock, 'now'>;
  /** Different in every process and after every start: versions begin anew, and an old ETag must not match. */
  readonly epoch: string;
  /** Told of every question, so that what people ask for is kept fresh. */
  readonly onAsked?: (query: BookQuery) => void;
}

interface Shelf extends BookProvider {
  snapshot: OfferSnapshot;
  /** When an offer was listed, where that was not with the whole. */
  seenAt: ReadonlyMap<OfferId, EpochMs>;
  index: OfferIndex;
  /** The JSON of offers that were shown since they last changed, by ordinal. */
  fragments: (string | undefined)[];
  statusFragment: string | undefined;
  stale: boolean;
  /** Whether failures have left a mark on the index. */
  marked: boolean;
}

/** What a shelf is about to hold. */
type Prospect = Pick<Shelf, 'id' | 'simulated' | 'snapshot' | 'seenAt' | 'index' | 'fragments' | 'marked'>;

/** In place of a confidence. */
const TAKEN = -1;
const OFFERS_A_PIECE = 256;

export function createOfferBook({ providers, serialise, clock, epoch, onAsked }: OfferBookDeps): OfferBook {
  const shelves = new Map(providers.map((provider) => [provider.id, emptyShelf(provider)]));
  const anyReal = providers.some((provider) => !provider.simulated);
  const claims = new Map<OfferId, number>();
  /** For each listing that is being taken in, the claims that change meanwhile: those that end, too. */
  const takingIn = new Set<Set<OfferId>>();
  let memory = createFailureMemory([]);
  let medians: { real?: MedianPrices; simulated?: MedianPrices } = {};

  /** Real and simulated never mix: simulated offers are for an installation without a real provider, or for who names them. */
  const shelvesFor = (query: BookQuery): Shelf[] =>
    [...shelves.values()].filter((shelf) =>
      query.providers.length > 0 ? query.providers.includes(shelf.id) : !(shelf.simulated && anyReal),
    );
  const placeWith = (id: OfferId) => {
    for (const shelf of shelves.values()) {
      const ordinal = shelf.index.ordinalOf(id);
      if (ordinal !== undefined) return { shelf, ordinal };
    }
    return undefined;
  };
  /** People write ids in other letters (PEER-10.47). */
  const shelfOf = (id: OfferId) => placeWith(id) ?? placeWith(asOfferId(id.toLowerCase()));
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
  const settle = (shelf: Shelf | Prospect, ordinal: Ordinal, now: EpochMs): boolean => {
    const offer = shelf.index.offers[ordinal];
    if (!offer) return false;
    const { suppressedUntil, multiplier } = memory.view(offer, now);
    const hidden = suppressedUntil !== undefined || isTaken(offer);
    const changed = shelf.index.amend(ordinal, { hidden, confidence: roundedConfidence(offer.confidence * multiplier) });
    if (changed) shelf.fragments[ordinal] = undefined;
    return changed;
  };
  function* settleEach(shelf: Shelf | Prospect, now: EpochMs): Piecework<boolean> {
    const knows = memory.knows(shelf.id);
    if (!knows && !shelf.marked) return false;
    shelf.marked = knows;
    let changed = false;
    for (const ordinal of shelf.index.offers.keys()) {
      if (settle(shelf, ordinal, now)) changed = true;
      if (ordinal % OFFERS_A_PIECE === 0) yield;
    }
    return changed;
  }
  const settleAll = (shelf: Shelf | Prospect, now: EpochMs) => atOnce(settleEach(shelf, now));
  const settleClaims = (shelf: Shelf | Prospect, now: EpochMs, offerIds: Iterable<OfferId>) => {
    for (const offerId of offerIds) {
      const ordinal = shelf.index.ordinalOf(offerId);
      if (ordinal !== undefined) settle(shelf, ordinal, now);
    }
  };
  const settleAge = (shelf: Shelf, now: EpochMs): boolean => {
    const { observedAt, error } = shelf.snapshot;
    const stale = error !== undefined || observedAt === undefined || now >= observedAt + shelf.staleAfterMs;
    const changed = stale !== shelf.stale;
    shelf.stale = stale;
    return changed;
  };
  const setClaims = (offerId: OfferId, taken: number) => {
    for (const changed of takingIn) changed.add(offerId);
    const place = placeWith(offerId);
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

  const viewOf = (shelf: Shelf | Prospect, ordinal: Ordinal): OfferView => {
    // holds because ordinals come from this shelf's index, and an index with offers has been listed
    const offer = shelf.index.offers[ordinal]!;
    const observedAt = shelf.seenAt.get(offer.id) ?? shelf.snapshot.observedAt!;
    const availabilityConfidence = shelf.index.confidenceOf(ordinal);
    return { offer, availabilityConfidence, observedAt, simulated: shelf.simulated, available: !isTaken(offer) };
  };
  const viewAt = ({ shelf, ordinal }: Place<Shelf>) => viewOf(shelf, ordinal);
  const statusOf = ({ id, simulated, stale, index, snapshot: { observedAt, dropped, error } }: Shelf): ProviderStatus => ({
    id,
    simulated,
    ...(observedAt !== undefined && { observedAt }),
    offers: index.offers.length,
    dropped,
    ...(error && { error }),
    stale,
  });

  /** What a shelf will hold, made beside it; indexed anew only when other offers are listed. */
  function* prospectOf(shelf: Shelf, { offers, observedAt, dropped, seenAt }: BookListing): Piecework<Prospect> {
    const same = yield* sameOffersInPieces(offers, shelf.snapshot.offers);
    const { error: _, ...kept } = shelf.snapshot;
    const index = same ? shelf.index : yield* buildOfferIndex(offers);
    const prospect: Prospect = {
      id: shelf.id,
      simulated: shelf.simulated,
      snapshot: { ...kept, observedAt, dropped, offers: same ? kept.offers : offers, lastAttemptAt: observedAt },
      seenAt: seenAt ?? new Map(),
      index,
      fragments: Array.from<string | undefined>({ length: index.offers.length }),
      marked: same && shelf.marked,
    };
    if (!same) settleClaims(prospect, clock.now(), claims.keys());
    return prospect;
  }
  /** Writes every offer's JSON; what of each may have changed when all are written is its confidence, or that it is taken. */
  function* serialised(prospect: Prospect): Piecework<Float64Array> {
    const shown = new Float64Array(prospect.index.offers.length);
    for (const ordinal of prospect.index.offers.keys()) {
      const view = viewOf(prospect, ordinal);
      prospect.fragments[ordinal] = serialise.offer(view);
      shown[ordinal] = view.available ? view.availabilityConfidence : TAKEN;
      if (ordinal % 32 === 0) yield;
    }
    return shown;
  }
  const forgetOutdated = (prospect: Prospect, shown: Float64Array) => {
    for (const [ordinal, offer] of prospect.index.offers.entries())
      if (shown[ordinal] !== (isTaken(offer) ? TAKEN : prospect.index.confidenceOf(ordinal)))
        prospect.fragments[ordinal] = undefined;
  };
  const install = (shelf: Shelf, { snapshot, seenAt, index, fragments, marked }: Prospect) => {
    if (index !== shelf.index) medians = {};
    Object.assign(shelf, { snapshot: { ...snapshot, version: shelf.snapshot.version }, seenAt, index, fragments, marked });
    const now = clock.now();
    settleAll(shelf, now);
    settleAge(shelf, now);
    raise(shelf);
  };

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
    page(query) {
      onAsked?.(query);
      return pages.page(query);
    },
    etag(query) {
      onAsked?.(query);
      return pages.etag(query);
    },
    item: pages.item,
    replace(provider, listing) {
      const shelf = known(provider);
      if (listing.observedAt < (shelf.snapshot.observedAt ?? -Infinity)) return;
      install(shelf, atOnce(prospectOf(shelf, listing)));
    },
    async replaceGently(provider, listing, breather) {
      const shelf = known(provider);
      if (listing.observedAt < (shelf.snapshot.observedAt ?? -Infinity)) return;
      const changedClaims = new Set<OfferId>();
      takingIn.add(changedClaims);
      try {
        const prospect = await gently(prospectOf(shelf, listing), breather);
        await gently(settleEach(prospect, clock.now()), breather);
        const shown = await gently(serialised(prospect), breather);
        // what came to be known meanwhile
        settleAll(prospect, clock.now());
        settleClaims(prospect, clock.now(), changedClaims);
        forgetOutdated(prospect, shown);
        if (listing.observedAt >= (shelf.snapshot.observedAt ?? -Infinity)) install(shelf, prospect);
      } finally {
        takingIn.delete(changedClaims);
      }
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
      onAsked?.(query);
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
    seenAt: new Map(),
    index: createOfferIndex([]),
    fragments: [],
    statusFragment: undefined,
    stale: true,
    marked: false,
  };
}
