import { startTensorDockEmulator } from '../../providers/tensordock/emulator.ts';
import type { TensorDockEmulator, TensorDockEmulatorOptions } from '../../providers/tensordock/emulator.ts';
import { tensordock } from '../../providers/tensordock/index.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { FaultInput } from '../emulators/kit/fault.ts';
import { Knobs } from '../emulators/tensordock/knobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { recordingLog } from '../support/log.ts';
import {
  assertNoneTooFrequent,
  countTags,
  createWorldTime,
  foundTooFrequent,
  misbehaviour,
  noMachinesAt,
  plantsForeign,
  UNTIL_HEALED,
  type Refusals,
} from './emulated-vendor.ts';
import { watchTraffic, type Traffic } from './traffic.ts';
import type { AccountFault, ConformanceWorld } from './world.ts';

const MINUTE_MS = 60_000;
const CREDIT_USD = 100;
/** They have no pages; so many rows must come all the same. */
const PAGE_ROWS = 25;

type TensorDockWorldOptions = Pick<TensorDockEmulatorOptions, 'seed' | 'mode'> &
  Partial<Pick<TensorDockEmulatorOptions, 'roulette' | 'shapes' | 'knobs' | 'offers'>> & {
    /** Variables of the adapter besides address and token. */
    readonly environment?: Readonly<Record<string, string>>;
    /** Shared with a broker; the world makes its own otherwise. */
    readonly clock?: FakeClock;
  };

export interface TensorDockWorld extends ConformanceWorld {
  readonly emulator: TensorDockEmulator;
  /** Calls that the vendor found too frequent, none of which should be. */
  tooFrequent(): readonly string[];
  readonly clock: FakeClock;
  readonly traffic: Traffic;
}

/**
 * The adapter as it ships against the emulated vendor, over HTTP. Both live by one fake clock, and it moves only while no request is
 * under way: so an exchange takes no time but the vendor's own, and its limit is met or broken exactly.
 */
export async function makeTensorDockWorld({
  environment = {},
  clock = new FakeClock('2026-10-26T08:00:00Z'),
  ...options
}: TensorDockWorldOptions): Promise<TensorDockWorld> {
  const traffic = watchTraffic();
  const { listLagMs, goneLagMs } = Knobs.parse(options.knobs ?? {});
  const emulator = await startTensorDockEmulator({
    clock: traffic.vendorClock(clock),
    scenario: 'calm',
    creditUsd: CREDIT_USD,
    ...options,
  });
  const settings = tensordock.environment.parse({
    TENSORDOCK_API_TOKEN: emulator.apiToken,
    TENSORDOCK_AUTH_ID: emulator.authorizationId,
    TENSORDOCK_BASE_URL: emulator.url,
    ...environment,
  });
  const provider = await tensordock.create(settings, {
    clock,
    random: seededRandom(options.seed),
    log: recordingLog(),
    dataFolder: 'none',
    machinePool: noMachinesAt('TensorDock'),
  });

  const { advance } = createWorldTime({ clock, untilQuiet: () => traffic.untilQuiet() });
  const tooFrequent = () => foundTooFrequent(emulator.requests());

  return {
    emulator,
    provider,
    clock,
    traffic,
    tooFrequent,
    advance,
    newTag: countTags(),
    unknownId: instanceId('00000000-0000-4000-8000-000000000000'),
    secrets: [emulator.apiToken, emulator.authorizationId],
    limits: { answerMs: 5 * MINUTE_MS, bootMs: 5 * MINUTE_MS, goneMs: 2 * MINUTE_MS + goneLagMs, listLagMs },
    controls: {
      plantForeign: plantsForeign((tag) => emulator.plant(tag ?? 'my training')),
      pageSize: PAGE_ROWS,
      async takeOffer({ providerOfferId }) {
        emulator.leaveGpus(modelOf(providerOfferId), 0);
      },
      fault(operation, fault, times = UNTIL_HEALED) {
        if (fault === 'funds') emulator.setCredit(0);
        else for (const each of faultsOf(operation, fault)) emulator.injectFault({ ...each, times });
      },
      heal() {
        emulator.clearFaults();
        emulator.setCredit(CREDIT_USD);
      },
      async setUnknownWord() {
        emulator.setKnobs({ unknownStatusShare: 1 });
      },
      preempt: async (id) => emulator.preempt(id),
      livingWithTag: async (tag) =>
        emulator.instances().flatMap(({ id, name, isAlive }) => (isAlive && name === tag ? [instanceId(id)] : [])),
    },
    async close() {
      const calls = tooFrequent();
      traffic.stopWatching();
      await emulator.close();
      assertNoneTooFrequent(calls);
    },
  };
}

/** The vendor's name of the GPU, third in `location/<id>/<model>/ip`. */
export function modelOf(providerOfferId: string): string {
  const [, , model] = providerOfferId.split('/');
  if (model === undefined) throw new Error(`no GPU is named by ${providerOfferId}`);
  return model;
}

const LIST = '/instances$';
const SINGLE = '/instances/[^/]+$';

/** The calls of each operation. A token that is wrong for a create is wrong for its test, too. */
const CALLS: Readonly<Record<ProviderOperation, readonly { readonly method: string; readonly path: string }[]>> = {
  ListOffers: [{ method: 'GET', path: '/(locations|hostnodes)$' }],
  ListAllInstances: [{ method: 'GET', path: LIST }],
  CreateInstance: [{ method: 'POST', path: LIST }],
  DestroyInstance: [{ method: 'DELETE', path: SINGLE }],
  GetInstanceStatus: [{ method: 'GET', path: SINGLE }],
  Check: [{ method: 'GET', path: LIST }],
  AttachSSHKey: [],
  DetachSSHKey: [],
  GetBalance: [],
  ListTemplates: [],
  ListCharges: [],
  DialSsh: [],
};
const TOKEN_TEST = { method: 'POST', path: '/auth/test$' };

const REFUSALS: Refusals = {
  capacity: { kind: 'outcome', outcome: 'no-nodes' },
  rate_limited: { kind: 'throttle' },
  auth: { kind: 'status-before', status: 401, json: { error: 'Invalid API credentials' } },
};

function faultsOf(operation: ProviderOperation, fault: Exclude<AccountFault, 'funds'>): readonly FaultInput[] {
  const calls = fault === 'auth' && operation === 'CreateInstance' ? [...CALLS[operation], TOKEN_TEST] : CALLS[operation];
  return calls.map((call) => ({ ...call, ...misbehaviour(operation, { fault, refusals: REFUSALS }) }));
}
