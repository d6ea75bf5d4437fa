/** What memory is sold in, GB. Between 128 and 256 the sizes are not published, so none is asked for. */
const RAM_SIZES_GB = [2, 4, 6, 8, 10, 16, 32, 48, 64, 80, 96, 128, 256, 512] as const;
export const MIN_DISK_GB = 100;
/** Beyond it a count is a mistake. */
const MOST_GPUS = 64;

export interface MachineSize {
  readonly gpuCount: number;
  /** Even. */
  readonly vcpus: number;
  /** One of the sizes that are sold. */
  readonly ramGb: number;
}

export interface SizeWish {
  readonly vcpusPerGpu: number;
  readonly ramGbPerGpu: number;
}

/** What a place has for all of its GPUs together. */
export interface Capacity {
  readonly gpuCount: number;
  readonly vcpus: number;
  readonly ramGb: number;
  readonly mostVcpusPerGpu?: number | undefined;
  readonly mostRamGbPerGpu?: number | undefined;
}

/** How many GPUs are offered together: the powers of two, and all that there are. */
export function gpuCounts(most: number): readonly number[] {
  const counts: number[] = [];
  for (let count = 1; count <= Math.min(most, MOST_GPUS); count *= 2) counts.push(count);
  const all = Math.floor(most);
  if (all >= 1 && all <= MOST_GPUS && !counts.includes(all)) counts.push(all);
  return counts;
}

/**
 * Cores and memory for so many GPUs: what is wished, at most their share of the place, so that what is left can still be rented (all of a
 * host's cores go only with all of its GPUs). Undefined where that is less than the smallest machine.
 */
export function sizeFor(gpuCount: number, capacity: Capacity, wish: SizeWish): MachineSize | undefined {
  const share = gpuCount / capacity.gpuCount;
  const mostVcpus = Math.min(
    wish.vcpusPerGpu * gpuCount,
    capacity.vcpus * share,
    (capacity.mostVcpusPerGpu ?? Infinity) * gpuCount,
  );
  const mostRamGb = Math.min(
    wish.ramGbPerGpu * gpuCount,
    capacity.ramGb * share,
    (capacity.mostRamGbPerGpu ?? Infinity) * gpuCount,
  );
  const vcpus = Math.floor(mostVcpus / 2) * 2;
  const ramGb = RAM_SIZES_GB.findLast((size) => size <= mostRamGb);
  return vcpus >= 2 && ramGb !== undefined ? { gpuCount, vcpus, ramGb } : undefined;
}

export function isRamSize(ramGb: number): boolean {
  return RAM_SIZES_GB.some((size) => size === ramGb);
}
