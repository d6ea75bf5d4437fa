import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { until } from './broker-process.ts';

const run = promisify(execFile);

/** A broker on a Docker engine that looks often, and at a price that shows after seconds. */
export function poolSettings(dockerHost: string, changes: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PROVIDERS_POOL_ENABLED: 'true',
    DOCKER_HOST: dockerHost,
    POOL_PRICE_PER_HOUR: '3.6',
    POOL_MAX_SESSIONS: '4',
    LIFECYCLE_CHECK_INTERVAL: '1s',
    LIFECYCLE_RECONCILIATION_INTERVAL: '1s',
    INVENTORY_DEFAULT_CACHE_TTL: '1s',
    INVENTORY_BACKOFF_CACHE_TTL: '1s',
    PROVIDER_CALL_TIMEOUT: '10s',
    ...changes,
  };
}

/** A session's share of a machine without a GPU. */
export const A_SHARE = { gpu_type: 'CPU' } as const;

/** The stock `docker` client on one engine. */
export function dockerClient(dockerHost: string) {
  async function docker(...args: string[]): Promise<string> {
    return (await run('docker', ['-H', dockerHost, ...args])).stdout.trim();
  }
  return {
    docker,
    /** The names of the containers that bear a session's tag, in any state. */
    async tagged(): Promise<string[]> {
      const names = await docker('ps', '-a', '--filter', 'label=berth.tag', '--format', '{{.Names}}');
      return names === '' ? [] : names.split('\n');
    },
    /** Resolves at once when something of this kind happens to a session's container: `create`, `start`, `die`. */
    async watch(action: string): Promise<{ readonly happened: Promise<string>; stop(): void }> {
      const filters = ['--filter', 'type=container', '--filter', 'label=berth.tag'];
      const child = spawn('docker', [
        '-H',
        dockerHost,
        'events',
        ...filters,
        '--format',
        '{{.Action}} {{.Actor.Attributes.name}}',
      ]);
      const seen: string[] = [];
      createInterface({ input: child.stdout }).on('line', (line) => seen.push(line));
      await once(child, 'spawn');
      return {
        happened: until(`the engine's event ${action}`, () => seen.find((line) => line.startsWith(`${action} `))),
        stop: () => void child.kill(),
      };
    },
  };
}
