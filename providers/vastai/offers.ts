import type { EpochMs } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import { fromUsd, type MicroUsd } from '../../src/core/money.ts';
import { plainLine } from '../../src/core/text.ts';
import { gpuKey, normaliseGpuName } from '../../src/provider/gpu-name.ts';
import { offerId } from '../../src/provider/ids.ts';
import { parseLenientList } from '../../src/provider/lenient-list.ts';
import type { Offer, OfferQuery } from '../../src/provider/offer.ts';
import { VASTAI } from './mapping.ts';
import { OfferRow } from './schema.ts';

/** What an offer is priced with when the query names no disk. */
export const DEFAULT_DISK_GB = 50;
export const MIN_DISK_GB = 8;
/** They bill months of exactly so many hours. */
const HOURS_PER_MONTH = 720;
const MICROS_PER_USD = 1_000_000;
/** A 24 GB card reports 24564 MB, some a little less. */
const VRAM_SLACK = 0.93;
/** Beyond these, dollars an hour for one GPU, somebody made a mistake. */
const SANE_USD_PER_GPU_HOUR = { min: 0.001, max: 1_000 };

export interface SearchSettings {
  readonly minReliability: number;
}

/** The order of a search: offers that can be rented now, with the price for the asked disk, the cheapest first. */
export function searchBody(query: OfferQuery, { minReliability, limit }: SearchSettings & { readonly limit: number }) {
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
    type: 'on-demand',
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

/** Their rows as offers. Rows that cannot be read are counted; rows that do not fit the query are just left out, since their filters are not to be trusted. */
export function readOffers(
  rows: readonly unknown[],
  query: OfferQuery,
  context: SearchSettings & { readonly now: EpochMs },
): ReadOffers {
  const read = parseLenientList(rows, OfferRow);
  const wanted = query.gpuTypes && new Set(query.gpuTypes.map(gpuKey));
  const offers = new Map<string, Offer>();
  let priceless = 0;
  for (const row of read.rows) {
    const offer = toOffer(row, { diskGb: askedDiskGb(query), now: context.now });
    if (offer === undefined) {
      priceless += 1;
      continue;
    }
    if (!isRentable(row) || offer.reliability < context.minReliability) continue;
    if (wanted && !wanted.has(gpuKey(offer.gpuType))) continue;
    if (query.minVramMib !== undefined && offer.vramMib < query.minVramMib * VRAM_SLACK) continue;
    if (offer.maxDiskGb < offer.diskGb || (offer.maxDurationMs !== undefined && offer.maxDurationMs <= 0)) continue;
    offers.set(offer.id, offer);
  }
  const firstFault = read.firstFault ?? (priceless > 0 ? 'a row without id, disk or sane price' : undefined);
  return { offers: [...offers.values()], dropped: read.dropped + priceless, firstFault };
}

function isRentable({ rentable, rented, is_bid: isBid, verification }: OfferRow): boolean {
  return rentable !== false && rented !== true && isBid !== true && (verification === undefined || verification === 'verified');
}

function toOffer(row: OfferRow, { diskGb, now }: { diskGb: number; now: EpochMs }): Offer | undefined {
  const ask = row.id ?? row.ask_contract_id;
  const price = priceOf(row, diskGb);
  const maxDiskGb = Math.floor(row.disk_space ?? 0);
  if (ask === undefined || price === undefined || maxDiskGb < MIN_DISK_GB) return undefined;
  const share = shareOfMachine(row);
  const minBidMicrosPerHour = row.min_bid !== undefined && row.min_bid > 0 ? fromUsd(row.min_bid) : undefined;
  const reliability = clamp(row.reliability2 ?? row.reliability ?? 0);
  const maxDurationMs = durationOf(row, now);
  return {
    id: offerId(`${VASTAI}-${ask}`),
    provider: VASTAI,
    providerOfferId: ask,
    ...(row.machine_id !== undefined && { machineId: `${VASTAI}-machine-${row.machine_id}` }),
    gpuType: ourGpuName(row.gpu_name),
    gpuCount: row.num_gpus,
    vramMib: Math.max(0, Math.round(row.gpu_ram ?? (row.gpu_total_ram ?? 0) / row.num_gpus)),
    ...share,
    diskGb,
    minDiskGb: MIN_DISK_GB,
    maxDiskGb,
    ...price,
    location: locationOf(row.geolocation),
    reliability,
    confidence: confidenceOf({ reliability, price: price.priceMicrosPerHour, minBid: minBidMicrosPerHour }),
    ...(row.cuda_max_good !== undefined && row.cuda_max_good > 0 && { cudaVersion: row.cuda_max_good }),
    interruptible: false,
    ...(minBidMicrosPerHour !== undefined && { minBidMicrosPerHour }),
    units: 1,
    ...(maxDurationMs !== undefined && { maxDurationMs }),
  };
}

/** GPU part and disk from their own rates: `dph_total` is right only for the disk that the server had in mind. */
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
function locationOf(told: string | undefined): string {
  return plainLine(told ?? '', 100).replace(/^[\s,]+|[\s,]+$/g, '') || 'unknown';
}

/** Uptime for the most part; the rest from how far the price lies above what others would bid. */
function confidenceOf({
  reliability,
  price,
  minBid,
}: {
  reliability: number;
  price: MicroUsd;
  minBid: MicroUsd | undefined;
}): number {
  const bidSafety = minBid === undefined || price <= 0 ? 1 : Math.min(1, minBid / price);
  return 0.6 * reliability + 0.4 * bidSafety;
}

export function askedDiskGb({ diskGb = DEFAULT_DISK_GB }: OfferQuery): number {
  return Math.max(MIN_DISK_GB, Math.ceil(diskGb));
}

/** What they shorten: `Q RTX 8000`, `RTX 4070S Ti`, `RTX 6000Ada`. */
function ourGpuName(theirs: string): string {
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
  gh200sxm: ['GH200 SXM'],
  rtx8000: ['Q RTX 8000'],
  rtx6000: ['Q RTX 6000'],
  rtx4000: ['Q RTX 4000'],
  rtx6000ada: ['RTX 6000Ada', 'RTX 6000 Ada'],
  rtx5880ada: ['RTX 5880Ada', 'RTX 5880 Ada'],
  rtx4090d: ['RTX 4090D'],
  rtx5090d: ['RTX 5090D'],
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
