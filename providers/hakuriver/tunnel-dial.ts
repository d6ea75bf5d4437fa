import { once } from 'node:events';
import net from 'node:net';
import type { Clock } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import { plainLine } from '../../src/core/text.ts';
import type { ProxyAddress } from './environment.ts';

/*
 * The Host's SSH proxy. We send `REQUEST_TUNNEL <id>` and a newline; it answers `SUCCESS` and then passes bytes both ways, or one line of refusal.
 * Its faults: some versions write the refusal as the text of a Python byte string; SUCCESS comes before anybody knows whether a sshd is there,
 * and such a tunnel stays dead for ever; the end of a stream is never passed on.
 */

const CONNECT_MS = 15 * SECOND_MS;
const ANSWER_MS = 10 * SECOND_MS;
/** sshd speaks first and at once. A tunnel that is silent for longer never comes alive; only a new one does. */
const FIRST_BYTES_MS = 4 * SECOND_MS;
const LONGEST_ANSWER_BYTES = 4_096;
/** The system's own is two hours, and a proxy whose machine has vanished says no word. */
const KEEP_ALIVE_MS = 30 * SECOND_MS;

export type TunnelFault =
  /** Nobody listens at the proxy's address. */
  | 'unreachable'
  /** What answers there is no such proxy, or it closed without a word. */
  | 'no proxy'
  /** The proxy said no; `message` is why. */
  | 'refused'
  /** It said yes, and then nothing came. */
  | 'silent'
  | 'cancelled';

export class TunnelFailure extends Error {
  readonly fault: TunnelFault;

  constructor(fault: TunnelFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TunnelFailure';
    this.fault = fault;
  }
}

export interface TunnelRequest {
  readonly proxy: ProxyAddress;
  /** Decimal. */
  readonly id: string;
  readonly clock: Pick<Clock, 'timeoutSignal'>;
  readonly signal: AbortSignal;
}

/**
 * One tunnel, with a sshd that has begun to speak at its end; what it said is still to be read. Each half is closed on its own. Throws nothing
 * but TunnelFailure.
 */
export async function openTunnel({ proxy, id, clock, signal }: TunnelRequest): Promise<net.Socket> {
  if (signal.aborted) throw new TunnelFailure('cancelled', 'cancelled');
  const socket = net.connect({
    ...proxy,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  });
  socket.on('error', () => {}); // heard by whoever waits; a socket without any listener would end the process
  const within = (ms: number) => clock.timeoutSignal(ms, signal);
  try {
    await connected(socket, within(CONNECT_MS));
    socket.write(`REQUEST_TUNNEL ${id}\n`);
    const line = await readLine(socket, within(ANSWER_MS));
    if (line !== 'SUCCESS') throw refusalOf(line);
    await firstBytes(socket, within(FIRST_BYTES_MS));
    return socket;
  } catch (thrown) {
    socket.destroy();
    if (signal.aborted) throw new TunnelFailure('cancelled', 'cancelled', thrown);
    throw thrown;
  }
}

/** Whether a proxy of this kind is there: asked for a task that cannot be, it has to refuse. Throws TunnelFailure when not. */
export async function askProxy(request: Omit<TunnelRequest, 'id'>): Promise<void> {
  try {
    (await openTunnel({ ...request, id: '0' })).destroy();
  } catch (thrown) {
    if (!(thrown instanceof TunnelFailure) || thrown.fault !== 'refused') throw thrown;
  }
}

async function connected(socket: net.Socket, signal: AbortSignal): Promise<void> {
  try {
    await once(socket, 'connect', { signal });
  } catch (cause) {
    throw new TunnelFailure('unreachable', signal.aborted ? 'no connection in time' : 'the SSH proxy cannot be reached', cause);
  }
}

function refusalOf(line: string): TunnelFailure {
  const [, reason] = /^(?:b(?:'ERROR '|"ERROR ")|ERROR )(.*)$/.exec(line) ?? [];
  return reason === undefined
    ? new TunnelFailure('no proxy', 'what answers there is not the SSH proxy of a HakuRiver Host')
    : new TunnelFailure('refused', plainLine(reason, 200));
}

/** Up to the first newline, which is taken away with it; what follows stays in the socket. */
async function readLine(socket: net.Socket, signal: AbortSignal): Promise<string> {
  let received = Buffer.alloc(0);
  await whenReadable(socket, signal, {
    late: () => new TunnelFailure('no proxy', 'the SSH proxy did not answer in time'),
    ended: () => new TunnelFailure('no proxy', 'the SSH proxy closed the connection without an answer'),
    look: () => {
      for (let chunk = readChunk(socket); chunk; chunk = readChunk(socket)) received = Buffer.concat([received, chunk]);
      const isComplete = received.includes(0x0a);
      if (!isComplete && received.length > LONGEST_ANSWER_BYTES) throw new TunnelFailure('no proxy', 'the answer is too long');
      return isComplete;
    },
  });
  const end = received.indexOf(0x0a);
  const rest = received.subarray(end + 1);
  if (rest.length > 0) socket.unshift(rest);
  return received.subarray(0, end).toString('utf8').trim();
}

async function firstBytes(socket: net.Socket, signal: AbortSignal): Promise<void> {
  const silent = () => new TunnelFailure('silent', 'the tunnel is open, but no sshd speaks at its end');
  await whenReadable(socket, signal, { late: silent, ended: silent, look: () => socket.readableLength > 0 });
}

interface Wait {
  /** True once it has what it wants; it is called whenever there is something to read. What it throws ends the wait. */
  readonly look: () => boolean;
  readonly late: () => TunnelFailure;
  readonly ended: () => TunnelFailure;
}

/** Leaves the socket as it found it: whoever reads it next finds it neither flowing nor paused. */
async function whenReadable(socket: net.Socket, signal: AbortSignal, { look, late, ended }: Wait): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.off('readable', onReadable).off('end', onEnd).off('close', onEnd);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const onReadable = () => {
      try {
        if (look()) settle(resolve);
        else if (socket.readableEnded || socket.destroyed) onEnd();
      } catch (thrown) {
        settle(() => reject(thrown instanceof Error ? thrown : ended()));
      }
    };
    const onEnd = () => settle(() => reject(ended()));
    const onAbort = () => settle(() => reject(late()));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('readable', onReadable).on('end', onEnd).on('close', onEnd);
    onReadable();
  });
}

function readChunk(socket: net.Socket): Buffer | undefined {
  const chunk: unknown = socket.read();
  return Buffer.isBuffer(chunk) ? chunk : undefined;
}
