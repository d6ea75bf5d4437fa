import type { EpochMs } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { gpuKey } from '../../src/provider/gpu-name.ts';
import { offerId } from '../../src/provider/ids.ts';
import type { ProviderId } from '../../src/provider/ids.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import type { Offer, OfferQuery } from '../../src/provider/offer.ts';
import { chanceOf } from './chance.ts';
import { CUDA_VERSION } from './gpu-models.ts';
import { REROLL_MS, seededHosts } from './hosts.ts';
import type { Host } from './hosts.ts';

/** The offers of all hosts: a pure function of seed, number and time. Who holds which host is not its business. */
export interface Market {
  list(now: EpochMs, query: OfferQuery, isHeld: (hostIndex: number) => boolean): Offer[];
  /** The offer of this name, if there is one now or was one price step ago. */
  find(providerOfferId: string, now: EpochMs): FoundOffer | undefined;
}

export interface FoundOffer {
  readonly host: Host;
  readonly offer: Offer;
  /** As it was one price step ago: whoever listed it then still gets that price. */
  readonly formerOffer: Offer;
  /** The least that may be bid for it now; absent where it takes no bids. */
  readonly floorMicrosPerHour?: MicroUsd;
}

const DEFAULT_DISK_GB = 50;
const MIN_DISK_GB = 10;
/** Prices stand still for so long. */
const PRICE_STEP_MS = 5 * MINUTE_MS;
const MAX_DRIFT = 0.08;

interface MarketSettings {
  readonly provider: ProviderId;
  readonly seed: number;
  readonly count: number;
  /** Of the hosts with GPUs: how many can be had for a bid as well, 0 to 1. */
  readonly interruptibleShare: number;
}

export function createMarket({ provider, seed, count, interruptibleShare }: MarketSettings): Market {
  const takesBids = ({ index, gpuCount }: Host) => gpuCount > 0 && chanceOf(seed, 'interruptible', index) < interruptibleShare;
  const hosts = seededHosts({ seed, count });
  const current: Current[] = [];

  /** Made anew only when its price or its name changed: a market of 100,000 offers is listed every few seconds. */
  function offersOf(host: Host, now: EpochMs): readonly Offer[] {
    const step = stepOf(host, now);
    const generation = generationOf(host, now);
    const known = current[host.index];
    if (known?.step === step && known.generation === generation) return known.offers;
    const offer = toOffer({ host, provider, generation, priceMicrosPerHour: priceOf(seed, host, now) });
    const offers = takesBids(host) ? [offer, forABid(offer, floorOf(seed, host, offer))] : [offer];
    current[host.index] = { step, generation, offers };
    return offers;
  }

  return {
    list(now, query, isHeld) {
      const offers: Offer[] = [];
      const answers = filterOf(query);
      for (const host of hosts) {
        if (query.limit !== undefined && offers.length >= query.limit) break;
        if (isHeld(host.index) || !answers(host)) continue;
        for (const offer of offersOf(host, now))
          offers.push(query.diskGb === undefined ? offer : withDisk(offer, query.diskGb));
      }
      return offers;
    },
    find(providerOfferId, now) {
      const [, index, generation] = /^(\d{1,9})-(\d{1,9})$/.exec(providerOfferId) ?? [];
      const host = index === undefined ? undefined : hosts[Number(index)];
      if (host === undefined) return undefined;
      const before = now - PRICE_STEP_MS;
      if (![generationOf(host, now), generationOf(host, before)].includes(Number(generation))) return undefined;
      const offerFrom = (moment: EpochMs) =>
        toOffer({ host, provider, generation: Number(generation), priceMicrosPerHour: priceOf(seed, host, moment) });
      const offer = offerFrom(now);
      const floorMicrosPerHour = takesBids(host) ? floorOf(seed, host, offer) : undefined;
      return { host, offer, formerOffer: offerFrom(before), ...(floorMicrosPerHour !== undefined && { floorMicrosPerHour }) };
    },
  };
}

interface Current {
  readonly step: number;
  readonly generation: number;
  /** At a fixed price, and for a bid. */
  readonly offers: readonly Offer[];
}

function toOffer(from: { host: Host; provider: ProviderId; generation: number; priceMicrosPerHour: MicroUsd }): Offer {
  const { host, provider, generation, priceMicrosPerHour } = from;
  const providerOfferId = `${host.index}-${generation}`;
  const offer: { -readonly [Field in keyof Offer]: Offer[Field] } = {
    id: offerId(`${provider}-${providerOfferId}`),
    provider,
    providerOfferId,
    machineId: `host-${host.index}`,
    gpuType: host.model?.gpuType ?? 'CPU',
    gpuCount: host.gpuCount,
    vramMib: host.model?.vramMib ?? 0,
    cpuCores: host.cpuCores,
    memoryMib: host.memoryMib,
    diskGb: DEFAULT_DISK_GB,
    minDiskGb: MIN_DISK_GB,
    maxDiskGb: host.maxDiskGb,
    priceMicrosPerHour,
    diskMicrosPerGbHour: host.diskMicrosPerGbHour,
    location: host.location,
    reliability: host.reliability,
    confidence: host.reliability,
    interruptible: false,
    units: 1,
  };
  if (host.model !== undefined) offer.cudaVersion = CUDA_VERSION;
  if (host.maxDurationMs !== undefined) offer.maxDurationMs = host.maxDurationMs;
  return offer;
}

/** The same host under an id of its own; what create takes is the same. */
function forABid(offer: Offer, minBidMicrosPerHour: MicroUsd): Offer {
  return {
    ...offer,
    id: offerId(`${offer.id}-bid`),
    interruptible: true,
    minBidMicrosPerHour,
    priceMicrosPerHour: minBidMicrosPerHour + offer.diskGb * offer.diskMicrosPerGbHour,
    confidence: offer.confidence / 2,
  };
}

/** About half of what its GPUs cost on demand; whole hundreds of micro-dollars. */
function floorOf(seed: number, host: Host, onDemand: Offer): MicroUsd {
  const gpuPart = Math.max(0, priceWithDisk(onDemand, 0));
  return Math.max(1_000, Math.round((gpuPart * (0.45 + 0.2 * chanceOf(seed, 'floor', host.index))) / 100) * 100);
}

function withDisk(offer: Offer, wantedGb: number): Offer {
  const diskGb = Math.min(Math.max(wantedGb, offer.minDiskGb), offer.maxDiskGb);
  return { ...offer, diskGb, priceMicrosPerHour: priceWithDisk(offer, diskGb) };
}

function filterOf({ gpuTypes, minVramMib = 0, diskGb = 0 }: OfferQuery): (host: Host) => boolean {
  const keys = gpuTypes && new Set(gpuTypes.map(gpuKey));
  return ({ model, maxDiskGb }) =>
    (keys === undefined || keys.has(model?.gpuKey ?? 'cpu')) && (model?.vramMib ?? 0) >= minVramMib && maxDiskGb >= diskGb;
}

function generationOf(host: Host, now: EpochMs): number {
  return Math.floor((now + host.rerollOffsetMs) / REROLL_MS);
}

/** Each host has its own moments, so that a listing never has to price all of them anew. */
function stepOf(host: Host, now: EpochMs): number {
  return Math.floor((now + host.rerollOffsetMs) / PRICE_STEP_MS);
}

/** Two waves, one of hours and one of half-hours, so that prices wander and never leave ±8 %; whole hundreds of micro-dollars. */
function priceOf(seed: number, host: Host, now: EpochMs): MicroUsd {
  const at = stepOf(host, now) * PRICE_STEP_MS;
  const drift = 0.75 * wave(seed, host, at / (4 * HOUR_MS)) + 0.25 * wave(seed, host, at / (HOUR_MS / 2));
  return Math.round((host.baseMicrosPerHour * (1 + MAX_DRIFT * drift)) / 100) * 100;
}

/** A smooth line through seeded points, in [-1, 1]. */
function wave(seed: number, host: Host, position: number): number {
  const point = Math.floor(position);
  const part = position - point;
  const from = chanceOf(seed, 'price', host.index, point);
  const to = chanceOf(seed, 'price', host.index, point + 1);
  return 2 * (from + (to - from) * part * part * (3 - 2 * part)) - 1;
}
