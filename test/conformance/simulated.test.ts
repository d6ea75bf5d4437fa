import { describeProvider } from './describe-provider.ts';
import { makeSimulatedWorld } from './simulated-world.ts';

const REAL_TIME_MS = 30_000;
/** By it the first instance is outbid a few seconds after it has booted. */
const EARLY_SEED = '468';
/** The market was opened with the fault, so there is nothing to switch. */
const builtIn = { fault: () => {}, heal: () => {} };

describeProvider({
  name: 'the simulated market',
  make: () => makeSimulatedWorld(),
  // its faults are set when it opens, and it has no account to pay from; two of them have worlds of their own below
  leavesOut: [
    'balance-integer',
    'check-tells',
    'create-cut-short',
    'create-definite-failure',
    'create-lost-answer',
    'destroy-fails-openly',
    'errors-are-provider-errors',
    'errors-carry-no-secret',
    'get-throws',
    'list-throws',
    'offers-throw',
    'reads-cut-short',
    'unknown-word-is-starting',
  ],
  timeoutMs: REAL_TIME_MS,
});

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

describeProvider({
  name: 'the simulated market whose hosts can be had for a bid as well',
  make: () =>
    makeSimulatedWorld({
      variables: { SIMULATED_INTERRUPTIBLE: '1', SIMULATED_FAULTS: 'preempt=1', SIMULATED_SEED: EARLY_SEED },
    }),
  only: ['interruptible-offers', 'preempted-is-paused', 'offers-names', 'offers-sizes', 'offers-integer-prices'],
  timeoutMs: REAL_TIME_MS,
});
