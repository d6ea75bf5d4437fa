import type { PortRange } from './environment.ts';

/** Ports of the range in turn, from a random one on, without those that are somebody's. */
export function createPortChooser({ range, startAt }: { range: PortRange; startAt: number }) {
  const size = range.last - range.first + 1;
  let next = Math.floor(startAt * size);
  return {
    /** Each port once; the caller takes the first that it can listen on. */
    *candidates(isReserved: (port: number) => boolean): Generator<number> {
      for (let tried = 0; tried < size; tried += 1) {
        const port = range.first + (next % size);
        next = (next + 1) % size;
        if (!isReserved(port)) yield port;
      }
    },
  };
}
