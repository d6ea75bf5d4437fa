import type { Duplex } from 'node:stream';
import { plainLine } from '../core/text.ts';
import { abortFailure, onAbort } from './abort.ts';
import { fromSystemError, SshError } from './ssh-failure.ts';

/** RFC 4253 lets a server talk before it names itself; this much and no more. */
const LONGEST_PRELUDE_BYTES = 8192;

/**
 * Waits until the server has named itself (`SSH-2.0-…`) and puts every byte back, so that ssh2 reads them in one piece: it loses bytes
 * of a banner that arrives in three or more. An open port alone proves nothing, since a container engine's proxy accepts for a sshd
 * that does not run yet. Throws SshError.
 */
export async function readBanner(stream: Duplex, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  let release = () => {};
  try {
    return await new Promise<string>((resolve, reject) => {
      const closed = () =>
        reject(new SshError('connection_closed', 'ssh banner: the connection was closed before the server named itself'));
      const failed = (error: Error) => reject(fromSystemError(error, 'ssh banner'));
      const received = (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        const isLineComplete = chunk.includes(0x0a);
        const banner = isLineComplete ? findBanner(Buffer.concat(chunks)) : undefined;
        if (banner !== undefined) {
          stream.pause();
          resolve(banner);
        } else if (size > LONGEST_PRELUDE_BYTES) {
          reject(new SshError('unknown', 'ssh banner: the server talks without naming itself'));
        }
      };
      stream.on('error', failed).on('end', closed).on('close', closed).on('data', received);
      const stop = onAbort(signal, () => reject(abortFailure(signal, 'ssh banner')));
      release = () => {
        stop();
        stream.off('error', failed).off('end', closed).off('close', closed).off('data', received);
      };
      if (stream.destroyed) closed();
    });
  } finally {
    release();
    stream.pause();
    if (size > 0 && !stream.readableEnded && !stream.destroyed) stream.unshift(Buffer.concat(chunks));
  }
}

function findBanner(received: Buffer): string | undefined {
  for (const line of received.toString('latin1').split('\n').slice(0, -1)) {
    if (/^SSH-(2\.0|1\.99)-/.test(line)) return plainLine(line, 255);
  }
  return undefined;
}
