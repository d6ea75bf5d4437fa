import { DAY_MS, HOUR_MS } from '../../src/core/duration.ts';
import { seededRandom } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { GPU_MODELS } from './gpu-models.ts';
import type { GpuModel } from './gpu-models.ts';

/** What stands behind an offer: one host of the simulated market, the same for the same seed and number. */
export interface Host {
  readonly index: number;
  /** Absent for a host without a GPU. */
  readonly model?: GpuModel;
  readonly gpuCount: number;
  readonly cpuCores: number;
  readonly memoryMib: number;
  readonly maxDiskGb: number;
  /** The whole host with the default disk, before the price drifts. */
  readonly baseMicrosPerHour: number;
  readonly diskMicrosPerGbHour: number;
  readonly location: string;
  readonly reliability: number;
  /** Hosts change their offer's id at moments of their own. */
  readonly rerollOffsetMs: number;
  readonly maxDurationMs?: number;
}

export const REROLL_MS = 6 * HOUR_MS;

const PLACES = [
  'DE',
  'NL',
  'FR',
  'SE',
  'NO',
  'PL',
  'UK',
  'US-TX',
  'US-CA',
  'US-VA',
  'CA',
  'JP',
  'SG',
  'AU',
  'IS',
  'BR',
] as const;
const TOTAL_WEIGHT = GPU_MODELS.reduce((total, { weight }) => total + weight, 0);
const CPU_SHARE = 0.07;
const CPU_MICROS_PER_CORE_HOUR = 6_000;

/** Models in turn first, so that a small market has one of each, then by their weight. Host 3 has no GPU. */
export function seededHosts({ seed, count }: { seed: number; count: number }): readonly Host[] {
  const random = seededRandom(Math.imul(seed, 0x9e3779b1));
  return Array.from({ length: count }, (_, index) =>
    isCpuOnly(index, random) ? cpuHost(index, random) : gpuHost(index, random),
  );
}

function isCpuOnly(index: number, random: Random): boolean {
  const isChosen = random.next() < CPU_SHARE;
  return index <= GPU_MODELS.length ? index === 3 : isChosen;
}

function gpuHost(index: number, random: Random): Host {
  const model = index <= GPU_MODELS.length ? (GPU_MODELS[index < 3 ? index : index - 1] ?? anyModel(random)) : anyModel(random);
  const counts = [1, 1, 1, 2, 2, 4, 8].filter((count) => count <= model.largestCount);
  const gpuCount = pick(counts, random) ?? 1;
  return {
    ...common(index, random),
    model,
    gpuCount,
    cpuCores: gpuCount * (pick([6, 8, 12, 16], random) ?? 8),
    memoryMib: gpuCount * Math.max(16_384, 2 ** Math.round(Math.log2(model.vramMib * 1.5))),
    baseMicrosPerHour: Math.round(model.microsPerHour * gpuCount * (0.8 + 0.5 * random.next())),
  };
}

function cpuHost(index: number, random: Random): Host {
  const cpuCores = pick([4, 8, 16, 32, 64], random) ?? 8;
  return {
    ...common(index, random),
    gpuCount: 0,
    cpuCores,
    memoryMib: cpuCores * 4_096,
    baseMicrosPerHour: Math.round(cpuCores * CPU_MICROS_PER_CORE_HOUR * (0.8 + 0.5 * random.next())),
  };
}

function common(index: number, random: Random) {
  const maxDays = random.next() < 0.4 ? (pick([3, 7, 14, 30], random) ?? 7) : undefined;
  return {
    index,
    maxDiskGb: pick([250, 500, 1_000, 2_000, 4_000], random) ?? 500,
    diskMicrosPerGbHour: 140 + Math.floor(280 * random.next()),
    location: `Simulated, ${pick(PLACES, random) ?? 'DE'}`,
    reliability: Math.round((1 - 0.1 * random.next() ** 3) * 10_000) / 10_000,
    rerollOffsetMs: Math.floor(REROLL_MS * random.next()),
    ...(maxDays === undefined ? {} : { maxDurationMs: maxDays * DAY_MS }),
  };
}

function anyModel(random: Random): GpuModel {
  let left = random.next() * TOTAL_WEIGHT;
  const found = GPU_MODELS.find((model) => (left -= model.weight) < 0) ?? GPU_MODELS[0];
  if (found === undefined) throw new Error('the table of GPU models is empty');
  return found;
}

function pick<Item>(items: readonly Item[], random: Random): Item | undefined {
  return items[Math.floor(random.next() * items.length)];
}
