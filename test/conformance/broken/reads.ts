import { ProviderError } from '../../../src/provider/provider-error.ts';
import { uncancelled } from '../../support/provider-calls.ts';
import type { BrokenProvider } from './broken-provider.ts';
import { isKind, emptyWhen, withoutTag, changeInstances } from './change.ts';

export const BROKEN_READS: readonly BrokenProvider[] = [
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
];
