import { startVastEmulator } from '../../providers/vastai/emulator.ts';
import type { VastEmulator, VastEmulatorOptions } from '../../providers/vastai/emulator.ts';
import { vastai } from '../../providers/vastai/index.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { MachinePool } from '../../src/provider/machine-pool.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { FaultInput } from '../emulators/kit/fault.ts';
import { Knobs } from '../emulators/vastai/knobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { recordingLog } from '../support/log.ts';
import { aTag } from '../support/provider-calls.ts';
import { watchTraffic, type Traffic } from './traffic.ts';
import type { AccountFault, ConformanceWorld } from './world.ts';

const MINUTE_MS = 60_000;
const CREDIT_USD = 100;
/** Rows of a page of their list. */
const PAGE_ROWS = 25;
const UNTIL_HEALED = 1_000_000;
const PAGE = '<html><body>Please enable JavaScript.</body></html>';

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
    machinePool: noMachines,
  });
  let tags = 0;
  let foreign = 0;
  let isQuotaSpent = false;

  async function advance(ms: number): Promise<void> {
    await clock.settle();
    await traffic.untilQuiet();
    for (let left = ms; left > 0;) {
      // whole milliseconds, since a step that rounding swallows would be taken for ever
      const step = Math.min(left, Math.max(1, Math.ceil(clock.nextWakeInMs ?? left)));
      await clock.advance(step);
      await traffic.untilQuiet();
      left -= step;
    }
  }

  /** The answer to somebody else, who waits for the vendor as the adapter does. */
  async function whileTimePasses(answer: Promise<Response>): Promise<Response> {
    let isPending = true;
    const done = answer.finally(() => (isPending = false));
    while (isPending) await advance(1);
    return done;
  }

  const tooFrequent = () =>
    emulator.requests().flatMap(({ status, fault, method, path }) => {
      const isTooFrequent = status === 429 && fault === undefined && !(isQuotaSpent && path === SEARCH);
      return isTooFrequent ? [`${method} ${path}`] : [];
    });

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
    newTag: () => aTag((tags += 1)),
    unknownId: instanceId('1'),
    secrets: [emulator.apiKey],
    limits: { answerMs: 2 * MINUTE_MS, bootMs: 5 * MINUTE_MS, goneMs: 2 * MINUTE_MS + goneLagMs, listLagMs },
    controls: {
      async plantForeign() {
        foreign += 1;
        const tag = foreign % 2 === 0 ? undefined : aTag(foreign, { deployment: 'other' });
        const id = instanceId(String(await emulator.plant(tag ?? null)));
        return tag === undefined ? { id } : { id, tag };
      },
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
      if (calls.length > 0) throw new Error(`the vendor found these calls too frequent: ${calls.join(', ')}`);
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

const WRITES: ReadonlySet<ProviderOperation> = new Set(['CreateInstance', 'DestroyInstance', 'AttachSSHKey', 'DetachSSHKey']);

function faultsOf(operation: ProviderOperation, fault: Exclude<AccountFault, 'funds'>): readonly FaultInput[] {
  return CALLS[operation].map(({ badKey, ...call }) => ({ ...call, ...misbehaviour(operation, fault, badKey) }));
}

function misbehaviour(operation: ProviderOperation, fault: Exclude<AccountFault, 'funds'>, badKey: number): FaultInput {
  switch (fault) {
    case 'capacity':
      return { kind: 'outcome', outcome: 'no-such-ask' };
    case 'rate_limited':
      return { kind: 'throttle' };
    case 'unavailable':
      return { kind: 'status-before' };
    case 'auth':
      return {
        kind: 'status-before',
        status: badKey,
        json: { success: false, error: 'auth_error', msg: 'Invalid user key' },
      };
    case 'unreadable':
      // half an answer to a write would mean that it was carried out
      return WRITES.has(operation) ? { kind: 'status-before', status: 200, text: PAGE } : { kind: 'half' };
    case 'lost answer':
      return { kind: 'reset-after' };
    case 'no answer':
      return { kind: 'silence-after' };
  }
}

const refuse = () => Promise.reject(new Error('Vast.ai has no machines of ours'));
const noMachines: MachinePool = {
  listSlots: refuse,
  start: refuse,
  get: refuse,
  list: refuse,
  stop: refuse,
  preflight: refuse,
};
