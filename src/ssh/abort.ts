import { SshError } from './ssh-failure.ts';

/** What an aborted signal means here: a budget that ran out is the failure `timeout`; a caller that gave up gets its own reason back. */
export function abortFailure(signal: AbortSignal, operation: string): unknown {
  const reason: unknown = signal.reason;
  const isTimeout = reason instanceof Error && reason.name === 'TimeoutError';
  return isTimeout ? new SshError('timeout', `${operation}: no answer in time`, reason) : reason;
}

/** Runs `stop` when the signal aborts, at once when it has; the answer takes it back. */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  if (signal.aborted) {
    stop();
    return () => {};
  }
  signal.addEventListener('abort', stop, { once: true });
  return () => signal.removeEventListener('abort', stop);
}

/** The promise, or the signal's failure when that comes first; for work that cannot be cut short itself. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal, operation: string): Promise<T> {
  let release = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    release = onAbort(signal, () => reject(abortFailure(signal, operation)));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    release();
  }
}
