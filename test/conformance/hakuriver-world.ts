import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { startHakuRiverEmulator } from '../../providers/hakuriver/emulator.ts';
import type { HakuRiverEmulator, HakuRiverEmulatorOptions } from '../../providers/hakuriver/emulator.ts';
import { hakuriver } from '../../providers/hakuriver/index.ts';
import { systemClock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { FaultInput } from '../emulators/kit/fault.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { recordingLog, type RecordingLog } from '../support/log.ts';
import {
  countTags,
  createWorldTime,
  misbehaviour,
  noMachinesAt,
  plantsForeign,
  UNTIL_HEALED,
  type Refusals,
} from './emulated-vendor.ts';
import { watchTraffic, type Traffic } from './traffic.ts';
import type { AccountControls, ConformanceWorld } from './world.ts';

const MINUTE_MS = 60_000;
/** Their list has no pages; so many strangers are planted to see that all are shown. */
const MANY = 6;
/** A connection on loopback is there at once, or refused. */
const LONGEST_DIAL_MS = 50;

export interface HakuWorldOptions extends Pick<
  HakuRiverEmulatorOptions,
  'seed' | 'dialect' | 'knobs' | 'scenario' | 'nodes' | 'auth'
> {
  /** Leave is given to break answers; checks that want a fault of every kind, funds too, are not for this vendor. */
  readonly withFaults?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  /** Shared with a broker; the world makes its own otherwise. */
  readonly clock?: FakeClock;
}

export interface HakuWorld extends ConformanceWorld {
  readonly emulator: HakuRiverEmulator;
  readonly clock: FakeClock;
  /** With the connections that are being opened. */
  readonly traffic: Traffic;
  readonly log: RecordingLog;
  /** The same adapter in a broker that has just started: it remembers nothing. */
  restarted(): Promise<Provider>;
}

/**
 * The adapter as it ships against the emulated cluster, over HTTP and TCP. Both live by one fake clock, which moves only while no exchange and
 * no dial is under way.
 */
export async function makeHakuWorld({
  withFaults = false,
  environment = {},
  clock = new FakeClock('2026-11-22T03:33:00Z'),
  ...options
}: HakuWorldOptions): Promise<HakuWorld> {
  const traffic = watchTraffic();
  const dials = watchDials();
  const emulator = await startHakuRiverEmulator({ ...options, clock: traffic.vendorClock(clock) });
  const token = emulator.tokens?.operator;
  const log = recordingLog();
  const variables = hakuriver.environment.parse({
    HAKURIVER_HOST_URL: emulator.url,
    HAKURIVER_SSH_PROXY: `127.0.0.1:${emulator.proxyPort}`,
    HAKURIVER_PRICE_PER_HOUR: '0.5',
    ...(token !== undefined && { HAKURIVER_TOKEN: token }),
    ...environment,
  });
  const machinePool = noMachinesAt('HakuRiver');
  const deps = { clock, random: seededRandom(options.seed), log, dataFolder: 'none', machinePool };
  const restarted = () => hakuriver.create(variables, deps);
  const provider = await restarted();

  async function untilQuiet(): Promise<void> {
    do await traffic.untilQuiet();
    while (await dials.settle());
  }
  const { advance } = createWorldTime({ clock, untilQuiet });

  return {
    emulator,
    provider,
    clock,
    traffic: { ...traffic, busy: () => traffic.busy() + dials.opening() },
    log,
    restarted,
    advance,
    newTag: countTags(),
    unknownId: instanceId('1'),
    secrets: token === undefined ? [] : [token],
    limits: { answerMs: 2 * MINUTE_MS, bootMs: 5 * MINUTE_MS, goneMs: 15 * MINUTE_MS, listLagMs: 0 },
    controls: {
      plantForeign: plantsForeign((tag) => emulator.plant(tag === undefined ? {} : { tag })),
      pageSize: MANY,
      async takeOffer({ machineId = '' }) {
        emulator.occupy(machineId);
      },
      async setUnknownWord(id) {
        emulator.setStatus(id, 'defragmenting');
      },
      livingWithTag: async (tag) => [...emulator.livingWithTag(tag), ...emulator.startingWithTag(tag)].map(instanceId),
      ...(withFaults && faultControls(emulator)),
    },
    async close() {
      traffic.stopWatching();
      dials.stopWatching();
      await emulator.close();
    },
  };
}

function faultControls(emulator: HakuRiverEmulator): AccountControls {
  return {
    fault(operation, fault, times = UNTIL_HEALED) {
      if (fault === 'funds') throw new Error('nobody pays at a cluster of HakuRiver');
      for (const call of CALLS[operation] ?? [])
        emulator.injectFault({ ...call, ...misbehaviour(operation, { fault, refusals: REFUSALS }), times });
    },
    heal: () => emulator.clearFaults(),
  };
}

const NODES = { method: 'GET', path: '^(/api)?/nodes$' };
/** Where each operation is asked; absent for what there is not. */
const CALLS: Readonly<Partial<Record<ProviderOperation, readonly Pick<FaultInput, 'method' | 'path'>[]>>> = {
  ListOffers: [NODES],
  ListAllInstances: [{ method: 'GET', path: '^(/api)?/vps$' }],
  CreateInstance: [{ method: 'POST', path: '^(/submit|/api/vps/create)$' }],
  DestroyInstance: [{ method: 'POST', path: '^(/kill/|/api/vps/stop/)' }],
  GetInstanceStatus: [{ method: 'GET', path: '^(/api)?/status/' }],
  Check: [{ method: 'GET', path: '^(/api)?/vps/status$' }],
};
const REFUSALS: Refusals = {
  capacity: refusal(
    503,
    "Failed to schedule task for any target. Failures: [{'target': 'x', 'reason': 'Node status is offline'}]",
  ),
  rate_limited: refusal(429, 'Too Many Requests'),
  auth: refusal(401, 'Authentication required'),
};

function refusal(status: number, detail: string): FaultInput {
  return { kind: 'status-before', status, json: { detail } };
}

/** The connections that are being opened in this process, whoever opens them. */
function watchDials() {
  const opening = new Set<Socket>();
  let lastBegunAt = systemClock.monotonicMs();
  const begin = (message: unknown) => {
    // node:net publishes an object with the socket on this channel
    const { socket } = message as { readonly socket: Socket };
    opening.add(socket);
    lastBegunAt = systemClock.monotonicMs();
    for (const event of ['connect', 'error', 'close']) socket.once(event, () => opening.delete(socket));
  };
  subscribe('net.client.socket', begin);
  return {
    /** How many; none when nobody has answered the last one within the time that an answer takes. */
    opening: () => (systemClock.monotonicMs() - lastBegunAt < LONGEST_DIAL_MS ? opening.size : 0),
    /** Waits for those that are being opened; whether there were any. */
    async settle(): Promise<boolean> {
      const hadSome = opening.size > 0;
      const until = systemClock.monotonicMs() + LONGEST_DIAL_MS;
      while (opening.size > 0 && systemClock.monotonicMs() < until) await nextTurn();
      opening.clear();
      return hadSome;
    },
    stopWatching: () => unsubscribe('net.client.socket', begin),
  };
}
