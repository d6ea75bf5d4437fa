import type { EpochMs } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import { fromUsd, type MicroUsd } from '../../src/core/money.ts';
import { plainLine } from '../../src/core/text.ts';
import { gpuKey, normaliseGpuName } from '../../src/provider/gpu-name.ts';
import { offerId } from '../../src/provider/ids.ts';
import { createLenientReader } from '../../src/provider/lenient-list.ts';
import type { Offer, OfferQuery } from '../../src/provider/offer.ts';
import { VASTAI } from './mapping.ts';
import { OfferRow } from './schema.ts';

/** What an offer is priced with when the query names no disk. */
export const DEFAULT_DISK_GB = 50;
export const MIN_DISK_GB = 8;
/** They bill months of exactly so many hours. */
const HOURS_PER_MONTH = 720;
const MICROS_PER_USD = 1_000_000;
/** One ask can be had on demand and for a bid: two offers, and what create takes is the same number. */
const BID_SUFFIX = '-bid';
/** A 24 GB card reports 24564 MB, some a little less. */
const VRAM_SLACK = 0.93;
/** Beyond these, dollars an hour for one GPU, somebody made a mistake. */
const SANE_USD_PER_GPU_HOUR = { min: 0.001, max: 1_000 };

/** What a search is for: machines at a fixed price, or those that somebody else gets who bids more. */
export type SearchKind = 'on-demand' | 'bid';

export interface SearchSettings {
  readonly minReliability: number;
}

/** The order of a search: offers that can be rented now, with the price for the asked disk, the cheapest first. */
export function searchBody(
  query: OfferQuery,
  { kind, minReliability, limit }: SearchSettings & { readonly kind: SearchKind; readonly limit: number },
) {
  const diskGb = askedDiskGb(query);
  const names = theirGpuNames(query.gpuTypes);
  return {
    verified: { eq: true },
    external: { eq: false },
    rentable: { eq: true },
    rented: { eq: false },
    reliability2: { gte: minReliability },
    disk_space: { gte: diskGb },
    ...(names && { gpu_name: { in: names } }),
    ...(query.minVramMib !== undefined && { gpu_ram: { gte: Math.floor(query.minVramMib * VRAM_SLACK) } }),
    type: kind,
    order: [['dph_total', 'asc']],
    allocated_storage: diskGb,
    limit,
  };
}

export interface ReadOffers {
  readonly offers: readonly Offer[];
  readonly dropped: number;
  readonly firstFault: string | undefined;
}

/** Takes their rows one by one. */
export interface OfferReader {
  take(row: unknown): void;
  read(): ReadOffers;
}

/** Their rows as offers. Rows that cannot be read are counted; rows that do not fit the query are just left out, since their filters are not to be trusted. */
export function createOfferReader(
  query: OfferQuery,
  { kind, minReliability, now }: SearchSettings & { readonly kind: SearchKind; readonly now: EpochMs },
): OfferReader {
  const reader = createLenientReader(OfferRow);
  const words = { gpuName: remembered(ourGpuName), location: remembered(locationOf) };
  const diskGb = askedDiskGb(query);
  const wanted = query.gpuTypes && new Set(query.gpuTypes.map(gpuKey));
  const offers = new Map<string, Offer>();
  let priceless = 0;
  return {
    take(candidate) {
      const taken = reader.take(candidate);
      if (!taken.ok) return;
      const { row } = taken;
      const offer = toOffer(row, { kind, diskGb, now, words });
      if (offer === undefined) {
        priceless += 1;
        return;
      }
      if (!isRentable(row, kind) || offer.reliability < minReliability) return;
      if (wanted && !wanted.has(gpuKey(offer.gpuType))) return;
      if (query.minVramMib !== undefined && offer.vramMib < query.minVramMib * VRAM_SLACK) return;
      if (offer.maxDiskGb < offer.diskGb || (offer.maxDurationMs !== undefined && offer.maxDurationMs <= 0)) return;
      offers.set(offer.id, offer);
    },
    read() {
      const { dropped, firstFault } = reader.faults();
      return {
        offers: [...offers.values()],
        dropped: dropped + priceless,
        firstFault: firstFault ?? (priceless > 0 ? 'a row without id, disk or sane price' : undefined),
      };
    },
  };
}

/** Their words in ours; thousands of rows have few of them. */
interface Words {
  readonly gpuName: (theirs: string) => string;
  readonly location: (theirs: string) => string;
}

function remembered(translate: (theirs: string) => string): (theirs: string) => string {
  const known = new Map<string, string>();
  return (theirs) => {
    const ours = known.get(theirs) ?? translate(theirs);
    known.set(theirs, ours);
    return ours;
  };
}

function isRentable({ rentable, rented, is_bid: isBid, verification }: OfferRow, kind: SearchKind): boolean {
  if (kind === 'on-demand' && isBid === true) return false;
  return rentable !== false && rented !== true && (verification === undefined || verification === 'verified');
}

function toOffer(
  row: OfferRow,
  {
    kind,
    diskGb,
    now,
    words,
  }: { readonly kind: SearchKind; readonly diskGb: number; readonly now: EpochMs; readonly words: Words },
): Offer | undefined {
  const ask = row.id ?? row.ask_contract_id;
  const isBid = kind === 'bid';
  const minBid = row.min_bid ?? (isBid ? (row.dph_base ?? difference(row.dph_total, row.storage_total_cost)) : undefined);
  const price = priceOf(isBid ? { ...row, dph_base: minBid } : row, diskGb);
  const maxDiskGb = Math.floor(row.disk_space ?? 0);
  if (ask === undefined || price === undefined || maxDiskGb < MIN_DISK_GB) return undefined;
  const share = shareOfMachine(row);
  const minBidMicrosPerHour = minBid !== undefined && minBid > 0 ? fromUsd(minBid) : undefined;
  const reliability = clamp(row.reliability2 ?? row.reliability ?? 0);
  const maxDurationMs = durationOf(row, now);
  return {
    id: offerId(`${VASTAI}-${ask}${isBid ? BID_SUFFIX : ''}`),
    provider: VASTAI,
    providerOfferId: ask,
    ...(row.machine_id !== undefined && { machineId: `${VASTAI}-machine-${row.machine_id}` }),
    gpuType: words.gpuName(row.gpu_name),
    gpuCount: row.num_gpus,
    vramMib: Math.max(0, Math.round(row.gpu_ram ?? (row.gpu_total_ram ?? 0) / row.num_gpus)),
    ...share,
    diskGb,
    minDiskGb: MIN_DISK_GB,
    maxDiskGb,
    ...price,
    location: words.location(row.geolocation ?? ''),
    reliability,
    confidence: confidenceOf({ kind, reliability, price: price.priceMicrosPerHour, minBid: minBidMicrosPerHour }),
    ...(row.cuda_max_good !== undefined && row.cuda_max_good > 0 && { cudaVersion: row.cuda_max_good }),
    interruptible: isBid,
    ...(minBidMicrosPerHour !== undefined && { minBidMicrosPerHour }),
    units: 1,
    ...(maxDurationMs !== undefined && { maxDurationMs }),
  };
}

/** GPU part (of a bid: its floor) and disk from their own rates: `dph_total` is right only for the disk that the server had in mind. */
function priceOf(row: OfferRow, diskGb: number): Pick<Offer, 'priceMicrosPerHour' | 'diskMicrosPerGbHour'> | undefined {
  const base = row.dph_base ?? difference(row.dph_total, row.storage_total_cost);
  const diskUsd = row.storage_total_cost ?? difference(row.dph_total, row.dph_base);
  const diskPerGbHour =
    row.storage_cost !== undefined ? row.storage_cost / HOURS_PER_MONTH : diskUsd === undefined ? undefined : diskUsd / diskGb;
  if (base === undefined || diskPerGbHour === undefined || diskPerGbHour < 0) return undefined;
  const usd = base + diskGb * diskPerGbHour;
  const perGpu = base / row.num_gpus;
  if (perGpu < SANE_USD_PER_GPU_HOUR.min || usd / row.num_gpus > SANE_USD_PER_GPU_HOUR.max) return undefined;
  return { priceMicrosPerHour: fromUsd(usd), diskMicrosPerGbHour: diskPerGbHour * MICROS_PER_USD };
}

/** Cores and memory are told for the whole machine; an offer is a slice of it. */
function shareOfMachine(row: OfferRow): Pick<Offer, 'cpuCores' | 'memoryMib'> {
  const { cpu_cores: cores = 0, cpu_cores_effective: effective, cpu_ram: memory = 0, gpu_frac: fraction } = row;
  const share = effective !== undefined && cores > 0 ? effective / cores : (fraction ?? 0);
  const own = effective ?? cores * (fraction ?? 0);
  return {
    cpuCores: Math.max(1, Math.floor(own)),
    memoryMib: Math.max(0, Math.round(memory * Math.min(1, Math.max(0, share)))),
  };
}

function durationOf({ duration, end_date: endsAt }: OfferRow, now: EpochMs): number | undefined {
  const limits = [
    duration === undefined ? undefined : duration * SECOND_MS,
    endsAt === undefined ? undefined : endsAt * SECOND_MS - now,
  ];
  const told = limits.filter((limit) => limit !== undefined);
  return told.length === 0 ? undefined : Math.round(Math.min(...told));
}

/** `Utah, US`; also `, CN`, null and worse. */
function locationOf(told: string): string {
  return plainLine(told, 100).replace(/^[\s,]+|[\s,]+$/g, '') || 'unknown';
}

/** Uptime for the most part; the rest from how far the price lies above what others would bid. A bid is safe from nobody. */
function confidenceOf({
  kind,
  reliability,
  price,
  minBid,
}: {
  kind: SearchKind;
  reliability: number;
  price: MicroUsd;
  minBid: MicroUsd | undefined;
}): number {
  const bidSafety = minBid === undefined || price <= 0 ? 1 : Math.min(1, minBid / price);
  return 0.6 * reliability + 0.4 * (kind === 'bid' ? 0 : bidSafety);
}

export function askedDiskGb({ diskGb = DEFAULT_DISK_GB }: OfferQuery): number {
  return Math.max(MIN_DISK_GB, Math.ceil(diskGb));
}

/** What they shorten: `Q RTX 8000`, `RTX 4070S Ti`, `RTX 6000Ada`. */
export function ourGpuName(theirs: string): string {
  const written = plainLine(theirs, 100)
    .replace(/^Q (?=RTX )/, '')
    .replace(/(\d{4})S( Ti)?$/, '$1$2 Super')
    .replace(/(\d{4})Ada$/, '$1 Ada');
  return normaliseGpuName(written);
}

/** Our names, as keys, where they write others. */
const THEIR_NAMES: Readonly<Record<string, readonly string[]>> = {
  t4: ['Tesla T4'],
  p4: ['Tesla P4'],
  p40: ['Tesla P40'],
  p100: ['Tesla P100'],
  v100: ['Tesla V100'],
  a100: ['A100 PCIE'],
  a100sxm: ['A100 SXM4', 'A100 SXM'],
  h100: ['H100 PCIE', 'H100'],
  h100sxm: ['H100 SXM'],
  gh200: ['GH200', 'GH200 SXM'],
  rtx8000: ['Q RTX 8000'],
  rtx6000: ['Q RTX 6000'],
  rtx4000: ['Q RTX 4000'],
  rtx6000ada: ['RTX 6000Ada', 'RTX 6000 Ada'],
  rtx5880ada: ['RTX 5880Ada', 'RTX 5880 Ada'],
  rtx4090d: ['RTX 4090D'],
  rtx5090d: ['RTX 5090D'],
  rtxpro6000: ['RTX PRO 6000 S', 'RTX PRO 6000 WS', 'RTX PRO 6000'],
};
/** Names that both write alike, but for `Super`. */
const SHARED_NAME = /^(?:RTX A?\d{4}|GTX \d{4})(?: Ti)?(?: Super)?$|^(?:A10|A30|A40|L4|L40|L40S|H100 NVL|H200|H200 NVL|B200)$/;

/** Undefined when one of the names is in neither table: then their server does not filter at all, and we do. */
function theirGpuNames(ours: readonly string[] | undefined): readonly string[] | undefined {
  if (ours === undefined || ours.length === 0) return undefined;
  const names = ours.map((each) => THEIR_NAMES[gpuKey(each)] ?? sharedName(normaliseGpuName(each)));
  return names.some((each) => each === undefined) ? undefined : [...new Set(names.flatMap((each) => each ?? []))];
}

function sharedName(name: string): readonly string[] | undefined {
  if (!SHARED_NAME.test(name)) return undefined;
  const [, number, ti = ''] = / (\d{4})( Ti)? Super$/.exec(name) ?? [];
  return number === undefined ? [name] : [name, `${name.slice(0, 3)} ${number}S${ti}`];
}

function difference(total: number | undefined, part: number | undefined): number | undefined {
  return total === undefined || part === undefined ? undefined : Math.max(0, total - part);
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}
