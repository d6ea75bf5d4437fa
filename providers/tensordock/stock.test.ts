import { describe, expect, it } from 'vitest';
import type { OfferQuery } from '../../src/provider/offer.ts';
import { RTX_4090 } from './fixtures/bodies.ts';
import { askedDiskGb, offersOf, placeName, type Stock } from './offers.ts';

// What is offered of one GPU model at one site, without the calls that tell of it; offers.test.ts has those.

const STOCK: Stock = {
  code: { site: 'location', siteId: 'site-1', model: RTX_4090, network: 'ip' },
  gpuType: 'RTX 4090',
  vramMib: 24_576,
  usdPerGpuHour: 0.37,
  rates: { per_vcpu_hr: 0.003, per_gb_ram_hr: 0.002, per_gb_storage_hr: 0.000_05 },
  capacity: { gpuCount: 4, vcpus: 64, ramGb: 248 },
  maxDiskGb: 5_400.5,
  location: 'Orlando, Florida, United States',
  reliability: 0.9,
  confidence: 0.8,
};
const wish = { vcpusPerGpu: 8, ramGbPerGpu: 32 };
const offers = (change: Partial<Stock> = {}, query: OfferQuery = {}) => offersOf({ ...STOCK, ...change }, { query, wish });

describe('the offers of a stock', () => {
  it('are its GPUs alone and together, each with its size and the price of all four parts', () => {
    expect(offers()?.map(({ id, gpuCount, cpuCores, units }) => [id, gpuCount, cpuCores, units])).toEqual([
      [`tensordock-site-1-${RTX_4090}`, 1, 8, 4],
      [`tensordock-site-1-${RTX_4090}-x2`, 2, 16, 2],
      [`tensordock-site-1-${RTX_4090}-x4`, 4, 32, 1],
    ]);
    expect(offers({ machineId: 'machine-1' })?.[1]).toEqual({
      id: `tensordock-site-1-${RTX_4090}-x2`,
      provider: 'tensordock',
      providerOfferId: `location/site-1/${RTX_4090}/ip`,
      machineId: 'machine-1',
      gpuType: 'RTX 4090',
      gpuCount: 2,
      vramMib: 24_576,
      cpuCores: 16,
      memoryMib: 65_536,
      diskGb: 100,
      minDiskGb: 100,
      maxDiskGb: 5_400,
      priceMicrosPerHour: 2 * 370_000 + 16 * 3_000 + 64 * 2_000 + 100 * 50,
      diskMicrosPerGbHour: 50,
      location: 'Orlando, Florida, United States',
      reliability: 0.9,
      confidence: 0.8,
      interruptible: false,
      units: 2,
    });
    expect(offers()?.[0]).not.toHaveProperty('machineId');
  });

  it('leave out a number of GPUs for which there is no machine', () => {
    expect(offers({ capacity: { gpuCount: 4, vcpus: 4, ramGb: 248 } })?.map(({ gpuCount }) => gpuCount)).toEqual([2, 4]);
  });

  it.each<[string, Partial<Stock>]>([
    ['no price of a GPU', { usdPerGpuHour: undefined }],
    ['no rates', { rates: null }],
    ['no rates', { rates: undefined }],
    ['no rate of a core', { rates: rated({ per_vcpu_hr: undefined }) }],
    ['no rate of memory', { rates: rated({ per_gb_ram_hr: undefined }) }],
    ['no rate of a disk', { rates: rated({ per_gb_storage_hr: undefined }) }],
    ['a rate below nothing', { rates: rated({ per_vcpu_hr: -0.001 }) }],
    ['a rate that is a mistake', { rates: rated({ per_gb_ram_hr: 10.01 }) }],
    ['a price that is too low to be true', { usdPerGpuHour: 0.000_9 }],
    ['a price that is a mistake', { usdPerGpuHour: 1_001 }],
  ])('are not told where there is %s', (_, change) => {
    expect(offers(change)).toBeUndefined();
  });

  it.each<[string, Partial<Stock>]>([
    ['nothing for a core, memory and disk', { rates: { per_vcpu_hr: 0, per_gb_ram_hr: 0, per_gb_storage_hr: 0 } }],
    [
      'the most that is believed',
      { rates: { per_vcpu_hr: 10, per_gb_ram_hr: 10, per_gb_storage_hr: 10 }, usdPerGpuHour: 1_000 },
    ],
    ['the least that is believed', { usdPerGpuHour: 0.001 }],
  ])('may cost %s', (_, change) => {
    expect(offers(change)).toHaveLength(3);
  });

  it('are none where the disk that is asked for is not there', () => {
    expect(offers({ maxDiskGb: 99.9 })).toEqual([]);
    expect(offers({ maxDiskGb: 100 })).toHaveLength(3);
    expect(offers({}, { diskGb: 5_400 })?.[0]).toMatchObject({
      diskGb: 5_400,
      priceMicrosPerHour: 370_000 + 24_000 + 64_000 + 270_000,
    });
    expect(offers({}, { diskGb: 5_401 })).toEqual([]);
  });

  it.each<[OfferQuery, number]>([
    [{ gpuTypes: [] }, 3],
    [{ gpuTypes: ['H100', 'rtx-4090'] }, 3],
    [{ gpuTypes: ['H100'] }, 0],
    [{ minVramMib: 24_576 / 0.93 - 1 }, 3],
    [{ minVramMib: 24_576 / 0.93 + 1 }, 0],
  ])('are looked at for what was asked: %j', (query, count) => {
    expect(offers({}, query)).toHaveLength(count);
  });

  it('may have seven percent less memory than was asked for, and no less', () => {
    expect([93_000, 92_999].map((vramMib) => offers({ vramMib }, { minVramMib: 100_000 })?.length)).toEqual([3, 0]);
  });
});

it('a disk of 100 GB is asked for at least', () => {
  expect([askedDiskGb({}), askedDiskGb({ diskGb: 99.5 }), askedDiskGb({ diskGb: 100.5 })]).toEqual([100, 100, 101]);
});

it.each([
  [{ city: 'Orlando', stateprovince: 'Florida', country: 'United States' }, 'Orlando, Florida, United States'],
  [{ city: 'Texas', stateprovince: 'Texas', country: 'United States' }, 'Texas, United States'],
  [{ city: ' , Paris, ', country: 'France' }, 'Paris, France'],
  [{ city: 'Le Mans, ,', country: 'France' }, 'Le Mans, France'],
  [{ city: 'Le Mans,', stateprovince: '', country: 'France' }, 'Le Mans, France'],
  [{ stateprovince: ',' }, 'unknown'],
  [{}, 'unknown'],
])('%j is called %s', (place, name) => {
  expect(placeName({ city: undefined, stateprovince: undefined, country: undefined, tier: undefined, ...place })).toBe(name);
});

function rated(change: object) {
  const rates = { per_vcpu_hr: 0.003, per_gb_ram_hr: 0.002, per_gb_storage_hr: 0.000_05 };
  return { ...rates, ...change };
}
