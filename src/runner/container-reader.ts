import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { plainLine } from '../core/text.ts';
import type { SessionContainer } from '../runner-protocol/messages.ts';
import { LABEL } from './container-template.ts';
import { parseCpuList } from './cpu-list.ts';
import type { CpuUse } from './cpu-use.ts';
import type { ContainerRead, DockerEngine } from './docker-engine.ts';
import { readGpuUse, type RunProgram } from './gpu-inventory.ts';
import { parseHostKey } from './host-key.ts';
import { publishAddress } from './publish-address.ts';

const HOST_KEY_FILE = '/etc/ssh/ssh_host_ed25519_key.pub';
const SSH_PORT = '22/tcp';
const MIB = 1024 * 1024;
const STDOUT = 1;
const STDERR = 2;
/** An image whose sshd has no ed25519 key at the usual place is handed over without one; the first proof pins it then. */
const HOST_KEY_GRACE_MS = 10_000;
const GPU_USE_KNOWN_FOR_MS = 2_000;

/** What a container takes of the machine. */
interface Holding {
  readonly id: string;
  readonly units: readonly string[];
  readonly createdAt: number;
}

interface DescribeOptions {
  readonly tag: string;
  readonly utilisation: 'include' | 'omit';
  readonly signal: AbortSignal;
}

/** Session containers as the broker sees them. Throws `EngineError` when the engine cannot be asked: never a part of a list (J4). */
export interface ContainerReader {
  byId(id: string, signal: AbortSignal): Promise<SessionContainer | undefined>;
  /** Every container that bears our label, of whatever deployment and in whatever state. */
  all(utilisation: 'include' | 'omit', signal: AbortSignal): Promise<SessionContainer[]>;
  holdings(signal: AbortSignal): Promise<Holding[]>;
}

export function createContainerReader(deps: {
  engine: DockerEngine;
  cpuUse: CpuUse;
  run: RunProgram;
  clock: Pick<Clock, 'now' | 'monotonicMs'>;
  log: Log;
  machineId: (signal: AbortSignal) => Promise<string>;
  config: { readonly publishHost: string; readonly sampleEveryMs: number };
}): ContainerReader {
  const { engine, cpuUse, run, clock, log, machineId, config } = deps;
  let gpuUse: { byUuid: ReadonlyMap<string, number>; atMs: number } | undefined;

  async function byId(id: string, signal: AbortSignal): Promise<SessionContainer | undefined> {
    const found = await engine.inspect(id, signal);
    const tag = found?.Config.Labels?.[LABEL.tag];
    return found === undefined || tag === undefined ? undefined : describe(found, { tag, utilisation: 'include', signal });
  }

  async function describe(found: ContainerRead, { tag, utilisation, signal }: DescribeOptions): Promise<SessionContainer> {
    const common = {
      instanceId: `${await machineId(signal)}-${found.Id}`,
      tag: plainLine(tag, 200),
      ...holdingOf(found),
      createdAt: epochMs(found.Created),
    };
    switch (found.State.Status) {
      case 'running':
        return describeRunning(found, common, { utilisation, signal });
      case 'created':
        return { ...common, state: 'created' };
      case 'paused':
        return { ...common, state: 'paused' };
      case 'removing':
        return { ...common, state: 'stopping' };
      case 'exited':
      case 'dead':
        return { ...common, state: 'failed', failure: await failure(found, signal) };
      default:
        return { ...common, state: 'starting' };
    }
  }

  async function describeRunning(
    found: ContainerRead,
    common: Omit<SessionContainer, 'state'>,
    { utilisation, signal }: Omit<DescribeOptions, 'tag'>,
  ): Promise<SessionContainer> {
    const port = Number(found.NetworkSettings.Ports?.[SSH_PORT]?.[0]?.HostPort);
    const file = await engine.readFile(found.Id, HOST_KEY_FILE, signal);
    const hostKey = parseHostKey(file?.toString('utf8') ?? '');
    const runningForMs = clock.now() - epochMs(found.State.StartedAt ?? '');
    if (!Number.isInteger(port) || port < 1 || (hostKey === undefined && runningForMs < HOST_KEY_GRACE_MS)) {
      return { ...common, state: 'starting' };
    }
    const { host } = await publishAddress(config.publishHost);
    return {
      ...common,
      state: 'running',
      ssh: { host, port, user: 'root', ...(hostKey !== undefined && { hostKey }) },
      ...(utilisation === 'include' && (await use(found, { ...common, runningForMs }, signal))),
    };
  }

  /** Samples are missing rather than wrong: a meter that fails fails nothing else. */
  async function use(
    found: ContainerRead,
    { units, cpuIds, runningForMs }: Pick<SessionContainer, 'units' | 'cpuIds'> & { runningForMs: number },
    signal: AbortSignal,
  ) {
    try {
      // while a session is being proven, every look at it counts
      if (runningForMs >= config.sampleEveryMs && cpuUse.isDue(found.Id)) {
        const reading = await engine.cpuReading(found.Id, signal);
        if (reading !== undefined) cpuUse.add(found.Id, Math.max(1, cpuIds.length), reading);
      }
      const cpuPercent = cpuUse.percent(found.Id);
      const gpuPercent = await meanGpuUse(units, signal);
      return { ...(cpuPercent !== undefined && { cpuPercent }), ...(gpuPercent !== undefined && { gpuPercent }) };
    } catch (error) {
      log.debug({ container: found.Id, cause: describeError(error) }, 'no utilisation sample');
      return {};
    }
  }

  async function meanGpuUse(units: readonly string[], signal: AbortSignal): Promise<number | undefined> {
    const uuids = units.filter((unit) => unit.startsWith('gpu:')).map((unit) => unit.slice('gpu:'.length));
    if (uuids.length === 0) return undefined;
    if (gpuUse === undefined || clock.monotonicMs() - gpuUse.atMs > GPU_USE_KNOWN_FOR_MS) {
      gpuUse = { byUuid: await readGpuUse(run, signal), atMs: clock.monotonicMs() };
    }
    const values = uuids.map((uuid) => gpuUse?.byUuid.get(uuid)).filter((value) => value !== undefined);
    return values.length === uuids.length ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
  }

  async function failure(found: ContainerRead, signal: AbortSignal): Promise<string> {
    const how =
      found.State.OOMKilled === true ? 'ran out of memory' : `ended with exit code ${found.State.ExitCode ?? 'unknown'}`;
    const said = plainLine(found.State.Error ?? '', 150) || (await lastLine(found.Id, signal));
    return said === '' ? `container ${how}` : `container ${how}: ${said}`;
  }

  async function lastLine(id: string, signal: AbortSignal): Promise<string> {
    try {
      return plainLine(lastOfLogs(await engine.lastLogs(id, 5, signal)), 200);
    } catch (error) {
      log.debug({ container: id, cause: describeError(error) }, 'no last log line');
      return '';
    }
  }

  async function inspected(signal: AbortSignal): Promise<ContainerRead[]> {
    const found: ContainerRead[] = [];
    for (const id of await engine.idsWithLabel(LABEL.tag, signal)) {
      const container = await engine.inspect(id, signal); // it may have gone since the list was made
      if (container !== undefined) found.push(container);
    }
    return found;
  }

  return {
    byId,
    async all(utilisation, signal) {
      const found = await inspected(signal);
      const described = found.map((container) =>
        describe(container, { tag: container.Config.Labels?.[LABEL.tag] ?? '', utilisation, signal }),
      );
      const containers = await Promise.all(described);
      cpuUse.keepOnly(new Set(found.map((container) => container.Id)));
      return containers;
    },
    async holdings(signal) {
      const found = await inspected(signal);
      return found.map((container) => ({
        id: container.Id,
        units: holdingOf(container).units,
        createdAt: epochMs(container.Created),
      }));
    },
  };
}

/** Ended containers hold nothing but their disk; everything else holds what it was given. */
function holdingOf(found: ContainerRead): Pick<SessionContainer, 'units' | 'cpuIds' | 'memoryMib'> {
  if (found.State.Status === 'exited' || found.State.Status === 'dead') return { units: [], cpuIds: [], memoryMib: 0 };
  return {
    units: (found.Config.Labels?.[LABEL.units] ?? '').split(',').filter((unit) => /^(gpu|cpu):[A-Za-z0-9-]{1,80}$/.test(unit)),
    cpuIds: parseCpuList(found.HostConfig.CpusetCpus ?? '') ?? [],
    memoryMib: Math.max(0, Math.floor((found.HostConfig.Memory ?? 0) / MIB)),
  };
}

/**
 * The last line that was said, of stderr where there is any: the two arrive in no order. Docker's log is made of frames with eight bytes of
 * head (1 or 2 for the stream, three zeros, the length); a terminal's log has no frames.
 */
export function lastOfLogs(logs: Buffer): string {
  const streams = new Map<number, string>();
  let at = 0;
  while (at + 8 <= logs.length && logs.readUIntBE(at + 1, 3) === 0) {
    const stream = logs.readUInt8(at);
    const end = at + 8 + logs.readUInt32BE(at + 4);
    streams.set(stream, (streams.get(stream) ?? '') + logs.toString('utf8', at + 8, Math.min(end, logs.length)));
    at = end;
  }
  const texts = at === 0 ? [logs.toString('utf8')] : [streams.get(STDERR) ?? '', streams.get(STDOUT) ?? ''];
  return texts.map((text) => text.split('\n').findLast((line) => line.trim() !== '')).find((line) => line !== undefined) ?? '';
}

function epochMs(text: string): number {
  const at = Date.parse(text);
  return Number.isNaN(at) ? 0 : Math.max(0, Math.floor(at));
}
