import { once } from 'node:events';
import net from 'node:net';
import type { Clock } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';

const KNOCK_MS = 3 * SECOND_MS;

/** `open`: something accepts, so that the container is there. `refused`: the machine answers that nothing does. */
export type Heard = 'open' | 'refused' | 'unreachable';

export interface KnockRequest {
  readonly host: string;
  readonly port: number;
  readonly clock: Pick<Clock, 'timeoutSignal'>;
  readonly signal: AbortSignal;
}

/** Whether anything listens at a port: a container engine opens it with the container and closes it with it, whatever sshd does. */
export async function knock({ host, port, clock, signal }: KnockRequest): Promise<Heard> {
  const socket = net.connect({ host, port });
  try {
    await once(socket, 'connect', { signal: clock.timeoutSignal(KNOCK_MS, signal) });
    return 'open';
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'ECONNREFUSED' ? 'refused' : 'unreachable';
  } finally {
    socket.on('error', () => {}).destroy();
  }
}
