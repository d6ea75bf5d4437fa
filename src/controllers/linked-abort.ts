import { setMaxListeners } from 'node:events';

export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
  /** Takes the listeners back; to be called when the work is done. */
  release(): void;
}

/** A signal of its own that also aborts with any of its parents. Not AbortSignal.any: that leaves something behind at parents that live long. */
export function linkedAbort(parents: readonly AbortSignal[]): LinkedAbort {
  const controller = new AbortController();
  const links = parents.map((parent) => ({ parent, onAbort: () => controller.abort(parent.reason) }));
  for (const { parent, onAbort } of links) {
    setMaxListeners(0, parent); // as many as there is work at once
    parent.addEventListener('abort', onAbort, { once: true });
    if (parent.aborted) onAbort();
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => {
      for (const { parent, onAbort } of links) parent.removeEventListener('abort', onAbort);
    },
  };
}
