import { defineProvider } from '../../src/provider/provider-module.ts';
import { Environment } from './environment.ts';
import { createPoolProvider } from './provider.ts';

/** The machines of this installation: for now one, the local Docker engine. */
export const pool = defineProvider({
  id: 'pool',
  environment: Environment,
  isOn: ({ PROVIDERS_POOL_ENABLED: isAskedFor, POOL_IMAGE: image }) => isAskedFor ?? image !== undefined,
  create: async (_, { machinePool, clock }) => createPoolProvider({ pool: machinePool, clock }),
});
