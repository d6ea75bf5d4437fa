import { describe, expect, it } from 'vitest';
import { hasVram, soldVramGb } from './vram.ts';

describe('soldVramGb', () => {
  it.each([
    ['RTX 4090', 24_564, 24],
    ['RTX 3090', 24_576, 24],
    ['L4, error correction on', 23_034, 24],
    ['T4', 15_360, 16],
    ['L40S', 46_068, 48],
    ['RTX 5090', 32_607, 32],
    ['A100 40 GB', 40_536, 40],
    ['H100', 81_559, 80],
    ['H200', 143_771, 141],
    ['a 2080 Ti made over', 22_528, 22],
    ['RTX 3080', 10_240, 10],
    ['no GPU', 0, 0],
    ['larger than anything sold', 400_000, 391],
  ])('%s: %i MiB is sold as %i GB', (_, vramMib, gb) => {
    expect(soldVramGb(vramMib)).toBe(gb);
  });

  it('never falls when memory grows', () => {
    const sizes = Array.from({ length: 3_000 }, (_, step) => soldVramGb(step * 100));

    expect(sizes).toEqual(sizes.toSorted((one, other) => one - other));
  });
});

describe('hasVram', () => {
  it('PEER-11.2.24: finds a 24 GB card that reads 24564 MiB when 24 GB are asked', () => {
    expect(hasVram(24_564, 24 * 1024)).toBe(true);
  });

  it('does not take a 24 GB card for 25 GB', () => {
    expect(hasVram(24_576, 25 * 1024)).toBe(false);
  });
});
