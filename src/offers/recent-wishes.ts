import type { Clock } from '../core/clock.ts';
import { MINUTE_MS } from '../core/duration.ts';
import { findGpuModel } from '../provider/gpu-name.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { BookQuery } from './offer-query.ts';
import { gpuSlice, vramSlice, type OfferSlice } from './offer-slices.ts';
import { soldVramGb } from './vram.ts';

/** So long after somebody asked for it last, a part of the market is still kept fresh. */
export const WISH_KEEPS_MS = 10 * MINUTE_MS;
/** Whatever people ask for: so many parts at most, the latest ones. */
const MOST_WISHES = 8;

/**
 * What was asked for of late, in parts that a provider can be asked for. Questions come from anybody, so only GPUs that exist and sizes that are
 * sold count: nobody can have the quota of searches spent on nonsense.
 */
export interface RecentWishes {
  /** True when it is something that nobody asked for of late. */
  note(query: BookQuery): boolean;
  /** What to keep fresh at a provider, the latest wish first. */
  of(provider: ProviderId): readonly OfferSlice[];
}

interface Wish {
  readonly slice: OfferSlice;
  readonly providers: readonly ProviderId[];
  readonly askedMs: number;
}

export function createRecentWishes({ clock }: { readonly clock: Pick<Clock, 'monotonicMs'> }): RecentWishes {
  // a Map keeps insertion order: its last entry is the latest wish
  const wishes = new Map<string, Wish>();

  return {
    note(query) {
      if (query.gpuKeys.length === 0 && query.minVramMib === 0) return false;
      const askedMs = clock.monotonicMs();
      let isNews = false;
      for (const slice of slicesIn(query)) {
        const key = `${slice.name} ${query.providers.join(' ')}`;
        const earlier = wishes.get(key);
        if (earlier === undefined || askedMs - earlier.askedMs > WISH_KEEPS_MS) isNews = true;
        wishes.delete(key);
        wishes.set(key, { slice, providers: query.providers, askedMs });
      }
      for (const oldest of wishes.keys()) {
        if (wishes.size <= MOST_WISHES) break;
        wishes.delete(oldest);
      }
      return isNews;
    },
    of(provider) {
      const nowMs = clock.monotonicMs();
      const current = [...wishes.values()].filter(
        ({ providers, askedMs }) =>
          nowMs - askedMs <= WISH_KEEPS_MS && (providers.length === 0 || providers.includes(provider)),
      );
      return [...new Map(current.toReversed().map(({ slice }) => [slice.name, slice])).values()];
    },
  };
}

/** A GPU says more than a size. */
function slicesIn({ gpuKeys, minVramMib }: BookQuery): OfferSlice[] {
  if (gpuKeys.length === 0) return [vramSlice(soldVramGb(minVramMib))];
  const models = gpuKeys.map(findGpuModel).filter((model) => model !== undefined);
  return models.slice(0, MOST_WISHES).map(({ name }) => gpuSlice(name));
}
