import { fromUsd } from '../../src/core/money.ts';
import { plainLine } from '../../src/core/text.ts';
import { gpuKey } from '../../src/provider/gpu-name.ts';
import { offerId } from '../../src/provider/ids.ts';
import type { Offer, OfferQuery } from '../../src/provider/offer.ts';
import type { GpuModel } from './gpu-model.ts';
import { gpuCounts, MIN_DISK_GB, sizeFor, type Capacity, type MachineSize, type SizeWish } from './machine-size.ts';
import { TENSORDOCK } from './mapping.ts';
import { writeOfferCode, type OfferCode } from './offer-code.ts';
import type { Place, Rates } from './schema.ts';

const MICROS_PER_USD = 1_000_000;
const MIB_PER_GB = 1024;
/** A request for 24 GB means every card that is sold as one. */
const VRAM_SLACK = 0.93;
/** Beyond these, dollars an hour for one GPU, somebody made a mistake. */
const SANE_USD_PER_GPU_HOUR = { min: 0.001, max: 1_000 };
/** Of a core, or of a GB of memory or disk. */
const HIGHEST_USD_PER_UNIT_HOUR = 10;

/** One GPU model at one site, in our words; what locations and host nodes have in common. */
export interface Stock extends GpuModel {
  readonly code: OfferCode;
  readonly machineId?: string;
  readonly usdPerGpuHour: number | undefined;
  readonly rates: Rates | null | undefined;
  readonly capacity: Capacity;
  readonly maxDiskGb: number;
  readonly location: string;
  readonly reliability: number;
  readonly confidence: number;
}

export interface OfferContext {
  readonly query: OfferQuery;
  readonly wish: SizeWish;
}

/** The offers of a stock, one for each number of GPUs; undefined when no price can be told that would be believed. */
export function offersOf(stock: Stock, { query, wish }: OfferContext): readonly Offer[] | undefined {
  const rates = completeRates(stock);
  if (rates === undefined) return undefined;
  const diskGb = askedDiskGb(query);
  const maxDiskGb = Math.floor(stock.maxDiskGb);
  if (maxDiskGb < diskGb || !isWanted(stock, query)) return [];
  return gpuCounts(stock.capacity.gpuCount).flatMap((gpuCount) => {
    const size = sizeFor(gpuCount, stock.capacity, wish);
    return size === undefined ? [] : [toOffer({ stock, size, rates, diskGb, maxDiskGb })];
  });
}

interface CompleteRates {
  readonly gpu: number;
  readonly vcpu: number;
  readonly ramGb: number;
  readonly diskGb: number;
}

interface OfferParts {
  readonly stock: Stock;
  readonly size: MachineSize;
  readonly rates: CompleteRates;
  readonly diskGb: number;
  readonly maxDiskGb: number;
}

function toOffer({ stock, size, rates, diskGb, maxDiskGb }: OfferParts): Offer {
  const { code, machineId, capacity } = stock;
  const usd = size.gpuCount * rates.gpu + size.vcpus * rates.vcpu + size.ramGb * rates.ramGb + diskGb * rates.diskGb;
  const several = size.gpuCount === 1 ? '' : `-x${size.gpuCount}`;
  return {
    id: offerId(`${TENSORDOCK}-${code.siteId}-${code.model}${several}`),
    provider: TENSORDOCK,
    providerOfferId: writeOfferCode(code),
    ...(machineId !== undefined && { machineId }),
    gpuType: stock.gpuType,
    gpuCount: size.gpuCount,
    vramMib: stock.vramMib,
    cpuCores: size.vcpus,
    memoryMib: size.ramGb * MIB_PER_GB,
    diskGb,
    minDiskGb: MIN_DISK_GB,
    maxDiskGb,
    priceMicrosPerHour: fromUsd(usd),
    diskMicrosPerGbHour: rates.diskGb * MICROS_PER_USD,
    location: stock.location,
    reliability: stock.reliability,
    confidence: stock.confidence,
    interruptible: false,
    units: Math.floor(capacity.gpuCount / size.gpuCount),
  };
}

/** All four terms, or none: an offer that leaves one out looks cheaper than it is. */
function completeRates({ usdPerGpuHour: gpu, rates }: Stock): CompleteRates | undefined {
  const { per_vcpu_hr: vcpu, per_gb_ram_hr: ramGb, per_gb_storage_hr: diskGb } = rates ?? {};
  if (gpu === undefined || vcpu === undefined || ramGb === undefined || diskGb === undefined) return undefined;
  if (gpu < SANE_USD_PER_GPU_HOUR.min || gpu > SANE_USD_PER_GPU_HOUR.max) return undefined;
  const isSane = [vcpu, ramGb, diskGb].every((usd) => usd >= 0 && usd <= HIGHEST_USD_PER_UNIT_HOUR);
  return isSane ? { gpu, vcpu, ramGb, diskGb } : undefined;
}

function isWanted({ gpuType, vramMib }: Stock, { gpuTypes, minVramMib }: OfferQuery): boolean {
  if (gpuTypes && gpuTypes.length > 0 && !gpuTypes.some((wanted) => gpuKey(wanted) === gpuKey(gpuType))) return false;
  return minVramMib === undefined || vramMib >= minVramMib * VRAM_SLACK;
}

export function askedDiskGb({ diskGb = MIN_DISK_GB }: OfferQuery): number {
  return Math.max(MIN_DISK_GB, Math.ceil(diskGb));
}

/** `Orlando, Florida, United States`; also `Texas, Texas`, empty parts and worse. */
export function placeName({ city, stateprovince, country }: Place): string {
  const parts = [city, stateprovince, country].map((part) => plainLine(part ?? '', 60).replace(/^[\s,]+|[\s,]+$/g, ''));
  const told = parts.filter((part, index) => part !== '' && parts.indexOf(part) === index);
  return told.join(', ') || 'unknown';
}
