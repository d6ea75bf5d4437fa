import { z } from 'zod';

const share = z.number().min(0).max(1);
const ms = z.number().min(0);

/** Every delay and chance of the emulated cluster. A share is of calls, starts or messages, 0 to 1. */
export const Knobs = z.strictObject({
  latencyMedianMs: ms.default(0),
  latencyP99Ms: ms.default(0),
  resetAfterShare: share.default(0).describe('of writes: executed, answer lost'),
  resetBeforeShare: share.default(0).describe('of calls: cut before anything happened'),
  htmlShare: share.default(0).describe('of calls: 502 with a page, of a proxy before the Host; nothing executed'),
  errorShare: share.default(0).describe('of calls: 500 in plain text, nothing executed'),
  silenceAfterShare: share.default(0).describe('of writes: executed, and never an answer'),
  halfBodyShare: share.default(0).describe('of calls: executed, body cut in the middle'),
  throttleShare: share.default(0).describe('of calls: 429 of a proxy before the Host, which has no limit itself'),
  runMs: ms.default(1_400).describe('from submit until the container runs: image check, package manager probe, docker run'),
  slowShare: share.default(0).describe('of starts: takes slowMs in place of runMs'),
  slowMs: ms.default(34_000),
  neverStartsShare: share.default(0).describe('of starts: the Runner fails, 202 all the same, the row stays pending for ever'),
  crashLoopShare: share.default(0).describe('of starts: running, and the container restarts for ever'),
  sshdDelayMs: ms
    .default(1_000)
    .describe('from the start of a container until sshd speaks; first half: hangs up, second: silence'),
  keyDelayMs: ms.default(0).describe('from the banner until the keys are accepted'),
  keyNeverShare: share.default(0).describe('of starts: sshd refuses every key'),
  stopMs: ms.default(10_000).describe('what docker stop takes; 300 where the shell of the image is bash'),
  lostUpdateShare: share.default(0).describe('of the messages from Runner to Host, which nobody repeats'),
  restartPerHour: z.number().min(0).default(0).describe('how often a container restarts by itself, on another port'),
  runnerDeathPerHour: z.number().min(0).default(0).describe('how often the Runner of a node dies; its containers live on'),
  runnerReturnMs: ms.default(120_000).describe('from such a death until somebody has started the Runner again'),
  goneBeforeCreateShare: share.default(0).describe('of submits: somebody else has just taken the cores or the GPUs'),
  unknownStatusShare: share.default(0).describe('of VPS rows in an answer'),
  everyOptionalNull: z.boolean().default(false),
  extraFields: z.boolean().default(false).describe('fields in every object that no version of the contract knows'),
  keysHidden: z
    .boolean()
    .default(false)
    .describe('H and K alone: their /status shows no key; which of the two holds is not known'),
  clockSkewMs: z.number().default(0).describe('of the Host'),
  utcOffsetMinutes: z.number().default(0).describe('of the Host; its times bear no zone'),
  specLie: z.enum(['none', 'vram', 'no-gpus']).default('none').describe('what nvidia-smi in a VPS shows against /nodes'),
  load: z.array(z.number()).min(1).default([0, 35, 83, 91, 64]).describe('GPU percent, one a heartbeat, round and round'),
  heartbeatMs: z.number().min(1).default(5_000),
  offlineAfterMs: ms.default(30_000).describe('without a heartbeat'),
  checkMs: z.number().min(1).default(10_000).describe('how often the Host looks for silent nodes'),
});
export type Knobs = z.infer<typeof Knobs>;

/** Knobs that belong together, by name. `calm` has the cluster's own behaviour and no accidents. */
export const SCENARIOS: Readonly<Record<string, z.input<typeof Knobs>>> = {
  calm: {},
  default: {
    latencyMedianMs: 50,
    latencyP99Ms: 1_000,
    resetAfterShare: 0.005,
    resetBeforeShare: 0.005,
    htmlShare: 0.005,
    errorShare: 0.005,
    slowShare: 0.05,
    neverStartsShare: 0.03,
    sshdDelayMs: 22_000,
    lostUpdateShare: 0.005,
    restartPerHour: 0.05,
    runnerDeathPerHour: 0.01,
    goneBeforeCreateShare: 0.05,
    extraFields: true,
  },
  stress: {
    latencyMedianMs: 250,
    latencyP99Ms: 5_000,
    resetAfterShare: 0.2,
    resetBeforeShare: 0.1,
    htmlShare: 0.1,
    errorShare: 0.1,
    silenceAfterShare: 0.02,
    halfBodyShare: 0.01,
    throttleShare: 0.05,
    slowShare: 0.2,
    neverStartsShare: 0.3,
    crashLoopShare: 0.1,
    sshdDelayMs: 60_000,
    keyDelayMs: 30_000,
    keyNeverShare: 0.1,
    lostUpdateShare: 0.1,
    restartPerHour: 1,
    runnerDeathPerHour: 0.5,
    goneBeforeCreateShare: 0.5,
    unknownStatusShare: 0.02,
    everyOptionalNull: true,
    extraFields: true,
    clockSkewMs: 90_000,
    utcOffsetMinutes: 480,
  },
};
