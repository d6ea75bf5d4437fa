import type { WideJson } from './wide-json.ts';
import { containerOf, isLiving } from './world.ts';
import type { Node, World } from './world.ts';

/** What a Runner reads of its GPUs at each heartbeat; the GPU of a VPS is loaded round and round. */
export function gpuRows(world: World, node: Node): WideJson[] {
  const { gpus } = node;
  if (gpus === undefined) return [];
  const used = new Set(
    [...world.tasks.values()].flatMap((task) => {
      const container = task.hostname === node.hostname ? containerOf(world, task.id) : undefined;
      return container !== undefined && isLiving(container) ? task.gpus : [];
    }),
  );
  return Array.from({ length: gpus.count }, (_, index) => {
    const load = used.has(index) ? gpuLoad(world) : 0;
    const usedMib = Math.round((gpus.vramMib * load) / 125);
    return {
      gpu_id: index,
      name: gpus.name,
      driver_version: '570.133.07',
      pci_bus_id: `00000000:${(index + 1).toString(16).padStart(2, '0').toUpperCase()}:00.0`,
      gpu_utilization: load,
      graphics_clock_mhz: load === 0 ? 210 : 2_520,
      mem_utilization: Math.round(load / 2),
      mem_clock_mhz: load === 0 ? 405 : 10_501,
      memory_total_mib: gpus.vramMib,
      memory_used_mib: usedMib,
      memory_free_mib: gpus.vramMib - usedMib,
      temperature: 34 + Math.round(load / 3),
      fan_speed: -1,
      power_usage_mw: 22_000 + load * 3_800,
      power_limit_mw: 450_000,
    };
  });
}

export function gpuLoad(world: World): number {
  const { load, heartbeatMs } = world.knobs;
  return load[Math.floor(world.now() / heartbeatMs) % load.length] ?? 0;
}
