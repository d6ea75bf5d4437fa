import { expect, it } from 'vitest';
import { Knobs, SCENARIOS } from '../emulators/hakuriver/knobs.ts';
import { makeHakuWorld } from './hakuriver-world.ts';
import { CALM, rideStorm } from './storm.ts';

const SECOND_MS = 1_000;

/**
 * Resets, pages, halves, machines that never start or start too late, updates that are lost, words that nobody knows. Two accidents are told in
 * stories of their own, since what runs can then not be known: machines whose Runner dies, and containers that move to another port.
 */
const STORM = Knobs.parse({
  ...SCENARIOS['stress'],
  latencyMedianMs: 0,
  latencyP99Ms: 0,
  runnerDeathPerHour: 0,
  restartPerHour: 0,
  goneBeforeCreateShare: 0.1,
  slowShare: 0.05,
  neverStartsShare: 0.1,
  // each costs five minutes of the storm's time; what is left without an answer is held by the checks
  silenceAfterShare: 0,
  // a create asks four times before it is sent, and twice after: with more than this none would ever come through
  resetBeforeShare: 0.03,
  htmlShare: 0.03,
  errorShare: 0.03,
  throttleShare: 0.02,
});

it.each([
  ['P', 1],
  ['P', 2],
  ['S', 3],
  ['K', 4],
  ['K', 7],
  // these told of an end that was none
  ['K', 143],
  ['K', 158],
  ['K', 229],
  ['P', 1_043],
  ['P', 1_203],
  ['S', 1_203],
  ['P', 1_296],
  ['S', 1_296],
] as const)(
  'storm at dialect %s, %i: tells no lie of a cluster in which everything goes wrong, and leaves nothing',
  { timeout: 60_000 },
  async (dialect, seed) => {
    const world = await makeHakuWorld({ seed, dialect, knobs: STORM });
    const { emulator } = world;

    const report = await rideStorm(
      world,
      {
        living: (tags) => tags.flatMap((tag) => emulator.livingWithTag(tag).map((id) => ({ id, tag }))),
        madeWith: (tag) => [...emulator.startingWithTag(tag), ...emulator.livingWithTag(tag)],
        startsLate: true,
        known: (ours) =>
          emulator.ledger().flatMap(({ taskId, tags }) => (tags.some((tag) => ours.includes(tag)) ? [taskId] : [])),
        isWanted: ({ gpuCount }) => gpuCount === 1, // or the cluster would soon be full
        // a row is never forgotten, and closed before and after its container ends
        isLieOfTheDead: () => false,
        isLieOfTheLiving: (told) => told === 'gone',
      },
      { seed, steps: 150, pauseMs: 10 * SECOND_MS },
    );

    expect(report).toEqual(CALM);
    await world.close();
  },
);
