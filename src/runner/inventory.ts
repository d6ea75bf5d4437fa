import { createHash } from 'node:crypto';
import { readFile, statfs } from 'node:fs/promises';
import type { Clock } from '../core/clock.ts';
import type { Inventory } from '../runner-protocol/messages.ts';
import { parseCpuList } from './cpu-list.ts';
import type { DockerEngine, EngineInfo } from './docker-engine.ts';
import type { DockerAddress } from './docker-host.ts';
import { readGpus, type GpuInventory, type RunProgram } from './gpu-inventory.ts';

const MIB = 1024 * 1024;
const GB = 1_000_000_000;
/** nvidia-smi takes a second and more on an idle machine; GPUs come and go with a reboot. */
const GPUS_KNOWN_FOR_MS = 30_000;

export interface MachineInventory {
  read(signal: AbortSignal): Promise<Inventory>;
}

export function createMachineInventory(deps: {
  engine: Pick<DockerEngine, 'info'>;
  address: DockerAddress;
  run: RunProgram;
  clock: Pick<Clock, 'monotonicMs'>;
}): MachineInventory {
  let known: { gpus: GpuInventory; atMs: number } | undefined;

  async function gpus(signal: AbortSignal): Promise<GpuInventory> {
    if (deps.address.kind === 'network') return { gpus: [] };
    if (known === undefined || deps.clock.monotonicMs() - known.atMs > GPUS_KNOWN_FOR_MS) {
      known = { gpus: await readGpus(deps.run, signal), atMs: deps.clock.monotonicMs() };
    }
    return known.gpus;
  }

  return {
    async read(signal) {
      const info = await deps.engine.info(signal);
      const local = deps.address.kind === 'socket';
      const found = await gpus(signal);
      return {
        machineId: machineId(info),
        machineName: info.Name ?? 'docker',
        cpuIds: await cpuIds(info.NCPU, local),
        memoryMib: Math.max(1, Math.floor(info.MemTotal / MIB)),
        ...(local && (await freeGb(info.DockerRootDir))),
        gpus: [...found.gpus],
        ...(found.cudaVersion !== undefined && { cudaVersion: found.cudaVersion }),
      };
    },
  };
}

/** Two engines on one machine may share an id (Docker 20 keeps it in /etc); their data folders differ. */
export function machineId(info: Pick<EngineInfo, 'ID' | 'DockerRootDir'>): string {
  return createHash('sha256').update(`${info.ID}\n${info.DockerRootDir}`).digest('hex').slice(0, 12);
}

/** The engine tells how many; which ones they are, this process's own mask or the kernel's list tells, if it has as many. */
async function cpuIds(count: number, local: boolean): Promise<number[]> {
  const counted = Array.from({ length: count }, (_, id) => id);
  if (!local) return counted;
  const mask = /^Cpus_allowed_list:\s*(\S+)$/m.exec(await textOf('/proc/self/status'))?.[1];
  const lists = [mask, await textOf('/sys/devices/system/cpu/online')];
  return lists.map((list) => parseCpuList(list ?? '')).find((ids) => ids?.length === count) ?? counted;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return ''; // not Linux: the engine's count is used
  }
}

async function freeGb(folder: string): Promise<{ diskFreeGb?: number }> {
  try {
    const disk = await statfs(folder);
    return { diskFreeGb: Math.floor((disk.bavail * disk.bsize) / GB) };
  } catch {
    return {}; // a folder that only the engine may enter: unknown
  }
}
