import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';

/** Where and when figures were taken: without it they mean nothing. Load is read anew at each call. */
export function describeMachine(): string {
  const cpu = cpus()[0]?.model.trim() ?? 'unknown processor';
  const load = loadavg()
    .map((average) => average.toFixed(1))
    .join(' ');
  return [
    new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    `${availableParallelism()} cores of ${cpu}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `node ${process.versions.node}`,
    `load ${load}`,
    ...commit(),
  ].join(', ');
}

function commit(): string[] {
  try {
    const text = execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return [`commit ${text.trim()}`];
  } catch {
    return []; // an installed package has no history
  }
}
