import PQueue from 'p-queue';

/** How many SSH connections are being made or used at once; the others wait their turn. */
export type HandshakeGate = <T>(task: () => Promise<T>, signal: AbortSignal) => Promise<T>;

/** A handshake costs milliseconds of this process's only thread: thousands at once would stop the API. */
export function createHandshakeGate(atOnce = 64): HandshakeGate {
  const queue = new PQueue({ concurrency: atOnce });
  return async (task, signal) => queue.add(task, { signal });
}
