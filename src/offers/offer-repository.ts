import { and, asc, count, eq, gte, lt, lte, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import { everyColumn, statement } from '../db/statement.ts';
import type { Step } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { Claim, OfferFailure, OfferSnapshotRow } from '../db/tables.ts';
import type { OfferId, ProviderId } from '../provider/ids.ts';
import type { Offer, OfferListing } from '../provider/offer.ts';
import { sameOffers } from './same-offers.ts';

/** `written`: other offers than before. `confirmed`: the same offers, seen again. `older`: the database holds a later listing; nothing changed. */
export type SaveOutcome = 'written' | 'confirmed' | 'older';

export interface ClaimRequest {
  readonly offerId: OfferId;
  /** How many sessions the offer can serve at once. */
  readonly units: number;
  readonly sessionId: SessionId;
  readonly consumerId: string;
  readonly at: EpochMs;
}

/** The offers' part of the database: the last listing of each provider, the memory of failures, and who has claimed what. */
export interface OfferRepository {
  /** Stores a listing for restarts and for other replicas; offers that did not change are not written again. */
  saveListing(provider: ProviderId, listing: OfferListing): Promise<SaveOutcome>;
  loadListings(): Promise<readonly OfferSnapshotRow[]>;
  /** What is stored, without the offers: whether loading is worth it. */
  listingTimes(): Promise<readonly Pick<OfferSnapshotRow, 'provider' | 'version' | 'observedAt'>[]>;

  /** For a transaction: remembers why an attempt failed; false when that was recorded before. */
  recordFailure(failure: OfferFailure): Step<boolean>;
  failuresSince(at: EpochMs): Promise<readonly OfferFailure[]>;
  /** Returns how many were forgotten. */
  pruneFailures(before: EpochMs): Promise<number>;

  /** For a transaction: takes the lowest free unit, or the one that the session has; undefined when all are taken. */
  claim(request: ClaimRequest): Step<number | undefined>;
  /** For a transaction: gives back what the session has of the offer; false when it had nothing. */
  release(sessionId: SessionId, offerId: OfferId): Step<boolean>;
  /** For a transaction: whether the consumer has a session on the offer already (the 409 of one-unit offers). */
  consumerHolds(consumerId: string, offerId: OfferId): Step<boolean>;
  /** How many units of each claimed offer are taken. */
  takenUnits(): Promise<ReadonlyMap<OfferId, number>>;
  /** How many units of one offer are taken. */
  takenUnitsOf(offerId: OfferId): Promise<number>;
}

export function createOfferRepository(store: Store): OfferRepository {
  const { offerSnapshots, offerFailures, claims } = store.tables;
  /** What this process knows to be stored; a version that somebody else has overwritten fails the compare-and-set. */
  const stored = new Map<ProviderId, { readonly version: number; readonly offers: readonly Offer[] }>();

  const writeListing = statement('offer.write-listing', (query, values: Omit<OfferSnapshotRow, 'version'>) =>
    query
      .insert(offerSnapshots)
      .values({
        provider: values.provider,
        version: sql`1`,
        observedAt: values.observedAt,
        dropped: values.dropped,
        offers: values.offers,
      })
      .onConflictDoUpdate({
        target: offerSnapshots.provider,
        set: {
          version: sql`${offerSnapshots.version} + 1`,
          observedAt: sql`excluded.observed_at`,
          dropped: sql`excluded.dropped`,
          offers: sql`excluded.offers`,
        },
        setWhere: lte(offerSnapshots.observedAt, sql`excluded.observed_at`),
      })
      .returning({ version: offerSnapshots.version }),
  );

  const confirmListing = statement('offer.confirm-listing', (query, values: Omit<OfferSnapshotRow, 'offers'>) =>
    query
      .update(offerSnapshots)
      .set({ observedAt: values.observedAt, dropped: values.dropped })
      .where(
        and(
          eq(offerSnapshots.provider, values.provider),
          eq(offerSnapshots.version, values.version),
          lte(offerSnapshots.observedAt, values.observedAt),
        ),
      )
      .returning({ version: offerSnapshots.version }),
  );

  const selectListings = statement('offer.listings', (query) =>
    query.select().from(offerSnapshots).orderBy(asc(offerSnapshots.provider)),
  );

  const selectListingTimes = statement('offer.listing-times', (query) =>
    query
      .select({
        provider: offerSnapshots.provider,
        version: offerSnapshots.version,
        observedAt: offerSnapshots.observedAt,
      })
      .from(offerSnapshots)
      .orderBy(asc(offerSnapshots.provider)),
  );

  const insertFailure = statement('offer.insert-failure', (query, values: OfferFailure) =>
    query
      .insert(offerFailures)
      .values(everyColumn(offerFailures, values))
      .onConflictDoNothing()
      .returning({ ordinal: offerFailures.ordinal }),
  );

  const selectFailures = statement('offer.failures-since', (query, values: { at: EpochMs }) =>
    query
      .select()
      .from(offerFailures)
      .where(gte(offerFailures.at, values.at))
      .orderBy(asc(offerFailures.at), asc(offerFailures.sessionId), asc(offerFailures.ordinal)),
  );

  const deleteFailures = statement('offer.prune-failures', (query, values: { before: EpochMs }) =>
    query.delete(offerFailures).where(lt(offerFailures.at, values.before)).returning({ ordinal: offerFailures.ordinal }),
  );

  const claimsOfOffer = statement('offer.claims-of', (query, values: { offerId: OfferId }) =>
    query
      .select({ unit: claims.unit, sessionId: claims.sessionId, consumerId: claims.consumerId })
      .from(claims)
      .where(eq(claims.offerId, values.offerId)),
  );

  const insertClaim = statement('offer.insert-claim', (query, values: Claim) =>
    query.insert(claims).values(everyColumn(claims, values)).onConflictDoNothing().returning({ unit: claims.unit }),
  );

  const deleteClaim = statement('offer.delete-claim', (query, values: Pick<Claim, 'offerId' | 'sessionId'>) =>
    query
      .delete(claims)
      .where(and(eq(claims.offerId, values.offerId), eq(claims.sessionId, values.sessionId)))
      .returning({ unit: claims.unit }),
  );

  const countClaims = statement('offer.taken-units', (query) =>
    query.select({ offerId: claims.offerId, taken: count() }).from(claims).groupBy(claims.offerId),
  );

  return {
    async saveListing(provider, { offers, observedAt, dropped }) {
      const before = stored.get(provider);
      if (before && sameOffers(offers, before.offers)) {
        const [confirmed] = await store.write(() => confirmListing({ provider, version: before.version, observedAt, dropped }));
        if (confirmed) return 'confirmed';
      }
      const [written] = await store.write(() => writeListing({ provider, observedAt, dropped, offers }));
      if (!written) return 'older';
      stored.set(provider, { version: written.version, offers });
      return 'written';
    },

    async loadListings() {
      const rows = await store.read(selectListings({}));
      for (const { provider, version, offers } of rows) stored.set(provider, { version, offers });
      return rows;
    },

    listingTimes: () => store.read(selectListingTimes({})),

    *recordFailure(failure) {
      const rows = yield* insertFailure(failure);
      return rows.length > 0;
    },

    failuresSince: (at) => store.read(selectFailures({ at })),

    async pruneFailures(before) {
      const pruned = await store.write(() => deleteFailures({ before }));
      return pruned.length;
    },

    *claim({ offerId, units, sessionId, consumerId, at }) {
      const held = yield* claimsOfOffer({ offerId });
      const own = held.find((claim) => claim.sessionId === sessionId);
      if (own) return own.unit;
      const taken = new Set(held.map((claim) => claim.unit));
      for (let unit = 0; unit < units; unit += 1) {
        if (taken.has(unit)) continue;
        // another transaction may have taken it since: then nothing comes back, and the next unit is tried
        const [claim] = yield* insertClaim({ offerId, unit, sessionId, consumerId, claimedAt: at });
        if (claim) return claim.unit;
      }
      return undefined;
    },

    *release(sessionId, offerId) {
      const released = yield* deleteClaim({ sessionId, offerId });
      return released.length > 0;
    },

    *consumerHolds(consumerId, offerId) {
      const held = yield* claimsOfOffer({ offerId });
      return held.some((claim) => claim.consumerId === consumerId);
    },

    takenUnitsOf: async (offerId) => (await store.read(claimsOfOffer({ offerId }))).length,

    async takenUnits() {
      const rows = await store.read(countClaims({}));
      return new Map(rows.map(({ offerId, taken }) => [offerId, taken]));
    },
  };
}
