import type { Clock } from '../../src/core/clock.ts';
import { assertNever } from '../../src/core/assert-never.ts';
import type { Capabilities } from '../../src/provider/capabilities.ts';
import { describeCall } from '../../src/provider/calls.ts';
import { providerId } from '../../src/provider/ids.ts';
import type { Instance, InstanceState } from '../../src/provider/instance.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { ProviderErrorKind, ProviderOperation } from '../../src/provider/provider-error.ts';
import type { CallOptions, Provider } from '../../src/provider/provider.ts';
import { anOffer, InMemoryAccount } from './in-memory-account.ts';
import type { AccountSettings, Fault, MarketInstance } from './in-memory-account.ts';

export interface InMemoryProvider {
  /** Bare: without the decorators. */
  readonly provider: Provider;
  readonly account: InMemoryAccount;
}

export interface InMemoryProviderDeps {
  readonly clock: Clock;
  readonly id?: string;
  readonly offers?: readonly Offer[];
  readonly settings?: Partial<AccountSettings>;
  readonly capabilities?: Partial<Capabilities>;
}

const CAPABILITIES: Capabilities = {
  absence: { observations: 3, spacingMs: 1_000, windowMs: 5_000, kinds: ['get', 'list'] },
  simulated: true,
  sshKeysAtCreate: 'many',
  customImage: true,
  environment: true,
  onStart: true,
  templates: true,
  interruptible: false,
  privateAddresses: true,
  billing: { starting: 'full', paused: 'disk' },
  createTimeoutMs: 30_000,
  offerRefreshMs: 30_000,
  defaultUser: 'root',
};

const STATES: Readonly<Record<string, InstanceState>> = {
  loading: 'starting',
  up: 'running',
  leaving: 'stopping',
  broken: 'failed',
  parked: 'paused',
};

/** Three asks: a 4090, two H100s and, in many units, a T4. */
export function marketOffers(id = 'memory'): readonly Offer[] {
  const provider = providerId(id);
  return [
    anOffer({ provider, providerOfferId: 'ask-1' }),
    anOffer({
      provider,
      providerOfferId: 'ask-2',
      gpuType: 'H100 SXM',
      gpuCount: 2,
      vramMib: 81_559,
      priceMicrosPerHour: 4_980_000,
      location: 'Quebec, CA',
    }),
    anOffer({
      provider,
      providerOfferId: 'stock-t4',
      gpuType: 'T4',
      vramMib: 15_360,
      priceMicrosPerHour: 120_000,
      units: 1_000,
    }),
  ];
}

/** A provider in memory for tests: a faithful adapter of a market whose every fault a test can order. It never takes time of its own. */
export function createInMemoryProvider({
  clock,
  id = 'memory',
  offers = marketOffers(id),
  settings,
  capabilities,
}: InMemoryProviderDeps): InMemoryProvider {
  const account = new InMemoryAccount({ clock, offers, ...(settings && { settings }) });
  const self = { id: providerId(id), capabilities: { ...CAPABILITIES, ...capabilities } };

  const failure = (operation: ProviderOperation, kind: ProviderErrorKind, why: string, retryAfterMs?: number) =>
    new ProviderError({
      kind,
      provider: self.id,
      operation,
      message: `${describeCall(self, operation)}: ${why}`,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });

  /** To a create, what is unknown is `ambiguous`; to the rest, `unavailable`. */
  const noAnswer = (operation: ProviderOperation, why: string) =>
    failure(operation, operation === 'CreateInstance' ? 'ambiguous' : 'unavailable', why);

  async function call<Result>(
    operation: ProviderOperation,
    { signal }: CallOptions,
    perform: (fault: Fault | undefined) => Result,
  ): Promise<Result> {
    if (signal.aborted) throw failure(operation, 'unavailable', 'cancelled before it was sent');
    const fault = account.takeCall(operation);
    switch (fault?.do) {
      case 'fail':
        throw failure(operation, fault.kind, `the market says ${fault.kind}`, fault.retryAfterMs);
      case 'throw':
        throw fault.error;
      case 'break-off':
        throw failure(operation, 'unavailable', 'the answer broke off');
      case 'lose-answer':
        perform(undefined);
        throw noAnswer(operation, 'the connection broke before the answer');
      case 'hang':
        if (fault.done) perform(undefined);
        await untilAborted(signal);
        throw noAnswer(operation, 'cancelled before the answer');
      case 'land-late':
        perform(fault);
        throw noAnswer(operation, 'the connection broke before the answer');
      case 'empty':
      case 'omit':
      case 'ignore':
      case 'claim-gone':
      case undefined:
        return perform(fault);
      default:
        return assertNever(fault, 'fault');
    }
  }

  const provider: Provider = {
    ...self,

    listOffers: (_query, options) =>
      call('ListOffers', options, (fault) => ({
        offers: fault?.do === 'empty' ? [] : account.freeOffers().map((offer) => ({ ...offer })),
        observedAt: clock.now(),
        dropped: 0,
      })),

    createInstance: async (request, options) => {
      const made = await call('CreateInstance', options, (fault) => {
        const { templateHashId } = request;
        const isKnown = templateHashId === undefined || account.templates.some(({ hashId }) => hashId === templateHashId);
        if (!isKnown) throw failure('CreateInstance', 'rejected', 'the market has no such template');
        const instance = account.create(request, fault?.do === 'land-late' ? { landsAfterMs: fault.afterMs } : {});
        if (instance === 'taken') throw failure('CreateInstance', 'capacity', `${request.offer.id} is no longer available`);
        return instance;
      });
      try {
        await clock.sleep(account.settings.createMs, options.signal);
      } catch {
        throw noAnswer('CreateInstance', 'cancelled before the answer');
      }
      return toInstance(made, account);
    },

    getInstance: (wanted, options) =>
      call('GetInstanceStatus', options, (fault) => {
        const found = fault?.do === 'omit' && fault.ids.includes(wanted) ? undefined : account.get(wanted);
        return found && toInstance(found, account);
      }),

    listInstances: (options) =>
      call('ListAllInstances', options, (fault) => {
        const omitted = fault?.do === 'omit' ? fault.ids : [];
        const rows = fault?.do === 'empty' ? [] : allPages(account);
        return rows.filter((row) => !omitted.includes(row.id)).map((row) => toInstance(row, account));
      }),

    destroyInstance: (unwanted, options) =>
      call('DestroyInstance', options, (fault) => {
        if (fault?.do === 'claim-gone') return 'gone';
        if (fault?.do === 'ignore') return 'destroying';
        account.destroy(unwanted);
        return account.get(unwanted) ? 'destroying' : 'gone';
      }),

    check: (options) => call('Check', options, () => {}),
    balance: (options) => call('GetBalance', options, () => account.balanceMicros()),

    templates: ({ hashId: wanted }, options) =>
      call('ListTemplates', options, () => ({
        templates: account.templates.filter(({ hashId, recommended }) =>
          wanted === undefined ? recommended : hashId === wanted,
        ),
        observedAt: clock.now(),
        dropped: 0,
      })),
  };
  return { provider, account };
}

function allPages(account: InMemoryAccount): readonly MarketInstance[] {
  const rows: MarketInstance[] = [];
  const list = account.list();
  for (let at = 0; at < list.length; at += account.settings.pageSize)
    rows.push(...list.slice(at, at + account.settings.pageSize));
  return rows;
}

function toInstance(instance: MarketInstance, account: InMemoryAccount): Instance {
  const base = {
    id: instance.id,
    priceMicrosPerHour: instance.priceMicrosPerHour,
    createdAt: instance.createdAt,
    ...(instance.tag !== undefined && { tag: instance.tag }),
    ...(instance.utilisation && { utilisation: instance.utilisation }),
  };
  const state = STATES[account.wordOf(instance)] ?? 'starting';
  switch (state) {
    case 'running':
      return { ...base, state, ssh: instance.ssh };
    case 'failed':
      return { ...base, state, reason: instance.failure ?? 'the market does not say why' };
    case 'starting':
    case 'stopping':
    case 'paused':
      return { ...base, state };
    default:
      return assertNever(state, 'state');
  }
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
