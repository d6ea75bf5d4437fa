import type { ProviderId } from './ids.ts';
import type { ProviderOperation } from './provider-error.ts';

const VERBS = {
  ListOffers: 'list offers',
  ListAllInstances: 'list instances',
  CreateInstance: 'create instance',
  DestroyInstance: 'destroy instance',
  GetInstanceStatus: 'get instance',
  AttachSSHKey: 'attach SSH keys',
  DetachSSHKey: 'detach SSH keys',
  Check: 'check',
  GetBalance: 'read balance',
  ListTemplates: 'list templates',
  ListCharges: 'list charges',
  DialSsh: 'dial SSH',
} as const satisfies Record<ProviderOperation, string>;

/** How a message begins: `create instance at vastai`. */
export function describeCall(provider: { readonly id: ProviderId }, operation: ProviderOperation): string {
  return `${VERBS[operation]} at ${provider.id}`;
}

/** Who goes first, highest first: destroys, then a session that waits for its address, then safety, then new work, then the shop window. */
export const URGENCY = {
  DestroyInstance: 6,
  GetInstanceStatus: 5,
  AttachSSHKey: 5,
  DetachSSHKey: 5,
  ListAllInstances: 4,
  CreateInstance: 3,
  ListOffers: 2,
  Check: 1,
  ListTemplates: 2,
  ListCharges: 1,
  GetBalance: 1,
  DialSsh: 0,
} as const satisfies Record<ProviderOperation, number>;
