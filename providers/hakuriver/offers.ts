import type { MicroUsd } from '../../src/core/money.ts';
import { gpuKey, normaliseGpuName } from '../../src/provider/gpu-name.ts';
import { offerId } from '../../src/provider/ids.ts';
import { parseLenientList } from '../../src/provider/lenient-list.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { Generation } from './dialect.ts';
import { HAKURIVER } from './mapping.ts';
import { GpuRow, type NodeRow, type TaskRow } from './schema.ts';

/** Disks are neither limited nor told: an offer promises this much, and more cannot be had for the asking. */
export const DISK_GB = 50;
const MIB = 1024 * 1024;
/** Of the memory that is free now: what runs beside it may want a little more by the time of the create. */
const MEMORY_IN_REACH = 0.9;
/** In the seed's version anything else is refused as a target. */
const TARGET = /^[a-zA-Z0-9.-]+$/;

/** What is in use on a machine as far as the Host does not say it itself. */
export interface Taken {
  readonly gpuIds: ReadonlySet<number>;
  readonly cores: number;
  /** What the limits of its VPS add up to. */
  readonly declaredBytes: number;
}

const NOTHING_TAKEN: Taken = { gpuIds: new Set(), cores: 0, declaredBytes: 0 };

interface GpuModel {
  readonly key: string;
  readonly name: string;
  readonly vramMib: number;
  readonly freeIds: readonly number[];
}

/** What a machine has left. */
export interface Room {
  readonly hostname: string;
  readonly totalCores: number;
  readonly freeCores: number;
  readonly totalGpus: number;
  readonly freeGpus: number;
  readonly models: readonly GpuModel[];
  /** Zero where the Host does not tell. */
  readonly totalMemoryMib: number;
  readonly freeMemoryMib: number;
}

export interface RoomContext {
  readonly generation: Generation;
  readonly taken: ReadonlyMap<string, Taken>;
}

/** Which GPUs active tasks have been given: no version says it with the machine. */
export function takenBy(rows: readonly TaskRow[]): ReadonlyMap<string, Taken> {
  const taken = new Map<string, { gpuIds: Set<number>; cores: number; declaredBytes: number }>();
  for (const { status, assigned_node: node, required_gpus: gpus, required_memory_bytes: bytes } of rows) {
    if (node === undefined || !['assigning', 'pending', 'running', 'paused'].includes(status ?? '')) continue;
    const entry = taken.get(node) ?? { gpuIds: new Set<number>(), cores: 0, declaredBytes: 0 };
    for (const gpu of gpus) entry.gpuIds.add(gpu);
    entry.declaredBytes += bytes ?? 0;
    taken.set(node, entry);
  }
  return taken;
}

/** Undefined for a machine on which nothing can be started now. */
export function roomOf(row: NodeRow, { generation, taken }: RoomContext): Room | undefined {
  if (row.status !== 'online' || !TARGET.test(row.hostname)) return undefined;
  const used = taken.get(row.hostname) ?? NOTHING_TAKEN;
  const freeCores = Math.floor((row.available_cores ?? 0) - used.cores);
  if (freeCores < 1) return undefined;
  const gpus = parseLenientList(row.gpu_info, GpuRow).rows;
  const isFree = ({ gpu_id: id }: { readonly gpu_id: number }) => !used.gpuIds.has(id);
  const models = [...new Set(gpus.map(({ name }) => gpuKey(name)))].map((key) => {
    const same = gpus.filter(({ name }) => gpuKey(name) === key);
    return {
      key,
      name: normaliseGpuName(same[0]?.name ?? ''),
      vramMib: Math.min(...same.map(({ memory_total_mib: mib }) => Math.floor(mib ?? 0))),
      freeIds: same
        .filter(isFree)
        .map(({ gpu_id: id }) => id)
        .sort((a, b) => a - b),
    };
  });
  return {
    hostname: row.hostname,
    totalCores: row.total_cores,
    freeCores,
    totalGpus: gpus.length,
    freeGpus: gpus.filter(isFree).length,
    models,
    ...memoryOf(row, used, generation),
  };
}

export interface OfferTerms {
  /** For one GPU, or for a machine without any. */
  readonly priceMicrosPerHour: MicroUsd;
}

/** GPUs in powers of two per model, with cores and memory in proportion; a machine without GPUs as a whole. */
export function offersOf(room: Room, terms: OfferTerms): readonly Offer[] {
  if (room.totalGpus === 0) return [cpuOffer(room, terms)];
  return room.models.flatMap((model) =>
    powersOfTwo(model.freeIds.length).map((count) => {
      const share = shareOf(room, count);
      return offerOf(room, {
        id: `${room.hostname}-${model.key}-x${count}`,
        gpuType: model.name,
        gpuCount: count,
        vramMib: model.vramMib,
        ...share,
        priceMicrosPerHour: count * terms.priceMicrosPerHour,
        units: Math.max(1, Math.min(Math.floor(model.freeIds.length / count), Math.floor(room.freeCores / share.cpuCores))),
      });
    }),
  );
}

function cpuOffer(room: Room, { priceMicrosPerHour }: OfferTerms): Offer {
  return offerOf(room, {
    id: `${room.hostname}-cpu-x0`,
    gpuType: 'CPU',
    gpuCount: 0,
    vramMib: 0,
    cpuCores: room.freeCores,
    memoryMib: room.freeMemoryMib,
    priceMicrosPerHour,
    units: 1,
  });
}

type OfferParts = Pick<
  Offer,
  'gpuType' | 'gpuCount' | 'vramMib' | 'cpuCores' | 'memoryMib' | 'priceMicrosPerHour' | 'units'
> & { readonly id: string };

function offerOf({ hostname }: Room, { id, ...parts }: OfferParts): Offer {
  return {
    id: offerId(`${HAKURIVER}-${id}`),
    provider: HAKURIVER,
    providerOfferId: id,
    machineId: hostname,
    ...parts,
    diskGb: DISK_GB,
    minDiskGb: 1,
    maxDiskGb: DISK_GB,
    diskMicrosPerGbHour: 0,
    location: hostname,
    reliability: 1,
    confidence: 1,
    interruptible: false,
  };
}

/** The part of the machine that goes with so many of its GPUs; of what is left when others have taken more than theirs. */
function shareOf(room: Room, gpus: number): { readonly cpuCores: number; readonly memoryMib: number } {
  const part = (total: number, free: number) =>
    Math.floor(Math.min((total * gpus) / room.totalGpus, (free * gpus) / room.freeGpus));
  return {
    cpuCores: Math.max(1, part(room.totalCores, room.freeCores)),
    memoryMib: part(room.totalMemoryMib, room.freeMemoryMib),
  };
}

/** The later versions count a machine's memory and limit a VPS to its part; the seed's does neither, so that its figure is the machine's share. */
function memoryOf(row: NodeRow, { declaredBytes }: Taken, generation: Generation) {
  if (generation === 'seed') {
    const bytes = Object.values(row.numa_topology ?? {}).reduce((sum, { memory_bytes: part }) => sum + (part ?? 0), 0);
    return { totalMemoryMib: Math.floor(bytes / MIB), freeMemoryMib: Math.floor(bytes / MIB) };
  }
  const total = row.memory_total_bytes ?? 0;
  const free = Math.max(0, total - Math.max(row.memory_used_bytes ?? 0, declaredBytes)) * MEMORY_IN_REACH;
  return { totalMemoryMib: Math.floor(total / MIB), freeMemoryMib: Math.floor(free / MIB) };
}

function powersOfTwo(most: number): readonly number[] {
  const powers: number[] = [];
  for (let power = 1; power <= most; power *= 2) powers.push(power);
  return powers;
}
