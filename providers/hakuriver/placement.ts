import { gpuKey } from '../../src/provider/gpu-name.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { Call, HakuClient } from './client.ts';
import type { Generation } from './dialect.ts';
import { failure } from './mapping.ts';
import type { Machines } from './machines.ts';
import { roomOf, takenBy, type Room, type Taken } from './offers.ts';
import type { NodeRow, TaskRow } from './schema.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';

/** Where a VPS goes: GPUs have to be named one by one, and then the machine, too. */
export interface Place {
  readonly hostname: string;
  readonly gpuIds: readonly number[];
  readonly cores: number;
  /** Zero: no limit can be set. */
  readonly memoryMib: number;
}

export interface Placement {
  /** What is free on each machine, those left out that cannot be read. */
  rooms(
    call: Call,
  ): Promise<{ readonly rooms: readonly Room[]; readonly dropped: number; readonly firstFault: string | undefined }>;
  /**
   * Chooses a place for the offer and keeps it for as long as `use` takes: the Host does not count what is only just being created. Throws
   * `capacity` when there is none.
   */
  hold<Result>(offer: Offer, call: Call, use: (place: Place) => Promise<Result>): Promise<Result>;
}

interface PlacementDeps {
  readonly client: HakuClient;
  readonly machines: Machines;
  readonly onTasksUnread: (error: ProviderError) => void;
}

export function createPlacement({ client, machines, onTasksUnread }: PlacementDeps): Placement {
  const held = new Set<Place>();

  async function look(
    call: Call,
  ): Promise<{ nodes: Awaited<ReturnType<HakuClient['nodes']>>; tasks: readonly TaskRow[]; generation: Generation }> {
    const { generation } = await client.dialect(call);
    const [nodes, vps, commands] = await Promise.all([client.nodes(call), client.activeVps(call), commandTasks(call)]);
    machines.note(nodes.rows);
    return { nodes, tasks: [...vps, ...commands], generation };
  }

  /** Their list of all tasks ever may have grown past reading. A create does without it: the Host itself refuses GPUs that are in use. */
  async function commandTasks(call: Call): Promise<readonly TaskRow[]> {
    try {
      return await client.tasks(call);
    } catch (error) {
      const isNeeded = call.operation !== 'CreateInstance' || call.signal.aborted;
      if (!(error instanceof ProviderError) || (isNeeded && error.kind !== 'protocol')) throw error;
      onTasksUnread(error);
      return [];
    }
  }

  function withHeld(taken: ReadonlyMap<string, Taken>, places: Iterable<Place>): ReadonlyMap<string, Taken> {
    const all = new Map(taken);
    for (const { hostname, gpuIds, cores } of places) {
      const before = all.get(hostname) ?? { gpuIds: new Set<number>(), cores: 0, declaredBytes: 0 };
      all.set(hostname, { ...before, gpuIds: new Set([...before.gpuIds, ...gpuIds]), cores: before.cores + cores });
    }
    return all;
  }

  return {
    async rooms(call) {
      const { nodes, tasks, generation } = await look(call);
      const taken = withHeld(takenBy(tasks), held);
      const rooms = nodes.rows.flatMap((row) => roomOf(row, { generation, taken }) ?? []);
      return { rooms, dropped: nodes.dropped, firstFault: nodes.firstFault };
    },

    async hold(offer, call, use) {
      // also what is let go while we look: the Host's answer may be from before it counted that
      const before = [...held];
      const { nodes, tasks, generation } = await look(call);
      const taken = withHeld(takenBy(tasks), new Set([...before, ...held]));
      const row = nodes.rows.find(({ hostname }) => hostname === offer.machineId);
      const place = placeFor(offer, row && roomOf(row, { generation, taken }), row);
      held.add(place);
      try {
        return await use(place);
      } finally {
        held.delete(place);
      }
    },
  };
}

function placeFor(offer: Offer, room: Room | undefined, row: NodeRow | undefined): Place {
  const { gpuType, gpuCount, cpuCores, memoryMib } = offer;
  if (row === undefined) throw noRoom('the machine is no longer in the cluster');
  if (row.status !== 'online') throw noRoom('the machine is offline');
  if (room === undefined || room.freeCores < cpuCores) {
    throw noRoom(`the machine has not enough free cores: ${room?.freeCores ?? 0} of the ${cpuCores} that it takes`);
  }
  if (gpuCount === 0) return { hostname: room.hostname, gpuIds: [], cores: cpuCores, memoryMib };
  const free = room.models.find(({ key }) => key === gpuKey(gpuType))?.freeIds ?? [];
  if (free.length < gpuCount) {
    throw noRoom(`the machine has not enough free GPUs: ${free.length} of the ${gpuCount} ${gpuType} that it takes`);
  }
  return { hostname: room.hostname, gpuIds: free.slice(0, gpuCount), cores: cpuCores, memoryMib };
}

function noRoom(why: string): ProviderError {
  return failure({ operation: 'CreateInstance', kind: 'capacity', why });
}
