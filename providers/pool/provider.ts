import type { Clock } from '../../src/core/clock.ts';
import { assertNever } from '../../src/core/assert-never.ts';
import type { Capabilities } from '../../src/provider/capabilities.ts';
import { normaliseGpuName } from '../../src/provider/gpu-name.ts';
import { instanceId, offerId } from '../../src/provider/ids.ts';
import type { Instance, Utilisation } from '../../src/provider/instance.ts';
import { PoolError, type MachinePool, type PoolInstance, type PoolSlot } from '../../src/provider/machine-pool.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { CallOptions, Provider } from '../../src/provider/provider.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import { POOL, toProviderError } from './mapping.ts';

/** What an offer's price is stated for, where the machine has as much. */
const DEFAULT_DISK_GB = 50;

const CAPABILITIES: Capabilities = {
  // an engine answers for what it runs: two answers a moment apart are enough
  absence: { observations: 2, spacingMs: 1_000, windowMs: 2_000, kinds: ['get', 'list'] },
  simulated: false,
  sshKeysAtCreate: 'many',
  customImage: true,
  environment: true,
  onStart: true,
  templates: false,
  interruptible: false,
  privateAddresses: true,
  billing: { starting: 'full', paused: 'full' },
  createTimeoutMs: 60_000,
  offerRefreshMs: 5_000,
  defaultUser: 'root',
};

/** Machines that we own, behind the same verbs as a market. */
export function createPoolProvider({ pool, clock }: { pool: MachinePool; clock: Pick<Clock, 'now'> }): Provider {
  async function attempt<T>(operation: ProviderOperation, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw toProviderError(thrown, operation);
    }
  }

  async function find(id: string, options: CallOptions): Promise<Instance | undefined> {
    const found = await pool.get(id, options);
    return found === undefined ? undefined : toInstance(found, clock.now());
  }

  return {
    id: POOL,
    capabilities: CAPABILITIES,
    listOffers: (_, options) =>
      attempt('ListOffers', async () => {
        const observedAt = clock.now();
        const slots = await pool.listSlots(options);
        return { offers: slots.map(toOffer), observedAt, dropped: 0 };
      }),
    createInstance: (request, options) =>
      attempt('CreateInstance', async () => {
        const started = await pool.start(
          {
            slotId: request.offer.providerOfferId,
            tag: request.tag,
            sshPublicKeys: request.sshPublicKeys,
            environment: request.environment,
            ...(request.image !== undefined && { image: request.image }),
            ...(request.onStart !== undefined && { onStart: request.onStart }),
          },
          options,
        );
        return toInstance(started, clock.now());
      }),
    getInstance: (id, options) => attempt('GetInstanceStatus', () => find(id, options)),
    listInstances: (options) =>
      attempt('ListAllInstances', async () => {
        const instances = await pool.list(options);
        return instances.map((instance) => toInstance(instance, clock.now()));
      }),
    destroyInstance: (id, options) =>
      attempt('DestroyInstance', async () => {
        await pool.stop(id, options);
        return (await pool.get(id, options)) === undefined ? 'gone' : 'destroying';
      }),
    check: (options) =>
      attempt('Check', async () => {
        const problem = await pool.preflight(options);
        if (problem !== undefined) throw new PoolError('unreachable', problem);
      }),
  };
}

/** Without a machine's name: one slot that was taken in between says nothing against the others of the same machine. */
function toOffer(slot: PoolSlot): Offer {
  return {
    id: offerId(`${POOL}-${slot.slotId}`),
    provider: POOL,
    providerOfferId: slot.slotId,
    gpuType: slot.gpuCount === 0 ? 'CPU' : normaliseGpuName(slot.gpuType),
    gpuCount: slot.gpuCount,
    vramMib: slot.vramMib,
    cpuCores: slot.cpuCores,
    memoryMib: slot.memoryMib,
    diskGb: Math.min(DEFAULT_DISK_GB, slot.diskGb),
    minDiskGb: 1,
    maxDiskGb: slot.diskGb,
    priceMicrosPerHour: slot.priceMicrosPerHour,
    diskMicrosPerGbHour: 0,
    location: slot.location,
    reliability: 1,
    confidence: 1,
    ...(slot.cudaVersion !== undefined && { cudaVersion: slot.cudaVersion }),
    interruptible: false,
    units: 1,
  };
}

function toInstance(from: PoolInstance, readAt: number): Instance {
  const utilisation = utilisationOf(from, readAt);
  const common = {
    id: instanceId(from.instanceId),
    ...(from.tag !== undefined && { tag: from.tag }),
    createdAt: from.createdAt,
    ...(utilisation !== undefined && { utilisation }),
  };
  switch (from.state) {
    case 'running':
      if (from.ssh === undefined) return { ...common, state: 'starting' };
      return { ...common, state: 'running', ssh: sshOf(from.ssh) };
    case 'failed':
      return { ...common, state: 'failed', reason: from.failure ?? 'the container ended' };
    case 'starting':
    case 'paused':
    case 'stopping':
      return { ...common, state: from.state };
    default:
      return assertNever(from.state, 'state');
  }
}

function sshOf({ host, port, user, hostKey }: NonNullable<PoolInstance['ssh']>) {
  return { user, ...(hostKey !== undefined && { hostKey }), routes: [{ host, port }] };
}

function utilisationOf({ cpuPercent, gpuPercent }: PoolInstance, sampledAt: number): Utilisation | undefined {
  if (cpuPercent === undefined && gpuPercent === undefined) return undefined;
  return { ...(cpuPercent !== undefined && { cpuPercent }), ...(gpuPercent !== undefined && { gpuPercent }), sampledAt };
}
