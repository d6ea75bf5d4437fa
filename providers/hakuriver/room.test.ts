import { describe, expect, it } from 'vitest';
import { offersOf, roomOf, takenBy, type RoomContext, type Taken } from './offers.ts';
import { NodeRow, TaskRow } from './schema.ts';

// What a machine has left and what is offered of it, from rows alone; offers.test.ts has the calls that bring them.

const GIB = 1024 ** 3;
const NOTHING: RoomContext = { generation: 'seed', taken: new Map() };

const aTask = (row: object) => TaskRow.parse({ task_id: '1', ...row });
const gpu = (id: number, mib: number | null = 24_564, name = 'NVIDIA GeForce RTX 4090') => ({
  gpu_id: id,
  name,
  memory_total_mib: mib,
});
const aNode = (row: object = {}) =>
  NodeRow.parse({
    hostname: 'rack-1',
    status: 'online',
    total_cores: 32,
    available_cores: 32,
    gpu_info: [0, 1, 2, 3].map((id) => gpu(id)),
    ...row,
  });

const roomWith = (row: object = {}, context: Partial<RoomContext> = {}) => roomOf(aNode(row), { ...NOTHING, ...context });
const taken = (used: Partial<Taken>): ReadonlyMap<string, Taken> =>
  new Map([['rack-1', { gpuIds: new Set(), cores: 0, declaredBytes: 0, ...used }]]);

describe('what tasks have taken', () => {
  it.each(['assigning', 'pending', 'running', 'paused'])('is what one that is %s has been given', (status) => {
    const task = aTask({ status, assigned_node: 'rack-1', required_gpus: [2, 0], required_memory_bytes: GIB });

    expect(takenBy([task])).toEqual(new Map([['rack-1', { gpuIds: new Set([2, 0]), cores: 0, declaredBytes: GIB }]]));
  });

  it.each([{ status: 'completed' }, { status: undefined }, { status: 'lost' }])(
    'is nothing of one that is %j',
    ({ status }) => {
      expect(takenBy([aTask({ status, assigned_node: 'rack-1', required_gpus: [0] })]).size).toBe(0);
    },
  );

  it('is nothing of one that is on no machine, and adds up on each machine', () => {
    const tasks = [
      { status: 'running', required_gpus: [0] },
      { status: 'running', assigned_node: 'rack-1', required_gpus: [0], required_memory_bytes: GIB },
      { status: 'running', assigned_node: 'rack-1', required_gpus: [1], required_memory_bytes: GIB },
      { status: 'running', assigned_node: 'rack-2' },
    ].map(aTask);

    expect(takenBy(tasks)).toEqual(
      new Map([
        ['rack-1', { gpuIds: new Set([0, 1]), cores: 0, declaredBytes: 2 * GIB }],
        ['rack-2', { gpuIds: new Set(), cores: 0, declaredBytes: 0 }],
      ]),
    );
  });
});

describe('the room of a machine', () => {
  it('is all of it when nothing is taken', () => {
    expect(roomWith()).toEqual({
      hostname: 'rack-1',
      totalCores: 32,
      freeCores: 32,
      totalGpus: 4,
      freeGpus: 4,
      models: [{ key: 'rtx4090', name: 'RTX 4090', vramMib: 24_564, freeIds: [0, 1, 2, 3] }],
      totalMemoryMib: 0,
      freeMemoryMib: 0,
    });
  });

  it.each([
    ['offline', { status: 'offline' }],
    ['without a status', { status: undefined }],
    ['of a name that is no target', { hostname: 'rack 1' }],
    ['of a name that begins as one', { hostname: 'rack-1;' }],
    ['of a name that ends as one', { hostname: ';rack-1' }],
    ['without a free core', { available_cores: 0.9 }],
    ['that tells no free cores', { available_cores: 'N/A' }],
  ])('is none on a machine %s', (_, row) => {
    expect(roomWith(row)).toBeUndefined();
  });

  it('is none where what is only just being made takes the last core, and some where it leaves one', () => {
    expect(roomWith({}, { taken: taken({ cores: 31.5 }) })).toBeUndefined();
    expect(roomWith({}, { taken: taken({ cores: 31 }) })?.freeCores).toBe(1);
  });

  it('leaves out the GPUs that are taken, and names the others in order', () => {
    const room = roomWith({ gpu_info: [3, 1, 0, 2].map((id) => gpu(id)) }, { taken: taken({ gpuIds: new Set([1]) }) });

    expect(room).toMatchObject({ totalGpus: 4, freeGpus: 3, models: [{ freeIds: [0, 2, 3] }] });
  });

  it('counts each model by itself, with the memory that all of its cards have', () => {
    const gpu_info = [gpu(0), gpu(1, 24_000.5), gpu(2, 81_920, 'NVIDIA H100 80GB HBM3'), gpu(3, null, 'Tesla T4')];

    expect(roomWith({ gpu_info })?.models).toEqual([
      { key: 'rtx4090', name: 'RTX 4090', vramMib: 24_000, freeIds: [0, 1] },
      { key: expect.any(String), name: expect.stringContaining('H100'), vramMib: 81_920, freeIds: [2] },
      { key: 't4', name: 'T4', vramMib: 0, freeIds: [3] },
    ]);
  });

  it('of the seed’s version has the memory that its parts add up to', () => {
    const numa_topology = { 0: { memory_bytes: 2 * GIB }, 1: { memory_bytes: GIB }, 2: {} };

    expect(roomWith({ numa_topology, memory_total_bytes: 64 * GIB })).toMatchObject({
      totalMemoryMib: 3_072,
      freeMemoryMib: 3_072,
    });
  });

  it.each([
    ['nothing is used', {}, 0, 9_216],
    ['some is used', { memory_used_bytes: 4 * GIB }, 0, 5_529],
    ['more is promised than used', { memory_used_bytes: GIB }, 4 * GIB, 5_529],
    ['more is promised than there is', {}, 11 * GIB, 0],
  ])('of a later version has nine tenths of what is free, when %s', (_, row, declaredBytes, freeMemoryMib) => {
    expect(
      roomWith({ memory_total_bytes: 10 * GIB, ...row }, { generation: 'kohaku', taken: taken({ declaredBytes }) }),
    ).toMatchObject({ totalMemoryMib: 10_240, freeMemoryMib });
  });

  it('of a later version that tells no memory has none', () => {
    expect(roomWith({}, { generation: 'kohaku' })).toMatchObject({ totalMemoryMib: 0, freeMemoryMib: 0 });
  });
});

describe('the offers of a machine', () => {
  const offers = (row: object = {}, context: Partial<RoomContext> = {}) => {
    const room = roomWith(row, context);
    return room ? offersOf(room, { priceMicrosPerHour: 100_000 }) : [];
  };

  it('are its GPUs in powers of two, with their share of cores and memory', () => {
    const memory = { memory_total_bytes: 10 * GIB };

    expect(offers(memory, { generation: 'kohaku' })).toMatchObject([
      { id: 'hakuriver-rack-1-rtx4090-x1', gpuCount: 1, cpuCores: 8, memoryMib: 2_304, priceMicrosPerHour: 100_000, units: 4 },
      { id: 'hakuriver-rack-1-rtx4090-x2', gpuCount: 2, cpuCores: 16, memoryMib: 4_608, priceMicrosPerHour: 200_000, units: 2 },
      { id: 'hakuriver-rack-1-rtx4090-x4', gpuCount: 4, cpuCores: 32, memoryMib: 9_216, priceMicrosPerHour: 400_000, units: 1 },
    ]);
    expect(offers()[0]).toEqual({
      id: 'hakuriver-rack-1-rtx4090-x1',
      provider: 'hakuriver',
      providerOfferId: 'rack-1-rtx4090-x1',
      machineId: 'rack-1',
      gpuType: 'RTX 4090',
      gpuCount: 1,
      vramMib: 24_564,
      cpuCores: 8,
      memoryMib: 0,
      diskGb: 50,
      minDiskGb: 1,
      maxDiskGb: 50,
      priceMicrosPerHour: 100_000,
      diskMicrosPerGbHour: 0,
      location: 'rack-1',
      reliability: 1,
      confidence: 1,
      interruptible: false,
      units: 4,
    });
  });

  it('have no more than their share of the whole, though others left more, and of what is left, where they took more', () => {
    const half = { generation: 'kohaku', taken: taken({ gpuIds: new Set([0, 1]) }) } as const;

    expect(offers({}, half).map(({ units }) => units)).toEqual([2, 1]);
    expect(offers({ memory_total_bytes: 10 * GIB }, half)[0]).toMatchObject({ cpuCores: 8, memoryMib: 2_560, units: 2 });
    expect(offers({ memory_total_bytes: 10 * GIB, memory_used_bytes: 8 * GIB, available_cores: 5 }, half)[0]).toMatchObject({
      cpuCores: 2,
      memoryMib: 921,
      units: 2,
    });
  });

  it('are as many as there are cores for, with a core each at least', () => {
    expect(offers({ available_cores: 2 }).map(({ cpuCores, units }) => [cpuCores, units])).toEqual([
      [1, 2],
      [1, 2],
      [2, 1],
    ]);
  });

  it('are none where every GPU is taken, and the machine itself where it has none', () => {
    expect(offers({}, { taken: taken({ gpuIds: new Set([0, 1, 2, 3]) }) })).toEqual([]);
    expect(offers({ gpu_info: [], memory_total_bytes: 10 * GIB }, { generation: 'kohaku' })).toMatchObject([
      {
        id: 'hakuriver-rack-1-cpu-x0',
        gpuType: 'CPU',
        gpuCount: 0,
        vramMib: 0,
        cpuCores: 32,
        memoryMib: 9_216,
        priceMicrosPerHour: 100_000,
        units: 1,
      },
    ]);
  });
});
