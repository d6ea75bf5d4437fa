import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './end-with-us.ts';
import type { LoadJob, LoadResult } from './load-process.ts';

const PROGRAM = fileURLToPath(new URL('load-process.ts', import.meta.url));

/** Puts load on servers, one job at a time, from another process. */
export interface LoadGenerator {
  put(job: LoadJob): Promise<LoadResult>;
  stop(): void;
}

export function startLoadGenerator(): LoadGenerator {
  const child = fork(PROGRAM, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  endWithUs(child);
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the load generator ended, ${signal ?? `exit code ${code}`}`);
  });
  ended.catch(() => {}); // whoever waits for a result hears of it
  return {
    async put(job) {
      child.send(job);
      const [result] = await Promise.race([once(child, 'message'), ended]);
      return result as LoadResult; // our own program sends nothing else
    },
    stop: () => void child.kill('SIGTERM'),
  };
}

/** Throws when any answer was another than expected: fast wrong answers are no figure. One in a hundred may be the tolerated one. */
export function assertAll(result: LoadResult, status: number, { tolerated }: { readonly tolerated?: number } = {}): void {
  const spared = tolerated === undefined ? 0 : (result.statuses[tolerated] ?? 0);
  if (
    result.answers > 0 &&
    (result.statuses[status] ?? 0) + spared === result.answers &&
    result.statuses['errors'] === undefined &&
    spared <= result.answers / 100
  )
    return;
  throw new Error(`expected ${status} only, got ${JSON.stringify(result.statuses)}`);
}
