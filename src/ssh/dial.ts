import { once } from 'node:events';
import net from 'node:net';
import { abortFailure } from './abort.ts';
import { fromSystemError } from './ssh-failure.ts';

/** Opens a TCP connection to a checked address. Throws SshError. */
export async function dialTcp({
  address,
  port,
  signal,
}: {
  address: string;
  port: number;
  signal: AbortSignal;
}): Promise<net.Socket> {
  // Nagle's algorithm costs 44 ms at every turn of the dialogue
  const socket = net.connect({ host: address, port, noDelay: true, keepAlive: true });
  socket.on('error', () => {}); // heard by whoever waits; a socket without any listener would end the process
  try {
    await once(socket, 'connect', { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw abortFailure(signal, 'connect');
    throw fromSystemError(error, 'connect');
  }
}
