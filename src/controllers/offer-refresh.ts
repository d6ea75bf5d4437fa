import type { Clock, EpochMs } from '../core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import { createBreather, gently } from '../core/gently.ts';
import type { Log } from '../core/log.ts';
import type { LeaseRepository } from '../db/lease-repository.ts';
import type { LeaseNote, OfferFailure } from '../db/tables.ts';
import { createFailureMemory, FAILURE_MEMORY_MS } from '../offers/failure-memory.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { OfferRepository } from '../offers/offer-repository.ts';
import { mergeSlices, WHOLE, type SliceListing } from '../offers/offer-slices.ts';
import type { ListingError } from '../offers/offer-view.ts';
import type { RecentWishes } from '../offers/recent-wishes.ts';
import { sameOffersInPieces } from '../offers/same-offers.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { OfferListing } from '../provider/offer.ts';
import { PROVIDER_ERROR_KINDS, ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { Controller } from './controller.ts';
import { afterFailure, afterListing, nextSlice, START, type Asked, type ListingPlan } from './listing-plan.ts';
import { earliest } from './provisioning.ts';
import type { TaskPool } from './task-pool.ts';

interface OfferRefreshDeps {
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  /** Which account a provider is asked as: a name that is no secret, the same in every replica. */
  readonly accountOf: (provider: ProviderId) => string;
  readonly book: OfferBook;
  readonly wishes: Pick<RecentWishes, 'of'>;
  readonly offers: OfferRepository;
  readonly leases: LeaseRepository;
  /** Runs the listings; one that ends calls for a pass. */
  readonly pool: TaskPool;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: {
    readonly callTimeoutMs: number;
    /** The longest time that a provider whose listing failed is left alone; 5 s at first, doubling. */
    readonly backOffMs: number;
    /** How often offers are listed, where the provider does not demand a slower rhythm. */
    readonly refreshMs?: number;
    /** Names this process among those that share the database. */
    readonly holder: string;
    /** No other process works on this database: a lease that is not ours belongs to a dead one. */
    readonly exclusive: boolean;
  };
}

export interface OfferRefreshController extends Controller {
  /** Shows what is stored, with its age; to be called once, before the first pass. */
  load(): Promise<void>;
  /**
   * What the provider offers has just changed: it is listed again soon, if it is one that may be listed every few seconds. The offers of
   * own machines get new ids with each claim; without this the old ones would be shown until the next listing. True when a pass is called for.
   */
  refreshSoon(provider: ProviderId): boolean;
  /** Lets other replicas list at once; to be called when nothing is under way any more. */
  release(): Promise<void>;
}

const QUICK_RHYTHM_MS = 10 * SECOND_MS;
const COSTLY_RHYTHM_MS = MINUTE_MS;
const SOON_MS = SECOND_MS;
/** A holder that dies is missed after so long; it says that it lives three times as often. */
const LEASE_MS = 30 * SECOND_MS;
const RENEW_MS = LEASE_MS / 3;
/** How often those without the lease look for what its holder has stored. */
const FOLLOW_MS = 5 * SECOND_MS;
const SLICE_KEEPS_MS = 15 * MINUTE_MS;
const SLICE_KEEPS_RHYTHMS = 3;
const STORED_KEEPS_MS = 24 * HOUR_MS;

/** What this process knows and plans of one provider. */
interface Desk {
  readonly provider: Provider;
  readonly account: string;
  readonly lease: string;
  /** Ours, while we may list. */
  held: { readonly term: number; readonly renewedMs: number } | undefined;
  plan: ListingPlan;
  failures: number;
  readonly slices: Map<string, SliceListing>;
  /** What of the stored slices has been taken in, where another replica stores them. */
  readonly versions: Map<string, number>;
  prunedMs: number;
}

/**
 * Brings listings into the offer book. Each provider has its own rhythm and is waited for by nobody; at most one listing of it is under way, among
 * all replicas: the one that holds the lease `offers:<provider>:<account>` lists and stores, the others load what it stored. A failure leaves the
 * former listing with its time and the error.
 */
export function createOfferRefreshController(deps: OfferRefreshDeps): OfferRefreshController {
  const { providers, accountOf, book, wishes, offers, leases, pool, clock, log, settings } = deps;
  const desks = new Map([...providers].map(([id, provider]) => [id, openDesk(provider, accountOf(id), clock.monotonicMs())]));
  const rhythmOf = ({ capabilities }: Provider) => Math.max(capabilities.offerRefreshMs, settings.refreshMs ?? 0);
  const shortestMs = Math.min(...[...providers.values()].map(rhythmOf), MINUTE_MS);
  let failedSince = 0;

  async function hold(desk: Desk): Promise<boolean> {
    const nowMs = clock.monotonicMs();
    if (desk.held && nowMs - desk.held.renewedMs < RENEW_MS) return true;
    const request = { name: desk.lease, holder: settings.holder, forMs: LEASE_MS };
    const term = await (settings.exclusive ? leases.seize(request) : leases.hold(request));
    const had = desk.held;
    desk.held = term === undefined ? undefined : { term, renewedMs: nowMs };
    if (had === undefined && term !== undefined) takeOver(desk);
    if (had !== undefined && term === undefined)
      log.info({ provider: desk.provider.id }, 'offers are listed by another replica from now on');
    return term !== undefined;
  }

  /** What a former holder has just listed is not asked for again at once, where that costs something. */
  function takeOver(desk: Desk): void {
    const whole = desk.slices.get(WHOLE);
    const rhythmMs = rhythmOf(desk.provider);
    const ageMs = whole === undefined ? Infinity : clock.now() - whole.observedAt;
    const restMs = rhythmMs >= COSTLY_RHYTHM_MS && ageMs >= 0 ? Math.max(0, rhythmMs - ageMs) : 0;
    desk.plan = {
      ...START,
      isTruncated: whole?.truncated === true,
      dueMs: clock.monotonicMs() + restMs,
      creditedMs: clock.monotonicMs(),
    };
  }

  async function list(desk: Desk, asked: Pick<Asked, 'slice' | 'isEarly'>, signal: AbortSignal): Promise<void> {
    const { provider } = desk;
    const askedAt = clock.now();
    const details = () => ({ ...asked, nowMs: clock.monotonicMs(), rhythmMs: rhythmOf(provider) });
    let listing: OfferListing;
    try {
      const limit = clock.timeoutSignal(settings.callTimeoutMs, signal);
      listing = await provider.listOffers(asked.slice.query, { signal: limit });
    } catch (error) {
      if (!signal.aborted) await noteFailure(desk, error, { ...details(), askedAt });
      return;
    }
    const { name } = asked.slice;
    const former = desk.slices.get(name);
    const isSame = await gently(sameOffersInPieces(listing.offers, former?.offers ?? []), createBreather(clock));
    listing = {
      ...listing,
      // a clock that was set back makes no listing older than the one before it (REL-F2)
      observedAt: Math.max(listing.observedAt, former?.observedAt ?? listing.observedAt),
      // the very same, so that nobody has to compare thousands of offers again
      offers: isSame ? (former?.offers ?? listing.offers) : listing.offers,
    };
    desk.slices.set(name, { ...listing, slice: name });
    const hasWishes = wishes.of(provider.id).length > 0;
    desk.plan = afterListing(desk.plan, details(), { isTruncated: listing.truncated === true, isSame, hasWishes });
    if (name === WHOLE) desk.failures = 0;
    if (listing.dropped > 0)
      log.warn({ provider: provider.id, dropped: listing.dropped }, 'offers that could not be read were left out');
    await show(desk);
    await store(desk, name, listing);
  }

  async function show(desk: Desk): Promise<void> {
    const { id } = desk.provider;
    forgetOldSlices(desk);
    const breather = createBreather(clock);
    const merged = await gently(mergeSlices([...desk.slices.values()]), breather);
    if (merged) await book.replaceGently(id, merged, breather);
  }

  function forgetOldSlices({ provider, slices }: Desk): void {
    const isOld = isOldAt(provider);
    for (const listing of slices.values()) if (isOld(listing)) slices.delete(listing.slice);
  }

  /** Whether a part of the market was listed too long ago to be shown. */
  function isOldAt(provider: Provider): (listing: Pick<SliceListing, 'slice' | 'observedAt'>) => boolean {
    const wished = new Set(wishes.of(provider.id).map(({ name }) => name));
    const keepsMs = Math.max(SLICE_KEEPS_MS, SLICE_KEEPS_RHYTHMS * rhythmOf(provider));
    return ({ slice, observedAt }) => slice !== WHOLE && clock.now() - observedAt > (wished.has(slice) ? 2 : 1) * keepsMs;
  }

  async function store(desk: Desk, slice: string, listing: OfferListing): Promise<void> {
    const { provider, account, held } = desk;
    if (!held) return; // it has gone to another replica meanwhile, which stores its own
    try {
      await offers.saveSlice({ provider: provider.id, account, slice }, { ...listing, term: held.term });
      if (slice === WHOLE) await tell(desk, { askedAt: listing.observedAt });
      if (clock.monotonicMs() - desk.prunedMs > HOUR_MS) {
        desk.prunedMs = clock.monotonicMs();
        await offers.pruneSlices({ provider: provider.id, before: clock.now() - STORED_KEEPS_MS });
      }
    } catch (error) {
      // our own trouble, not the provider's: what is shown is right, a restart would show an older listing
      failedSince += 1;
      log.error({ provider: provider.id, error: describeError(error) }, 'listing could not be stored');
    }
  }

  async function noteFailure(desk: Desk, error: unknown, asked: Asked & { readonly askedAt: EpochMs }): Promise<void> {
    const { id } = desk.provider;
    const isWhole = asked.slice.name === WHOLE;
    if (isWhole) desk.failures += 1;
    failedSince += 1;
    const failures = isWhole ? desk.failures : 1;
    const [kind, message, retryAfterMs] =
      error instanceof ProviderError
        ? [error.kind, error.message, error.retryAfterMs ?? 0]
        : (['protocol', 'the listing could not be taken in', 0] as const);
    desk.plan = afterFailure(desk.plan, { ...asked, failures, retryAfterMs, longestMs: settings.backOffMs });
    log.warn(
      { provider: id, kind, failures, slice: asked.slice.name, error: describeError(error) },
      'offers could not be listed',
    );
    if (!isWhole) return; // what nobody could be shown is no worse than before
    book.fail(id, { kind, message }, asked.askedAt);
    try {
      await tell(desk, { askedAt: asked.askedAt, kind, message });
    } catch (failure) {
      log.warn({ provider: id, error: describeError(failure) }, 'other replicas could not be told of a failed listing');
    }
  }

  /** For the replicas that only load: how the last attempt went. */
  async function tell({ lease }: Desk, note: LeaseNote): Promise<void> {
    await leases.note({ name: lease, holder: settings.holder, note });
  }

  /** Takes in what the holder of the lease has stored since the last look. */
  async function follow(desk: Desk): Promise<void> {
    const { provider, account, lease } = desk;
    const times = await offers.sliceTimes({ provider: provider.id, account });
    const isOld = isOldAt(provider);
    let isNew = false;
    for (const time of times) {
      const { slice, version } = time;
      if (isOld(time)) continue; // or it would be loaded and forgotten at every look
      const known = desk.slices.get(slice);
      if (known && desk.versions.get(slice) === version) {
        if (time.observedAt === known.observedAt) continue;
        desk.slices.set(slice, { ...known, observedAt: time.observedAt, dropped: time.dropped, truncated: time.truncated });
      } else {
        const row = await offers.loadSlice(time);
        if (!row) continue;
        desk.versions.set(slice, row.version);
        desk.slices.set(slice, row);
      }
      isNew = true;
    }
    if (isNew) await show(desk);
    const note = await leases.noteOf(lease);
    const error = note && errorIn(note);
    if (error && error.askedAt > (desk.slices.get(WHOLE)?.observedAt ?? -Infinity))
      book.fail(provider.id, error.error, error.askedAt);
  }

  /** Asks for what is due, or looks at what others have stored; when to come again, of the monotonic clock. */
  async function tend(desk: Desk): Promise<number> {
    const { provider } = desk;
    const key = `list:${provider.id}`;
    const nowMs = clock.monotonicMs();
    if (!(await hold(desk))) {
      await follow(desk);
      return nowMs + FOLLOW_MS;
    }
    const renewMs = (desk.held?.renewedMs ?? nowMs) + RENEW_MS;
    const next = nextSlice(desk.plan, { wishes: wishes.of(provider.id), nowMs, rhythmMs: rhythmOf(provider) });
    if (next && pool.start(key, (signal) => list(desk, next, signal), key)) return renewMs;
    return pool.has(key) ? renewMs : Math.min(renewMs, Math.max(desk.plan.dueMs, nowMs + SOON_MS));
  }

  return {
    async load() {
      for (const desk of desks.values()) {
        const { provider, account } = desk;
        for (const row of await offers.loadSlices({ provider: provider.id, account })) {
          desk.slices.set(row.slice, row);
          desk.versions.set(row.slice, row.version);
        }
        await show(desk);
      }
    },

    refreshSoon(id) {
      const desk = desks.get(id);
      if (!desk?.held || desk.failures > 0 || desk.provider.capabilities.offerRefreshMs > QUICK_RHYTHM_MS) return false;
      const { dueMs } = desk.plan;
      const soon = Math.max(clock.monotonicMs(), dueMs - rhythmOf(desk.provider) + SOON_MS);
      if (soon >= dueMs) return false;
      desk.plan = { ...desk.plan, dueMs: soon };
      return true;
    },

    async release() {
      await leases.release(settings.holder);
      for (const desk of desks.values()) desk.held = undefined;
    },

    name: 'offers.refresh',
    periodMs: Math.min(shortestMs, RENEW_MS),
    idle: () => pool.idle(),
    async reconcile() {
      const comeAgain: number[] = [];
      const before = pool.inFlight;
      for (const desk of desks.values()) comeAgain.push(await tend(desk));
      await takeIn(deps);
      const nextMs = Math.min(...comeAgain);
      const wakeAt = earliest([
        Number.isFinite(nextMs) ? clock.now() + Math.max(0, nextMs - clock.monotonicMs()) : undefined,
        book.nextChangeAt(),
      ]);
      const failed = failedSince;
      failedSince = 0;
      return {
        examined: desks.size,
        changed: Math.max(0, pool.inFlight - before),
        failed,
        ...(wakeAt === undefined ? {} : { wakeAt }),
        details: { in_flight: pool.inFlight, listed_here: [...desks.values()].filter(({ held }) => held).length },
      };
    },
  };
}

function openDesk(provider: Provider, account: string, nowMs: number): Desk {
  return {
    provider,
    account,
    lease: `offers:${provider.id}:${account}`,
    held: undefined,
    plan: START,
    failures: 0,
    slices: new Map(),
    versions: new Map(),
    prunedMs: nowMs,
  };
}

function errorIn({ askedAt, kind, message }: LeaseNote): { error: ListingError; askedAt: EpochMs } | undefined {
  const known = PROVIDER_ERROR_KINDS.find((each) => each === kind);
  if (known === undefined || typeof askedAt !== 'number' || typeof message !== 'string') return undefined;
  return { error: { kind: known, message }, askedAt };
}

/** What the database says of claims and failures, into the book. */
export async function takeIn({ offers, book, clock }: Pick<OfferRefreshDeps, 'offers' | 'book' | 'clock'>): Promise<void> {
  const since: EpochMs = clock.now() - FAILURE_MEMORY_MS;
  const failures: readonly OfferFailure[] = await offers.failuresSince(since);
  book.setFailures(createFailureMemory(failures));
  book.replaceClaims(await offers.takenUnits());
  book.passTime();
}
