import { defineProvider } from '../../src/provider/provider-module.ts';
import { Environment } from './environment.ts';
import { createSimulatedProvider } from './provider.ts';

/** A market that ships: seeded offers, machines that are SSH servers on loopback, faults on demand. Never mixed with real offers. */
export const simulated = defineProvider({
  id: 'simulated',
  environment: Environment,
  isOn: ({ PROVIDERS_SIMULATED_ENABLED: isAskedFor }, { otherIsOn }) => isAskedFor ?? !otherIsOn,
  create: createSimulatedProvider,
});
