import type { World } from './world.ts';

/**
 * Holds an answer back until the cluster's time has brought it about. It sleeps on the handed clock meanwhile, so that whoever moves that
 * clock stops at each moment at which something happens.
 */
export async function holdUntil<T>(world: World, pending: Promise<T>): Promise<T> {
  const over = new AbortController();
  const result = pending.finally(() => over.abort());
  const signal = AbortSignal.any([over.signal, world.closing]);
  while (!signal.aborted) {
    const dueAt = world.agenda.nextDueAt();
    if (dueAt === undefined) break;
    await world.sleep(Math.max(1, dueAt - world.now()), signal).catch(() => {});
    world.agenda.settle();
    await Promise.resolve(); // what has settled shows itself
  }
  return result;
}
