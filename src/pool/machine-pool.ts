import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { MicroUsd } from '../core/money.ts';
import { PoolError, type MachinePool, type PoolInstance, type PoolSlot, type PoolStart } from '../provider/machine-pool.ts';
import type { CallOptions } from '../provider/provider.ts';
import {
  InstanceName,
  type Inventory,
  type RunnerReply,
  type RunnerRequest,
  type RunnerRequestKind,
  type SessionContainer,
  type StartOrder,
} from '../runner-protocol/messages.ts';
import { RunnerFailure, type RunnerLink } from '../runner-protocol/runner-link.ts';
import { cutMachine, freeSlots, SMALLEST_SLOT_MIB, type Slot } from './slots.ts';
import { createSlotGenerations } from './slot-generations.ts';

/** Stated where the machine's disk cannot be seen. */
const USUAL_DISK_GB = 50;
const LOCATION = 'local';

export interface MachinePoolConfig {
  /** What a session runs when it asks for no image of its own. */
  readonly image: string;
  /** Of one GPU or, without GPUs, of one session's share of the machine. */
  readonly priceMicrosPerHour: MicroUsd;
  readonly maxSessions?: number;
  /** A folder of the pool's own; it may not exist yet. */
  readonly dataFolder: string;
}

/** The pool in its one-machine form: what the runner at the other end of `link` has, cut into slots. Makes no call until it is asked. */
export function createMachinePool({
  link,
  clock,
  log,
  config,
}: {
  link: RunnerLink;
  clock: Pick<Clock, 'now'>;
  log: Log;
  config: MachinePoolConfig;
}): MachinePool {
  /**
   * Tags of the containers that this process makes or has made; one a session, for the life of the process, since a list that was begun
   * before a container started may be answered after it.
   */
  const ownStarts = new Set<string>();
  const generations = createSlotGenerations({ folder: config.dataFolder, clock, log });

  async function ask<Kind extends RunnerRequestKind>(
    request: Extract<RunnerRequest, { kind: Kind }>,
    options: CallOptions,
  ): Promise<RunnerReply<Kind>> {
    try {
      return await link.call<Kind>(request, options);
    } catch (error) {
      throw error instanceof RunnerFailure ? new PoolError(error.kind, error.message, error) : error;
    }
  }

  async function claim(slotId: string, containers: readonly SessionContainer[], options: CallOptions): Promise<Slot> {
    const { inventory } = await ask<'inventory'>({ kind: 'inventory' }, options);
    for (const slot of freeSlots(inventory, containers, config)) {
      if ((await generations.slotId(inventory.machineId, slot.key)) !== slotId) continue;
      try {
        await generations.advance(inventory.machineId, slot.key);
      } catch (cause) {
        throw new PoolError('unreachable', 'the pool cannot write to its data folder', cause);
      }
      return slot;
    }
    throw new PoolError('full', `slot ${slotId} is no longer free on this machine`);
  }

  /** A container that was made, and that nobody is starting, was left behind by a process that died: it will never run. */
  function describe(container: SessionContainer): PoolInstance {
    const instance = toPoolInstance(container);
    if (container.state !== 'created' || ownStarts.has(container.tag)) return instance;
    return {
      ...instance,
      state: 'failed',
      failure: 'the container was made and never started: the broker was stopped in between',
    };
  }

  async function preflight(options: CallOptions): Promise<string | undefined> {
    const { problem } = await ask<'preflight'>({ kind: 'preflight', image: config.image }, options);
    if (problem !== undefined) return problem;
    const { inventory } = await ask<'inventory'>({ kind: 'inventory' }, options);
    return tooLittleMemory(inventory);
  }

  function tooLittleMemory(inventory: Inventory): string | undefined {
    const slots = cutMachine(inventory, config);
    const smallest = Math.min(...slots.map((slot) => slot.memoryMib));
    if (smallest >= SMALLEST_SLOT_MIB) return undefined;
    return `not enough memory: of ${inventory.memoryMib} MiB each session would get ${smallest} MiB, and needs ${SMALLEST_SLOT_MIB}; lower POOL_MAX_SESSIONS`;
  }

  return {
    preflight,
    async listSlots(options) {
      const problem = await preflight(options);
      // a market that cannot serve is shown as failing, with the fix, rather than with offers that fail one by one
      if (problem !== undefined) throw new PoolError('unreachable', problem);
      const { inventory } = await ask<'inventory'>({ kind: 'inventory' }, options);
      const { containers } = await ask<'list'>({ kind: 'list', utilisation: 'omit' }, options);
      return Promise.all(
        freeSlots(inventory, containers, config).map(async (slot) =>
          toPoolSlot({ slot, inventory, slotId: await generations.slotId(inventory.machineId, slot.key), config }),
        ),
      );
    },
    async start(request, options) {
      const { containers } = await ask<'list'>({ kind: 'list', utilisation: 'omit' }, options);
      // An order with the same tag is the same attempt: what it made is returned, and finished where it was cut off (J17).
      const existing = containers.find((container) => container.tag === request.tag);
      if (existing !== undefined && existing.state !== 'starting' && existing.state !== 'created') return describe(existing);
      ownStarts.add(request.tag);
      try {
        const share = existing ?? (await claim(request.slotId, containers, options));
        const { container } = await ask<'start'>({ kind: 'start', order: orderOf(request, share, config.image) }, options);
        log.info({ tag: request.tag, instanceId: container.instanceId, units: share.units }, 'session container started');
        return describe(container);
      } catch (error) {
        ownStarts.delete(request.tag); // if something of it is left, nobody will start it
        throw error;
      }
    },
    async get(instanceId, options) {
      const name = InstanceName.safeParse(instanceId);
      if (!name.success) return undefined; // no machine of ours ever gave out such an id
      const { container } = await ask<'get'>({ kind: 'get', instanceId: name.data }, options);
      return container === undefined ? undefined : describe(container);
    },
    async list(options) {
      const { containers } = await ask<'list'>({ kind: 'list', utilisation: 'include' }, options);
      return containers.map(describe);
    },
    async stop(instanceId, options) {
      const name = InstanceName.safeParse(instanceId);
      if (name.success) await ask<'stop'>({ kind: 'stop', instanceId: name.data }, options);
    },
  };
}

function orderOf(request: PoolStart, share: Pick<Slot, 'units' | 'cpuIds' | 'memoryMib'>, defaultImage: string): StartOrder {
  return {
    tag: request.tag,
    image: request.image ?? defaultImage,
    units: [...share.units],
    gpuUuids: share.units.filter((unit) => unit.startsWith('gpu:')).map((unit) => unit.slice('gpu:'.length)),
    cpuIds: [...share.cpuIds],
    memoryMib: share.memoryMib,
    sshPublicKeys: [...request.sshPublicKeys],
    environment: { ...request.environment },
    ...(request.onStart !== undefined && { onStart: request.onStart }),
  };
}

function toPoolSlot(from: { slot: Slot; inventory: Inventory; slotId: string; config: MachinePoolConfig }): PoolSlot {
  const { slot, inventory, slotId, config } = from;
  return {
    slotId,
    machineId: inventory.machineId,
    machineName: inventory.machineName,
    gpuType: slot.gpuModel ?? 'CPU',
    gpuCount: slot.gpuUuids.length,
    vramMib: slot.vramMib,
    cpuCores: slot.cpuIds.length,
    memoryMib: slot.memoryMib,
    diskGb: diskOf(slot, inventory),
    priceMicrosPerHour: config.priceMicrosPerHour * Math.max(1, slot.gpuUuids.length),
    location: LOCATION,
    ...(inventory.cudaVersion !== undefined && { cudaVersion: inventory.cudaVersion }),
  };
}

/** In steps, so that an offer does not change with each file that somebody writes. */
function diskOf(slot: Slot, { diskFreeGb }: Inventory): number {
  if (diskFreeGb === undefined) return USUAL_DISK_GB;
  const share = diskFreeGb * slot.share;
  const step = share >= 100 ? 10 : share >= 20 ? 5 : 1;
  return Math.max(1, Math.floor(share / step) * step);
}

function toPoolInstance(container: SessionContainer): PoolInstance {
  return {
    instanceId: container.instanceId,
    tag: container.tag,
    state: container.state === 'created' ? 'starting' : container.state,
    ...(container.failure !== undefined && { failure: container.failure }),
    ...(container.ssh !== undefined && { ssh: sshOf(container.ssh) }),
    ...(container.cpuPercent !== undefined && { cpuPercent: container.cpuPercent }),
    ...(container.gpuPercent !== undefined && { gpuPercent: container.gpuPercent }),
    createdAt: container.createdAt,
  };
}

function sshOf({ host, port, user, hostKey }: NonNullable<SessionContainer['ssh']>): NonNullable<PoolInstance['ssh']> {
  return { host, port, user, ...(hostKey !== undefined && { hostKey }) };
}
