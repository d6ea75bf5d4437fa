const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `act` when the signal aborts, at once if it has; hands back how to take that back. One listener a signal, however many wait for it:
 * an event target looks through all its listeners for each that is added, which makes thousands of them on one shutdown signal quadratic.
 */
export function whenAborted(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act();
    return () => undefined;
  }
  const acts = waiting.get(signal) ?? listenTo(signal);
  const own = () => act(); // the same function twice is two wishes
  acts.add(own);
  return () => void acts.delete(own);
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const acts = new Set<() => void>();
  waiting.set(signal, acts);
  const onAbort = () => {
    for (const act of acts) act();
    acts.clear();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  return acts;
}
