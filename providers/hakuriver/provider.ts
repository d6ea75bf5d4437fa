import type { Clock } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import { describeError } from '../../src/core/errors.ts';
import type { Log } from '../../src/core/log.ts';
import { isPast } from '../../src/core/moment.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import type { Capabilities } from '../../src/provider/capabilities.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { createCarrier } from './carrier.ts';
import { CREATE_TIMEOUT_MS, type Call, type HakuClient } from './client.ts';
import { createOrder, refuseWhatCannotBeHad } from './create-order.ts';
import { createVerdict } from './create-verdict.ts';
import { eachFew } from './each-few.ts';
import { createEndings } from './endings.ts';
import type { ProxyAddress } from './environment.ts';
import { toInstance } from './instances.ts';
import { createMachines } from './machines.ts';
import { failure, HAKURIVER, LOGIN_USER } from './mapping.ts';
import { createVpsMemory, type Remembered } from './memory.ts';
import { offersOf } from './offers.ts';
import { createPlacement } from './placement.ts';
import { createRunnerRoute } from './runner-route.ts';
import { keyLines } from './ssh-keys.ts';
import { createStops } from './stops.ts';
import { askProxy, openTunnel, TunnelFailure } from './tunnel-dial.ts';
import { createVpsRows, type VpsRow } from './vps-rows.ts';

export interface HakuSettings {
  readonly baseUrl: URL;
  readonly proxy: ProxyAddress;
  readonly container?: string;
  readonly priceMicrosPerHour: MicroUsd;
}

export interface HakuProviderDeps {
  readonly client: HakuClient;
  readonly settings: HakuSettings;
  readonly clock: Clock;
  readonly log: Log;
}

const DIAL_AGAIN_MS = SECOND_MS;

const CAPABILITIES: Capabilities = {
  // A row is never forgotten, and `endings.ts` says what gone means here; besides, a create that was sent late shows within the window.
  absence: { observations: 3, spacingMs: 5 * SECOND_MS, windowMs: 60 * SECOND_MS, kinds: ['get', 'list'] },
  simulated: false,
  sshKeysAtCreate: 'many',
  // KohakuRiver takes one, the others refuse; the lesser is what all of them can
  customImage: false,
  environment: false,
  onStart: false,
  templates: false,
  interruptible: false,
  privateAddresses: true,
  billing: { starting: 'full', paused: 'full' },
  // the create itself, and the looks before and after it
  createTimeoutMs: CREATE_TIMEOUT_MS + 20 * SECOND_MS,
  offerRefreshMs: 15 * SECOND_MS,
  defaultUser: LOGIN_USER,
};

/** A cluster of HakuRiver or KohakuRiver behind our verbs. */
export function createHakuProvider({ client, settings, clock, log }: HakuProviderDeps): Provider {
  const { baseUrl, proxy, container, priceMicrosPerHour } = settings;
  const memory = createVpsMemory({ clock });
  const machines = createMachines({ client, baseUrl });
  const endings = createEndings({ client, machines, memory, clock });
  const rows = createVpsRows({ client, memory, endings });
  const carrier = createCarrier({ client, log });
  const runner = createRunnerRoute({ clock, log });
  const destroy = createStops({ client, rows, endings, machines, memory, runner, clock, log });
  const judgeCreate = createVerdict({ rows, carrier, memory, priceMicrosPerHour });
  let areTasksUnread = false;
  const placement = createPlacement({
    client,
    machines,
    onTasksUnread: tellTasksUnread,
  });

  /** Once: it would be the same at each look. */
  function tellTasksUnread(error: ProviderError): void {
    if (!areTasksUnread) log.warn({ error: describeError(error) }, 'hakuriver tasks could not be read; their GPUs look free');
    areTasksUnread = true;
  }

  async function asInstance({ row, remembered }: VpsRow, call: Call): Promise<Instance | undefined> {
    if (await endings.isGone(row, call)) return undefined;
    const { generation } = await client.dialect(call);
    return toInstance(row, remembered, { generation, phaseAgeMs: memory.phaseAgeMs(remembered), priceMicrosPerHour });
  }

  /** An environment without a tarball may still be an image on each machine, so that this is no verdict. */
  async function warnOfUnknownContainer(call: Call): Promise<void> {
    if (container === undefined) return;
    const names = await client.environments(call);
    if (!names.some((name) => name.toLowerCase() === container)) {
      log.warn({ container }, 'the hakuriver host has no tarball of the environment that HAKURIVER_CONTAINER names');
    }
  }

  async function checkProxy({ signal }: Call): Promise<void> {
    await askProxy({ proxy, clock, signal }).catch((thrown: unknown) => {
      if (!(thrown instanceof TunnelFailure)) throw thrown;
      const why = `${thrown.message} at ${proxy.host}:${proxy.port} (HAKURIVER_SSH_PROXY)`;
      throw failure({ operation: 'Check', kind: thrown.fault === 'no proxy' ? 'protocol' : 'unavailable', why, cause: thrown });
    });
  }

  return {
    id: HAKURIVER,
    capabilities: CAPABILITIES,

    async listOffers(_query, { signal }) {
      const call = { operation: 'ListOffers', signal } as const;
      const observedAt = clock.now();
      const { generation } = await client.dialect(call);
      if (carrier.isMissing(generation)) return { offers: [], observedAt, dropped: 0 };
      const { rooms, dropped, firstFault } = await placement.rooms(call);
      if (dropped > 0) log.debug({ dropped, firstFault }, 'hakuriver nodes that could not be read');
      return { offers: rooms.flatMap((room) => offersOf(room, { priceMicrosPerHour })), observedAt, dropped };
    },

    async createInstance(request, { signal }) {
      const call = { operation: 'CreateInstance', signal } as const;
      const { generation } = await client.dialect(call);
      const context = { generation, ...(container !== undefined && { container }) };
      carrier.require(generation, 'CreateInstance');
      refuseWhatCannotBeHad(request, context);
      keyLines(request); // refused before anything is looked up
      return placement.hold(request.offer, call, async (place) => {
        let sentMs = clock.monotonicMs();
        const answer = await client.create(createOrder(request, place, context), {
          ...call,
          beforeSending() {
            sentMs = clock.monotonicMs();
            if (!isPast(request.notAfter, clock)) return;
            throw failure({ operation: 'CreateInstance', kind: 'unavailable', why: 'not sent, its deadline had passed' });
          },
        });
        return judgeCreate(answer, { tag: request.tag, place, generation, tookMs: clock.monotonicMs() - sentMs }, call);
      });
    },

    async getInstance(id, { signal }) {
      const call = { operation: 'GetInstanceStatus', signal } as const;
      const found = await rows.find(id, call);
      return found && asInstance(found, call);
    },

    async listInstances({ signal }) {
      const call = { operation: 'ListAllInstances', signal } as const;
      const open = (await rows.all(call)).filter(({ remembered }) => !isStrangersEnd(remembered));
      const instances = await eachFew(open, (found) => asInstance(found, call));
      return instances.filter((instance) => instance !== undefined);
    },

    destroyInstance: (id, { signal }) => destroy(id, { operation: 'DestroyInstance', signal }),

    async check({ signal }) {
      const call = { operation: 'Check', signal } as const;
      const { generation } = await client.dialect(call);
      await client.nodes(call);
      await client.activeVps(call); // the first route that asks for a token
      carrier.require(generation, 'Check');
      await checkProxy(call);
      await warnOfUnknownContainer(call);
    },

    async dialSsh(id, { signal }) {
      for (;;) {
        try {
          return await openTunnel({ proxy, id, clock, signal });
        } catch (thrown) {
          if (!(thrown instanceof TunnelFailure)) throw thrown;
          if (thrown.fault !== 'silent' || signal.aborted) throw dialFailure(thrown);
          // it stays dead when sshd comes up later: only a new one finds that
          await clock.sleep(DIAL_AGAIN_MS, signal).catch(() => {
            throw dialFailure(thrown);
          });
        }
      }
    },
  };
}

/** Nothing to be looked at. Who asks for one by its id knows better whose it is. */
function isStrangersEnd({ phase, tag }: Remembered): boolean {
  return phase === 'ended' && tag === null;
}

function dialFailure(thrown: TunnelFailure): ProviderError {
  const why = thrown.fault === 'refused' ? `the Host refused a tunnel: ${thrown.message}` : thrown.message;
  return failure({ operation: 'DialSsh', kind: thrown.fault === 'no proxy' ? 'protocol' : 'unavailable', why, cause: thrown });
}
