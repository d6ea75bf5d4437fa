import { expect, it } from 'vitest';
import { Knobs, SCENARIOS } from '../emulators/tensordock/knobs.ts';
import { CALM, rideStorm } from './storm.ts';
import { makeTensorDockWorld } from './tensordock-world.ts';

/** Resets, throttles and halves, creates that mostly fail, words that nobody knows, and every answer late. */
const STORM = Knobs.parse({ ...SCENARIOS['stress'], noNodeShare: 0.3 });
/** Answers take up to a minute here, so that time goes on in large steps; it stops at whatever is due on the way. */
const STEP_MS = 2_000;

it.each([1, 2, 3])('storm %i: tells no lie of an account in which everything goes wrong', { timeout: 60_000 }, async (seed) => {
  const world = await makeTensorDockWorld({ seed, mode: 'strict', roulette: true, knobs: STORM });
  const alive = () => world.emulator.instances().filter(({ isAlive }) => isAlive);

  const report = await rideStorm(
    world,
    {
      living: () => alive().map(({ id, name }) => ({ id, tag: name })),
      madeWith: (tag) => alive().flatMap(({ id, name }) => (name === tag ? [id] : [])),
      startsLate: false,
      known: () => world.emulator.instances().map(({ id }) => id),
      // its row is shown for a while
      isLieOfTheDead: ({ state }) => state === 'running',
      isLieOfTheLiving: () => true,
    },
    { seed, steps: 120, stepMs: STEP_MS },
  );

  expect(report).toEqual(CALM);
  await world.close();
});
