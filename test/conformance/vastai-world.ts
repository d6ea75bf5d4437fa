import { startVastEmulator } from '../../providers/vastai/emulator.ts';
import type { VastEmulator, VastEmulatorOptions } from '../../providers/vastai/emulator.ts';
import { vastai } from '../../providers/vastai/index.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { FaultInput } from '../emulators/kit/fault.ts';
import { Knobs } from '../emulators/vastai/knobs.ts';
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
} from './emulated-vendor.ts';
import { watchTraffic, type Traffic } from './traffic.ts';
import type { AccountFault, ConformanceWorld } from './world.ts';

const MINUTE_MS = 60_000;
const CREDIT_USD = 100;
/** Rows of a page of their list. */
const PAGE_ROWS = 25;

type VastWorldOptions = Pick<VastEmulatorOptions, 'seed' | 'mode'> &
  Partial<Pick<VastEmulatorOptions, 'roulette' | 'shapes' | 'knobs' | 'offers'>> & {
    /** Shared with a broker; the world makes its own otherwise. */
    readonly clock?: FakeClock;
  };

export interface VastWorld extends ConformanceWorld {
  readonly emulator: VastEmulator;
  /** Calls that the vendor found too frequent, none of which should be. */
  tooFrequent(): readonly string[];
  /** No more offers are listed this day, which is no fault of the caller's. */
  spendQuota(): void;
  readonly clock: FakeClock;
  readonly traffic: Traffic;
}

/**
 * The adapter as it ships against the emulated vendor, over HTTP. Both live by one fake clock, and it moves only while no request is
 * under way: so an exchange takes no time but the vendor's own, and the intervals that it demands are met or broken exactly.
 */
export async function makeVastWorld({
  clock = new FakeClock('2026-10-26T08:00:00Z'),
  ...options
}: VastWorldOptions): Promise<VastWorld> {
  const traffic = watchTraffic();
  const { listLagMs, goneLagMs } = Knobs.parse(options.knobs ?? {});
  const emulator = await startVastEmulator({
    clock: traffic.vendorClock(clock),
    scenario: 'calm',
    creditUsd: CREDIT_USD,
    ...options,
  });
  const stranger = emulator.addKey(['instance_write']);
  const environment = vastai.environment.parse({ VASTAI_API_KEY: emulator.apiKey, VASTAI_BASE_URL: emulator.url });
  const log = recordingLog();
  const provider = await vastai.create(environment, {
    clock,
    random: seededRandom(options.seed),
    log,
    dataFolder: 'none',
    machinePool: noMachinesAt('Vast.ai'),
  });
  let isQuotaSpent = false;

  const { advance, whileTimePasses } = createWorldTime({ clock, untilQuiet: () => traffic.untilQuiet() });

  const tooFrequent = () => foundTooFrequent(emulator.requests().filter(({ path }) => !(isQuotaSpent && path === SEARCH)));

  return {
    emulator,
    provider,
    clock,
    traffic,
    tooFrequent,
    spendQuota() {
      isQuotaSpent = true;
      emulator.setKnobs({ dailyRows: 0 });
    },
    advance,
    newTag: countTags(),
    unknownId: instanceId('1'),
    secrets: [emulator.apiKey],
    limits: { answerMs: 2 * MINUTE_MS, bootMs: 5 * MINUTE_MS, goneMs: 2 * MINUTE_MS + goneLagMs, listLagMs },
    controls: {
      plantForeign: plantsForeign((tag) => emulator.plant(tag ?? null)),
      pageSize: PAGE_ROWS,
      async takeOffer({ providerOfferId }) {
        const answer = await whileTimePasses(
          fetch(`${emulator.url}/api/v0/asks/${providerOfferId}/`, {
            method: 'PUT',
            headers: { authorization: `Bearer ${stranger}`, 'content-type': 'application/json' },
            body: JSON.stringify({ image: 'ubuntu:24.04', disk: 10, label: 'somebody' }),
          }),
        );
        if (!answer.ok) throw new Error(`somebody else could not rent ${providerOfferId}: ${await answer.text()}`);
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
        const patch = { instances: { actual_status: 'defragmenting' } };
        emulator.injectFault({ method: 'GET', path: '/instances/', kind: 'patch', patch, times: UNTIL_HEALED });
      },
      preempt: async (id) => emulator.preempt(Number(id)),
      livingWithTag: async (tag) =>
        emulator.instances().flatMap(({ id, label, isAlive }) => (isAlive && label === tag ? [instanceId(String(id))] : [])),
    },
    async close() {
      const calls = tooFrequent();
      traffic.stopWatching();
      await emulator.close();
      assertNoneTooFrequent(calls);
    },
  };
}

const SEARCH = '/api/v0/bundles/';
const SINGLE = '^/api/v0/instances/\\d+/$';
const LIST = '^/api/v1/instances/$';
const ACCOUNT = '^/api/v0/users/current/$';
const KEYS = '^/api/v0/instances/\\d+/ssh/';

/** The calls of each operation, and what a wrong key is told at them. */
const CALLS: Readonly<
  Record<ProviderOperation, readonly { readonly method?: string; readonly path: string; readonly badKey: 401 | 404 }[]>
> = {
  ListOffers: [{ method: 'POST', path: '^/api/v0/bundles/$', badKey: 404 }],
  ListAllInstances: [{ method: 'GET', path: LIST, badKey: 404 }],
  CreateInstance: [{ method: 'PUT', path: '^/api/v0/asks/', badKey: 401 }],
  DestroyInstance: [{ method: 'DELETE', path: SINGLE, badKey: 401 }],
  GetInstanceStatus: [{ method: 'GET', path: SINGLE, badKey: 401 }],
  AttachSSHKey: [{ path: KEYS, badKey: 401 }],
  DetachSSHKey: [{ path: KEYS, badKey: 401 }],
  Check: [
    { method: 'GET', path: ACCOUNT, badKey: 401 },
    { method: 'GET', path: LIST, badKey: 404 },
  ],
  GetBalance: [{ method: 'GET', path: ACCOUNT, badKey: 401 }],
  ListTemplates: [{ method: 'GET', path: '^/api/v0/template/$', badKey: 401 }],
  ListCharges: [{ method: 'GET', path: '^/api/v0/charges/$', badKey: 404 }],
  DialSsh: [],
};

function faultsOf(operation: ProviderOperation, fault: Exclude<AccountFault, 'funds'>): readonly FaultInput[] {
  return CALLS[operation].map(({ badKey, ...call }) => ({
    ...call,
    ...misbehaviour(operation, {
      fault,
      refusals: {
        capacity: { kind: 'outcome', outcome: 'no-such-ask' },
        rate_limited: { kind: 'throttle' },
        auth: {
          kind: 'status-before',
          status: badKey,
          json: { success: false, error: 'auth_error', msg: 'Invalid user key' },
        },
      },
    }),
  }));
}
