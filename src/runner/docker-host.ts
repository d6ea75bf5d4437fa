import { RunnerFailure } from '../runner-protocol/runner-link.ts';

/** Where the engine listens. Over the network this machine's own GPUs, disks and CPU numbers say nothing about the engine's. */
export type DockerAddress =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'network'; readonly host: string; readonly port: number };

const DEFAULT_SOCKET = '/var/run/docker.sock';
const DEFAULT_PORT = 2375;

/** Reads DOCKER_HOST as the docker command does; undefined means the usual socket. A failure for what cannot be used here. */
export function parseDockerHost(text: string | undefined): DockerAddress | RunnerFailure {
  if (text === undefined || text === '') return { kind: 'socket', path: DEFAULT_SOCKET };
  if (text.startsWith('unix://')) return { kind: 'socket', path: text.slice('unix://'.length) || DEFAULT_SOCKET };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'tcp:' && url.protocol !== 'http:') || url.hostname === '') {
    return new RunnerFailure(
      'unreachable',
      `DOCKER_HOST is "${text}": use unix:///path/to/docker.sock or tcp://127.0.0.1:2375`,
    );
  }
  return {
    kind: 'network',
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? DEFAULT_PORT : Number(url.port),
  };
}

export function describeDockerAddress(address: DockerAddress): string {
  return address.kind === 'socket' ? address.path : `${address.host}:${address.port}`;
}
