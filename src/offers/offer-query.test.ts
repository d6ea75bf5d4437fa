import { describe, expect, it } from 'vitest';
import { providerId } from '../provider/ids.ts';
import { bookQuery } from './offer-query.ts';

describe('bookQuery', () => {
  it('makes two wishes that mean the same one text', () => {
    const one = bookQuery({
      providers: [providerId('b'), providerId('a')],
      gpuTypes: ['rtx4090', 'NVIDIA GeForce RTX 4090'],
      locations: [' Oslo '],
    });
    const other = bookQuery({
      providers: [providerId('a'), providerId('b'), providerId('a')],
      gpuTypes: ['RTX 4090'],
      locations: ['oslo', 'OSLO'],
      minVramMib: 0,
      maxPriceMicrosPerHour: 0,
      sort: 'price',
    });

    expect(one.canonical).toBe(other.canonical);
  });

  it.each([
    { providers: [providerId('a')] },
    { gpuTypes: ['L4'] },
    { locations: ['us'] },
    { minVramMib: 1 },
    { maxPriceMicrosPerHour: 1 },
    { minGpuCount: 1 },
    { minReliability: 0.1 },
    { minConfidence: 0.1 },
    { minCuda: 12 },
    { interruptible: true },
    { interruptible: false },
    { sort: 'vram' as const },
    { order: 'desc' as const },
    { limit: 1 },
    { limit: 0 },
    { offset: 1 },
  ])('tells %o from a wish for anything', (wish) => {
    expect(bookQuery(wish).canonical).not.toBe(bookQuery({}).canonical);
  });

  it('takes empty texts for no wish', () => {
    expect(bookQuery({ gpuTypes: ['', ' '], locations: [' '], providers: [] })).toEqual(bookQuery({}));
  });
});
