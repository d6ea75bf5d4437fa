import { seededRandom } from '../../src/core/random.ts';

/** All chance of a world, or of one part of it: the same seed throws the same dice. */
export interface Dice {
  /** True with this probability; a probability of 0 costs no throw, so that a fault that is off changes nobody else's luck. */
  chance(probability: number): boolean;
  /** A number from `least` to below `most`. */
  between(least: number, most: number): number;
  whole(least: number, most: number): number;
  pick<Value>(values: readonly Value[]): Value;
}

export function createDice(seed: number): Dice {
  const random = seededRandom(seed);
  const between = (least: number, most: number) => least + random.next() * (most - least);
  return {
    chance: (probability) => probability > 0 && random.next() < probability,
    between,
    whole: (least, most) => Math.floor(between(least, most + 1)),
    pick(values) {
      const value = values[Math.floor(random.next() * values.length)];
      if (value === undefined) throw new RangeError('nothing to pick from');
      return value;
    },
  };
}

/** A seed of its own for each part, so that what one part throws leaves the others alone. */
export function seedOf(world: number, part: string): number {
  let hash = world >>> 0;
  for (const letter of part) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  return hash;
}
