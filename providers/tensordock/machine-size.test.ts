import { describe, expect, it } from 'vitest';
import { gpuCounts, isRamSize, MIN_DISK_GB, sizeFor, type Capacity } from './machine-size.ts';

describe('how many GPUs are offered together', () => {
  it.each([
    [0, []],
    [0.5, []],
    [1, [1]],
    [2, [1, 2]],
    [3, [1, 2, 3]],
    [5.9, [1, 2, 4, 5]],
    [8, [1, 2, 4, 8]],
    [64, [1, 2, 4, 8, 16, 32, 64]],
    [64.5, [1, 2, 4, 8, 16, 32, 64]],
    [65, [1, 2, 4, 8, 16, 32, 64]],
    [Number.NaN, []],
  ])('of %d: %j', (most, counts) => {
    expect(gpuCounts(most)).toEqual(counts);
  });
});

describe('the size of a machine', () => {
  const place: Capacity = { gpuCount: 4, vcpus: 64, ramGb: 256 };
  const wish = { vcpusPerGpu: 8, ramGbPerGpu: 32 };

  it.each<[string, number, Partial<Capacity>, Partial<typeof wish>, { vcpus: number; ramGb: number }]>([
    ['what is wished for one GPU', 1, {}, {}, { vcpus: 8, ramGb: 32 }],
    ['what is wished for each of two', 2, {}, {}, { vcpus: 16, ramGb: 64 }],
    ['its share of the cores', 1, { vcpus: 24 }, {}, { vcpus: 6, ramGb: 32 }],
    ['an even number of cores', 1, { vcpus: 28 }, {}, { vcpus: 6, ramGb: 32 }],
    ['its share of the memory', 1, { ramGb: 64 }, {}, { vcpus: 8, ramGb: 16 }],
    ['a size of memory that is sold', 1, { ramGb: 80 }, {}, { vcpus: 8, ramGb: 16 }],
    ['the cores that are allowed for a GPU', 2, { mostVcpusPerGpu: 4 }, {}, { vcpus: 8, ramGb: 64 }],
    ['the memory that is allowed for a GPU', 2, { mostRamGbPerGpu: 8 }, {}, { vcpus: 16, ramGb: 16 }],
    ['all of it, where all of it is wished', 4, {}, { vcpusPerGpu: 100, ramGbPerGpu: 100 }, { vcpus: 64, ramGb: 256 }],
    ['the smallest machine', 1, { vcpus: 8, ramGb: 8 }, {}, { vcpus: 2, ramGb: 2 }],
  ])('is %s', (_, gpuCount, capacity, wished, size) => {
    expect(sizeFor(gpuCount, { ...place, ...capacity }, { ...wish, ...wished })).toEqual({ gpuCount, ...size });
  });

  it.each<[string, Partial<Capacity>]>([
    ['cores', { vcpus: 7 }],
    ['memory', { ramGb: 7 }],
  ])('is none where the share is no machine for want of %s', (_, capacity) => {
    expect(sizeFor(1, { ...place, ...capacity }, wish)).toBeUndefined();
  });
});

it('memory is sold in these sizes, and a disk of 100 GB at least', () => {
  const sizes = Array.from({ length: 1_025 }, (_, gb) => gb).filter(isRamSize);

  expect(sizes).toEqual([2, 4, 6, 8, 10, 16, 32, 48, 64, 80, 96, 128, 256, 512]);
  expect(MIN_DISK_GB).toBe(100);
});
