import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { startVastEmulator } from '../../providers/vastai/emulator.ts';
import type { VastEmulator, VastEmulatorOptions } from '../../providers/vastai/emulator.ts';
import { vastai } from '../../providers/vastai/index.ts';
import { systemClock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { MachinePool } from '../../src/provider/machine-pool.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { FaultInput } from '../emulators/kit/fault.ts';
import { Knobs } from '../emulators/vastai/knobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { recordingLog } from '../support/log.ts';
import { aTag } from '../support/provider-calls.ts';
import type { AccountFault, ConformanceWorld } from './world.ts';

const MINUTE_MS = 60_000;
const CREDIT_USD = 100;
/** For a request that the vendor leaves without an answer: then time goes on all the same. */
const LONGEST_QUIET_MS = 20;
/** Rows of a page of their list. */
const PAGE_ROWS = 25;
const UNTIL_HEALED = 1_000_000;
const PAGE = '<html><body>Please enable JavaScript.</body></html>';

type VastWorldOptions = Pick<VastEmulatorOptions, 'seed' | 'mode'> &
  Partial<Pick<VastEmulatorOptions, 'roulette' | 'shapes' | 'knobs'>>;

export interface VastWorld extends ConformanceWorld {
  readonly emulator: VastEmulator;
}

/**
 * The adapter as it ships against the emulated vendor, over HTTP. Both live by one fake clock, and it moves only while no request is
 * under way: so an exchange takes no time, and the intervals that the vendor demands are met or broken exactly.
 */
export async function makeVastWorld(options: VastWorldOptions): Promise<VastWorld> {
  const clock = new FakeClock('2026-10-26T08:00:00Z');
  const { listLagMs, goneLagMs } = Knobs.parse(options.knobs ?? {});
  const emulator = await startVastEmulator({ clock, scenario: 'calm', creditUsd: CREDIT_USD, ...options });
  const stranger = emulator.addKey(['instance_write']);
  const requests = watchRequests();
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

  return {
    emulator,
    provider,
    clock,
    async advance(ms) {
      await clock.settle();
      await requests.untilQuiet();
      for (let left = ms; left > 0;) {
        // whole milliseconds, since a step that rounding swallows would be taken for ever
        const step = Math.min(left, Math.max(1, Math.ceil(clock.nextWakeInMs ?? left)));
        await clock.advance(step);
        await requests.untilQuiet();
        left -= step;
      }
    },
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
        const answer = await fetch(`${emulator.url}/api/v0/asks/${providerOfferId}/`, {
          method: 'PUT',
          headers: { authorization: `Bearer ${stranger}`, 'content-type': 'application/json' },
          body: JSON.stringify({ image: 'ubuntu:24.04', disk: 10, label: 'somebody' }),
        });
        if (!answer.ok) throw new Error(`somebody else could not rent ${providerOfferId}: ${await answer.text()}`);
      },
      fault(operation, fault) {
        if (fault === 'funds') emulator.setCredit(0);
        else for (const each of faultsOf(operation, fault)) emulator.injectFault({ ...each, times: UNTIL_HEALED });
      },
      heal() {
        emulator.clearFaults();
        emulator.setCredit(CREDIT_USD);
      },
      async setUnknownWord() {
        const patch = { instances: { actual_status: 'defragmenting' } };
        emulator.injectFault({ method: 'GET', path: '/instances/', kind: 'patch', patch, times: UNTIL_HEALED });
      },
      livingWithTag: async (tag) =>
        emulator.instances().flatMap(({ id, label, isAlive }) => (isAlive && label === tag ? [instanceId(String(id))] : [])),
    },
    async close() {
      const tooFrequent = emulator.requests().filter(({ status, fault }) => status === 429 && fault === undefined);
      requests.stopWatching();
      await emulator.close();
      const calls = tooFrequent.map(({ method, path }) => `${method} ${path}`);
      if (calls.length > 0) throw new Error(`the vendor found these calls too frequent: ${calls.join(', ')}`);
    },
  };
}

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

/** The exchanges of global fetch that are under way. */
function watchRequests() {
  const underWay = new Set<unknown>();
  // undici publishes an object with the request on each of these channels
  const requestOf = (message: unknown) => (message as { readonly request: unknown }).request;
  const begin = (message: unknown) => void underWay.add(requestOf(message));
  const end = (message: unknown) => void underWay.delete(requestOf(message));
  subscribe('undici:request:create', begin);
  subscribe('undici:request:trailers', end);
  subscribe('undici:request:error', end);
  return {
    /** Until what the last answer set off has run, too. */
    async untilQuiet(): Promise<void> {
      const until = systemClock.monotonicMs() + LONGEST_QUIET_MS;
      for (let quietTurns = 0; quietTurns < 3 && systemClock.monotonicMs() < until;) {
        await nextTurn();
        quietTurns = underWay.size === 0 ? quietTurns + 1 : 0;
      }
    },
    stopWatching() {
      unsubscribe('undici:request:create', begin);
      unsubscribe('undici:request:trailers', end);
      unsubscribe('undici:request:error', end);
    },
  };
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
