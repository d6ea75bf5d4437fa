import type { EpochMs } from '../../../src/core/clock.ts';
import type { World } from './world.ts';

/** The Host's local time as Python writes it: microseconds, no zone. */
export function naiveTime(world: World, at: EpochMs): string {
  const local = at + world.knobs.clockSkewMs + world.knobs.utcOffsetMinutes * 60_000;
  const micros = String((Math.floor(local / 1_000) * 37 + 410) % 1_000).padStart(3, '0');
  return `${new Date(local).toISOString().slice(0, -1)}${micros}`;
}

export function naiveTimeOrNull(world: World, at: EpochMs | null): string | null {
  return at === null ? null : naiveTime(world, at);
}
