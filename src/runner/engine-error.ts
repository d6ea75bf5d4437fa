import { plainLine } from '../core/text.ts';
import { RunnerFailure } from '../runner-protocol/runner-link.ts';
import { describeDockerAddress, type DockerAddress } from './docker-host.ts';

/**
 * How a call to the engine went wrong:
 * - `not_sent`: nothing reached it; nothing was done.
 * - `cut_off`: it was sent and no whole answer came; unknown for whatever changes something.
 * - `answered`: the engine itself said no, with `status` and its words in `message`.
 */
export type EngineFault = 'not_sent' | 'cut_off' | 'answered';

export class EngineError extends Error {
  readonly fault: EngineFault;
  readonly status: number | undefined;

  constructor(fault: EngineFault, message: string, from: { status?: number; cause?: unknown } = {}) {
    super(message, from.cause === undefined ? undefined : { cause: from.cause });
    this.name = 'EngineError';
    this.fault = fault;
    this.status = from.status;
  }
}

/** The connection was never made: codes of connect(2) and of the name look-up. */
const NEVER_CONNECTED = new Set([
  'ENOENT',
  'ENOTDIR',
  'EACCES',
  'EPERM',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Turns whatever the client library throws into an EngineError with words that name the fix. */
export function toEngineError(thrown: unknown, address: DockerAddress): EngineError {
  if (thrown instanceof EngineError) return thrown;
  const status = field(thrown, 'statusCode');
  if (typeof status === 'number') {
    const body = field(thrown, 'json');
    const said = field(body, 'message');
    const words = typeof said === 'string' ? said : thrown instanceof Error ? thrown.message : '';
    return new EngineError('answered', plainLine(words), { status, cause: thrown });
  }
  const code = field(thrown, 'code');
  if (typeof code === 'string' && NEVER_CONNECTED.has(code)) {
    return new EngineError('not_sent', noConnection(code, address), { cause: thrown });
  }
  return new EngineError(
    'cut_off',
    `the Docker engine at ${describeDockerAddress(address)} gave no answer in time or cut the connection`,
    {
      cause: thrown,
    },
  );
}

function noConnection(code: string, address: DockerAddress): string {
  const where = describeDockerAddress(address);
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `there is no Docker engine at ${where}: install and start Docker, or set DOCKER_HOST to its socket`;
    case 'EACCES':
    case 'EPERM':
      return `no permission to use the Docker engine at ${where}: add the user that runs Berth to the group "docker" and log in again`;
    case 'ECONNREFUSED':
      return `nothing answers at the Docker socket ${where}: start the engine (systemctl start docker)`;
    default:
      return `the Docker engine at ${where} cannot be reached (${code}): check DOCKER_HOST`;
  }
}

/** What the engine says when a container cannot be made or started, and what that means to the caller. First match counts. */
const START_PROBLEMS: readonly {
  readonly says: RegExp;
  readonly kind: 'full' | 'refused' | 'unreachable';
  readonly message: string;
}[] = [
  {
    says: /could not select device driver|nvidia-container-cli|libnvidia-ml/i,
    kind: 'refused',
    message:
      'Docker cannot pass the GPU to a container: install the NVIDIA Container Toolkit on this machine and restart Docker',
  },
  {
    says: /error setting rlimit/i,
    kind: 'refused',
    message: 'Docker may not set the limit of open files: raise its own (LimitNOFILE=65536 in its service) and restart it',
  },
  { says: /no space left on device/i, kind: 'full', message: 'the disk of the machine is full' },
  { says: /cannot allocate memory|out of memory/i, kind: 'full', message: 'the machine has not enough free memory' },
  {
    says: /address already in use|port is already allocated/i,
    kind: 'unreachable',
    message: 'the port chosen for SSH was taken meanwhile',
  },
  {
    says: /cannot assign requested address/i,
    kind: 'refused',
    message: 'POOL_HOST is not an address of this machine: set it to one that `ip address` shows',
  },
];

/** A definite no of the engine to a start, in our words. */
export function startFailure(error: EngineError, what: string): RunnerFailure {
  const known = START_PROBLEMS.find((problem) => problem.says.test(error.message));
  return new RunnerFailure(known?.kind ?? 'refused', `${what}: ${known?.message ?? error.message}`, error);
}

/** For every call but a start: nothing was learnt. */
export function unreachable(error: EngineError, what: string): RunnerFailure {
  return new RunnerFailure('unreachable', `${what}: ${error.message}`, error);
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined; // an object may be asked for any name
}
