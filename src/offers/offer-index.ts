import { atOnce, type Piecework } from '../core/gently.ts';
import { countryOf, isCountryCode } from '../provider/country.ts';
import { gpuKey } from '../provider/gpu-name.ts';
import type { OfferId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { unmetNeeds } from '../provider/template.ts';
import { CPU_KEY } from './offer-query.ts';
import type { BookQuery, OfferSort } from './offer-query.ts';
import { soldVramGb } from './vram.ts';

/** Where an offer stands in its index: by price, then by id. */
export type Ordinal = number;

/** One listing made searchable: built once, then only what we remember of an offer (hidden, confidence) changes. */
export interface OfferIndex {
  /** By ordinal. */
  readonly offers: readonly Offer[];
  ordinalOf(id: OfferId): Ordinal | undefined;
  /** Every offer that matches and is not hidden, in the query's order; `limit` and `offset` are left to the caller. The array is reused by the next call. */
  select(query: BookQuery, options: { readonly withCpu: boolean }): Selection;
  /** What ascending order goes by, before ids; for merging the selections of several indexes. */
  sortKey(sort: OfferSort, ordinal: Ordinal): number;
  /** Sets what we remember of an offer; true when that changed anything. */
  amend(ordinal: Ordinal, remembered: { readonly hidden: boolean; readonly confidence: number }): boolean;
  confidenceOf(ordinal: Ordinal): number;
}

export interface Selection {
  readonly total: number;
  /** The ordinal at a place of the query's order; `at` is below `total`. */
  ordinalAt(at: number): Ordinal;
}

/** How many offers are dealt with between two moments at which the work may pause. */
const OFFERS_A_PIECE = 256;

export function createOfferIndex(listed: readonly Offer[]): OfferIndex {
  return atOnce(buildOfferIndex(listed));
}

/** The same in pieces, for listings of thousands. */
export function* buildOfferIndex(listed: readonly Offer[]): Piecework<OfferIndex> {
  // of two offers with one id the later is taken: an id must lead to one offer
  const byId = new Map<OfferId, Offer>();
  for (const [at, offer] of listed.entries()) {
    byId.set(offer.id, offer);
    if (at % OFFERS_A_PIECE === 0) yield;
  }
  const offers = yield* sortedInPieces([...byId.values()], byPriceThenId);
  const ordinals = new Map<OfferId, Ordinal>();
  for (const [ordinal, offer] of offers.entries()) {
    ordinals.set(offer.id, ordinal);
    if (ordinal % OFFERS_A_PIECE === 0) yield;
  }
  const column = (read: (offer: Offer) => number) => filled(new Float64Array(offers.length), offers, read);

  const keyOf = memoised(gpuKey);
  const lowerCaseOf = memoised((text: string) => text.toLowerCase());
  const vramOf = memoised((vramMib: number) => soldVramGb(vramMib) * 1024);
  const gpus = interned(offers, (offer) => (offer.gpuCount === 0 ? CPU_KEY : keyOf(offer.gpuType)));
  yield;
  const locations = interned(offers, (offer) => lowerCaseOf(offer.location));
  const cpuGpu = gpus.names.indexOf(CPU_KEY);
  yield;

  const price = column((offer) => offer.priceMicrosPerHour);
  const vramMib = column((offer) => vramOf(offer.vramMib));
  const gpuCount = column((offer) => offer.gpuCount);
  yield;
  const reliability = column((offer) => offer.reliability);
  const confidence = column((offer) => roundedConfidence(offer.confidence));
  const cuda = column((offer) => offer.cudaVersion ?? 0);
  yield;
  const interruptible = column((offer) => (offer.interruptible ? 1 : 0));
  const shown = column(() => 1);
  let hiddenCount = 0;

  const keys: Record<OfferSort, () => Float64Array> = {
    price: () => price,
    price_per_gpu: once(() => column((offer) => offer.priceMicrosPerHour / Math.max(1, offer.gpuCount))),
    vram: () => vramMib,
    reliability: () => reliability,
  };
  const orders: Record<OfferSort, () => Uint32Array> = {
    price: once(() => Uint32Array.from(offers.keys())),
    price_per_gpu: once(() => sortedBy(offers, keys.price_per_gpu())),
    vram: once(() => sortedBy(offers, keys.vram())),
    reliability: once(() => sortedBy(offers, keys.reliability())),
  };
  const survivors = new Uint32Array(offers.length);

  /** Every filter passes over the survivors of the one before and moves those it keeps to the front. */
  const filter = (query: BookQuery, withCpu: boolean): number => {
    let count = offers.length;
    const order = orders[query.sort]();
    if (query.sort === 'price') {
      count = countUpTo(price, query.maxPriceMicrosPerHour);
      survivors.set(order.subarray(0, count));
    } else {
      survivors.set(order);
      if (query.maxPriceMicrosPerHour < Infinity) count = keepAtMost(survivors, count, price, query.maxPriceMicrosPerHour);
    }
    if (query.gpuKeys.length > 0) {
      const wanted = gpus.names.map((name) => (query.gpuKeys.includes(name) ? 1 : 0));
      count = keepMarked(survivors, count, gpus.column, Uint8Array.from(wanted));
    } else if (cpuGpu !== -1 && !withCpu) {
      count = keepMarked(
        survivors,
        count,
        gpus.column,
        Uint8Array.from(gpus.names, (_, id) => (id === cpuGpu ? 0 : 1)),
      );
    }
    if (query.minVramMib > 0) count = keepAtLeast(survivors, count, vramMib, query.minVramMib);
    if (query.locations.length > 0) {
      const wanted = locations.names.map((name) => (query.locations.some((part) => liesIn(name, part)) ? 1 : 0));
      count = keepMarked(survivors, count, locations.column, Uint8Array.from(wanted));
    }
    if (query.minGpuCount > 0) count = keepAtLeast(survivors, count, gpuCount, query.minGpuCount);
    if (query.minReliability > 0) count = keepAtLeast(survivors, count, reliability, query.minReliability);
    if (query.minConfidence > 0) count = keepAtLeast(survivors, count, confidence, query.minConfidence);
    if (query.minCuda > 0) count = keepAtLeast(survivors, count, cuda, query.minCuda);
    if (query.interruptible === true) count = keepAtLeast(survivors, count, interruptible, 1);
    if (query.interruptible === false) count = keepAtMost(survivors, count, interruptible, 0);
    if (query.needs.length > 0)
      count = keepWhere(survivors, count, (ordinal) => unmetNeeds(query.needs, offers[ordinal]!).length === 0);
    if (hiddenCount > 0) count = keepAtLeast(survivors, count, shown, 1);
    return count;
  };

  return {
    offers,
    ordinalOf: (id) => ordinals.get(id),
    select(query, { withCpu }) {
      const total = filter(query, withCpu);
      const ordinalAt =
        query.order === 'asc' ? (at: number) => survivors[at] ?? 0 : (at: number) => survivors[total - 1 - at] ?? 0;
      return { total, ordinalAt };
    },
    sortKey: (sort, ordinal) => keys[sort]()[ordinal] ?? 0,
    amend(ordinal, remembered) {
      const next = remembered.hidden ? 0 : 1;
      const previous = shown[ordinal] ?? next;
      if (previous === next && confidence[ordinal] === remembered.confidence) return false;
      hiddenCount += previous - next;
      shown[ordinal] = next;
      confidence[ordinal] = remembered.confidence;
      return true;
    },
    confidenceOf: (ordinal) => confidence[ordinal] ?? 0,
  };
}

/** Two letters that are a country mean that country, not every place with them in its name (`us` is no part of Russia); other text is a part of the name. */
function liesIn(location: string, part: string): boolean {
  return isCountryCode(part) ? countryOf(location) === part.toUpperCase() : location.includes(part);
}

function byPriceThenId(one: Offer, other: Offer): number {
  return one.priceMicrosPerHour - other.priceMicrosPerHour || compareIds(one, other);
}

/** Sorts runs of a bounded length, then merges them two by two. */
function* sortedInPieces(offers: readonly Offer[], compare: (one: Offer, other: Offer) => number): Piecework<Offer[]> {
  let runs: Offer[][] = [];
  for (let at = 0; at < offers.length; at += OFFERS_A_PIECE) {
    runs.push(offers.slice(at, at + OFFERS_A_PIECE).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: Offer[][] = [];
    for (let at = 0; at < runs.length; at += 2) merged.push(yield* mergedRuns(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* mergedRuns(
  one: readonly Offer[],
  other: readonly Offer[],
  compare: (one: Offer, other: Offer) => number,
): Piecework<Offer[]> {
  const merged: Offer[] = [];
  let [left, right] = [0, 0];
  while (left < one.length || right < other.length) {
    const [first, second] = [one[left], other[right]];
    if (first && (!second || compare(first, second) <= 0)) {
      merged.push(first);
      left += 1;
    } else if (second) {
      merged.push(second);
      right += 1;
    }
    if (merged.length % OFFERS_A_PIECE === 0) yield;
  }
  return merged;
}

/** Four decimals: what is shown is what is filtered by. */
export function roundedConfidence(confidence: number): number {
  return Math.round(confidence * 10_000) / 10_000;
}

export function compareIds(one: Offer, other: Offer): number {
  return one.id < other.id ? -1 : one.id > other.id ? 1 : 0;
}

// The `!` in these loops hold because a place below `count` lies inside the array, and an ordinal inside every column.

function keepAtLeast(ordinals: Uint32Array, count: number, column: Float64Array, least: number): number {
  let kept = 0;
  for (let at = 0; at < count; at += 1) {
    const ordinal = ordinals[at]!;
    ordinals[kept] = ordinal;
    kept += Number(column[ordinal]! >= least);
  }
  return kept;
}

function keepAtMost(ordinals: Uint32Array, count: number, column: Float64Array, most: number): number {
  let kept = 0;
  for (let at = 0; at < count; at += 1) {
    const ordinal = ordinals[at]!;
    ordinals[kept] = ordinal;
    kept += Number(column[ordinal]! <= most);
  }
  return kept;
}

function keepMarked(ordinals: Uint32Array, count: number, column: Uint32Array, marks: Uint8Array): number {
  let kept = 0;
  for (let at = 0; at < count; at += 1) {
    const ordinal = ordinals[at]!;
    ordinals[kept] = ordinal;
    kept += marks[column[ordinal]!]!;
  }
  return kept;
}

function keepWhere(ordinals: Uint32Array, count: number, isWanted: (ordinal: Ordinal) => boolean): number {
  let kept = 0;
  for (let at = 0; at < count; at += 1) {
    const ordinal = ordinals[at]!;
    ordinals[kept] = ordinal;
    kept += Number(isWanted(ordinal));
  }
  return kept;
}

/** How many of an ascending column are at most `most`. */
function countUpTo(column: Float64Array, most: number): number {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((column[middle] ?? Infinity) <= most) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sortedBy(offers: readonly Offer[], key: Float64Array): Uint32Array {
  // holds because ordinals lie inside both arrays
  return Uint32Array.from(offers.keys()).sort(
    (one, other) => key[one]! - key[other]! || compareIds(offers[one]!, offers[other]!),
  );
}

/** A text column as small numbers, so that a filter looks at each distinct text once. */
function interned(offers: readonly Offer[], read: (offer: Offer) => string): { names: string[]; column: Uint32Array } {
  const ids = new Map<string, number>();
  const column = filled(new Uint32Array(offers.length), offers, (offer) => {
    const text = read(offer);
    const known = ids.get(text);
    if (known === undefined) ids.set(text, ids.size);
    return known ?? ids.size - 1;
  });
  return { names: [...ids.keys()], column };
}

/** Several times faster than `from(offers, read)`, which goes through an iterator. */
function filled<Column extends Float64Array | Uint32Array>(
  column: Column,
  offers: readonly Offer[],
  read: (offer: Offer) => number,
): Column {
  for (const [ordinal, offer] of offers.entries()) column[ordinal] = read(offer);
  return column;
}

function memoised<Key, Value>(compute: (key: Key) => Value): (key: Key) => Value {
  const known = new Map<Key, Value>();
  return (key) => {
    const earlier = known.get(key);
    if (earlier !== undefined) return earlier;
    const value = compute(key);
    known.set(key, value);
    return value;
  };
}

function once<Value>(compute: () => Value): () => Value {
  let value: Value | undefined;
  return () => (value ??= compute());
}
