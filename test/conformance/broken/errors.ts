import { ProviderError } from '../../../src/provider/provider-error.ts';
import { ACCOUNT_KEY } from '../in-memory-world.ts';
import type { BrokenProvider } from './broken-provider.ts';
import { bodyOf, anError, changeErrors } from './change.ts';

export const BROKEN_ERRORS: readonly BrokenProvider[] = [
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
