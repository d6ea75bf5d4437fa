import type { Server, ServerResponse } from 'node:http';

/** Requests that are being answered. */
export interface OpenRequests {
  /** Resolves once none is left, or when the signal is aborted. */
  answered(signal: AbortSignal): Promise<void>;
}

/** Watches a server that is about to listen, so that its end can let those speak who have something to say. */
export function watchOpenRequests(server: Pick<Server, 'on'>): OpenRequests {
  const open = new Set<ServerResponse>();
  let whenNone: (() => void) | undefined;
  server.on('request', (_, response: ServerResponse) => {
    open.add(response);
    response.once('close', () => {
      open.delete(response);
      if (open.size === 0) whenNone?.();
    });
  });
  return {
    answered: (signal) =>
      new Promise((resolve) => {
        if (open.size === 0 || signal.aborted) return resolve();
        whenNone = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      }),
  };
}
