import type { Inventory, MachineGpu } from '../runner-protocol/messages.ts';

/*
 * How a machine is cut up. A *unit* is what cannot be divided: a GPU with its share of cores and memory or, on a machine without GPUs, one of
 * as many equal shares as sessions may run. A *slot* is a unit, or a block of 2, 4, 8 … GPUs of one model. Blocks are aligned, as in a buddy
 * allocator: the GPUs of a block are neighbours, blocks of one size never overlap, and small sessions do not scatter over all large blocks.
 */

/** An indivisible share of a machine. */
interface Unit {
  readonly name: string;
  readonly cpuIds: readonly number[];
  readonly memoryMib: number;
  readonly gpu?: MachineGpu;
}

/** What one session can have of a machine. */
export interface Slot {
  /** The same as long as the machine is cut the same way. */
  readonly key: string;
  readonly units: readonly string[];
  readonly gpuModel?: string;
  readonly gpuUuids: readonly string[];
  /** Of each GPU; 0 without one. */
  readonly vramMib: number;
  readonly cpuIds: readonly number[];
  readonly memoryMib: number;
  /** Of the machine's units, as a fraction: the share of the disk. */
  readonly share: number;
}

/** What a container takes; all zero once it has ended. */
export interface Holder {
  readonly units: readonly string[];
  readonly cpuIds: readonly number[];
  readonly memoryMib: number;
}

interface CutSettings {
  /** The most sessions at once; absent means one a GPU or, without GPUs, two. */
  readonly maxSessions?: number;
}

const DEFAULT_SESSIONS_WITHOUT_GPU = 2;
/** Left to the machine itself: a twentieth, at least this and at most half. */
const LEAST_RESERVE_MIB = 512;
/** Less than this runs no login and a shell with comfort. */
export const SMALLEST_SLOT_MIB = 256;

/** Every slot that the machine has, free or not; those too small to be of use included. */
export function cutMachine(inventory: Inventory, settings: CutSettings): readonly Slot[] {
  return inventory.gpus.length > 0 ? gpuSlots(inventory) : cpuSlots(inventory, sessionLimit(inventory, settings));
}

export function sessionLimit(inventory: Pick<Inventory, 'gpus'>, { maxSessions }: CutSettings): number {
  return maxSessions ?? (inventory.gpus.length || DEFAULT_SESSIONS_WITHOUT_GPU);
}

/** Those slots of which no container holds any part, now. */
export function freeSlots(inventory: Inventory, holders: readonly Holder[], settings: CutSettings): readonly Slot[] {
  const active = holders.filter((holder) => holder.units.length > 0 || holder.memoryMib > 0 || holder.cpuIds.length > 0);
  if (active.length >= sessionLimit(inventory, settings)) return [];
  const slots = cutMachine(inventory, settings);
  const heldUnits = new Set(active.flatMap((holder) => holder.units));
  const heldCpus = new Set(active.flatMap((holder) => holder.cpuIds));
  const freeMib = usableMib(inventory) - active.reduce((sum, holder) => sum + holder.memoryMib, 0);
  const coresAreShared = unitCount(inventory, settings) > inventory.cpuIds.length;
  return slots.filter(
    (slot) =>
      slot.memoryMib <= freeMib &&
      !slot.units.some((unit) => heldUnits.has(unit)) &&
      // containers cut by other settings hold cores that are not named alike
      (coresAreShared || !slot.cpuIds.some((id) => heldCpus.has(id))),
  );
}

function unitCount(inventory: Inventory, settings: CutSettings): number {
  return inventory.gpus.length || sessionLimit(inventory, settings);
}

function usableMib({ memoryMib }: Inventory): number {
  const reserve = Math.min(Math.max(LEAST_RESERVE_MIB, Math.ceil(memoryMib / 20)), Math.floor(memoryMib / 2));
  return memoryMib - reserve;
}

function cpuSlots(inventory: Inventory, count: number): Slot[] {
  return Array.from({ length: count }, (_, index) => {
    const unit = { name: `cpu:${index}`, cpuIds: cpusOf(inventory, index, count), memoryMib: memoryOf(inventory, count) };
    return slotOf(`cpu:${index}/${count}`, [unit], count);
  });
}

function gpuSlots(inventory: Inventory): Slot[] {
  const total = inventory.gpus.length;
  const units = inventory.gpus.map((gpu, index) => ({
    name: `gpu:${gpu.uuid}`,
    cpuIds: cpusOf(inventory, index, total),
    memoryMib: memoryOf(inventory, total),
    gpu,
  }));
  const slots: Slot[] = [];
  for (const alike of byModel(units)) {
    for (let size = 1; size <= alike.length; size *= 2) {
      for (let first = 0; first + size <= alike.length; first += size) {
        const block = alike.slice(first, first + size);
        slots.push(slotOf(block.map((unit) => unit.name).join('+'), block, total));
      }
    }
  }
  return slots;
}

function byModel<U extends { readonly gpu: MachineGpu }>(units: readonly U[]): U[][] {
  const models = new Map<string, U[]>();
  for (const unit of units) {
    const model = `${unit.gpu.model} ${unit.gpu.vramMib}`;
    models.set(model, [...(models.get(model) ?? []), unit]);
  }
  return [...models.values()];
}

function slotOf(key: string, units: readonly Unit[], total: number): Slot {
  const gpus = units.map((unit) => unit.gpu).filter((gpu) => gpu !== undefined);
  return {
    key,
    units: units.map((unit) => unit.name),
    ...(gpus[0] !== undefined && { gpuModel: gpus[0].model }),
    gpuUuids: gpus.map((gpu) => gpu.uuid),
    vramMib: gpus[0]?.vramMib ?? 0,
    cpuIds: [...new Set(units.flatMap((unit) => unit.cpuIds))],
    memoryMib: units.reduce((sum, unit) => sum + unit.memoryMib, 0),
    share: units.length / total,
  };
}

/** Whole cores, a unit's own as far as they last; where there are more units than cores, several take turns on one. */
function cpusOf({ cpuIds }: Inventory, index: number, count: number): number[] {
  const each = Math.floor(cpuIds.length / count);
  if (each >= 1) return cpuIds.slice(index * each, (index + 1) * each);
  return cpuIds.slice(index % cpuIds.length, (index % cpuIds.length) + 1);
}

function memoryOf(inventory: Inventory, count: number): number {
  return Math.max(1, Math.floor(usableMib(inventory) / count));
}
