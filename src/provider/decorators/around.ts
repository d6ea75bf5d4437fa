import type { InstanceId } from '../ids.ts';
import type { ProviderOperation } from '../provider-error.ts';
import type { CallOptions, CreateRequest, Provider } from '../provider.ts';

/** A call on its way to a provider: which, about what, and whose signal can cut it short. */
export interface ProviderCall {
  readonly operation: ProviderOperation;
  readonly options: CallOptions;
  /** Absent for the calls that are about no instance. */
  readonly instanceId?: InstanceId;
  /** Only for `CreateInstance`. */
  readonly request?: CreateRequest;
}

/** What a decorator does round each call. It goes on with `proceed`, with other options if it likes, any number of times. */
export type Around = <Result>(call: ProviderCall, proceed: Proceed<Result>) => Promise<Result>;

export type Proceed<Result> = (options: CallOptions) => Promise<Result>;

/** The same provider with `around` round every call. Optional members exist where the provider has them; what is thrown at once becomes a rejection. */
export function aroundEveryCall(provider: Provider, around: Around): Provider {
  const { ensureSshKeys, removeSshKeys, dialSsh, balance, templates, charges, close } = provider;
  return {
    id: provider.id,
    capabilities: provider.capabilities,
    listOffers: (query, options) =>
      around({ operation: 'ListOffers', options }, async (inner) => provider.listOffers(query, inner)),
    createInstance: (request, options) =>
      around({ operation: 'CreateInstance', options, request }, async (inner) => provider.createInstance(request, inner)),
    getInstance: (instanceId, options) =>
      around({ operation: 'GetInstanceStatus', options, instanceId }, async (inner) => provider.getInstance(instanceId, inner)),
    listInstances: (options) =>
      around({ operation: 'ListAllInstances', options }, async (inner) => provider.listInstances(inner)),
    destroyInstance: (instanceId, options) =>
      around({ operation: 'DestroyInstance', options, instanceId }, async (inner) =>
        provider.destroyInstance(instanceId, inner),
      ),
    check: (options) => around({ operation: 'Check', options }, async (inner) => provider.check(inner)),
    ...(ensureSshKeys && {
      ensureSshKeys: (instanceId, keys, options) =>
        around({ operation: 'AttachSSHKey', options, instanceId }, async (inner) =>
          ensureSshKeys.call(provider, instanceId, keys, inner),
        ),
    }),
    ...(removeSshKeys && {
      removeSshKeys: (instanceId, keys, options) =>
        around({ operation: 'DetachSSHKey', options, instanceId }, async (inner) =>
          removeSshKeys.call(provider, instanceId, keys, inner),
        ),
    }),
    ...(dialSsh && {
      dialSsh: (instanceId, options) =>
        around({ operation: 'DialSsh', options, instanceId }, async (inner) => dialSsh.call(provider, instanceId, inner)),
    }),
    ...(balance && {
      balance: (options) => around({ operation: 'GetBalance', options }, async (inner) => balance.call(provider, inner)),
    }),
    ...(templates && {
      templates: (query, options) =>
        around({ operation: 'ListTemplates', options }, async (inner) => templates.call(provider, query, inner)),
    }),
    ...(charges && {
      charges: (query, options) =>
        around({ operation: 'ListCharges', options }, async (inner) => charges.call(provider, query, inner)),
    }),
    ...(close && { close: () => close.call(provider) }),
  };
}
