import { SECOND_MS } from '../../src/core/duration.ts';
import { isPast } from '../../src/core/moment.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import type { Capabilities } from '../../src/provider/capabilities.ts';
import { createFailure } from '../../src/provider/failure.ts';
import { providerId } from '../../src/provider/ids.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { ProviderDeps } from '../../src/provider/provider-module.ts';
import type { CallOptions, CreateRequest, Provider } from '../../src/provider/provider.ts';
import { parseAuthorizedKeys } from './authorized-keys.ts';
import { chanceOf } from './chance.ts';
import type { Environment } from './environment.ts';
import { faultDice } from './faults.ts';
import type { Host } from './hosts.ts';
import type { InstanceRecord } from './instance-record.ts';
import { openInstances } from './instances.ts';
import { createMarket } from './market.ts';
import type { FoundOffer } from './market.ts';
import { LOGIN_USER } from './ssh-server.ts';

export const SIMULATED = providerId('simulated');

const failure = createFailure(SIMULATED);

const SLOW_BOOT_FACTOR = 10;
const LATE_MS = 5 * SECOND_MS;
const VANISHES_WITHIN_MS = 60 * SECOND_MS;
const PREEMPTED_WITHIN_MS = 60 * SECOND_MS;
const TAKEN_FOR_MS = 60 * SECOND_MS;
const RETRY_AFTER_MS = SECOND_MS;

type SimulatedDeps = Pick<ProviderDeps, 'clock' | 'random' | 'log' | 'dataFolder'>;

/** Opens the market in its folder: instances of an earlier process go on where time has brought them. */
export async function createSimulatedProvider(environment: Environment, deps: SimulatedDeps): Promise<Provider> {
  const { clock, random, log, dataFolder } = deps;
  const seed = environment.SIMULATED_SEED;
  const createMs = Math.round(environment.SIMULATED_CREATE_SECONDS * SECOND_MS);
  const bootMs = Math.round(environment.SIMULATED_BOOT_SECONDS * SECOND_MS);
  const dice = faultDice({ seed, rates: environment.SIMULATED_FAULTS });
  const market = createMarket({
    provider: SIMULATED,
    seed,
    count: environment.SIMULATED_OFFERS,
    interruptibleShare: environment.SIMULATED_INTERRUPTIBLE,
  });
  const instances = await openInstances({
    clock,
    random,
    log,
    folder: dataFolder,
    seed,
    ports: environment.SIMULATED_PORTS,
    destroyMs: Math.round(environment.SIMULATED_DESTROY_SECONDS * SECOND_MS),
    dice,
  });
  /** Hosts that somebody else rented, and until when. */
  const takenUntil = new Map<number, number>();
  let calls = 0;
  let creates = 0;

  log.warn(
    { provider: SIMULATED, offers: environment.SIMULATED_OFFERS, seed },
    'the simulated market is on: its offers, machines and prices are not real',
  );

  const isUnavailable = (hostIndex: number) => instances.isHeld(hostIndex) || (takenUntil.get(hostIndex) ?? 0) > clock.now();

  /** What every call goes through before it does anything. */
  function begin(operation: ProviderOperation, { signal }: CallOptions): void {
    if (signal.aborted) {
      throw failure({ operation, kind: 'unavailable', why: 'the call was cut short before it was sent', cause: signal.reason });
    }
    calls += 1;
    if (dice('unavailable', calls))
      throw failure({ operation, kind: 'unavailable', why: 'the simulated market is out of service' });
    if (dice('rate_limited', calls)) {
      throw failure({
        operation,
        kind: 'rate_limited',
        why: 'the simulated market was called too often',
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
  }

  /** The answer's way back. The request has been sent: whoever stops listening does not know what became of it. */
  async function answerAfter(ms: number, { signal }: CallOptions): Promise<void> {
    try {
      await clock.sleep(ms, signal);
    } catch (cause) {
      throw failure({
        operation: 'CreateInstance',
        kind: 'ambiguous',
        why: 'cut short before the answer came; it may have been created',
        cause,
      });
    }
  }

  function lost(): ProviderError {
    return failure({
      operation: 'CreateInstance',
      kind: 'ambiguous',
      why: 'the connection broke before the answer came; it may have been created',
    });
  }

  /** What the market makes of a request: a host at a price, or why not. */
  function consider(request: CreateRequest): { host: Host; priceMicrosPerHour: MicroUsd } | ProviderError {
    const found = market.find(request.offer.providerOfferId, clock.now());
    if (found === undefined) return gone(request.offer);
    if (dice('taken', creates)) takenUntil.set(found.host.index, clock.now() + TAKEN_FOR_MS);
    if (isUnavailable(found.host.index)) return gone(request.offer);
    const fault = faultIn(request, found.offer);
    if (fault !== undefined) return failure({ operation: 'CreateInstance', kind: 'rejected', why: fault });
    const priceMicrosPerHour = request.offer.interruptible ? bidPrice(request, found) : agreedPrice(request, found);
    if (priceMicrosPerHour === undefined) {
      return failure({
        operation: 'CreateInstance',
        kind: 'capacity',
        why: `offer ${request.offer.id} now costs more than the most that may be paid`,
      });
    }
    return { host: found.host, priceMicrosPerHour };
  }

  /** The record of the new instance with its fate drawn. */
  function conceive(request: CreateRequest, host: Host, priceMicrosPerHour: number): InstanceRecord {
    const now = clock.now();
    const ordinal = instances.takeOrdinal();
    const landsAt = dice('create_late', ordinal) ? now + createMs + LATE_MS : now + Math.floor(createMs / 2);
    const bootsAt = Math.max(landsAt, now + createMs) + bootMs * (dice('slow_boot', ordinal) ? SLOW_BOOT_FACTOR : 1);
    const vanishesAt = bootsAt + Math.floor(VANISHES_WITHIN_MS * chanceOf(seed, 'vanishes after', ordinal));
    const preemptsAt = bootsAt + Math.floor(PREEMPTED_WITHIN_MS * chanceOf(seed, 'preempted after', ordinal));
    const { model } = host;
    return {
      id: `sim-${ordinal}-${Buffer.from(random.bytes(4)).toString('hex')}`,
      ordinal,
      tag: request.tag,
      hostIndex: host.index,
      ...(model && { gpu: { smiName: model.smiName, vramMib: model.vramMib, powerLimitWatts: model.powerLimitWatts } }),
      gpuCount: host.gpuCount,
      cpuCores: host.cpuCores,
      memoryMib: host.memoryMib,
      diskGb: request.diskGb,
      priceMicrosPerHour,
      ...(request.image !== undefined && { image: request.image }),
      environment: { ...request.environment },
      authorizedKeys: request.sshPublicKeys.map((key) => `${key}\n`).join(''),
      createdAt: now,
      landsAt,
      ...(dice('stuck_boot', ordinal) ? {} : { bootsAt }),
      ...(dice('fail_boot', ordinal) && { failsAt: bootsAt }),
      ...(dice('vanish', ordinal) && { vanishesAt }),
      ...(request.offer.interruptible && dice('preempt', ordinal) && { preemptsAt }),
    };
  }

  return {
    id: SIMULATED,
    capabilities: capabilitiesFor(createMs, environment.SIMULATED_INTERRUPTIBLE > 0),

    async listOffers(query, options) {
      begin('ListOffers', options);
      const observedAt = clock.now();
      return { offers: market.list(observedAt, query, isUnavailable), observedAt, dropped: 0 };
    },

    async createInstance(request, options) {
      begin('CreateInstance', options);
      if (isPast(request.notAfter, clock)) {
        throw failure({
          operation: 'CreateInstance',
          kind: 'unavailable',
          why: 'it was too late to send the call, so nothing was created',
        });
      }
      creates += 1;
      const verdict = consider(request);
      if (verdict instanceof ProviderError) {
        await answerAfter(createMs / 2, options);
        throw verdict;
      }
      if (dice('create_void', creates)) {
        await answerAfter(createMs, options);
        throw lost();
      }
      const record = conceive(request, verdict.host, verdict.priceMicrosPerHour);
      try {
        await instances.add(record);
      } catch (cause) {
        throw failure({
          operation: 'CreateInstance',
          kind: 'ambiguous',
          why: 'the simulated market could not write its file',
          cause,
        });
      }
      await answerAfter(createMs, options);
      const instance = instances.get(record.id);
      if (instance === undefined || dice('create_lost', record.ordinal)) throw lost();
      return instance;
    },

    async getInstance(id, options) {
      begin('GetInstanceStatus', options);
      return instances.get(id);
    },

    async listInstances(options) {
      begin('ListAllInstances', options);
      return dice('list_empty', calls) ? [] : instances.list();
    },

    async destroyInstance(id, options) {
      begin('DestroyInstance', options);
      try {
        return await instances.destroy(id);
      } catch (cause) {
        throw failure({
          operation: 'DestroyInstance',
          kind: 'unavailable',
          why: 'the simulated market could not write its file',
          cause,
        });
      }
    },

    async check(options) {
      begin('Check', options);
    },

    close: () => instances.close(),
  };
}

function capabilitiesFor(createMs: number, interruptible: boolean): Capabilities {
  return {
    absence: { observations: 3, spacingMs: SECOND_MS, windowMs: 5 * SECOND_MS, kinds: ['get', 'list'] },
    simulated: true,
    sshKeysAtCreate: 'many',
    customImage: true,
    environment: true,
    onStart: false,
    templates: false,
    interruptible,
    privateAddresses: true,
    billing: { starting: 'full', paused: 'disk' },
    createTimeoutMs: createMs + 30 * SECOND_MS,
    offerRefreshMs: 30 * SECOND_MS,
    defaultUser: LOGIN_USER,
  };
}

/** What is wrong with the request itself. */
function faultIn({ diskGb, sshPublicKeys }: CreateRequest, { id, minDiskGb, maxDiskGb }: Offer): string | undefined {
  if (diskGb < minDiskGb || diskGb > maxDiskGb)
    return `offer ${id} has disks of ${minDiskGb} to ${maxDiskGb} GB, not ${diskGb} GB`;
  const isReadable = (key: string) => !key.includes('\n') && parseAuthorizedKeys(key).length === 1;
  return sshPublicKeys.every(isReadable) ? undefined : 'an SSH public key cannot be read';
}

/** The price that the caller was shown when it is not too old, else today's, else the former one; none above the caller's limit. */
function agreedPrice({ offer, diskGb, maxPriceMicrosPerHour }: CreateRequest, found: FoundOffer): MicroUsd | undefined {
  const shown = priceWithDisk(offer, diskGb);
  const prices = [found.offer, found.formerOffer]
    .map((each) => priceWithDisk(each, diskGb))
    .filter((price) => price <= maxPriceMicrosPerHour);
  return prices.find((price) => price === shown) ?? prices[0];
}

/** The bid and the disk; none when the floor has risen above the bid, or together they are more than may be paid. */
function bidPrice(request: CreateRequest, found: FoundOffer): MicroUsd | undefined {
  const { offer, diskGb, bidMicrosPerHour: bid = 0, maxPriceMicrosPerHour } = request;
  const price = bid + Math.round(diskGb * offer.diskMicrosPerGbHour);
  return bid < (found.floorMicrosPerHour ?? Infinity) || price > maxPriceMicrosPerHour + 1 ? undefined : price;
}

function gone(offer: Offer): ProviderError {
  return failure({ operation: 'CreateInstance', kind: 'capacity', why: `offer ${offer.id} is no longer available` });
}
