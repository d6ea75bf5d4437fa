import { describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../src/core/duration.ts';
import type { OfferQuery } from '../../src/provider/offer.ts';
import { offerRow } from './fixtures/bodies.ts';
import { askedDiskGb, createOfferReader, ourGpuName, searchBody, type SearchKind } from './offers.ts';

// What a search asks for and what becomes of its rows, without the call between; offers.test.ts has that.

const NOW = Date.parse('2026-11-01T00:00:00Z');

interface Wish {
  readonly query?: OfferQuery;
  readonly kind?: SearchKind;
}

function readOf(rows: readonly unknown[], { query = {}, kind = 'on-demand' }: Wish = {}) {
  const reader = createOfferReader(query, { kind, minReliability: 0.9, now: NOW });
  for (const row of rows) reader.take(row);
  return reader.read();
}

/** The one offer of a row; undefined when there is none. */
const offerOf = (change: object = {}, wish: Wish = {}) => readOf([{ ...offerRow, ...change }], wish).offers[0];

describe('a search', () => {
  const body = (query: OfferQuery, kind: SearchKind = 'on-demand') =>
    searchBody(query, { kind, minReliability: 0.9, limit: 64 });

  it('asks for all that can be rented, the cheapest first, priced with a disk of 50 GB', () => {
    expect(body({})).toEqual({
      verified: { eq: true },
      external: { eq: false },
      rentable: { eq: true },
      rented: { eq: false },
      reliability2: { gte: 0.9 },
      disk_space: { gte: 50 },
      type: 'on-demand',
      order: [['dph_total', 'asc']],
      allocated_storage: 50,
      limit: 64,
    });
  });

  it('asks for what is wished, with some slack in the memory of a GPU', () => {
    expect(body({ gpuTypes: ['T4'], minVramMib: 24_576, diskGb: 120.2 }, 'bid')).toMatchObject({
      type: 'bid',
      gpu_name: { in: ['Tesla T4'] },
      gpu_ram: { gte: 22_855 },
      disk_space: { gte: 121 },
      allocated_storage: 121,
    });
  });

  it.each([
    [
      ['P4', 'P40', 'P100', 'V100'],
      ['Tesla P4', 'Tesla P40', 'Tesla P100', 'Tesla V100'],
    ],
    [
      ['A100', 'A100 SXM'],
      ['A100 PCIE', 'A100 SXM4', 'A100 SXM'],
    ],
    [
      ['H100', 'H100 SXM'],
      ['H100 PCIE', 'H100', 'H100 SXM'],
    ],
    [['GH200'], ['GH200', 'GH200 SXM']],
    [['GH200 SXM'], ['GH200', 'GH200 SXM']],
    [
      ['RTX 8000', 'RTX 6000', 'RTX 4000'],
      ['Q RTX 8000', 'Q RTX 6000', 'Q RTX 4000'],
    ],
    [
      ['RTX 6000 Ada', 'RTX 5880 Ada'],
      ['RTX 6000Ada', 'RTX 6000 Ada', 'RTX 5880Ada', 'RTX 5880 Ada'],
    ],
    [
      ['RTX 4090 D', 'RTX 5090 D'],
      ['RTX 4090D', 'RTX 5090D'],
    ],
    [['RTX PRO 6000'], ['RTX PRO 6000 S', 'RTX PRO 6000 WS', 'RTX PRO 6000']],
    [['RTX 4070 Ti Super'], ['RTX 4070 Ti Super', 'RTX 4070S Ti']],
    [['RTX 4080 Super'], ['RTX 4080 Super', 'RTX 4080S']],
    [
      ['RTX A4000', 'GTX 1080', 'L40S', 'H200 NVL', 'B200'],
      ['RTX A4000', 'GTX 1080', 'L40S', 'H200 NVL', 'B200'],
    ],
    [['RTX 4090', 'rtx-4090'], ['RTX 4090']],
  ])('asks for %j as %j', (ours, theirs) => {
    expect(body({ gpuTypes: ours }).gpu_name).toEqual({ in: theirs });
  });

  it.each([
    [[]],
    [['RTX 4090', 'Frobnicator 9']],
    [['RTX 40900']],
    [['XRTX 4090']],
    [['XA10']],
    [['A1000X']],
    [['RTX A40000']],
  ])('asks for all GPUs where it is asked for %j, and filters itself', (gpuTypes) => {
    expect(body({ gpuTypes })).not.toHaveProperty('gpu_name');
  });

  it('asks for a disk of 8 GB at least', () => {
    expect([askedDiskGb({}), askedDiskGb({ diskGb: 1 }), askedDiskGb({ diskGb: 8.1 })]).toEqual([50, 8, 9]);
  });
});

describe('a row', () => {
  it('is an offer that is named for its ask and its machine', () => {
    expect(offerOf()).toMatchObject({
      id: 'vastai-41827365',
      providerOfferId: '41827365',
      machineId: 'vastai-machine-58213',
      interruptible: false,
      priceMicrosPerHour: 359_200,
      minBidMicrosPerHour: 213_400,
    });
    expect(offerOf({ id: null })).toMatchObject({ id: 'vastai-41827365' });
  });

  it('of a search for bids is another offer, at its floor and the disk', () => {
    expect(offerOf({}, { kind: 'bid' })).toMatchObject({
      id: 'vastai-41827365-bid',
      providerOfferId: '41827365',
      interruptible: true,
      priceMicrosPerHour: 225_900,
      minBidMicrosPerHour: 213_400,
      confidence: expect.closeTo(0.6 * 0.9931, 9),
    });
    expect(offerOf({ min_bid: null }, { kind: 'bid' })).toMatchObject({ minBidMicrosPerHour: 346_700 });
    expect(offerOf({ min_bid: null, dph_base: null }, { kind: 'bid' })).toMatchObject({ minBidMicrosPerHour: 346_700 });
  });

  it('has a floor for bids where one is told that is one', () => {
    for (const min_bid of [0, -1, null]) expect(offerOf({ min_bid })).not.toHaveProperty('minBidMicrosPerHour');
  });

  it.each([
    ['what the server reckons', {}, 359_200, 250],
    ['its parts, where the base is not told', { dph_base: null }, 359_200, 250],
    ['its parts, where the rate of the disk is not told', { storage_cost: null }, 359_200, 250],
    ['its parts, where the disk is not told at all', { storage_cost: null, storage_total_cost: null }, 359_200, 250],
    [
      'no disk, where the total is less than the base',
      { storage_cost: null, storage_total_cost: null, dph_total: 0.1 },
      346_700,
      0,
    ],
    ['no disk, where it costs nothing', { storage_cost: 0 }, 346_700, 0],
    ['a tenth of a cent for a GPU', { dph_base: 0.001, storage_cost: 0 }, 1_000, 0],
    ['a thousand dollars for a GPU', { dph_base: 1_000, storage_cost: 0 }, 1_000_000_000, 0],
    ['a thousand dollars for each of two GPUs', { dph_base: 2_000, storage_cost: 0, num_gpus: 2 }, 2_000_000_000, 0],
  ])('costs %s', (_, change, priceMicrosPerHour, diskMicros) => {
    const offer = offerOf(change);

    expect(offer?.priceMicrosPerHour).toBe(priceMicrosPerHour);
    expect(offer?.diskMicrosPerGbHour).toBeCloseTo(diskMicros, 6);
  });

  it.each([
    ['no id', { id: null, ask_contract_id: null }],
    ['no base', { dph_base: null, dph_total: null }],
    ['a total and nothing to take from it', { dph_base: null, storage_total_cost: null }],
    ['no disk price', { storage_cost: null, storage_total_cost: null, dph_total: null }],
    ['a disk below nothing', { storage_cost: -0.1 }],
    ['a price below a tenth of a cent for a GPU', { dph_base: 0.000_9 }],
    ['a price below that for each of two GPUs', { dph_base: 0.001_9, num_gpus: 2 }],
    ['a price above a thousand dollars for a GPU', { dph_base: 1_000, storage_cost: 1 }],
    ['a disk smaller than can be rented', { disk_space: 7.9 }],
    ['no disk', { disk_space: null }],
  ])('with %s is dropped and counted, and the log told why', (_, change) => {
    expect(readOf([{ ...offerRow, ...change }, offerRow])).toMatchObject({
      offers: [{ providerOfferId: '41827365' }],
      dropped: 1,
      firstFault: 'a row without id, disk or sane price',
    });
  });

  it('that is none is dropped and counted with those', () => {
    expect(readOf(['row', { ...offerRow, dph_base: -1 }])).toMatchObject({
      offers: [],
      dropped: 2,
      firstFault: '0: invalid_type',
    });
    expect(readOf([offerRow])).toMatchObject({ dropped: 0, firstFault: undefined });
    expect(readOf([])).toEqual({ offers: [], dropped: 0, firstFault: undefined });
  });

  it('has the least disk that can be rented, where that is asked for', () => {
    expect(offerOf({ disk_space: 8 }, { query: { diskGb: 8 } })).toMatchObject({ diskGb: 8, maxDiskGb: 8 });
  });

  it('that comes twice is one offer', () => {
    expect(readOf([offerRow, offerRow]).offers).toHaveLength(1);
  });

  it.each([
    ['cannot be rented', { rentable: false }],
    ['is rented', { rented: true }],
    ['is not verified', { verification: 'deverified' }],
    ['is for bids', { is_bid: true }],
    ['is not reliable enough', { reliability2: 0.899 }],
    ['has no disk that is asked for', { disk_space: 49 }],
    ['has no time left', { duration: 0 }],
    ['has no time left', { end_date: NOW / 1_000 }],
  ])('that %s is left out, and is no fault', (_, change) => {
    expect(readOf([{ ...offerRow, ...change }])).toEqual({ offers: [], dropped: 0, firstFault: undefined });
  });

  it.each([
    ['does not say whether it can be rented', { rentable: null, rented: null, verification: null, is_bid: null }],
    ['is just reliable enough', { reliability2: 0.9 }],
    ['is reliable by the older word', { reliability2: null, reliability: 0.95 }],
    ['has exactly the disk', { disk_space: 50 }],
    ['has a moment left', { duration: 0.001 }],
  ])('that %s is an offer', (_, change) => {
    expect(offerOf(change)).toBeDefined();
  });

  it('for bids is one of a search for bids', () => {
    expect(offerOf({ is_bid: true }, { kind: 'bid' })).toBeDefined();
  });

  it('is looked at again for the GPU and the memory that were asked for', () => {
    const minVramMib = 24_564 / 0.93;
    expect(offerOf({}, { query: { gpuTypes: ['H100', 'rtx-4090'], minVramMib: minVramMib - 1 } })).toBeDefined();
    expect(offerOf({}, { query: { minVramMib: minVramMib + 1 } })).toBeUndefined();
    expect(offerOf({}, { query: { gpuTypes: ['H100'] } })).toBeUndefined();
    expect(offerOf({ gpu_ram: 93_000 }, { query: { minVramMib: 100_000 } })).toBeDefined();
  });

  it.each([
    ['its own share of them', {}, { cpuCores: 16, memoryMib: 64_413 }],
    ['its part of the machine', { cpu_cores_effective: null }, { cpuCores: 16, memoryMib: 64_413 }],
    [
      'its part of the machine, in whole cores',
      { cpu_cores_effective: null, gpu_frac: 0.24 },
      { cpuCores: 15, memoryMib: 61_836 },
    ],
    [
      'one core where it tells nothing',
      { cpu_cores: null, cpu_cores_effective: null, cpu_ram: null },
      { cpuCores: 1, memoryMib: 0 },
    ],
    ['its part of the memory where the machine’s cores are not told', { cpu_cores: null }, { cpuCores: 16, memoryMib: 64_413 }],
    ['no memory where its part is not told', { cpu_cores: null, gpu_frac: null }, { cpuCores: 16, memoryMib: 0 }],
    ['one core where its part is not told', { cpu_cores_effective: null, gpu_frac: null }, { cpuCores: 1, memoryMib: 0 }],
    ['no more memory than there is', { cpu_cores_effective: 128 }, { cpuCores: 128, memoryMib: 257_650 }],
    ['no memory below nothing', { cpu_cores_effective: -1 }, { cpuCores: 1, memoryMib: 0 }],
    ['no memory below nothing', { cpu_ram: -5 }, { memoryMib: 0 }],
  ])('has cores and memory: %s', (_, change, share) => {
    expect(offerOf(change)).toMatchObject(share);
  });

  it.each([
    ['as told', {}, 24_564],
    ['of all cards together, divided', { gpu_ram: null, gpu_total_ram: 49_129, num_gpus: 2 }, 24_565],
    ['none, where none is told', { gpu_ram: null, gpu_total_ram: null }, 0],
    ['none, where it is less', { gpu_ram: -1 }, 0],
  ])('has the memory of a GPU: %s', (_, change, vramMib) => {
    expect(offerOf(change)?.vramMib).toBe(vramMib);
  });

  it.each([
    ['the contract', { end_date: null }, 8_000_000_000],
    ['the end of the host', { duration: null, end_date: (NOW + DAY_MS) / 1_000 }, DAY_MS],
    ['whichever is sooner', { duration: 3_600, end_date: (NOW + DAY_MS) / 1_000 }, HOUR_MS],
    ['whichever is sooner', { duration: 1e9, end_date: (NOW + DAY_MS) / 1_000 }, DAY_MS],
    ['to the millisecond', { duration: 1.0006, end_date: null }, 1_001],
  ])('lasts as long as %s', (_, change, maxDurationMs) => {
    expect(offerOf(change)?.maxDurationMs).toBe(maxDurationMs);
  });

  it('has no property of what it does not tell', () => {
    const offer = offerOf({ machine_id: null, cuda_max_good: null, duration: null, end_date: null });

    for (const absent of ['machineId', 'cudaVersion', 'maxDurationMs']) expect(offer).not.toHaveProperty(absent);
    expect(offerOf({ cuda_max_good: 0 })).not.toHaveProperty('cudaVersion');
    expect(offerOf()).toMatchObject({ cudaVersion: 12.8 });
  });

  it.each([
    ['Utah, US', 'Utah, US'],
    [', CN', 'CN'],
    [' , Utah, ', 'Utah'],
    ['Utah, ,', 'Utah'],
    [',', 'unknown'],
    [null, 'unknown'],
  ])('stands at %j: %s', (geolocation, location) => {
    expect(offerOf({ geolocation })?.location).toBe(location);
  });

  it.each([
    ['no bid is told', { min_bid: null }, 0.6 * 0.9931 + 0.4],
    ['the bid is higher than the price', { min_bid: 5 }, 0.6 * 0.9931 + 0.4],
    ['the bid is half of the price', { min_bid: 0.3592 / 2 }, 0.6 * 0.9931 + 0.2],
    ['it is said to be more than sure', { reliability2: 1.5, min_bid: null }, 1],
  ])('is to be had as likely as its uptime and its price say, when %s', (_, change, confidence) => {
    expect(offerOf(change)?.confidence).toBeCloseTo(confidence, 9);
  });

  it('is never less reliable than not at all', () => {
    const reader = createOfferReader({}, { kind: 'on-demand', minReliability: 0, now: NOW });
    for (const row of [{ reliability2: -1 }, { id: 2, reliability2: null, reliability: null }])
      reader.take({ ...offerRow, ...row });

    expect(reader.read().offers.map(({ reliability }) => reliability)).toEqual([0, 0]);
  });
});

it.each([
  ['Q RTX 8000', 'RTX 8000'],
  ['Q A6000', 'Q A6000'],
  ['XQ RTX 8000', 'XQ RTX 8000'],
  ['RTX 4070S Ti', 'RTX 4070 Ti Super'],
  ['RTX 4080S', 'RTX 4080 Super'],
  ['RTX 4080S OC', 'RTX 4080S OC'],
  ['RTX 9980S', 'RTX 9980 Super'],
  ['RTX 9980S Ti', 'RTX 9980 Ti Super'],
  ['RTX 9980Ada', 'RTX 9980 Ada'],
  ['RTX 6000Ada', 'RTX 6000 Ada'],
  ['RTX 12Ada', 'RTX 12ADA'],
  ['RTX 6000Adapter', 'RTX 6000ADAPTER'],
  ['L40S', 'L40S'],
  ['RTX 4090\n', 'RTX 4090'],
])('their %j is our %s', (theirs, ours) => {
  expect(ourGpuName(theirs)).toBe(ours);
});
