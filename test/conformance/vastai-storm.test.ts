import { expect, it } from 'vitest';
import { Knobs, SCENARIOS } from '../emulators/vastai/knobs.ts';
import { CALM, rideStorm } from './storm.ts';
import { makeVastWorld } from './vastai-world.ts';

/** Resets, pages, throttles and halves, hosts that die, words that nobody knows, and every answer late. */
const STORM = Knobs.parse({
  ...SCENARIOS['stress'],
  goneBeforeCreateShare: 0.2,
  dailyRows: 200_000,
});

it.each([1, 2, 3])('storm %i: tells no lie of an account in which everything goes wrong', { timeout: 60_000 }, async (seed) => {
  const world = await makeVastWorld({ seed, mode: 'strict', roulette: true, knobs: STORM });
  const alive = () => world.emulator.instances().filter(({ isAlive }) => isAlive);

  const report = await rideStorm(
    world,
    {
      living: () => alive().map(({ id, label }) => ({ id: String(id), tag: label ?? '' })),
      madeWith: (tag) => alive().flatMap(({ id, label }) => (label === tag ? [String(id)] : [])),
      startsLate: false,
      known: () => world.emulator.instances().map(({ id }) => String(id)),
      isLieOfTheDead: () => true,
      isLieOfTheLiving: () => true,
    },
    { seed, steps: 120 },
  );

  expect(report).toEqual(CALM);
  await world.close();
});
