import { whenAborted } from '../core/when-aborted.ts';

export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
  /** Takes the listeners back; to be called when the work is done. */
  release(): void;
}

/** A signal of its own that also aborts with any of its parents. Not AbortSignal.any: that leaves something behind at parents that live long. */
export function linkedAbort(parents: readonly AbortSignal[]): LinkedAbort {
  const controller = new AbortController();
  const releases = parents.map((parent) => whenAborted(parent, () => controller.abort(parent.reason)));
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => {
      for (const release of releases) release();
    },
  };
}
