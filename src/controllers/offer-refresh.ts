import type { Clock, EpochMs } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { OfferFailure } from '../db/tables.ts';
import { createFailureMemory, FAILURE_MEMORY_MS } from '../offers/failure-memory.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { OfferRepository } from '../offers/offer-repository.ts';
import type { ProviderId } from '../provider/ids.ts';
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
    /** How long a provider whose listing failed is left alone. */
    readonly backOffMs: number;
  };
}

/** Brings listings into the offer book, each provider in its own rhythm; a failure leaves the former listing with its time and the error. */
export function createOfferRefreshController(deps: OfferRefreshDeps): Controller {
  const { providers, book, offers, clock, log, settings } = deps;
  const dueMs = new Map<ProviderId, number>();
  const shortestMs = Math.min(...[...providers.values()].map(({ capabilities }) => capabilities.offerRefreshMs), 60_000);

  async function refresh(provider: Provider, signal: AbortSignal): Promise<boolean> {
    const askedAt = clock.now();
    try {
      const listing = await provider.listOffers({}, { signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
      book.replace(provider.id, listing);
      dueMs.set(provider.id, clock.monotonicMs() + provider.capabilities.offerRefreshMs);
      if (listing.dropped > 0)
        log.warn({ provider: provider.id, dropped: listing.dropped }, 'offers that could not be read were left out');
      await offers.saveListing(provider.id, listing);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const kind = error instanceof ProviderError ? error.kind : 'protocol';
      const message = error instanceof ProviderError ? error.message : 'the listing could not be taken in';
      book.fail(provider.id, { kind, message }, askedAt);
      const waitMs =
        error instanceof ProviderError ? Math.max(error.retryAfterMs ?? 0, settings.backOffMs) : settings.backOffMs;
      dueMs.set(provider.id, clock.monotonicMs() + waitMs);
      log.warn({ provider: provider.id, kind, error: describeError(error) }, 'offers could not be listed');
      return false;
    }
  }

  return {
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
