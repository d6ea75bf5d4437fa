import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { uncancelled } from '../../test/support/provider-calls.ts';
import type { OfferQuery } from '../../src/provider/offer.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import { aProvider, API, closeNock, failureOf, replyWithHostNodes, replyWithLocations } from './fixtures/a-provider.ts';
import { badGateway, badToken, hostNode, location, LOCATION_ID, locationGpu, noRoute } from './fixtures/bodies.ts';
import { NODE_ID, RTX_4090 } from './fixtures/bodies.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

interface Market {
  readonly locations?: readonly unknown[];
  readonly hostNodes?: readonly unknown[];
  readonly query?: OfferQuery;
  readonly environment?: Record<string, string>;
}

async function listing({ locations = [], hostNodes = [], query = {}, environment = {} }: Market) {
  replyWithLocations(locations);
  replyWithHostNodes(hostNodes);
  const { provider } = await aProvider(environment);
  return provider.listOffers(query, uncancelled);
}

const withGpu = (change: object, more: object = {}) => ({ ...location, ...more, gpus: [{ ...locationGpu, ...change }] });
const withNode = (change: object, more: object = {}) => ({
  ...hostNode,
  ...more,
  available_resources: { ...hostNode.available_resources, ...change },
});

describe('tensordock: offers of locations', () => {
  it('TD-7.2.T12: prices GPU, cores, memory and disk, all four', async () => {
    const { offers, dropped } = await listing({ locations: [withGpu({ max_count: 1 })], query: { diskGb: 200 } });

    expect(dropped).toBe(0);
    expect(offers).toEqual([
      {
        id: `tensordock-${LOCATION_ID}-${RTX_4090}`,
        provider: 'tensordock',
        providerOfferId: `location/${LOCATION_ID}/${RTX_4090}/ip`,
        gpuType: 'RTX 4090',
        gpuCount: 1,
        vramMib: 24_576,
        cpuCores: 8,
        memoryMib: 32_768,
        diskGb: 200,
        minDiskGb: 100,
        maxDiskGb: 5_400,
        priceMicrosPerHour: 468_000,
        diskMicrosPerGbHour: 50,
        location: 'Orlando, Florida, United States',
        reliability: 0.95,
        confidence: 0.3,
        interruptible: false,
        units: 1,
      },
    ]);
    const [offer] = offers;
    expect(offer && priceWithDisk(offer, 300)).toBe(473_000);
  });

  it('has the smallest disk that is sold unless another is asked for', async () => {
    const { offers } = await listing({ locations: [withGpu({ max_count: 1 })], query: { diskGb: 40 } });

    expect(offers).toMatchObject([{ diskGb: 100, priceMicrosPerHour: 463_000 }]);
  });

  it('offers several GPUs by the powers of two and all at once, cores and memory in proportion, each under an id of its own', async () => {
    const six = { max_count: 6, resources: { max_vcpus: 64, max_ram_gb: 248, max_storage_gb: 5400 } };

    const { offers } = await listing({ locations: [withGpu(six)] });

    const shown = offers.map(({ id, gpuCount, cpuCores, memoryMib, units }) => [
      id,
      gpuCount,
      cpuCores,
      memoryMib / 1024,
      units,
    ]);
    const id = `tensordock-${LOCATION_ID}-${RTX_4090}`;
    expect(shown).toEqual([
      [id, 1, 8, 32, 6],
      [`${id}-x2`, 2, 16, 64, 3],
      [`${id}-x4`, 4, 32, 128, 1],
      [`${id}-x6`, 6, 48, 128, 1],
    ]);
    expect(offers[1]?.priceMicrosPerHour).toBe(2 * 370_000 + 16 * 3_000 + 64 * 2_000 + 100 * 50);
  });

  it('asks for no more than the share of the place, an even number of cores and a size of memory that is sold', async () => {
    const small = { max_count: 4, resources: { max_vcpus: 27, max_ram_gb: 60, max_storage_gb: 400 } };

    const { offers } = await listing({ locations: [withGpu(small)], query: { gpuTypes: ['rtx4090'] } });

    expect(offers[0]).toMatchObject({ gpuCount: 1, cpuCores: 6, memoryMib: 10 * 1024, maxDiskGb: 400 });
  });

  it('takes cores and memory per GPU from the configuration', async () => {
    const environment = { TENSORDOCK_VCPUS_PER_GPU: '5', TENSORDOCK_RAM_GB_PER_GPU: '50' };

    const { offers } = await listing({ locations: [withGpu({ max_count: 1 })], environment });

    expect(offers).toMatchObject([{ cpuCores: 4, memoryMib: 48 * 1024 }]);
  });

  it.each([
    ['geforcertx4090-pcie-24gb', 'NVIDIA GeForce RTX 4090 PCIe 24GB', 'RTX 4090', 24],
    ['geforcertx4090-pcie-24gb', null, 'RTX 4090', 24],
    ['l4-pcie-24gb', 'NVIDIA L4 PCIe 24GB', 'L4', 24],
    ['a100-pcie-80gb', null, 'A100', 80],
    ['a100-sxm4-80gb', 'NVIDIA A100 SXM4 80GB', 'A100 SXM', 80],
    ['h100-sxm5-80gb', '', 'H100 SXM', 80],
    ['rtxa6000-pcie-48gb', null, 'RTX A6000', 48],
    ['rtx6000ada-pcie-48gb', null, 'RTX 6000 Ada', 48],
    ['geforcertx3060ti-pcie-8gb', null, 'RTX 3060 Ti', 8],
    ['teslav100-sxm2-16gb', 'GPU', 'V100 SXM', 16],
    ['a40', 'NVIDIA A40 48GB', 'A40', 48],
  ])('calls their %s (%s) %s', async (v0Name, displayName, gpuType, vramGib) => {
    const { offers } = await listing({ locations: [withGpu({ v0Name, displayName, max_count: 1 })] });

    expect(offers).toMatchObject([{ gpuType, vramMib: vramGib * 1024 }]);
  });

  it('TD-7.2.T4: asks for an address of its own where there is one, else for a port, and leaves out what cannot be reached', async () => {
    const network = (v0Name: string, features: unknown) => ({
      ...locationGpu,
      v0Name,
      max_count: 1,
      network_features: features,
    });
    const gpus = [
      network('a-24gb', { dedicated_ip_available: true, port_forwarding_available: false }),
      network('b-24gb', { dedicated_ip_available: false, port_forwarding_available: true }),
      network('c-24gb', null),
      network('d-24gb', { dedicated_ip_available: false, port_forwarding_available: false }),
    ];

    const { offers, dropped } = await listing({ locations: [{ ...location, gpus }] });

    const ways = offers.map(({ providerOfferId }) => providerOfferId.split('/').slice(2));
    expect(ways).toEqual([
      ['a-24gb', 'ip'],
      ['b-24gb', 'forward'],
      ['c-24gb', 'ip'],
    ]);
    expect(dropped).toBe(0);
  });

  it('TD-7.2.T12: takes no tier for a share, whatever it is', async () => {
    const reliabilityOf = async (tier: unknown) =>
      (await listing({ locations: [{ ...location, tier }] })).offers[0]?.reliability;

    expect([await reliabilityOf(4), await reliabilityOf(0), await reliabilityOf(null), await reliabilityOf(9)]).toEqual([
      0.98, 0.5, 0.8, 0.8,
    ]);
  });

  it.each([
    [{ city: 'Texas', stateprovince: 'Texas', country: 'United States' }, 'Texas, United States'],
    [{ city: '', stateprovince: null, country: 'Norway' }, 'Norway'],
    [{ city: null, stateprovince: null, country: null }, 'unknown'],
    [{ city: 'Utah\u001b[31m\u202e', stateprovince: 'x'.repeat(500), country: 7 }, `Utah [31m, ${'x'.repeat(59)}…`],
  ])('REL-K2: takes places as text of one line: %o', async (place, expected) => {
    const { offers } = await listing({ locations: [{ ...location, ...place }] });

    expect(offers[0]?.location).toBe(expected);
  });

  it('REL-K3, REL-K5: drops and counts what has no sane price, name or size, and keeps the rest', async () => {
    const gpus = [
      null,
      'gpu',
      {},
      { ...locationGpu, v0Name: '__proto__' },
      { ...locationGpu, v0Name: 'mystery', displayName: 'GPU' },
      { ...locationGpu, price_per_hr: -1 },
      { ...locationGpu, price_per_hr: 5_000 },
      { ...locationGpu, price_per_hr: null },
      { ...locationGpu, pricing: null },
      { ...locationGpu, pricing: { ...locationGpu.pricing, per_gb_ram_hr: null } },
      { ...locationGpu, pricing: { ...locationGpu.pricing, per_vcpu_hr: -0.003 } },
    ];
    const locations = [
      null,
      7,
      { ...location, id: null },
      { ...location, gpus: 'many' },
      { ...location, gpus: [...gpus, locationGpu] },
    ];

    const { offers, dropped } = await listing({ locations });

    expect(offers.map(({ gpuCount }) => gpuCount)).toEqual([1, 2, 4]);
    expect(dropped).toBe(4 + gpus.length);
  });

  it('TD-7.2.T7: re-checks every filter, and shows nothing that is sold out', async () => {
    const gpus = [
      locationGpu,
      { ...locationGpu, v0Name: 'geforcertx3090-pcie-24gb', displayName: null },
      { ...locationGpu, v0Name: 'geforcertx4090-pcie-12gb', displayName: null },
      { ...locationGpu, v0Name: 'rtx4090-pcie-48gb', displayName: null, max_count: 0 },
      {
        ...locationGpu,
        v0Name: 'rtx4090-pcie-32gb',
        displayName: null,
        resources: { max_vcpus: 64, max_ram_gb: 64, max_storage_gb: 200 },
      },
      { ...locationGpu, v0Name: 'rtx4090-pcie-40gb', displayName: null, resources: null },
    ];
    const query = { gpuTypes: ['RTX 4090'], minVramMib: 24_576, diskGb: 500, limit: 2 };

    const { offers, dropped } = await listing({ locations: [{ ...location, gpus }], query });

    expect(offers.map(({ id }) => id)).toEqual([
      `tensordock-${LOCATION_ID}-${RTX_4090}`,
      `tensordock-${LOCATION_ID}-${RTX_4090}-x2`,
    ]);
    expect(dropped).toBe(0);
  });

  it('reads numbers that are texts, and bears fields that nobody knows', async () => {
    const gpu = {
      ...locationGpu,
      max_count: '1',
      price_per_hr: '0.37',
      pricing: { per_vcpu_hr: '0.003', per_gb_ram_hr: '0.002', per_gb_storage_hr: '0.00005' },
      future: { nested: [1] },
    };

    const { offers } = await listing({ locations: [{ ...location, gpus: [gpu], also: null }] });

    expect(offers).toMatchObject([{ priceMicrosPerHour: 463_000 }]);
  });

  it('REL-K4: keeps to a bound, whatever comes', async () => {
    const gpus = Array.from({ length: 300 }, (_, nth) => ({ ...locationGpu, v0Name: `gpu${nth}-24gb`, displayName: null }));
    const locations = Array.from({ length: 60 }, (_, nth) => ({ ...location, id: `place-${nth}`, gpus }));

    const { offers, dropped } = await listing({ locations });

    expect(offers).toHaveLength(20_000);
    expect(dropped).toBe(60 * 100 + 60 * 200 * 3 - 20_000);
  });
});

describe('tensordock: offers of host nodes', () => {
  it('names the machine behind each, its free ports and its uptime', async () => {
    const { offers } = await listing({ locations: [{ ...location, gpus: [] }], hostNodes: [hostNode] });

    expect(offers).toMatchObject([
      {
        id: `tensordock-${NODE_ID}-${RTX_4090}`,
        providerOfferId: `hostnode/${NODE_ID}/${RTX_4090}/20010+20011+20412`,
        machineId: `tensordock-hostnode-${NODE_ID}`,
        gpuType: 'RTX 4090',
        gpuCount: 1,
        cpuCores: 8,
        memoryMib: 32_768,
        maxDiskGb: 900,
        priceMicrosPerHour: 463_000,
        location: 'Orlando, Florida, United States',
        reliability: 0.987,
        confidence: 0.5,
        units: 2,
      },
      { id: `tensordock-${NODE_ID}-${RTX_4090}-x2`, gpuCount: 2, cpuCores: 16, memoryMib: 65_536, units: 1 },
    ]);
  });

  it('keeps to what the host gives to each GPU', async () => {
    const { offers } = await listing({ hostNodes: [withNode({ max_vcpus_per_gpu: 5, max_ram_per_gpu: 20 })] });

    expect(offers[0]).toMatchObject({ cpuCores: 4, memoryMib: 16 * 1024, location: 'Orlando, Florida, United States' });
  });

  it('calls a GPU by the name that the locations have for it', async () => {
    const v0Name = 'gb-thing-96gb';
    const gpus = [{ ...locationGpu, v0Name, displayName: 'NVIDIA RTX PRO 6000 96GB', max_count: 0 }];

    const { offers } = await listing({
      locations: [{ ...location, gpus }],
      hostNodes: [withNode({ gpus: [{ v0Name, availableCount: 1, price_per_hr: 1 }] })],
    });

    expect(offers).toMatchObject([{ gpuType: 'RTX PRO 6000', vramMib: 96 * 1024 }]);
  });

  it('TD-7.2.T10: leaves out a host without a free port or address, and takes an address where there is one', async () => {
    const nodes = [
      withNode({ available_ports: [] }, { id: 'shut' }),
      withNode({ available_ports: null }, { id: 'silent' }),
      withNode({ available_ports: ['20099', 0, 'x', 70_000, 20_099] }, { id: 'odd' }),
      withNode({ available_ports: [], has_public_ip_available: true }, { id: 'open' }),
    ];

    const { offers, dropped } = await listing({
      hostNodes: nodes.map((node) => ({ ...node, location: null, location_id: null })),
    });

    const ways = offers.filter(({ gpuCount }) => gpuCount === 1).map(({ providerOfferId }) => providerOfferId);
    expect(ways).toEqual([`hostnode/odd/${RTX_4090}/20099`, `hostnode/open/${RTX_4090}/ip`]);
    expect(offers[0]?.location).toBe('unknown');
    expect(dropped).toBe(0);
  });

  it('REL-K3: drops and counts hosts that cannot be read', async () => {
    const { offers, dropped } = await listing({
      hostNodes: [
        null,
        {},
        { ...hostNode, available_resources: null },
        { ...hostNode, id: '../x' },
        withNode({ gpus: [null] }),
        hostNode,
      ],
    });

    expect(offers).toHaveLength(2);
    expect(dropped).toBe(5);
  });

  it('are not asked for when the configuration says so', async () => {
    replyWithLocations([location]);
    const { provider } = await aProvider({ TENSORDOCK_LIST_HOSTNODES: 'false' });

    expect((await provider.listOffers({}, uncancelled)).offers).toHaveLength(3);
  });
});

describe('tensordock: a listing of offers that fails', () => {
  it.each([
    ['401', 401, badToken, 'auth'],
    ['TD-7.2.T13: 403', 403, { error: 'Forbidden' }, 'auth'],
    ['TD-7.2.T1: 200 with an error', 200, { status: 401, error: 'Invalid API credentials' }, 'auth'],
    ['200 with another error', 200, { error: 'Something broke', data: { locations: [], hostnodes: [] } }, 'protocol'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['403 as a page', 403, badGateway, 'protocol'],
    ['a body without its list', 200, { data: {} }, 'protocol'],
    ['a list that is none', 200, { data: { locations: null, hostnodes: 'none' } }, 'protocol'],
    ['another address', 404, noRoute, 'protocol'],
    ['502', 502, badGateway, 'unavailable'],
    ['429', 429, '', 'rate_limited'],
    ['301', 301, '', 'protocol'],
  ] as const)('%s is a failure, never "none"', async (_, status, body, kind) => {
    for (const broken of ['locations', 'hostnodes'] as const) {
      if (broken === 'locations') replyWithHostNodes([hostNode]);
      else replyWithLocations([location]);
      nock(API)
        .get(new RegExp(`^/api/v2/${broken}`))
        .reply(status, body as nock.Body); // nock knows no readonly bodies
      const { provider } = await aProvider();

      expect(await failureOf(provider.listOffers({}, uncancelled))).toMatchObject({ kind, operation: 'ListOffers' });
    }
  });
});
