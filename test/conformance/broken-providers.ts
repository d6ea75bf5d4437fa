import type { InstanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { Offer, OfferListing } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { CreateRequest, Provider } from '../../src/provider/provider.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { ACCOUNT_KEY } from './in-memory-world.ts';
import type { InMemoryWorld } from './in-memory-world.ts';

/** A provider with one fault, of a kind that has been seen in the wild, and the check that is meant to catch it. */
export interface BrokenProvider {
  /** What it does wrong, as a sentence about it. */
  readonly name: string;
  readonly caughtBy: string;
  /** What the check then says, so that it is caught for what it does wrong and not by chance. */
  readonly says: string;
  readonly wrap: (world: InMemoryWorld) => Provider;
}

export const BROKEN_PROVIDERS: readonly BrokenProvider[] = [
  // Offers
  {
    name: 'prices in fractions of a micro-dollar',
    caughtBy: 'offers-integer-prices',
    says: 'no whole number of micro-dollars',
    wrap: changeOffers((offer) => ({ ...offer, priceMicrosPerHour: offer.priceMicrosPerHour / 3 })),
  },
  {
    name: 'prices by the minute',
    caughtBy: 'offers-whole-price',
    says: 'was offered at 2000 micro-dollars an hour and costs 120000',
    wrap: changeOffers((offer) => ({ ...offer, priceMicrosPerHour: Math.round(offer.priceMicrosPerHour / 60) })),
  },
  {
    name: 'prices by the GPU',
    caughtBy: 'offers-whole-price',
    says: 'was offered at 2490000 micro-dollars an hour and costs 4980000',
    wrap: (world) => {
      world.account.offers = world.account.offers.filter(({ gpuCount }) => gpuCount === 2);
      return changeOffers((offer) => ({ ...offer, priceMicrosPerHour: offer.priceMicrosPerHour / offer.gpuCount }))(world);
    },
  },
  {
    name: 'says that old offers were observed just now',
    caughtBy: 'offers-observed-at',
    says: 'asked between',
    wrap: ({ provider, clock }) => ({
      ...provider,
      listOffers: async (query, options) => ({
        ...(await provider.listOffers(query, options)),
        observedAt: clock.now() - 60_000,
      }),
    }),
  },
  {
    name: 'updates in place the offers that it has handed out',
    caughtBy: 'offers-are-snapshots',
    says: 'an offer changed in the hands of its holder',
    wrap: ({ provider }) => {
      let handedOut: OfferListing | undefined;
      return {
        ...provider,
        listOffers: async (query, options) => {
          const fresh = await provider.listOffers(query, options);
          handedOut ??= fresh;
          for (const offer of handedOut.offers) Object.assign(offer, { priceMicrosPerHour: offer.priceMicrosPerHour + 1 });
          return handedOut;
        },
      };
    },
  },
  {
    name: 'calls GPUs by what the vendor calls them',
    caughtBy: 'offers-names',
    says: 'should be written RTX 4090',
    wrap: changeOffers((offer) => ({ ...offer, gpuType: `NVIDIA GeForce ${offer.gpuType}` })),
  },
  {
    name: 'mistakes GB for MiB',
    caughtBy: 'offers-sizes',
    says: 'no whole numbers',
    wrap: changeOffers((offer) => ({ ...offer, vramMib: offer.vramMib / 1024 })),
  },
  {
    name: 'takes one 404 for proof of absence',
    caughtBy: 'capabilities-are-data',
    says: 'believed after 1 observation',
    wrap: ({ provider }) => ({
      ...provider,
      capabilities: { ...provider.capabilities, absence: { observations: 1, spacingMs: 0, windowMs: 0, kinds: ['get'] } },
    }),
  },

  // Create
  {
    name: 'drops the tag',
    caughtBy: 'create-tags-at-once',
    says: 'the created instance does not bear its tag',
    wrap: changeInstances(({ tag: _tag, ...instance }) => instance),
  },
  {
    name: 'attaches the tag by a second call',
    caughtBy: 'create-tags-at-once',
    says: 'get first showed the instance without its tag',
    wrap: (world) => {
      const { provider, clock } = world;
      const tooYoung = ({ createdAt = 0 }: Instance) => clock.now() - createdAt < 1_500;
      return changeInstances(
        ({ tag, ...instance }) => (tag === undefined || tooYoung(instance) ? instance : { ...instance, tag }),
        {
          ofCreate: false,
        },
      )({ ...world, provider });
    },
  },
  {
    name: 'boots for ever',
    caughtBy: 'create-runs',
    says: 'the instance should run, but not within',
    wrap: ({ provider, account }) => {
      account.settings.bootMs = Infinity;
      return provider;
    },
  },
  {
    name: 'says running without an address',
    caughtBy: 'create-runs',
    says: 'it runs without an address',
    wrap: changeInstances((instance) =>
      instance.state === 'running' ? { ...instance, ssh: { ...instance.ssh, routes: [] } } : instance,
    ),
  },
  {
    name: 'says rejected when the offer is taken',
    caughtBy: 'create-taken-is-capacity',
    says: 'should be capacity, but is rejected',
    wrap: changeErrors('CreateInstance', (error) => (error.kind === 'capacity' ? anError(error, { kind: 'rejected' }) : error)),
  },
  {
    name: 'falls back on another offer when the one asked for is taken',
    caughtBy: 'create-taken-is-capacity',
    says: 'should have thrown, but answered',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: async (request, options) => {
        try {
          return await provider.createInstance(request, options);
        } catch (error) {
          const [other] = (await provider.listOffers({}, options)).offers;
          if (!(error instanceof ProviderError) || error.kind !== 'capacity' || !other) throw error;
          return provider.createInstance({ ...request, offer: other, maxPriceMicrosPerHour: 10_000_000 }, options);
        }
      },
    }),
  },
  {
    name: 'sells one unit twice',
    caughtBy: 'create-one-unit-once',
    says: '2 of two got the same unit',
    wrap: ({ provider, account }) => {
      for (const offer of account.offers) account.changeOffer(offer, { units: 2 });
      return changeOffers((offer) => ({ ...offer, units: 1 }))({ provider });
    },
  },
  {
    name: 'creates again after a lost answer',
    caughtBy: 'create-lost-answer',
    says: 'one create made 2 instances',
    wrap: ({ provider, account }) => ({
      ...provider,
      createInstance: (request, options) =>
        provider.createInstance(request, options).catch((error: unknown) => {
          if (!isKind(error, 'ambiguous')) throw error;
          account.heal();
          return provider.createInstance(request, options);
        }),
    }),
  },
  {
    name: 'says unavailable when the answer is lost, so that somebody else creates again',
    caughtBy: 'create-lost-answer',
    says: 'should be ambiguous or protocol, but is unavailable',
    wrap: changeErrors('CreateInstance', (error) =>
      error.kind === 'ambiguous' ? anError(error, { kind: 'unavailable' }) : error,
    ),
  },
  {
    name: 'takes a create that was cut short for one that never happened',
    caughtBy: 'create-cut-short',
    says: 'should be ambiguous, but is unavailable',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: (request, options) =>
        provider.createInstance(request, options).catch((error: unknown) => {
          throw options.signal.aborted && error instanceof ProviderError ? anError(error, { kind: 'unavailable' }) : error;
        }),
    }),
  },
  {
    name: 'ignores the abort of a create',
    caughtBy: 'create-cut-short',
    says: 'gave no answer within',
    wrap: ({ provider }) => ({ ...provider, createInstance: (request) => provider.createInstance(request, uncancelled) }),
  },
  {
    name: 'sends a create that was cancelled before it began',
    caughtBy: 'create-not-sent',
    says: 'something was made all the same',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: async (request, options) => {
        const instance = await provider.createInstance(request, uncancelled);
        if (!options.signal.aborted) return instance;
        throw new ProviderError({
          kind: 'ambiguous',
          provider: provider.id,
          operation: 'CreateInstance',
          message: 'cancelled',
        });
      },
    }),
  },
  {
    name: 'calls every refusal unavailable',
    caughtBy: 'create-definite-failure',
    says: 'should be capacity, but is unavailable',
    wrap: changeErrors('CreateInstance', (error) => anError(error, { kind: 'unavailable' })),
  },
  {
    name: 'lists one instance for each tag',
    caughtBy: 'create-same-tag-twice',
    says: 'no list shows it with the tag',
    wrap: ({ provider }) => ({
      ...provider,
      listInstances: async (options) => {
        const rows = await provider.listInstances(options);
        return rows.filter((row, at) => row.tag === undefined || rows.findIndex(({ tag }) => tag === row.tag) === at);
      },
    }),
  },
  {
    name: 'prices its instances in dollars',
    caughtBy: 'instance-integer-price',
    says: 'the instance costs 0.12',
    wrap: changeInstances((instance) => ({ ...instance, priceMicrosPerHour: (instance.priceMicrosPerHour ?? 0) / 1_000_000 })),
  },

  // Reads
  {
    name: 'lists the first page only',
    caughtBy: 'list-is-complete',
    says: 'exists and is not listed',
    wrap: ({ provider, account }) => ({
      ...provider,
      listInstances: async (options) => (await provider.listInstances(options)).slice(0, account.settings.pageSize),
    }),
  },
  {
    name: 'lists only what is its own',
    caughtBy: 'list-is-complete',
    says: 'exists and is not listed',
    wrap: ({ provider }) => ({
      ...provider,
      listInstances: async (options) =>
        (await provider.listInstances(options)).filter(({ tag }) => tag?.startsWith('berth-test-')),
    }),
  },
  {
    name: 'lists only what runs or is about to',
    caughtBy: 'list-has-every-state',
    says: 'is stopping, and it is not listed',
    wrap: ({ provider }) => ({
      ...provider,
      listInstances: async (options) =>
        (await provider.listInstances(options)).filter(({ state }) => state === 'running' || state === 'starting'),
    }),
  },
  {
    name: 'swallows a 429 and lists nothing',
    caughtBy: 'list-throws',
    says: 'should have thrown, but answered []',
    wrap: ({ provider }) => ({
      ...provider,
      listInstances: (options) => provider.listInstances(options).catch((error: unknown) => emptyWhen(error, 'rate_limited')),
    }),
  },
  {
    name: 'takes an unreadable list for an empty one',
    caughtBy: 'list-throws',
    says: 'should have thrown, but answered []',
    wrap: ({ provider }) => ({
      ...provider,
      listInstances: (options) => provider.listInstances(options).catch((error: unknown) => emptyWhen(error, 'protocol')),
    }),
  },
  {
    name: 'shows an empty market when it cannot be asked',
    caughtBy: 'offers-throw',
    says: 'should have thrown, but answered',
    wrap: ({ provider, clock }) => ({
      ...provider,
      listOffers: (query, options) =>
        provider
          .listOffers(query, options)
          .catch((error: unknown) => ({ offers: emptyWhen(error, 'unavailable'), observedAt: clock.now(), dropped: 0 })),
    }),
  },
  {
    name: 'says undefined when it could not ask',
    caughtBy: 'get-throws',
    says: 'should have thrown, but answered undefined',
    wrap: ({ provider }) => ({
      ...provider,
      getInstance: (id, options) =>
        provider.getInstance(id, options).catch((error: unknown) => {
          if (isKind(error, 'unavailable')) return undefined;
          throw error;
        }),
    }),
  },
  {
    name: 'takes refused credentials for an instance that is gone',
    caughtBy: 'get-throws',
    says: 'should have thrown, but answered undefined',
    wrap: ({ provider }) => ({
      ...provider,
      getInstance: (id, options) =>
        provider.getInstance(id, options).catch((error: unknown) => {
          if (isKind(error, 'auth')) return undefined;
          throw error;
        }),
    }),
  },
  {
    name: 'throws for what is gone',
    caughtBy: 'get-gone-is-undefined',
    says: 'threw ProviderError: not found',
    wrap: ({ provider }) => ({
      ...provider,
      getInstance: async (id, options) => {
        const found = await provider.getInstance(id, options);
        if (found) return found;
        throw new ProviderError({
          kind: 'rejected',
          provider: provider.id,
          operation: 'GetInstanceStatus',
          message: 'not found',
        });
      },
    }),
  },
  {
    name: 'shows the tag in lists only',
    caughtBy: 'get-agrees-with-list',
    says: 'get and list show different tags',
    wrap: ({ provider }) => ({
      ...provider,
      getInstance: async (id, options) => {
        const found = await provider.getInstance(id, options);
        return found && withoutTag(found);
      },
    }),
  },
  {
    name: 'takes an unknown state for failed',
    caughtBy: 'unknown-word-is-starting',
    says: 'an unknown state was read as another',
    wrap: (world) =>
      changeInstances((instance) =>
        world.account.instance(instance.id).word === undefined ? instance : { ...instance, state: 'failed', reason: 'unknown' },
      )(world),
  },
  {
    name: 'begins a read whose signal is aborted already',
    caughtBy: 'reads-not-begun',
    says: 'should have thrown, but answered',
    wrap: ({ provider }) => ({ ...provider, listInstances: () => provider.listInstances(uncancelled) }),
  },
  {
    name: 'ignores the abort of a read',
    caughtBy: 'reads-cut-short',
    says: 'gave no answer within',
    wrap: ({ provider }) => ({
      ...provider,
      getInstance: (id, options) => provider.getInstance(id, options.signal.aborted ? options : uncancelled),
    }),
  },
  {
    name: 'passes its check whatever happens',
    caughtBy: 'check-tells',
    says: 'should have thrown, but answered',
    wrap: ({ provider }) => ({ ...provider, check: async () => {} }),
  },
  {
    name: 'tells its balance in dollars',
    caughtBy: 'balance-integer',
    says: 'the balance is 12.34',
    wrap: ({ provider }) => ({ ...provider, balance: async () => 12.34 }),
  },

  // Destroy
  {
    name: 'does nothing on destroy',
    caughtBy: 'destroy-ends',
    says: 'should be gone, but not within',
    wrap: ({ provider }) => ({ ...provider, destroyInstance: async () => 'destroying' }),
  },
  {
    name: 'stops instances instead of destroying them',
    caughtBy: 'destroy-ends',
    says: 'should be gone, but not within',
    wrap: ({ provider, account }) => ({
      ...provider,
      destroyInstance: async (id) => {
        account.setWord(id, 'parked');
        return 'destroying';
      },
    }),
  },
  {
    name: 'says gone as soon as the destroy is accepted',
    caughtBy: 'destroy-gone-after-read',
    says: 'it said gone, and the instance is stopping',
    wrap: ({ provider }) => ({
      ...provider,
      destroyInstance: async (id, options) => {
        await provider.destroyInstance(id, options);
        return 'gone';
      },
    }),
  },
  {
    name: 'throws when what it should destroy is gone',
    caughtBy: 'destroy-again',
    says: 'threw ProviderError: 404',
    wrap: ({ provider, account }) => {
      const known = new Set<InstanceId>();
      return {
        ...provider,
        destroyInstance: async (id, options) => {
          if (account.get(id)) known.add(id);
          else if (known.delete(id)) return 'gone';
          else
            throw new ProviderError({ kind: 'rejected', provider: provider.id, operation: 'DestroyInstance', message: '404' });
          return provider.destroyInstance(id, options);
        },
      };
    },
  },
  {
    name: 'destroys everything of the account when the id is unknown',
    caughtBy: 'destroy-unknown',
    says: 'the destroy of something else reached this instance',
    wrap: ({ provider, account }) => ({
      ...provider,
      destroyInstance: async (id, options) => {
        if (!account.get(id)) for (const living of account.living()) account.destroy(living.id);
        return provider.destroyInstance(id, options);
      },
    }),
  },
  {
    name: 'throws when it is asked to destroy what never was',
    caughtBy: 'destroy-unknown',
    says: 'threw ProviderError: 404',
    wrap: ({ provider, account, unknownId }) => ({
      ...provider,
      destroyInstance: async (id, options) => {
        if (id !== unknownId || account.get(id)) return provider.destroyInstance(id, options);
        throw new ProviderError({ kind: 'rejected', provider: provider.id, operation: 'DestroyInstance', message: '404' });
      },
    }),
  },
  {
    name: 'says gone when the destroy failed',
    caughtBy: 'destroy-fails-openly',
    says: 'it said gone although the destroy failed',
    wrap: ({ provider }) => ({
      ...provider,
      destroyInstance: (id, options) => provider.destroyInstance(id, options).catch(() => 'gone' as const),
    }),
  },

  // Errors
  {
    name: 'throws what its HTTP client throws',
    caughtBy: 'errors-are-provider-errors',
    says: 'threw TypeError: fetch failed',
    wrap: changeErrors('ListOffers', (error) => (error.kind === 'unavailable' ? new TypeError('fetch failed') : error)),
  },
  {
    name: 'throws before it has a promise to reject',
    caughtBy: 'errors-are-provider-errors',
    says: 'threw RangeError: unforeseen',
    wrap: ({ provider, account }) => ({
      ...provider,
      check: (options) => {
        if (account.takeCall('Check')) throw new RangeError('unforeseen');
        return provider.check(options);
      },
    }),
  },
  {
    name: 'writes the account’s key into its errors',
    caughtBy: 'errors-carry-no-secret',
    says: 'carries a secret',
    wrap: changeErrors('ListAllInstances', (error) =>
      anError(error, { message: `GET https://vendor.example/instances?api_key=${ACCOUNT_KEY} failed` }),
    ),
  },
  {
    name: 'leaves the whole request in the cause of its error',
    caughtBy: 'errors-carry-no-secret',
    says: 'carries a secret',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: (request, options) =>
        provider.createInstance(request, options).catch((error: unknown) => {
          throw error instanceof ProviderError ? anError(error, { cause: new Error(bodyOf(request)) }) : error;
        }),
    }),
  },
];

const bodyOf = ({ environment, sshPublicKeys }: CreateRequest) => JSON.stringify({ environment, sshPublicKeys });

const isKind = (error: unknown, kind: ProviderError['kind']) => error instanceof ProviderError && error.kind === kind;

function emptyWhen(error: unknown, kind: ProviderError['kind']): readonly never[] {
  if (isKind(error, kind)) return [];
  throw error;
}

function withoutTag({ tag: _tag, ...instance }: Instance): Instance {
  return instance;
}

function anError(error: ProviderError, change: Partial<Pick<ProviderError, 'kind' | 'message' | 'cause'>>): ProviderError {
  const { kind, provider, operation, message, retryAfterMs } = error;
  return new ProviderError({
    kind,
    provider,
    operation,
    message,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...change,
  });
}

function changeOffers(change: (offer: Offer) => Offer) {
  return ({ provider }: Pick<InMemoryWorld, 'provider'>): Provider => ({
    ...provider,
    listOffers: async (query, options) => {
      const listing = await provider.listOffers(query, options);
      return { ...listing, offers: listing.offers.map(change) };
    },
  });
}

function changeInstances(change: (instance: Instance) => Instance, { ofCreate = true }: { readonly ofCreate?: boolean } = {}) {
  return ({ provider }: Pick<InMemoryWorld, 'provider'>): Provider => ({
    ...provider,
    createInstance: async (request, options) => {
      const instance = await provider.createInstance(request, options);
      return ofCreate ? change(instance) : instance;
    },
    getInstance: async (id, options) => {
      const instance = await provider.getInstance(id, options);
      return instance && change(instance);
    },
    listInstances: async (options) => (await provider.listInstances(options)).map(change),
  });
}

function changeErrors(
  operation: 'CreateInstance' | 'ListOffers' | 'ListAllInstances',
  change: (error: ProviderError) => Error,
) {
  return ({ provider }: Pick<InMemoryWorld, 'provider'>): Provider => {
    const rethrow = (error: unknown): never => {
      throw error instanceof ProviderError && error.operation === operation ? change(error) : error;
    };
    return {
      ...provider,
      createInstance: (request, options) => provider.createInstance(request, options).catch(rethrow),
      listOffers: (query, options) => provider.listOffers(query, options).catch(rethrow),
      listInstances: (options) => provider.listInstances(options).catch(rethrow),
    };
  };
}
