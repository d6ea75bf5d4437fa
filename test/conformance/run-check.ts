import { parseOwnershipTag } from '../../src/provider/ownership-tag.ts';
import { listed, untilGone } from './steps.ts';
import type { ConformanceCheck, ConformanceWorld, MakeWorld } from './world.ts';

export type Verdict =
  | { readonly verdict: 'passed' }
  | { readonly verdict: 'failed'; readonly error: unknown }
  /** The world cannot do what the check needs, or the check means nothing for the provider. */
  | { readonly verdict: 'skipped'; readonly why: string };

/** Runs one check in a world of its own and takes the world down again. */
export async function runCheck(check: ConformanceCheck, make: MakeWorld): Promise<Verdict> {
  const world = await make();
  try {
    const missing = (check.needs ?? []).filter((need) => world.controls[need] === undefined);
    if (missing.length > 0) return { verdict: 'skipped', why: `the account cannot be told to ${missing.join(', ')}` };
    if (check.applies && !check.applies(world.provider)) return { verdict: 'skipped', why: 'the provider has no such ability' };
    await check.run(world);
    return { verdict: 'passed' };
  } catch (error) {
    return { verdict: 'failed', error };
  } finally {
    await world.close();
  }
}

/** For a world that is real: destroys what its checks left behind, by its own deployment's tags only. */
export async function destroyLeftovers(world: ConformanceWorld): Promise<void> {
  world.controls.heal?.();
  const ours = parseOwnershipTag(world.newTag())?.deployment;
  for (const { id, tag } of await listed(world)) {
    if (tag !== undefined && parseOwnershipTag(tag)?.deployment === ours) await untilGone(world, id);
  }
}
