import { createHash } from 'node:crypto';
import type { OfferId } from '../provider/ids.ts';
import type { Merged, Place } from './offer-merge.ts';
import type { BookQuery } from './offer-query.ts';
import { createPageCache } from './page-cache.ts';

export interface OfferPage {
  /** `{"offers":[…],"count":n,"total":n,"providers":[…]}`, UTF-8. Shared: not to be changed. */
  readonly body: Buffer;
  readonly etag: string;
  readonly count: number;
  readonly total: number;
}

export interface OfferPages {
  page(query: BookQuery): OfferPage;
  /** The strong ETag, quotes included, that `page` would have now; costs no search. */
  etag(query: BookQuery): string;
  /** The JSON of one offer with its ETag, whatever is remembered of it; undefined when no provider lists it. */
  item(offerId: OfferId): { readonly body: string; readonly etag: string } | undefined;
}

interface PagesDeps<Shelf> {
  readonly epoch: string;
  coveredBy(query: BookQuery): readonly Shelf[];
  select(query: BookQuery): Merged<Shelf>;
  offerJson(place: Place<Shelf>): string;
  statusJson(shelf: Shelf): string;
  placeOf(offerId: OfferId): Place<Shelf> | undefined;
}

const CACHE = { maxEntries: 500, maxBytes: 32 * 1024 * 1024 };

/** Answers joined from JSON that was made once an offer, and kept while nothing that they show has changed. */
export function createOfferPages<Shelf extends { readonly id: string; readonly snapshot: { readonly version: number } }>({
  epoch,
  coveredBy,
  select,
  offerJson,
  statusJson,
  placeOf,
}: PagesDeps<Shelf>): OfferPages {
  const cache = createPageCache<OfferPage>(CACHE);
  const versionsOf = (shelves: readonly Shelf[]) => shelves.map((shelf) => `${shelf.id}:${shelf.snapshot.version}`).join(' ');
  const tag = (...parts: readonly string[]) =>
    `"${createHash('sha1')
      .update([epoch, ...parts].join('\n'))
      .digest('base64url')}"`;

  return {
    page(query) {
      const shelves = coveredBy(query);
      const versions = versionsOf(shelves);
      const cached = cache.get(query.canonical, versions);
      if (cached) return cached;

      const { total, places } = select(query);
      const offers = places.map(offerJson).join(',');
      const statuses = shelves.map(statusJson).join(',');
      const body = Buffer.from(`{"offers":[${offers}],"count":${places.length},"total":${total},"providers":[${statuses}]}`);
      const page = { body, etag: tag(versions, query.canonical), count: places.length, total };
      cache.set(query.canonical, versions, page, body.length + 2 * query.canonical.length);
      return page;
    },
    etag: (query) => tag(versionsOf(coveredBy(query)), query.canonical),
    item(offerId) {
      const place = placeOf(offerId);
      return place && { body: offerJson(place), etag: tag(versionsOf([place.shelf]), offerId) };
    },
  };
}
