import type { Instance } from '../../../src/provider/instance.ts';
import type { Offer } from '../../../src/provider/offer.ts';
import { ProviderError } from '../../../src/provider/provider-error.ts';
import type { CreateRequest, Provider } from '../../../src/provider/provider.ts';
import type { InMemoryWorld } from '../in-memory-world.ts';

export const bodyOf = ({ environment, sshPublicKeys }: CreateRequest) => JSON.stringify({ environment, sshPublicKeys });

export const isKind = (error: unknown, kind: ProviderError['kind']) => error instanceof ProviderError && error.kind === kind;

export function emptyWhen(error: unknown, kind: ProviderError['kind']): readonly never[] {
  if (isKind(error, kind)) return [];
  throw error;
}

export function withoutTag({ tag: _tag, ...instance }: Instance): Instance {
  return instance;
}

export function anError(
  error: ProviderError,
  change: Partial<Pick<ProviderError, 'kind' | 'message' | 'cause'>>,
): ProviderError {
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

export function changeOffers(change: (offer: Offer) => Offer) {
  return ({ provider }: Pick<InMemoryWorld, 'provider'>): Provider => ({
    ...provider,
    listOffers: async (query, options) => {
      const listing = await provider.listOffers(query, options);
      return { ...listing, offers: listing.offers.map(change) };
    },
  });
}

export function changeInstances(
  change: (instance: Instance) => Instance,
  { ofCreate = true }: { readonly ofCreate?: boolean } = {},
) {
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

export function changeErrors(
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
