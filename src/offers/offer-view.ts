import type { EpochMs } from '../core/clock.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import type { ProviderErrorKind } from '../provider/provider-error.ts';

/** An offer as the book knows it: what the provider said, with what we remember of it. */
export interface OfferView {
  readonly offer: Offer;
  /** The provider's own confidence times what our memory of failures leaves of it, four decimals. */
  readonly availabilityConfidence: number;
  readonly observedAt: EpochMs;
  readonly simulated: boolean;
  /** False when every unit of it is taken; such an offer is found by its id only. */
  readonly available: boolean;
}

/** How a provider's listing stands, so that a failing market is seen and never silently absent. */
export interface ProviderStatus {
  readonly id: ProviderId;
  readonly simulated: boolean;
  /** When the offers that are shown were listed; absent before the first listing. */
  readonly observedAt?: EpochMs;
  readonly offers: number;
  /** Rows of the listing that could not be read. */
  readonly dropped: number;
  /** What the last attempt failed with; absent when it succeeded. */
  readonly error?: ListingError;
  /** True when the offers shown are older than they should be, or were never listed. */
  readonly stale: boolean;
}

export interface ListingError {
  readonly kind: ProviderErrorKind;
  readonly message: string;
}

/** Makes the JSON text of one offer and of one provider's status; the wire shape is not the book's business. */
export interface OfferSerialiser {
  offer(view: OfferView): string;
  provider(status: ProviderStatus): string;
}
