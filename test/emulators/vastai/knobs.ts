import { z } from 'zod';
import type { Random } from '../../../src/core/random.ts';

const share = z.number().min(0).max(1);
const ms = z.number().min(0);

/** Every delay and chance of the emulated vendor. A share is of calls, creates or hosts, 0 to 1. */
export const Knobs = z.strictObject({
  latencyMedianMs: ms.default(0),
  latencyP99Ms: ms.default(0),
  resetAfterShare: share.default(0).describe('of writes: executed, answer lost'),
  resetBeforeShare: share.default(0).describe('of calls: cut before anything happened'),
  htmlShare: share.default(0).describe('of calls: 502 with a page, nothing executed'),
  throttleShare: share.default(0).describe('of calls: 429 beyond the own algorithm'),
  halfBodyShare: share.default(0).describe('of calls: executed, body cut in the middle'),
  listLagMs: ms.default(10_000).describe('longest time that a new contract is missing in the list'),
  goneLagMs: ms.default(30_000).describe('longest time that a destroyed contract is still listed'),
  unknownStatusShare: share.default(0),
  everyOptionalNull: z.boolean().default(false),
  priceDriftPerMinute: share.default(0),
  createPriceFactor: z.number().min(0).default(1).describe('times the listed price: what a create is charged in the end'),
  goneBeforeCreateShare: share.default(0),
  stuckShare: share.default(0),
  deathPerHour: share.default(0),
  clockSkewMs: z.number().default(0),
  ociFailureShare: share.default(0),
  bootScale: z.number().min(0).default(1).describe('times the boot time that image and host give'),
  stopMs: ms.default(8_000),
  keyDelayMs: ms.default(12_000),
  keyNeverShare: share.default(0),
  proxyDeadShare: share.default(0),
  directDeadShare: share.default(0),
  sshdDelayMs: ms.default(4_000).describe('from running until sshd speaks; the first half refuses, the second hangs'),
  onstartLostShare: share.default(0),
  specLie: z.enum(['none', 'cuda', 'vram', 'no-gpus']).default('none'),
  heartbeatMs: ms.default(30_000),
  load: z.array(z.number()).min(1).default([0, 35, 83, 91, 64]).describe('GPU percent, one a heartbeat, round and round'),
  outbidPerHour: z.number().min(0).default(0).describe('how often others move the standing bid of a machine'),
  searchCap: z
    .number()
    .int()
    .nullable()
    .default(null)
    .describe('rows at most whatever the limit says; null leaves it to the roulette'),
  ignoredFilter: z.string().nullable().default(null).describe('a numeric filter that is accepted and not applied'),
  anonymousSearch: z.boolean().default(true),
  dailyRows: z.number().int().min(0).default(20_000),
  limits: z.boolean().default(true),
  retryAfterHeader: z.boolean().default(false),
  legacyList: z.enum(['410', '200', 'paged']).default('410'),
  spendRateLimit: z.boolean().default(false),
  chargesLagMs: ms.default(20 * 60_000).describe('until spent seconds show in the charges; a row appears after it'),
  webhookTwiceShare: share.default(0.2),
  bandwidthGbPerHour: z.number().min(0).default(0),
});
export type Knobs = z.infer<typeof Knobs>;

/** Where the sources conflict: one reading a run, and the same one for the run's whole length. */
export interface Shapes {
  readonly askGone: '400' | '404' | '410' | '200';
  readonly gone: 'null' | 'empty' | '404';
  readonly single: 'object' | 'array';
  readonly portsBeforeRunning: 'null' | 'absent' | 'empty';
  readonly secondDestroy: 'not_found' | 'no_such_instance' | '200';
  readonly destroyed: 'success' | 'empty';
  readonly keyField: 'public_key' | 'key';
  readonly preemption: 'a' | 'b';
  readonly losingBid: 'refused-with-contract' | 'accepted-then-stopped';
  readonly searchCap: 64 | 'none';
  readonly unknownFilter: 'ignored' | 'refused';
  readonly envText: 'ignored' | 'read';
  readonly noCredit: 'code' | 'text' | 'empty';
  readonly accountKeys: 'later' | 'all';
  readonly addressNewline: boolean;
  readonly externalAs: 'boolean' | 'number';
  readonly gpuMemory: 'driver' | 'round';
  readonly throttle: number;
}

/** Without roulette: the reading with the best evidence. */
export const LIKELY_SHAPES: Shapes = {
  askGone: '400',
  gone: 'null',
  single: 'object',
  portsBeforeRunning: 'absent',
  secondDestroy: 'no_such_instance',
  destroyed: 'success',
  keyField: 'public_key',
  preemption: 'b',
  losingBid: 'refused-with-contract',
  searchCap: 64,
  unknownFilter: 'ignored',
  envText: 'ignored',
  noCredit: 'code',
  accountKeys: 'later',
  addressNewline: true,
  externalAs: 'boolean',
  gpuMemory: 'driver',
  throttle: 0,
};

export function spinShapes(random: Random): Shapes {
  const pick = <T>(...values: [T, ...T[]]): T => values[Math.floor(random.next() * values.length)] ?? values[0];
  return {
    askGone: pick('400', '404', '410', '200'),
    gone: pick('null', 'empty', '404'),
    single: pick('object', 'array'),
    portsBeforeRunning: pick('null', 'absent', 'empty'),
    secondDestroy: pick('not_found', 'no_such_instance', '200'),
    destroyed: pick('success', 'empty'),
    keyField: pick('public_key', 'key'),
    preemption: pick('a', 'b'),
    losingBid: pick('refused-with-contract', 'accepted-then-stopped'),
    searchCap: pick<64 | 'none'>(64, 'none'),
    unknownFilter: pick('ignored', 'refused'),
    envText: pick('ignored', 'read'),
    noCredit: pick('code', 'text', 'empty'),
    accountKeys: pick('later', 'all'),
    addressNewline: pick(true, false),
    externalAs: pick('boolean', 'number'),
    gpuMemory: pick('driver', 'round'),
    throttle: Math.floor(random.next() * 4),
  };
}

/** Knobs that belong together, by name. `calm` has the vendor's own behaviour and no accidents. */
export const SCENARIOS: Readonly<Record<string, z.input<typeof Knobs>>> = {
  calm: {},
  default: {
    latencyMedianMs: 250,
    latencyP99Ms: 2_000,
    resetAfterShare: 0.005,
    resetBeforeShare: 0.005,
    htmlShare: 0.005,
    priceDriftPerMinute: 0.02,
    goneBeforeCreateShare: 0.15,
    stuckShare: 0.03,
    deathPerHour: 0.01,
    onstartLostShare: 0.01,
    outbidPerHour: 0.5,
  },
  stress: {
    latencyMedianMs: 250,
    latencyP99Ms: 2_000,
    resetAfterShare: 0.2,
    resetBeforeShare: 0.1,
    htmlShare: 0.1,
    throttleShare: 0.05,
    halfBodyShare: 0.01,
    listLagMs: 60_000,
    goneLagMs: 300_000,
    unknownStatusShare: 0.02,
    everyOptionalNull: true,
    priceDriftPerMinute: 0.2,
    goneBeforeCreateShare: 0.8,
    stuckShare: 0.3,
    deathPerHour: 0.05,
    clockSkewMs: 90_000,
    ociFailureShare: 0.1,
    keyDelayMs: 60_000,
    keyNeverShare: 0.1,
    proxyDeadShare: 0.2,
    directDeadShare: 0.2,
    onstartLostShare: 0.05,
    outbidPerHour: 6,
  },
};
