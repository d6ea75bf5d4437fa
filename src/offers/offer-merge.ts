import type { OfferIndex, Ordinal, Selection } from './offer-index.ts';
import type { BookQuery } from './offer-query.ts';

/** One offer, by where it stands. */
export interface Place<Shelf> {
  readonly shelf: Shelf;
  readonly ordinal: Ordinal;
}

export interface Merged<Shelf> {
  /** Before paging. */
  readonly total: number;
  readonly places: readonly Place<Shelf>[];
}

type ShelfSelection<Shelf> = Selection & { readonly shelf: Shelf };

/** The page that a query asks for, out of selections that are each in the query's order; ties go by id, in the same direction. */
export function mergeSelections<Shelf extends { readonly index: OfferIndex }>(
  selections: readonly ShelfSelection<Shelf>[],
  query: BookQuery,
): Merged<Shelf> {
  const total = selections.reduce((sum, selection) => sum + selection.total, 0);
  const filled = selections.filter((selection) => selection.total > 0);
  const end = Math.min(total, query.offset + query.limit);
  const [only] = filled;
  if (!only) return { total, places: [] };

  const places: Place<Shelf>[] = [];
  if (filled.length === 1) {
    for (let at = query.offset; at < end; at += 1) places.push({ shelf: only.shelf, ordinal: only.ordinalAt(at) });
    return { total, places };
  }

  const heads = filled.map((selection) => ({ selection, at: 0 }));
  for (let at = 0; at < end; at += 1) {
    const first = heads.reduce((one, other) => (comesBefore(other, one, query) ? other : one));
    if (at >= query.offset) places.push({ shelf: first.selection.shelf, ordinal: first.selection.ordinalAt(first.at) });
    first.at += 1;
    if (first.at === first.selection.total) heads.splice(heads.indexOf(first), 1);
  }
  return { total, places };
}

interface Head {
  readonly selection: ShelfSelection<{ readonly index: OfferIndex }>;
  readonly at: number;
}

function comesBefore(one: Head, other: Head, { sort, order }: BookQuery): boolean {
  const oneOrdinal = one.selection.ordinalAt(one.at);
  const otherOrdinal = other.selection.ordinalAt(other.at);
  const oneIndex = one.selection.shelf.index;
  const otherIndex = other.selection.shelf.index;
  const byKey = oneIndex.sortKey(sort, oneOrdinal) - otherIndex.sortKey(sort, otherOrdinal);
  if (byKey !== 0) return order === 'asc' ? byKey < 0 : byKey > 0;
  const byId = (oneIndex.offers[oneOrdinal]?.id ?? '') < (otherIndex.offers[otherOrdinal]?.id ?? '');
  return order === 'asc' ? byId : !byId;
}
