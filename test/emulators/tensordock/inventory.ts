import type { EpochMs } from '../../../src/core/clock.ts';
import type { Random } from '../../../src/core/random.ts';
import { GPU_MODELS } from './gpu-models.ts';
import type { GpuModel } from './gpu-models.ts';

export interface Rates {
  readonly perVcpuHour: number;
  readonly perRamGbHour: number;
  readonly perStorageGbHour: number;
}

/** A place with hosts of several owners, which has one price a GPU model. */
export interface Location {
  readonly id: string;
  readonly city: string;
  readonly region: string;
  readonly country: string;
  /** 0 (cheap, may take GPUs back) to 4. */
  readonly tier: number;
  readonly rates: Rates;
  /** $/h for one GPU, by the vendor's name; drifts. */
  readonly gpuPrices: Map<string, number>;
  driftedAt: EpochMs;
}

/** One host: GPUs of one model, of which strangers hold some. */
export interface HostNode {
  readonly id: string;
  readonly location: Location;
  readonly gpu: GpuModel;
  readonly gpuCount: number;
  strangerGpus: number;
  readonly vcpus: number;
  readonly ramGb: number;
  readonly storageGb: number;
  /** External ports that may be forwarded, in use or not. */
  readonly ports: readonly number[];
  readonly publicIps: number;
  readonly uptime: number;
  readonly organization: { readonly id: string; readonly name: string };
}

export interface Inventory {
  readonly locations: readonly Location[];
  readonly nodes: readonly HostNode[];
  /** Prices wander, at most by the share a minute. */
  drift(now: EpochMs, sharePerMinute: number): void;
}

const PLACES = [
  ['Orlando', 'Florida', 'United States'],
  ['Joplin', 'Missouri', 'United States'],
  ['Manassas', 'Virginia', 'United States'],
  ['Winnipeg', 'Manitoba', 'Canada'],
  ['Warsaw', 'Mazovia', 'Poland'],
  ['Chubbuck', 'Idaho', 'United States'],
  ['Singapore', 'Singapore', 'Singapore'],
  ['Delhi', 'Delhi', 'India'],
] as const;
const LARGEST_UINT32 = 2 ** 32;

/** Locations until at least `offers` pairs of location and GPU model are for sale. */
export function createInventory({ random, offers, now }: { random: Random; offers: number; now: EpochMs }): Inventory {
  const locations: Location[] = [];
  const nodes: HostNode[] = [];
  for (let rows = 0; rows < offers;) {
    const location = aLocation(random, locations.length, now);
    locations.push(location);
    const models = locations.length === 1 ? GPU_MODELS.slice(0, 4) : somewhatShuffled(random);
    for (const gpu of models.slice(0, Math.max(1, offers - rows))) {
      location.gpuPrices.set(gpu.v0Name, round4(gpu.price * (0.85 + random.next() * 0.4)));
      const hosts = 1 + Math.floor(random.next() * 3);
      for (let host = 0; host < hosts; host += 1) nodes.push(aNode(random, location, gpu, nodes.length));
      rows += 1;
    }
  }
  return {
    locations,
    nodes,
    drift(time, sharePerMinute) {
      if (sharePerMinute === 0) return;
      for (const location of locations) {
        const minutes = (time - location.driftedAt) / 60_000;
        if (minutes < 1 / 6) continue;
        const reach = Math.min(0.5, sharePerMinute * minutes);
        for (const [name, price] of location.gpuPrices)
          location.gpuPrices.set(name, round4(price * (1 + (random.next() * 2 - 1) * reach)));
        location.driftedAt = time;
      }
    },
  };
}

function somewhatShuffled(random: Random): GpuModel[] {
  const start = Math.floor(random.next() * GPU_MODELS.length);
  const count = 2 + Math.floor(random.next() * 3);
  return [...GPU_MODELS.slice(start), ...GPU_MODELS.slice(0, start)].slice(0, count);
}

function aLocation(random: Random, index: number, now: EpochMs): Location {
  const [city, region, country] = PLACES[index % PLACES.length] ?? PLACES[0];
  return {
    id: uuidFrom(random),
    city: index < PLACES.length ? city : `${city} ${Math.floor(index / PLACES.length) + 1}`,
    region,
    country,
    tier: index === 0 ? 3 : Math.floor(random.next() * 5),
    rates: { perVcpuHour: 0.003, perRamGbHour: 0.002, perStorageGbHour: 0.00005 },
    gpuPrices: new Map(),
    driftedAt: now,
  };
}

function aNode(random: Random, location: Location, gpu: GpuModel, index: number): HostNode {
  const gpuCount = gpu.sizes[Math.floor(random.next() * gpu.sizes.length)] ?? 1;
  const taken = random.next() < 0.3 ? Math.floor(random.next() * (gpuCount + 1)) : 0;
  const firstPort = 20_000 + Math.floor(random.next() * 9_000);
  const owner = 10 + Math.floor(random.next() * 80);
  return {
    id: uuidFrom(random),
    location,
    gpu,
    gpuCount,
    // the first hosts are free, so that a small market has something to sell
    strangerGpus: index < 4 ? 0 : taken,
    vcpus: gpuCount * 16,
    ramGb: gpuCount * 62,
    storageGb: gpuCount * 1_350,
    ports: Array.from({ length: 12 }, (_, port) => firstPort + port * 11 + Math.floor(random.next() * 11)),
    publicIps: index < 4 ? 4 : Math.floor(random.next() * 3),
    uptime: Math.round((93 + random.next() * 7) * 10) / 10,
    organization: { id: `o-${owner}`, name: `Example Host ${owner} LLC` },
  };
}

/** A UUID of version 4, from this random. */
export function uuidFrom(random: Random): string {
  const word = () =>
    Math.floor(random.next() * LARGEST_UINT32)
      .toString(16)
      .padStart(8, '0');
  const [a, b, c, d] = [word(), word(), word(), word()];
  return `${a}-${b.slice(0, 4)}-4${b.slice(5)}-a${c.slice(1, 4)}-${c.slice(4)}${d}`;
}

/** $/h of all four terms. */
export function pricePerHour(
  { gpuPrices, rates }: Location,
  size: {
    readonly v0Name: string | undefined;
    readonly gpus: number;
    readonly vcpus: number;
    readonly ramGb: number;
    readonly storageGb: number;
  },
) {
  const gpu = size.gpus * (size.v0Name === undefined ? 0 : (gpuPrices.get(size.v0Name) ?? 0));
  const compute = size.vcpus * rates.perVcpuHour + size.ramGb * rates.perRamGbHour;
  return { gpu, compute, storage: size.storageGb * rates.perStorageGbHour };
}

function round4(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
