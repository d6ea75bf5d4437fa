import type { Clock } from '../../src/core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import { isPast } from '../../src/core/moment.ts';
import type { Random } from '../../src/core/random.ts';
import type { Capabilities } from '../../src/provider/capabilities.ts';
import { isLoopbackUrl } from '../../src/provider/http-client.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { ProviderError, type ProviderOperation } from '../../src/provider/provider-error.ts';
import type { CallOptions, CreateRequest, Provider } from '../../src/provider/provider.ts';
import { LOGIN_USER } from './boot-commands.ts';
import { HTTP_TIMEOUT_MS, type Answer, type TensorDockClient } from './client.ts';
import { createOrder } from './create-order.ts';
import { toInstance } from './instances.ts';
import { readInventory } from './inventory.ts';
import { failure, refused, saysBadToken, saysDone, saysNoSuchInstance, TENSORDOCK } from './mapping.ts';
import { createdIn, instanceIn, instanceRowsIn, saysMore, type ToldInstance } from './reading.ts';
import { HostNodesBody, LocationsBody } from './schema.ts';
import { createWaysIn } from './ways-in.ts';

export interface TensorDockSettings {
  readonly baseUrl: URL;
  readonly defaultImage: string;
  /** Installed at boot where no GPU driver works; undefined installs nothing. */
  readonly driverPackage: string | undefined;
  readonly vcpusPerGpu: number;
  readonly ramGbPerGpu: number;
  readonly listsHostNodes: boolean;
}

export interface TensorDockProviderDeps {
  readonly client: TensorDockClient;
  readonly settings: TensorDockSettings;
  readonly clock: Clock;
  readonly random: Pick<Random, 'next'>;
  readonly log: Log;
}

/** Beyond the exchange itself, for the turn of a call. */
const TURN_MS = 30 * SECOND_MS;

/** TensorDock behind our verbs. */
export function createTensorDockProvider({ client, settings, clock, random, log }: TensorDockProviderDeps): Provider {
  const waysIn = createWaysIn({ clock });

  async function find(id: string, operation: ProviderOperation, { signal }: CallOptions): Promise<ToldInstance | undefined> {
    const { json, said } = await client.getInstance(id, { operation, signal });
    // a record may tell of an error of the machine, which is none of the call
    const record = said.status < 300 ? instanceIn(json, id) : undefined;
    if (record?.status !== undefined) return record;
    if (saysNoSuchInstance(said)) return undefined;
    if (!saysDone(said) || record === undefined) throw refused(said, { operation, otherwise: 'protocol' });
    return record;
  }

  /** All rows, or a throw: a row that cannot be read is a machine that would be taken for dead. */
  async function readAll(operation: ProviderOperation, { signal }: CallOptions): Promise<readonly ToldInstance[]> {
    const { json, said } = await client.listInstances({ operation, signal });
    const rows = instanceRowsIn(json);
    if (!saysDone(said) || rows === undefined) throw refused(said, { operation, otherwise: 'protocol' });
    const records = new Map<string, ToldInstance>();
    for (const row of rows) {
      const record = instanceIn(row);
      if (record === undefined) throw failure({ operation, kind: 'protocol', why: 'the list has a row that cannot be read' });
      records.set(record.id, record);
    }
    if (saysMore(json, records.size)) throw failure({ operation, kind: 'protocol', why: 'the list is not whole' });
    return [...records.values()];
  }

  /** They refuse good tokens by the burst: only a token that is refused everywhere is a bad one. */
  async function isTokenRefused({ signal }: CallOptions): Promise<boolean> {
    try {
      const { said } = await client.testToken({ operation: 'CreateInstance', signal });
      return !saysDone(said);
    } catch (error) {
      log.debug({ kind: error instanceof ProviderError ? error.kind : 'unforeseen' }, 'tensordock token could not be tested');
      return true;
    }
  }

  async function judgeCreate({ json, said }: Answer, request: CreateRequest, options: CallOptions): Promise<Instance> {
    const operation = 'CreateInstance';
    if (saysDone(said)) {
      const { id, name } = createdIn(json);
      if (id !== undefined && (name === undefined || name === request.tag))
        return { id: instanceId(id), tag: request.tag, state: 'starting' };
      const why = 'the answer does not tell whether an instance was made';
      throw failure({ operation, kind: 'ambiguous', why, said });
    }
    if (createdIn(json).id !== undefined) {
      throw failure({ operation, kind: 'ambiguous', why: 'refused, yet an instance is named', said });
    }
    const refusal = refused(said, { operation, otherwise: 'ambiguous' });
    if (refusal.kind === 'auth' && saysBadToken(said) && !(await isTokenRefused(options))) {
      const why = 'the API token was refused for once, though it is good; nothing was made';
      throw failure({ operation, kind: 'unavailable', why, said });
    }
    throw refusal;
  }

  /** Undefined when they took it, also for what is not there any more. */
  async function destroyFailure(id: string, { signal }: CallOptions): Promise<ProviderError | undefined> {
    const operation = 'DestroyInstance';
    try {
      const { said } = await client.destroy(id, { operation, signal });
      const isTaken = saysNoSuchInstance(said) || (saysDone(said) && (said.body === 'json' || said.body === 'none'));
      return isTaken ? undefined : refused(said, { operation, otherwise: 'unavailable' });
    } catch (error) {
      if (error instanceof ProviderError) return error;
      throw error;
    }
  }

  async function listRows(kind: 'locations' | 'hostnodes', { signal }: CallOptions): Promise<readonly unknown[]> {
    const operation = 'ListOffers';
    const isLocations = kind === 'locations';
    const { json, said } = await (isLocations ? client.locations : client.hostNodes)({ operation, signal });
    const rows = isLocations
      ? LocationsBody.safeParse(json).data?.data.locations
      : HostNodesBody.safeParse(json).data?.data.hostnodes;
    if (!saysDone(said) || rows === undefined) throw refused(said, { operation, otherwise: 'protocol' });
    return rows;
  }

  return {
    id: TENSORDOCK,
    capabilities: capabilitiesFor(settings),

    async listOffers(query, options) {
      const observedAt = clock.now();
      const [locations, hostNodes] = await Promise.all([
        listRows('locations', options),
        settings.listsHostNodes ? listRows('hostnodes', options) : [],
      ]);
      const { offers, dropped, firstFault } = readInventory({ locations, hostNodes }, { query, wish: settings });
      if (dropped > 0) log.debug({ dropped, firstFault }, 'tensordock offers that could not be read');
      return { offers, observedAt, dropped };
    },

    async createInstance(request, options) {
      const order = createOrder(request, settings, random);
      const answer = await client.create(order.body, {
        operation: 'CreateInstance',
        signal: options.signal,
        beforeSending: () => {
          if (!isPast(request.notAfter, clock)) return;
          throw failure({ operation: 'CreateInstance', kind: 'unavailable', why: 'not sent, its deadline had passed' });
        },
      });
      const made = await judgeCreate(answer, request, options);
      if (!order.hasOwnAddress) waysIn.expectForward(made.id);
      return made;
    },

    async getInstance(id, options) {
      const record = await find(id, 'GetInstanceStatus', options);
      if (record === undefined) return undefined;
      return toInstance(record, () => waysIn.tell(record, 'record'));
    },

    async listInstances(options) {
      const records = await readAll('ListAllInstances', options);
      waysIn.keepOnly(new Set(records.map(({ id }) => id)));
      return records.map((record) => toInstance(record, () => waysIn.tell(record, 'row')));
    },

    async destroyInstance(id, options) {
      const failed = await destroyFailure(id, options);
      if (failed && !mayHaveHappened(failed)) throw failed;
      try {
        if ((await find(id, 'DestroyInstance', options)) === undefined) {
          waysIn.forget(id);
          return 'gone';
        }
      } catch (error) {
        if (error instanceof ProviderError && error.kind === 'auth') throw error;
        log.debug({ instanceId: id }, 'tensordock was asked for a destroy but could not be asked what became of it');
      }
      if (failed) throw failed;
      return 'destroying';
    },

    async check(options) {
      await readAll('Check', options);
    },
  };
}

/** They fail to delete in words, and do it all the same: a look shows it. */
function mayHaveHappened({ kind }: ProviderError): boolean {
  return kind === 'unavailable';
}

function capabilitiesFor({ baseUrl }: TensorDockSettings): Capabilities {
  return {
    absence: { observations: 3, spacingMs: MINUTE_MS, windowMs: 15 * MINUTE_MS, kinds: ['get', 'list'] },
    simulated: false,
    // The consumer's key has a field of its own; both go in by the boot commands.
    sshKeysAtCreate: 'one',
    customImage: true,
    environment: true,
    onStart: true,
    interruptible: false,
    templates: false,
    privateAddresses: isLoopbackUrl(baseUrl),
    billing: { starting: 'full', paused: 'full' },
    createTimeoutMs: HTTP_TIMEOUT_MS + TURN_MS,
    callTimeoutMs: HTTP_TIMEOUT_MS + TURN_MS,
    offerRefreshMs: 30 * SECOND_MS,
    defaultUser: LOGIN_USER,
  };
}
