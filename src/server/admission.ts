/** A door that can be closed. */
export interface Admission {
  /** Does the work, or throws the refusal once the door is closed. */
  admit<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Lets nobody in any more; resolves when those inside are done. */
  close(): Promise<void>;
}

export function createAdmission({ refusal }: { readonly refusal: () => Error }): Admission {
  const inside = new Set<Promise<unknown>>();
  let isClosed = false;
  return {
    async admit(work) {
      if (isClosed) throw refusal();
      const working = work();
      inside.add(working);
      try {
        return await working;
      } finally {
        inside.delete(working);
      }
    },
    async close() {
      isClosed = true;
      await Promise.allSettled(inside);
    },
  };
}
