import { and, asc, count, eq, getTableColumns, gte, lt, lte, or, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import { everyColumn, statement } from '../db/statement.ts';
import type { Step } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { Claim, OfferFailure, OfferSliceRow } from '../db/tables.ts';
import type { OfferId, ProviderId } from '../provider/ids.ts';
import type { Offer, OfferListing } from '../provider/offer.ts';
import { sameOffers } from './same-offers.ts';

/** `written`: other offers than before. `confirmed`: the same offers, seen again. `older`: the database holds a later listing; nothing changed. */
export type SaveOutcome = 'written' | 'confirmed' | 'older';

export type StoredSlice = Omit<OfferSliceRow, 'part'>;
export type SliceTime = Omit<StoredSlice, 'offers'>;
export type SliceOwner = Pick<SliceKey, 'provider' | 'account'>;

/** Written at one go; a few milliseconds' work. */
const OFFERS_A_PART = 500;
const HEAD = 0;
/** More than are listed at a time: parts of a market come and go with what people ask for. */
const MOST_REMEMBERED = 64;

interface StoredListing {
  readonly version: number;
  readonly offers: readonly Offer[];
}

export interface ClaimRequest {
  readonly offerId: OfferId;
  /** How many sessions the offer can serve at once. */
  readonly units: number;
  readonly sessionId: SessionId;
  readonly consumerId: string;
  readonly at: EpochMs;
}

/** Whose listing: a provider's account, and what part of the market; the empty slice is for whatever anybody may want. */
export type SliceKey = {
  readonly provider: ProviderId;
  /** See `accountOf`; no secret. */
  readonly account: string;
  readonly slice: string;
};

/** By which lease it was listed: a later term wins whatever the clocks say, a former one never. */
export type TermedListing = OfferListing & { readonly term: number };

/** The offers' part of the database: the last listings of each provider, the memory of failures, and who has claimed what. */
export interface OfferRepository {
  /** Stores a listing for restarts and for other replicas; offers that did not change are not written again. */
  saveSlice(key: SliceKey, listing: TermedListing): Promise<SaveOutcome>;
  loadSlices(owner: SliceOwner): Promise<readonly StoredSlice[]>;
  /** Undefined while it is being written anew. */
  loadSlice(time: SliceTime): Promise<StoredSlice | undefined>;
  /** What is stored, without the offers: whether loading is worth it. */
  sliceTimes(owner: SliceOwner): Promise<readonly SliceTime[]>;
  /** Forgets a provider's listings that nobody has renewed since; how many. */
  pruneSlices(of: { readonly provider: ProviderId; readonly before: EpochMs }): Promise<number>;

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
  const { offerSlices, offerFailures, claims } = store.tables;
  /** What this process knows to be stored; a version that somebody else has overwritten fails the compare-and-set. */
  const stored = new Map<string, StoredListing>();

  /** What falls out is only written once more than it would have to be. */
  function remember(key: SliceKey, listing: StoredListing): void {
    stored.delete(nameOf(key)); // and put at the end again: the first is the one unused for longest
    stored.set(nameOf(key), listing);
    for (const oldest of stored.keys()) {
      if (stored.size <= MOST_REMEMBERED) break;
      stored.delete(oldest);
    }
  }

  const writePart = statement('offer.write-slice', (query, values: Omit<OfferSliceRow, 'version'>) =>
    query
      .insert(offerSlices)
      .values({
        provider: values.provider,
        account: values.account,
        slice: values.slice,
        part: values.part,
        parts: values.parts,
        version: sql`1`,
        term: values.term,
        observedAt: values.observedAt,
        dropped: values.dropped,
        truncated: values.truncated,
        offers: values.offers,
      })
      .onConflictDoUpdate({
        target: [offerSlices.provider, offerSlices.account, offerSlices.slice, offerSlices.part],
        set: {
          parts: sql`excluded.parts`,
          version: sql`${offerSlices.version} + 1`,
          term: sql`excluded.term`,
          observedAt: sql`excluded.observed_at`,
          dropped: sql`excluded.dropped`,
          truncated: sql`excluded.truncated`,
          offers: sql`excluded.offers`,
        },
        setWhere: sql`${offerSlices.term} < excluded.term or (${offerSlices.term} = excluded.term and ${offerSlices.observedAt} <= excluded.observed_at)`,
      })
      .returning({ version: offerSlices.version }),
  );

  const isPart = (values: SliceKey & { readonly part: number }) => and(isSlice(values), eq(offerSlices.part, values.part));
  const isSlice = (values: SliceKey) =>
    and(
      eq(offerSlices.provider, values.provider),
      eq(offerSlices.account, values.account),
      eq(offerSlices.slice, values.slice),
    );
  const isOf = (values: SliceOwner) => and(eq(offerSlices.provider, values.provider), eq(offerSlices.account, values.account));

  const confirmHead = statement('offer.confirm-slice', (query, values: Omit<SliceTime, 'parts'>) =>
    query
      .update(offerSlices)
      .set({ term: values.term, observedAt: values.observedAt, dropped: values.dropped, truncated: values.truncated })
      .where(
        and(
          isSlice(values),
          eq(offerSlices.part, HEAD),
          eq(offerSlices.version, values.version),
          or(
            lt(offerSlices.term, values.term),
            and(eq(offerSlices.term, values.term), lte(offerSlices.observedAt, values.observedAt)),
          ),
        ),
      )
      .returning({ version: offerSlices.version }),
  );

  const selectPart = statement('offer.slice-part', (query, values: SliceKey & { readonly part: number }) =>
    query.select().from(offerSlices).where(isPart(values)),
  );

  const selectSliceTimes = statement('offer.slice-times', (query, values: SliceOwner) => {
    const { offers: _, part: __, ...times } = getTableColumns(offerSlices);
    return query
      .select(times)
      .from(offerSlices)
      .where(and(isOf(values), eq(offerSlices.part, HEAD)))
      .orderBy(asc(offerSlices.slice));
  });

  const deleteParts = statement('offer.delete-slice-parts', (query, values: SliceKey & { readonly parts: number }) =>
    query
      .delete(offerSlices)
      .where(and(isSlice(values), gte(offerSlices.part, values.parts)))
      .returning({ part: offerSlices.part }),
  );

  const deleteSlices = statement('offer.prune-slices', (query, values: { provider: ProviderId; before: EpochMs }) =>
    query
      .delete(offerSlices)
      .where(
        and(
          eq(offerSlices.provider, values.provider),
          lt(offerSlices.observedAt, values.before),
          // a listing that is confirmed has its time in the head alone
          sql`not exists (select 1 from ${offerSlices} as head where head.provider = ${offerSlices.provider} and head.account = ${offerSlices.account} and head.slice = ${offerSlices.slice} and head.part = ${HEAD} and head.observed_at >= ${values.before})`,
        ),
      )
      .returning({ slice: offerSlices.slice, part: offerSlices.part }),
  );

  async function load(time: SliceTime): Promise<StoredSlice | undefined> {
    const key = { provider: time.provider, account: time.account, slice: time.slice };
    const offers: Offer[] = [];
    let head: OfferSliceRow | undefined;
    for (let part = HEAD; part < (head?.parts ?? 1); part += 1) {
      const [row] = await store.read(selectPart({ ...key, part }));
      if (!row) return undefined; // it is being written anew: the next look finds it whole
      head ??= row;
      for (const offer of row.offers) offers.push(offer);
    }
    if (!head) return undefined;
    remember(key, { version: head.version, offers });
    const { part: _, ...whole } = head;
    return { ...whole, offers };
  }

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
    async saveSlice({ provider, account, slice }, { offers, observedAt, dropped, term, truncated = false }) {
      const key = { provider, account, slice };
      const before = stored.get(nameOf(key));
      const row = { ...key, term, observedAt, dropped, truncated };
      if (before && sameOffers(offers, before.offers)) {
        const [confirmed] = await store.write(() => confirmHead({ ...row, version: before.version }));
        if (confirmed) return 'confirmed';
      }
      stored.delete(nameOf(key)); // until all of it is written, what is stored is neither this listing nor the former one
      const parts = Math.max(1, Math.ceil(offers.length / OFFERS_A_PART));
      const offersOf = (part: number) => offers.slice(part * OFFERS_A_PART, (part + 1) * OFFERS_A_PART);
      // the head comes last: until then the others are told of nothing new
      for (let part = parts - 1; part > HEAD; part -= 1) {
        const [written] = await store.write(() => writePart({ ...row, part, parts, offers: offersOf(part) }));
        if (!written) return 'older';
      }
      const [head] = await store.write(() => writePart({ ...row, part: HEAD, parts, offers: offersOf(HEAD) }));
      if (!head) return 'older';
      remember(key, { version: head.version, offers });
      if (before && before.offers.length > parts * OFFERS_A_PART) await store.write(() => deleteParts({ ...key, parts }));
      return 'written';
    },

    async loadSlices(owner) {
      const slices: StoredSlice[] = [];
      for (const time of await store.read(selectSliceTimes({ ...owner }))) {
        const slice = await load(time);
        if (slice) slices.push(slice);
      }
      return slices;
    },

    loadSlice: load,

    sliceTimes: (owner) => store.read(selectSliceTimes({ ...owner })),

    async pruneSlices(of) {
      const pruned = await store.write(() => deleteSlices({ ...of }));
      return pruned.filter(({ part }) => part === HEAD).length;
    },

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

const nameOf = ({ provider, account, slice }: SliceKey) => `${provider}\n${account}\n${slice}`;
