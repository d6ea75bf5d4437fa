import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { assertNever } from '../core/assert-never.ts';
import {
  PROTOCOL_VERSION,
  RequestEnvelope,
  RunnerReplies,
  type ReplyEnvelope,
  type RunnerReply,
  type RunnerRequest,
  type RunnerRequestKind,
} from '../runner-protocol/messages.ts';
import { problems, RunnerFailure, type RunnerHandler } from '../runner-protocol/runner-link.ts';
import { createContainerReader } from './container-reader.ts';
import { createCpuUse } from './cpu-use.ts';
import { createDockerEngine } from './docker-engine.ts';
import { parseDockerHost } from './docker-host.ts';
import { EngineError, unreachable } from './engine-error.ts';
import { runProgram, type RunProgram } from './gpu-inventory.ts';
import { createMachineInventory, machineId } from './inventory.ts';
import { preflight } from './preflight.ts';
import { createSessionContainers } from './session-containers.ts';
import { createSshdCheck } from './sshd-check.ts';

/** How one call to the Docker engine may last at most. */
const CALL_TIMEOUT_MS = 30_000;
const SAMPLE_EVERY_MS = 10_000;
const LONGEST_MESSAGE = 1_000;

export interface RunnerConfig {
  /** Address of this machine, or a name of it, at which sshd of each session is published. */
  readonly publishHost: string;
  readonly pidsLimit: number;
  /** Whether root inside may do what package managers need, beyond what sshd needs. */
  readonly packageCapabilities: boolean;
  readonly callTimeoutMs?: number;
  /** How long a reading of the cores' use stands before the next is taken. */
  readonly sampleEveryMs?: number;
}

interface RunnerDeps {
  /** As the docker command reads it; absent means the usual socket. */
  readonly dockerHost?: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly config: RunnerConfig;
  /** How nvidia-smi is run; given by tests. */
  readonly run?: RunProgram;
}

/**
 * The agent on a machine: answers a broker's requests by way of the Docker engine. It keeps nothing that a restart could lose; what it knows
 * of sessions stands in their containers' labels. Makes no call until it is asked.
 */
export function createRunner({ dockerHost, clock, log, config, run = runProgram }: RunnerDeps): RunnerHandler {
  const address = parseDockerHost(dockerHost);
  if (address instanceof RunnerFailure) return async () => failed(address);
  const engine = createDockerEngine({ address, clock, callTimeoutMs: config.callTimeoutMs ?? CALL_TIMEOUT_MS });
  const sshd = createSshdCheck({ engine });
  const inventory = createMachineInventory({ engine, address, run, clock });
  let ownId: string | undefined;
  const ownMachineId = async (signal: AbortSignal) => (ownId ??= machineId(await engine.info(signal)));
  const sampleEveryMs = config.sampleEveryMs ?? SAMPLE_EVERY_MS;
  const reader = createContainerReader({
    engine,
    cpuUse: createCpuUse({ clock, everyMs: sampleEveryMs }),
    run,
    clock,
    log,
    machineId: ownMachineId,
    config: { publishHost: config.publishHost, sampleEveryMs },
  });
  const containers = createSessionContainers({ engine, reader, sshd, clock, log, config });

  /** An id of another engine proves nothing about what runs there: DOCKER_HOST was changed, or the engine was set up anew. */
  async function containerId(instanceId: string, signal: AbortSignal): Promise<string> {
    const [machine = '', container = ''] = instanceId.split('-');
    const own = await ownMachineId(signal);
    if (machine === own) return container;
    throw new RunnerFailure(
      'unreachable',
      `the instance runs on Docker engine ${machine}, and this one is ${own}: set DOCKER_HOST back`,
    );
  }

  async function answer(request: RunnerRequest, signal: AbortSignal): Promise<RunnerReply<RunnerRequestKind>> {
    switch (request.kind) {
      case 'inventory':
        return { inventory: await inventory.read(signal) };
      case 'preflight':
        return present({ problem: await preflight({ engine, sshd, config }, request.image, signal) });
      case 'start':
        return { container: await containers.start(request.order, signal) };
      case 'get':
        return present({ container: await reader.byId(await containerId(request.instanceId, signal), signal) });
      case 'list':
        return { containers: await reader.all(request.utilisation, signal) };
      case 'stop':
        await containers.stop(await containerId(request.instanceId, signal), signal);
        return {};
      default:
        return assertNever(request, 'request');
    }
  }

  return async (message, { signal }) => {
    const envelope = RequestEnvelope.safeParse(message);
    if (!envelope.success) return failed(new RunnerFailure('refused', `unreadable request: ${problems(envelope.error)}`));
    const { request } = envelope.data;
    try {
      const body = RunnerReplies[request.kind].parse(await answer(request, signal));
      return { version: PROTOCOL_VERSION, outcome: 'done', body } satisfies ReplyEnvelope;
    } catch (error) {
      return failed(toFailure(error, request.kind));
    }
  };

  function toFailure(error: unknown, kind: RunnerRequestKind): RunnerFailure {
    if (error instanceof RunnerFailure) return error;
    if (error instanceof EngineError) return unreachable(error, kind);
    log.error({ kind, cause: describeError(error) }, 'runner request failed unexpectedly');
    const unsure = kind === 'start' || kind === 'stop';
    return new RunnerFailure(
      unsure ? 'unknown' : 'unreachable',
      `${kind}: the runner failed unexpectedly; its log says why`,
      error,
    );
  }
}

function failed(failure: RunnerFailure): ReplyEnvelope {
  return {
    version: PROTOCOL_VERSION,
    outcome: 'failed',
    kind: failure.kind,
    message: failure.message.slice(0, LONGEST_MESSAGE),
  };
}

/** Leaves out what is undefined: an absent field is an answer of its own. */
function present<Fields extends Record<string, unknown>>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Name in keyof Fields]?: NonNullable<Fields[Name]> }; // what is left has its value
}
