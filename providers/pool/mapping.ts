import { providerId } from '../../src/provider/ids.ts';
import { PoolError, type PoolErrorKind } from '../../src/provider/machine-pool.ts';
import { ProviderError, type ProviderErrorKind, type ProviderOperation } from '../../src/provider/provider-error.ts';

export const POOL = providerId('pool');

/** What a pool's failure means to a create. */
const CREATE_KINDS: Readonly<Record<PoolErrorKind, ProviderErrorKind>> = {
  full: 'capacity',
  unreachable: 'unavailable',
  unknown: 'ambiguous',
  refused: 'rejected',
};

/** To every other call a lost answer means: ask again. */
const OTHER_KINDS: Readonly<Record<PoolErrorKind, ProviderErrorKind>> = {
  ...CREATE_KINDS,
  full: 'unavailable',
  unknown: 'unavailable',
};

/** The words that go before a failure's own, by operation. */
const WORDS: Partial<Record<ProviderOperation, string>> = {
  ListOffers: 'list offers of the pool',
  ListAllInstances: 'list instances of the pool',
  CreateInstance: 'create instance in the pool',
  DestroyInstance: 'destroy instance in the pool',
  GetInstanceStatus: 'read instance of the pool',
  Check: 'check the pool',
};

/** Whatever was thrown, as the only thing that a provider throws. What nobody foresaw is, to a create, unknown. */
export function toProviderError(thrown: unknown, operation: ProviderOperation): ProviderError {
  if (thrown instanceof ProviderError) return thrown;
  const creates = operation === 'CreateInstance';
  const known = thrown instanceof PoolError ? thrown : undefined;
  const kinds = creates ? CREATE_KINDS : OTHER_KINDS;
  const kind = known === undefined ? (creates ? 'ambiguous' : 'unavailable') : kinds[known.kind];
  const why = known?.message ?? 'it failed unexpectedly';
  return new ProviderError({
    kind,
    provider: POOL,
    operation,
    message: `${WORDS[operation] ?? operation}: ${why}`,
    cause: thrown,
  });
}
