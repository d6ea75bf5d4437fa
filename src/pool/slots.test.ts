import { describe, expect, it } from 'vitest';
import type { Inventory } from '../runner-protocol/messages.ts';
import { cutMachine, freeSlots, type Holder, type Slot } from './slots.ts';

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

function aMachine(from: { cpus?: number; memoryMib?: number; gpus?: readonly string[] } = {}): Inventory {
  return {
    machineId: 'machine1',
    machineName: 'm',
    cpuIds: range(from.cpus ?? 8),
    memoryMib: from.memoryMib ?? 16_384,
    gpus: (from.gpus ?? []).map((model, index) => ({ uuid: `GPU-${index}`, model, vramMib: 24_564 })),
  };
}

const fours = Array.from({ length: 4 }, () => 'RTX 4090');
const holding = (slot: Slot | undefined): Holder => ({
  units: slot?.units ?? [],
  cpuIds: slot?.cpuIds ?? [],
  memoryMib: slot?.memoryMib ?? 0,
});
const sizes = (slots: readonly Slot[]) => slots.map((slot) => slot.gpuUuids.length).toSorted((a, b) => a - b);

describe('a machine without GPUs', () => {
  it('is cut into two shares of whole cores and equal memory, a part left to itself', () => {
    const slots = cutMachine(aMachine(), {});

    expect(slots.map(({ units, cpuIds, gpuUuids }) => ({ units, cpuIds, gpuUuids }))).toEqual([
      { units: ['cpu:0'], cpuIds: [0, 1, 2, 3], gpuUuids: [] },
      { units: ['cpu:1'], cpuIds: [4, 5, 6, 7], gpuUuids: [] },
    ]);
    expect(slots.map((slot) => slot.memoryMib)).toEqual([7_782, 7_782]);
    expect(slots.every((slot) => slot.share === 0.5)).toBe(true);
  });

  it('lets shares take turns on a core where there are more of them than cores', () => {
    const slots = cutMachine(aMachine({ cpus: 2 }), { maxSessions: 3 });

    expect(slots.map((slot) => slot.cpuIds)).toEqual([[0], [1], [0]]);
    expect(freeSlots(aMachine({ cpus: 2 }), [holding(slots[0])], { maxSessions: 3 }).map((slot) => slot.units)).toEqual([
      ['cpu:1'],
      ['cpu:2'],
    ]);
  });

  it('offers nothing that a container holds', () => {
    const [first] = cutMachine(aMachine(), {});

    expect(freeSlots(aMachine(), [holding(first)], {}).map((slot) => slot.units)).toEqual([['cpu:1']]);
    expect(freeSlots(aMachine(), [], {})).toHaveLength(2);
  });

  it('counts an ended container for nothing', () => {
    expect(freeSlots(aMachine(), [{ units: [], cpuIds: [], memoryMib: 0 }], { maxSessions: 1 })).toHaveLength(1);
  });

  it('believes memory and cores rather than names when the machine was cut otherwise before', () => {
    const [half] = cutMachine(aMachine(), { maxSessions: 2 });

    const free = freeSlots(aMachine(), [holding(half)], { maxSessions: 4 });

    expect(free.map((slot) => slot.cpuIds)).toEqual([
      [4, 5],
      [6, 7],
    ]);
  });
});

describe('a machine with GPUs', () => {
  it('is cut into blocks of powers of two per model with cores and memory in proportion', () => {
    const slots = cutMachine(aMachine({ gpus: fours }), {});

    expect(sizes(slots)).toEqual([1, 1, 1, 1, 2, 2, 4]);
    const whole = slots.find((slot) => slot.gpuUuids.length === 4);
    expect(whole).toMatchObject({ cpuIds: range(8), share: 1, vramMib: 24_564 });
    const single = slots.find((slot) => slot.key === 'gpu:GPU-1');
    expect(single).toMatchObject({ cpuIds: [2, 3], memoryMib: 3_891, gpuModel: 'RTX 4090' });
    expect(whole?.memoryMib).toBe(4 * 3_891);
  });

  it.each([
    [1, [1]],
    [3, [1, 1, 1, 2]],
    [6, [1, 1, 1, 1, 1, 1, 2, 2, 2, 4]],
  ])('with %i GPUs has blocks of %j', (count, expected) => {
    expect(sizes(cutMachine(aMachine({ gpus: fours.concat(fours).slice(0, count) }), {}))).toEqual(expected);
  });

  it('never mixes models in a block', () => {
    const slots = cutMachine(aMachine({ gpus: ['A', 'B', 'A'] }), {});

    expect(slots.map((slot) => slot.key).sort()).toEqual(['gpu:GPU-0', 'gpu:GPU-0+gpu:GPU-2', 'gpu:GPU-1', 'gpu:GPU-2']);
  });

  it('takes away every block that shares a GPU with a session', () => {
    const machine = aMachine({ gpus: fours });
    const single = cutMachine(machine, {}).find((slot) => slot.key === 'gpu:GPU-1');

    const free = freeSlots(machine, [holding(single)], {});

    expect(free.map((slot) => slot.key)).toEqual(['gpu:GPU-0', 'gpu:GPU-2', 'gpu:GPU-3', 'gpu:GPU-2+gpu:GPU-3']);
  });

  it('offers nothing once the most sessions run, however many GPUs are free', () => {
    const machine = aMachine({ gpus: fours });

    expect(freeSlots(machine, [holding(cutMachine(machine, {})[0])], { maxSessions: 1 })).toEqual([]);
  });

  it('never sells a GPU, a core or a MiB twice, whatever is rented in whatever order', () => {
    const machine = aMachine({ gpus: [...fours, ...fours], cpus: 20 });
    const holders: Holder[] = [];
    for (let turn = 0; ; turn += 1) {
      const free = freeSlots(machine, holders, {});
      if (free.length === 0) break;
      holders.push(holding(free[(turn * 7) % free.length]));
    }

    const units = holders.flatMap((holder) => holder.units);
    const cpus = holders.flatMap((holder) => holder.cpuIds);
    expect(new Set(units).size).toBe(units.length);
    expect(units).toHaveLength(8);
    expect(new Set(cpus).size).toBe(cpus.length);
    expect(holders.reduce((sum, holder) => sum + holder.memoryMib, 0)).toBeLessThanOrEqual(machine.memoryMib);
  });
});
