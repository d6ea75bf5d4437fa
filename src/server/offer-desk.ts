import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { MicroUsd } from '../core/money.ts';
import type { Store } from '../db/store.ts';
import type { StoredRequest } from '../db/tables.ts';
import { failOver, pickOffers } from '../offers/offer-picker.ts';
import { bookQuery, type OfferWish } from '../offers/offer-query.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { OfferRepository } from '../offers/offer-repository.ts';
import { providerId, type OfferId, type ProviderId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { unmetNeeds } from '../provider/template.ts';
import type { OfferDesk } from '../sessions/offer-desk.ts';
import { beyondAbilities, type Abilities } from '../sessions/provider-abilities.ts';
import { termsOf } from '../sessions/terms.ts';

interface OfferDeskDeps {
  readonly book: OfferBook;
  readonly offers: OfferRepository;
  readonly store: Store;
  /** Providers whose prices we set ourselves. */
  readonly ownProviders: ReadonlySet<ProviderId>;
  readonly simulatedProviders: readonly ProviderId[];
  /** Undefined for a provider that is not on. */
  abilitiesOf(provider: ProviderId): Abilities | undefined;
  readonly log: Log;
}

/** Gives the sessions what they need of the offer book. */
export function createOfferDesk({
  book,
  offers,
  store,
  ownProviders,
  simulatedProviders,
  abilitiesOf,
  log,
}: OfferDeskDeps): OfferDesk & { idle(): Promise<void> } {
  const changed = new Set<OfferId>();
  let counting: Promise<void> | undefined;

  async function recount(): Promise<void> {
    for (const id of changed) {
      changed.delete(id); // before it is counted: what changes meanwhile is counted again
      try {
        book.setClaims(id, await offers.takenUnitsOf(id));
      } catch (error) {
        log.error({ error: describeError(error) }, 'claims could not be counted; offers may be shown that are taken');
      }
    }
    counting = undefined;
  }

  function wishOf(request: StoredRequest): OfferWish {
    return {
      providers: request.providers?.map(providerId),
      gpuTypes: request.gpuTypes,
      locations: request.locations,
      minVramMib: request.minVramMib,
      minGpuCount: request.gpuCount,
      minReliability: request.minReliability,
      interruptible: request.interruptible ?? false, // nobody is given a machine that may be taken back without asking for it
    };
  }

  function beyond(offer: Offer, request: StoredRequest): readonly string[] {
    const abilities = abilitiesOf(offer.provider);
    return abilities ? beyondAbilities(request, abilities) : [];
  }

  return {
    beyond,
    find: (id) => book.find(id)?.offer,

    candidates(request, { exclude, after, durationMs }) {
      const replacing = request.offerId !== undefined && after !== undefined;
      const search = replacing
        ? failOver({
            first: after,
            firstPriceMicrosPerHour: termsOf(after, request)?.priceMicrosPerHour ?? after.priceMicrosPerHour,
            scope: request.retryScope,
            maxPriceMicrosPerHour: request.maxPriceMicrosPerHour,
            simulatedProviders,
          })
        : { wish: wishOf(request), maxPriceMicrosPerHour: request.maxPriceMicrosPerHour };
      const { views } = book.search(bookQuery(search.wish));
      const triedOffers = exclude.offerIds;
      const mostMicrosPerHour = search.maxPriceMicrosPerHour ?? Infinity;
      const picked = pickOffers({
        offers: views.filter(
          ({ offer }) => !exclude.providers.includes(offer.provider) && !isOnMachine(offer.machineId, exclude.machineIds),
        ),
        medians: book.medianPrices({ simulated: views.some(({ simulated }) => simulated) }),
        diskGb: request.diskGb,
        durationMs,
        maxPriceMicrosPerHour: search.maxPriceMicrosPerHour,
        ownProviders,
      });
      return picked
        .map(({ offer }) => offer)
        .filter(
          (offer) =>
            !triedOffers.includes(offer.id) &&
            fitsCount(request, offer.gpuCount) &&
            fitsTemplate(request, offer) &&
            priceOf(offer, request) <= mostMicrosPerHour &&
            beyond(offer, request).length === 0,
        );
    },

    *claim({ offer, sessionId, consumerId, at }) {
      const unit = yield* offers.claim({ offerId: offer.id, units: offer.units, sessionId, consumerId, at });
      return unit !== undefined;
    },

    consumerHolds: (consumerId, offerId) => store.write(() => offers.consumerHolds(consumerId, offerId)),

    claimsChanged(id) {
      changed.add(id);
      counting ??= recount();
    },

    idle: async () => counting,
  };
}

function isOnMachine(machineId: string | undefined, machines: readonly string[]): boolean {
  return machineId !== undefined && machines.includes(machineId);
}

/** What would be paid: of an interruptible offer the bid, which lies above its floor. Infinite where it cannot be had as asked. */
function priceOf(offer: Offer, request: StoredRequest): MicroUsd {
  return termsOf(offer, request)?.priceMicrosPerHour ?? Infinity;
}

/** Who asks for a number of GPUs gets that number; more would be paid for and not used. */
function fitsCount({ gpuCount }: StoredRequest, offered: number): boolean {
  return gpuCount === undefined || gpuCount === 0 || offered === gpuCount;
}

/** A template lives at one provider, and not every machine there will do. */
function fitsTemplate({ templateTerms: terms }: StoredRequest, offer: Offer): boolean {
  return terms === undefined || (offer.provider === terms.provider && unmetNeeds(terms.needs, offer).length === 0);
}
