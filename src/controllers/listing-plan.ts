import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { WHOLE, type OfferSlice } from '../offers/offer-slices.ts';

/** What is known of one provider's listings, for the decision what to ask it next; times of the monotonic clock. */
export interface ListingPlan {
  /** When the next listing is due. */
  readonly dueMs: number;
  /** Until then nothing is asked for on demand. */
  readonly pausedUntilMs: number;
  /** When each slice was asked for last, and whether it came. */
  readonly askedMs: ReadonlyMap<string, number>;
  /** Whether the whole comes at once; then there is nothing to ask for by itself. */
  readonly isTruncated: boolean;
  /** How many more slices may be asked for before their turn. */
  readonly credits: number;
  readonly creditedMs: number;
  /** By how much the rhythm is stretched while nothing changes. */
  readonly stretch: number;
  readonly lastTurn: string | undefined;
}

export const START: ListingPlan = {
  dueMs: 0,
  pausedUntilMs: 0,
  askedMs: new Map(),
  isTruncated: false,
  credits: 4,
  creditedMs: 0,
  stretch: 1,
  lastTurn: undefined,
};

const MOST_CREDITS = 4;
/** Listings beyond the rhythm cost a quarter of it at most. */
const TURNS_A_CREDIT = 4;
/** A part that was listed so many rhythms ago at most is not asked for again before its turn. */
const FRESH_RHYTHMS = 3;
/** Markets whose listings cost something are asked less often while they do not move. */
const COSTLY_RHYTHM_MS = MINUTE_MS;
const LONGEST_STRETCH = 2;
const STRETCH_BY = 1.25;

/**
 * Which slice of a provider to ask for now; undefined when nothing is due. In their turn the whole and the parts that were asked for of late
 * alternate, the part that waited longest first; a part that nobody has seen yet may come before its turn, within the credits.
 */
export function nextSlice(
  plan: ListingPlan,
  { wishes, nowMs, rhythmMs }: { readonly wishes: readonly OfferSlice[]; readonly nowMs: number; readonly rhythmMs: number },
): { readonly slice: OfferSlice; readonly isEarly: boolean } | undefined {
  const whole = { name: WHOLE, query: {} };
  const parts = plan.isTruncated ? wishes : [];
  const waited = ({ name }: OfferSlice) => plan.askedMs.get(name) ?? -Infinity;
  if (plan.dueMs <= nowMs) {
    const [longest] = parts.toSorted((one, other) => waited(one) - waited(other));
    const isPartsTurn = longest !== undefined && plan.lastTurn === WHOLE;
    return { slice: isPartsTurn ? longest : whole, isEarly: false };
  }
  if (plan.pausedUntilMs > nowMs || creditsNow(plan, { nowMs, rhythmMs }) < 1) return undefined;
  const unseen = parts.find((slice) => waited(slice) < nowMs - FRESH_RHYTHMS * rhythmMs);
  return unseen && { slice: unseen, isEarly: true };
}

function creditsNow(
  { credits, creditedMs }: ListingPlan,
  { nowMs, rhythmMs }: { readonly nowMs: number; readonly rhythmMs: number },
): number {
  return Math.min(MOST_CREDITS, credits + (nowMs - creditedMs) / (TURNS_A_CREDIT * rhythmMs));
}

export interface Asked {
  readonly slice: OfferSlice;
  readonly isEarly: boolean;
  readonly nowMs: number;
  readonly rhythmMs: number;
}

/** A listing came. `isSame`: it says what the one before it said. */
export function afterListing(
  plan: ListingPlan,
  { slice, isEarly, nowMs, rhythmMs }: Asked,
  said: { readonly isTruncated: boolean; readonly isSame: boolean; readonly hasWishes: boolean },
): ListingPlan {
  const askedMs = new Map(plan.askedMs).set(slice.name, nowMs);
  if (isEarly) return { ...plan, askedMs, credits: creditsNow(plan, { nowMs, rhythmMs }) - 1, creditedMs: nowMs };
  if (slice.name !== WHOLE) return { ...plan, askedMs, lastTurn: slice.name, dueMs: nowMs + rhythmMs };
  const mayStretch = rhythmMs >= COSTLY_RHYTHM_MS && said.isSame && !said.hasWishes;
  const stretch = mayStretch ? Math.min(LONGEST_STRETCH, plan.stretch * STRETCH_BY) : 1;
  return {
    ...plan,
    askedMs,
    isTruncated: said.isTruncated,
    stretch,
    lastTurn: WHOLE,
    dueMs: nowMs + rhythmMs * stretch,
  };
}

const FIRST_BACK_OFF_MS = 5 * SECOND_MS;

/** A listing of the whole failed for the n-th time in a row: it is asked again soon, then less and less often. */
export function afterFailure(
  plan: ListingPlan,
  {
    slice,
    isEarly,
    nowMs,
    rhythmMs,
    failures,
    retryAfterMs,
    longestMs,
  }: Asked & { readonly failures: number; readonly retryAfterMs: number; readonly longestMs: number },
): ListingPlan {
  const pauseMs = Math.max(retryAfterMs, Math.min(FIRST_BACK_OFF_MS * 2 ** Math.min(failures - 1, 20), longestMs));
  // one that is not answered has had its turn, or it would keep the others from theirs
  const askedMs = new Map(plan.askedMs).set(slice.name, nowMs);
  if (slice.name === WHOLE) return { ...plan, dueMs: nowMs + pauseMs, pausedUntilMs: nowMs + pauseMs };
  const pausedUntilMs = nowMs + Math.max(pauseMs, rhythmMs);
  return isEarly
    ? { ...plan, askedMs, pausedUntilMs }
    : { ...plan, askedMs, pausedUntilMs, lastTurn: slice.name, dueMs: nowMs + Math.max(retryAfterMs, rhythmMs) };
}
