import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const EVERY_MS = 5;

/** The wall-clock moment at which an SSH server on loopback first names itself: something that only forwards the port does not count. */
export async function firstBanner(port: number, signal: AbortSignal): Promise<number> {
  while (!signal.aborted) {
    if (await namesItself(port)) return Date.now();
    await delay(EVERY_MS);
  }
  throw new Error(`nothing named itself on port ${port}`);
}

function namesItself(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (does: boolean) => {
      socket.destroy();
      resolve(does);
    };
    socket.setTimeout(1_000, () => end(false));
    socket.once('data', (data) => end(data.toString('latin1').startsWith('SSH-')));
    socket.once('error', () => end(false)); // nobody listens yet
    socket.once('close', () => end(false));
  });
}
