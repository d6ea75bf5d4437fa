import { holdUntil } from './hold.ts';
import type { WideJson } from './wide-json.ts';
import type { World } from './world.ts';

/** What the Host gets of a Runner: its answer, a 500, a 4xx with its detail, or no connection. */
export type RunnerAnswer =
  | { readonly kind: 'answered'; readonly body: WideJson }
  | { readonly kind: 'refused'; readonly status: number; readonly body: WideJson }
  | { readonly kind: 'crashed' }
  | { readonly kind: 'unreachable' };

/** What becomes of a start; a test may choose it by the `outcome` of a fault. */
export const RUN_OUTCOMES = ['never-starts', 'slow', 'crash-loop', 'broken-tarball', 'update-lost', 'stays-assigning'] as const;
export type RunOutcome = (typeof RUN_OUTCOMES)[number];

/** In the cluster's time; at once where that is now. */
export function later(world: World, ms: number, run: () => void): void {
  world.agenda.at(world.now() + ms, run);
  world.agenda.settle();
}

/** The Host gives up at its patience; the Runner goes on. */
export function after(world: World, ms: number, result: () => RunnerAnswer, patienceMs = Infinity): Promise<RunnerAnswer> {
  const told = new Promise<RunnerAnswer>((resolve) => {
    if (patienceMs < ms) world.agenda.at(world.now() + patienceMs, () => resolve({ kind: 'crashed' }));
    later(world, ms, () => resolve(result()));
  });
  return holdUntil(world, told);
}
