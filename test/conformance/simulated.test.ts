import { describeProvider } from './describe-provider.ts';
import { makeSimulatedWorld } from './simulated-world.ts';

const REAL_TIME_MS = 30_000;
/** The market was opened with the fault, so there is nothing to switch. */
const builtIn = { fault: () => {}, heal: () => {} };

describeProvider({ name: 'the simulated market', make: () => makeSimulatedWorld(), timeoutMs: REAL_TIME_MS });

describeProvider({
  name: 'the simulated market that loses answers',
  make: () => makeSimulatedWorld({ variables: { SIMULATED_FAULTS: 'create_lost=1' }, controls: builtIn }),
  only: ['create-lost-answer'],
  timeoutMs: REAL_TIME_MS,
});

describeProvider({
  name: 'the simulated market that takes long to answer',
  make: () => makeSimulatedWorld({ variables: { SIMULATED_CREATE_SECONDS: '0.4' }, controls: builtIn }),
  only: ['create-cut-short'],
  timeoutMs: REAL_TIME_MS,
});
