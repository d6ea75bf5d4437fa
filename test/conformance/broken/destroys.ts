import type { InstanceId } from '../../../src/provider/ids.ts';
import { ProviderError } from '../../../src/provider/provider-error.ts';
import type { BrokenProvider } from './broken-provider.ts';

export const BROKEN_DESTROYS: readonly BrokenProvider[] = [
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
];
