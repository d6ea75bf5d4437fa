import type { MicroUsd } from '../core/money.ts';
import { gpuKey } from '../provider/gpu-name.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { TemplateNeed } from '../provider/template.ts';

export const OFFER_SORTS = ['price', 'price_per_gpu', 'vram', 'reliability'] as const;
export type OfferSort = (typeof OFFER_SORTS)[number];
export type OfferOrder = 'asc' | 'desc';

/** What somebody would like to see; absent, empty and zero all mean "any". */
export interface OfferWish {
  readonly providers?: readonly ProviderId[] | undefined;
  /** In any case, with or without spaces. */
  readonly gpuTypes?: readonly string[] | undefined;
  /** Countries in two letters, or parts of the location's text, in any case; one of them must be so. */
  readonly locations?: readonly string[] | undefined;
  /** Per GPU. */
  readonly minVramMib?: number | undefined;
  /** The whole offer with its own disk. */
  readonly maxPriceMicrosPerHour?: MicroUsd | undefined;
  readonly minGpuCount?: number | undefined;
  readonly minReliability?: number | undefined;
  readonly minConfidence?: number | undefined;
  /** Offers that tell no version have none. */
  readonly minCuda?: number | undefined;
  readonly interruptible?: boolean | undefined;
  /** All of them have to be met. */
  readonly needs?: readonly TemplateNeed[] | undefined;
  readonly sort?: OfferSort | undefined;
  readonly order?: OfferOrder | undefined;
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

/** A wish made regular: two that mean the same are equal and have one canonical text. */
export interface BookQuery {
  readonly providers: readonly ProviderId[];
  readonly gpuKeys: readonly string[];
  readonly locations: readonly string[];
  readonly minVramMib: number;
  readonly maxPriceMicrosPerHour: MicroUsd;
  readonly minGpuCount: number;
  readonly minReliability: number;
  readonly minConfidence: number;
  readonly minCuda: number;
  readonly interruptible: boolean | undefined;
  readonly needs: readonly TemplateNeed[];
  readonly sort: OfferSort;
  readonly order: OfferOrder;
  /** Infinity for all. */
  readonly limit: number;
  readonly offset: number;
  readonly canonical: string;
}

/** The key of offers without a GPU. */
export const CPU_KEY = gpuKey('CPU');

export function bookQuery(wish: OfferWish): BookQuery {
  const query = {
    providers: distinct(wish.providers ?? []),
    gpuKeys: distinct((wish.gpuTypes ?? []).filter((name) => name.trim() !== '').map(gpuKey)),
    locations: distinct((wish.locations ?? []).map((part) => part.trim().toLowerCase()).filter((part) => part !== '')),
    minVramMib: wish.minVramMib ?? 0,
    maxPriceMicrosPerHour: wish.maxPriceMicrosPerHour || Infinity,
    minGpuCount: wish.minGpuCount ?? 0,
    minReliability: wish.minReliability ?? 0,
    minConfidence: wish.minConfidence ?? 0,
    minCuda: wish.minCuda ?? 0,
    interruptible: wish.interruptible,
    needs: wish.needs ?? [],
    sort: wish.sort ?? 'price',
    order: wish.order ?? 'asc',
    limit: wish.limit ?? Infinity,
    offset: wish.offset ?? 0,
  } as const;
  return { ...query, canonical: canonicalText(query) };
}

/** Infinity becomes null, which no number is; the order of the fields is fixed by hand. */
function canonicalText(query: Omit<BookQuery, 'canonical'>): string {
  return JSON.stringify([
    query.providers,
    query.gpuKeys,
    query.locations,
    query.minVramMib,
    query.maxPriceMicrosPerHour,
    query.minGpuCount,
    query.minReliability,
    query.minConfidence,
    query.minCuda,
    query.interruptible ?? null,
    query.needs,
    query.sort,
    query.order,
    query.limit,
    query.offset,
  ]);
}

function distinct<Text extends string>(texts: readonly Text[]): Text[] {
  return texts.length < 2 ? [...texts] : [...new Set(texts)].toSorted();
}
