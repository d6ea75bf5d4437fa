import type { EpochMs } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import type { Call } from '../db/statement.ts';
import type { Offer } from '../provider/offer.ts';
import type { OfferId } from '../provider/ids.ts';
import type { StoredRequest } from '../db/tables.ts';

/** What was tried, or must not be tried, already. */
export interface Exclusions {
  readonly offerIds: readonly OfferId[];
  readonly machineIds: readonly string[];
  readonly providers: readonly string[];
}

export interface ClaimRequest {
  readonly offer: Offer;
  readonly sessionId: SessionId;
  readonly consumerId: string;
  readonly at: EpochMs;
}

/** The offer book as sessions need it: they look, choose and claim, and know nothing of how it is kept. */
export interface OfferDesk {
  /** By its id, whether or not it is hidden by failures; undefined when no current listing has it. */
  find(id: OfferId): Offer | undefined;
  /** The fields of the request that the offer's provider cannot carry out, by their names on the wire. */
  beyond(offer: Offer, request: StoredRequest): readonly string[];
  /**
   * Offers that fit, the one to try first at the front. `after` is the offer whose failure makes another one necessary; `durationMs`, for how long
   * it is wanted: a contract that ends sooner by itself would take the machine away.
   */
  candidates(
    request: StoredRequest,
    choice: { readonly exclude: Exclusions; readonly after?: Offer; readonly durationMs: number; readonly now: EpochMs },
  ): readonly Offer[];
  /** Inside a transaction: takes a unit for the session; true also when the session has it already, false when none is free. */
  claim(request: ClaimRequest): Iterable<Call, boolean, unknown[]>;
  /** Whether this consumer already holds a unit of it by another session. */
  consumerHolds(consumerId: string, offerId: OfferId): Promise<boolean>;
  /** A claim on it was made or released: what is shown follows soon. */
  claimsChanged(id: OfferId): void;
}
