import type { Clock, EpochMs } from '../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { OfferFailure } from '../db/tables.ts';
import { createFailureMemory, FAILURE_MEMORY_MS } from '../offers/failure-memory.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { OfferRepository } from '../offers/offer-repository.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { OfferListing } from '../provider/offer.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { Controller } from './controller.ts';
import { earliest } from './provisioning.ts';

interface OfferRefreshDeps {
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly book: OfferBook;
  readonly offers: OfferRepository;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: {
    readonly callTimeoutMs: number;
    /** The longest time that a provider whose listing failed is left alone; 5 s at first, doubling. */
    readonly backOffMs: number;
    /** How often offers are listed, where the provider does not demand a slower rhythm. */
    readonly refreshMs?: number;
  };
}

export interface OfferRefreshController extends Controller {
  /**
   * What the provider offers has just changed: it is listed again soon, if it is one that may be listed every few seconds. The offers of
   * own machines get new ids with each claim; without this the old ones would be shown until the next listing. True when a pass is called for.
   */
  refreshSoon(provider: ProviderId): boolean;
}

const FIRST_BACK_OFF_MS = 5 * SECOND_MS;
const QUICK_RHYTHM_MS = 10 * SECOND_MS;
const SOON_MS = SECOND_MS;

/** Brings listings into the offer book, each provider in its own rhythm; a failure leaves the former listing with its time and the error. */
export function createOfferRefreshController(deps: OfferRefreshDeps): OfferRefreshController {
  const { providers, book, offers, clock, log, settings } = deps;
  const dueMs = new Map<ProviderId, number>();
  const failures = new Map<ProviderId, number>();
  const rhythmOf = ({ capabilities }: Provider) => Math.max(capabilities.offerRefreshMs, settings.refreshMs ?? 0);
  const shortestMs = Math.min(...[...providers.values()].map(rhythmOf), MINUTE_MS);

  async function refresh(provider: Provider, signal: AbortSignal): Promise<boolean> {
    const askedAt = clock.now();
    let listing: OfferListing;
    try {
      listing = await provider.listOffers({}, { signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
      book.replace(provider.id, listing);
    } catch (error) {
      if (!signal.aborted) noteFailure(provider, error, askedAt);
      return false;
    }
    failures.delete(provider.id);
    dueMs.set(provider.id, clock.monotonicMs() + rhythmOf(provider));
    if (listing.dropped > 0)
      log.warn({ provider: provider.id, dropped: listing.dropped }, 'offers that could not be read were left out');
    try {
      await offers.saveListing(provider.id, listing);
    } catch (error) {
      // our own trouble, not the provider's: what is shown is right, a restart would show an older listing
      log.error({ provider: provider.id, error: describeError(error) }, 'listing could not be stored');
      return false;
    }
    return true;
  }

  function noteFailure(provider: Provider, error: unknown, askedAt: EpochMs): void {
    const count = (failures.get(provider.id) ?? 0) + 1;
    failures.set(provider.id, count);
    const [kind, message, retryAfterMs] =
      error instanceof ProviderError
        ? [error.kind, error.message, error.retryAfterMs ?? 0]
        : (['protocol', 'the listing could not be taken in', 0] as const);
    book.fail(provider.id, { kind, message }, askedAt);
    const pauseMs = Math.min(FIRST_BACK_OFF_MS * 2 ** Math.min(count - 1, 20), settings.backOffMs);
    dueMs.set(provider.id, clock.monotonicMs() + Math.max(retryAfterMs, pauseMs));
    log.warn({ provider: provider.id, kind, failures: count, error: describeError(error) }, 'offers could not be listed');
  }

  return {
    refreshSoon(id) {
      const provider = providers.get(id);
      const due = dueMs.get(id);
      if (!provider || due === undefined || failures.has(id)) return false;
      if (provider.capabilities.offerRefreshMs > QUICK_RHYTHM_MS) return false;
      const soon = Math.max(clock.monotonicMs(), due - rhythmOf(provider) + SOON_MS);
      if (soon >= due) return false;
      dueMs.set(id, soon);
      return true;
    },

    name: 'offers.refresh',
    periodMs: shortestMs,
    async reconcile({ signal }) {
      const nowMs = clock.monotonicMs();
      const due = [...providers.values()].filter(({ id }) => (dueMs.get(id) ?? 0) <= nowMs);
      const outcomes = await Promise.all(due.map((provider) => refresh(provider, signal)));
      await takeIn(deps);
      const nextMs = Math.min(...dueMs.values());
      const wakeAt = earliest([
        Number.isFinite(nextMs) ? clock.now() + Math.max(0, nextMs - clock.monotonicMs()) : undefined,
        book.nextChangeAt(),
      ]);
      const changed = outcomes.filter(Boolean).length;
      return { examined: due.length, changed, failed: due.length - changed, ...(wakeAt === undefined ? {} : { wakeAt }) };
    },
  };
}

/** What the database says of claims and failures, into the book. */
export async function takeIn({ offers, book, clock }: Pick<OfferRefreshDeps, 'offers' | 'book' | 'clock'>): Promise<void> {
  const since: EpochMs = clock.now() - FAILURE_MEMORY_MS;
  const failures: readonly OfferFailure[] = await offers.failuresSince(since);
  book.setFailures(createFailureMemory(failures));
  book.replaceClaims(await offers.takenUnits());
  book.passTime();
}
