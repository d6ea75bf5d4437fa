import type { ChildProcess } from 'node:child_process';

const endings = new Set<() => void>();
let isWatching = false;

/** Has something done when this process ends, however it ends but by SIGKILL. Hands back how to take that back. */
export function atTheEnd(act: () => void): () => void {
  endings.add(act);
  if (!isWatching) {
    isWatching = true;
    process.once('exit', () => {
      for (const ending of [...endings].toReversed()) ending();
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  }
  return () => void endings.delete(act);
}

/** Nothing that this process starts stays behind. */
export function endWithUs(child: ChildProcess): void {
  child.once(
    'exit',
    atTheEnd(() => void child.kill('SIGKILL')),
  );
}
