import type { EpochMs } from '../core/clock.ts';
import type { MicroUsd } from '../core/money.ts';
import type { OfferId, ProviderId } from './ids.ts';

/** What a provider says it would rent now, at a price: a snapshot, replaced by the next listing, never updated in place. */
export interface Offer {
  readonly id: OfferId;
  readonly provider: ProviderId;
  /** What the provider calls it; handed back to it in `createInstance`. */
  readonly providerOfferId: string;
  /** The machine behind it, where the provider tells: failures are remembered by machine, since a market renames its offers. */
  readonly machineId?: string;
  /** Normalised: `RTX 4090`, `H100 SXM`. `CPU` for an offer without a GPU. */
  readonly gpuType: string;
  /** 0 for a pure CPU offer. */
  readonly gpuCount: number;
  /** Per GPU; 0 without one. */
  readonly vramMib: number;
  readonly cpuCores: number;
  readonly memoryMib: number;
  /** The disk that `priceMicrosPerHour` pays for, and the least and most that can be asked. */
  readonly diskGb: number;
  readonly minDiskGb: number;
  readonly maxDiskGb: number;
  /** The whole offer with `diskGb`: GPUs, disk and fees included. */
  readonly priceMicrosPerHour: MicroUsd;
  /** What a further GB of disk costs an hour. */
  readonly diskMicrosPerGbHour: MicroUsd;
  readonly location: string;
  /** 0 to 1, as the provider tells or 1 for a machine of one's own. */
  readonly reliability: number;
  /** How likely a create is to succeed, 0 to 1, before our own memory of failures. */
  readonly confidence: number;
  readonly cudaVersion?: number;
  /**
   * True when the provider may take the machine back at any time: whoever bids more gets it. What is bid is paid, whatever the floor is, so
   * that `priceMicrosPerHour` is the least that it can cost: the floor and the disk. Where both kinds exist, each has an offer of its own.
   */
  readonly interruptible: boolean;
  /** The floor of a bid an hour, without the disk: what the owner accepts at least, not the bid to beat. Markets tell it of other offers, too. */
  readonly minBidMicrosPerHour?: MicroUsd;
  /** How many sessions it can serve at once: 1 for a market's ask or a pool's slot. */
  readonly units: number;
  /** The longest rental that the provider allows; absent when it sets no limit. */
  readonly maxDurationMs?: number;
}

/** What the caller would like to see. A provider may ignore any of it: the caller filters again. */
export interface OfferQuery {
  readonly gpuTypes?: readonly string[];
  readonly minVramMib?: number;
  readonly diskGb?: number;
  readonly limit?: number;
}

export interface OfferListing {
  readonly offers: readonly Offer[];
  /** When the provider was asked. */
  readonly observedAt: EpochMs;
  /** Rows that could not be read and were left out. */
  readonly dropped: number;
  /** True when there was more that fits the query than came back: then a narrower query may bring offers that this one does not show. */
  readonly truncated?: boolean;
}

/** The price of an offer for a disk of `diskGb`, from the offer's own rates. */
export function priceWithDisk(offer: Offer, diskGb: number): MicroUsd {
  return offer.priceMicrosPerHour + Math.round((diskGb - offer.diskGb) * offer.diskMicrosPerGbHour);
}
