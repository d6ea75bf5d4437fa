import { describe } from 'vitest';
import { describeProvider } from './describe-provider.ts';
import { makeHakuWorld } from './hakuriver-world.ts';

const TIMEOUT_MS = 30_000;
/** What is asked of an adapter whose vendor misbehaves. */
const IN_TROUBLE = [
  'create-lost-answer',
  'create-cut-short',
  'list-throws',
  'offers-throw',
  'get-throws',
  'reads-cut-short',
  'check-tells',
  'destroy-fails-openly',
  'errors-are-provider-errors',
  'errors-carry-no-secret',
];

/** A stop takes ten seconds as a rule, and less where the shell of the image allows it. */
const CLUSTERS = [
  { dialect: 'P', knobs: {} },
  { dialect: 'S', knobs: { stopMs: 300 } },
  { dialect: 'K', knobs: { stopMs: 300 } },
] as const;

describe.each(CLUSTERS)('dialect $dialect:', ({ dialect, knobs }) => {
  describeProvider({
    name: 'the adapter of HakuRiver',
    make: () => makeHakuWorld({ seed: 1, dialect, knobs }),
    // nobody pays here: what else is refused for good is held below
    leavesOut: [...IN_TROUBLE, 'create-definite-failure', 'balance-integer'],
    timeoutMs: TIMEOUT_MS,
  });

  describeProvider({
    name: 'the adapter of HakuRiver before a Host in trouble',
    make: () => makeHakuWorld({ seed: 2, dialect, knobs, withFaults: true }),
    only: IN_TROUBLE,
    timeoutMs: TIMEOUT_MS,
  });
});

describe.each(['P', 'K'] as const)('dialect %s:', (dialect) => {
  describeProvider({
    name: 'the adapter of HakuRiver before a slow Host whose clock is wrong, which leaves out what it may and adds what nobody knows',
    make: () =>
      makeHakuWorld({
        seed: 4,
        dialect,
        knobs: {
          runMs: 20_000,
          sshdDelayMs: 22_000,
          stopMs: 3_000,
          everyOptionalNull: true,
          extraFields: true,
          clockSkewMs: 90_000,
          utcOffsetMinutes: 480,
        },
      }),
    leavesOut: [...IN_TROUBLE, 'create-definite-failure', 'balance-integer'],
    timeoutMs: TIMEOUT_MS,
  });
});

describeProvider({
  name: 'the adapter of a KohakuRiver with users',
  make: () => makeHakuWorld({ seed: 5, dialect: 'K', auth: true, knobs: { stopMs: 300 }, withFaults: true }),
  only: ['create-runs', 'destroy-ends', ...IN_TROUBLE],
  timeoutMs: TIMEOUT_MS,
});
