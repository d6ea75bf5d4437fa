import Docker from 'dockerode';
import { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import type { ContainerTemplate } from './container-template.ts';
import type { DockerAddress } from './docker-host.ts';
import { EngineError, toEngineError } from './engine-error.ts';
import { unpackFirstFile } from './tar.ts';

const EngineInfo = z.object({
  ID: z.string().min(1),
  Name: z.string().nullish(),
  OSType: z.string().nullish(),
  NCPU: z.number().int().min(1),
  MemTotal: z.number().int().min(1),
  DockerRootDir: z.string().min(1),
  SwapLimit: z.boolean().nullish(),
});
export type EngineInfo = z.infer<typeof EngineInfo>;

const ImageRead = z.object({
  Id: z.string().min(1),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
});
export type ImageRead = z.infer<typeof ImageRead>;

const ContainerRead = z.object({
  Id: z.string().regex(/^[0-9a-f]{64}$/),
  Created: z.string(),
  State: z.object({
    Status: z.string(),
    ExitCode: z.number().nullish(),
    OOMKilled: z.boolean().nullish(),
    Error: z.string().nullish(),
    StartedAt: z.string().nullish(),
  }),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }),
  HostConfig: z.looseObject({ Memory: z.number().nullish(), CpusetCpus: z.string().nullish() }),
  NetworkSettings: z.object({
    Ports: z.record(z.string(), z.array(z.object({ HostPort: z.string().nullish() })).nullish()).nullish(),
  }),
});
export type ContainerRead = z.infer<typeof ContainerRead>;

const CpuReading = z.object({
  read: z.string(),
  cpu_stats: z.object({ cpu_usage: z.object({ total_usage: z.number().min(0) }) }),
});
export type CpuReading = z.infer<typeof CpuReading>;

const Listed = z.array(z.object({ Id: z.string().min(1) }));
const Created = z.object({ Id: z.string().min(1) });

/** The calls of the Docker engine that a runner makes. All throw nothing but `EngineError`; undefined means that the engine says 404. */
export interface DockerEngine {
  info(signal: AbortSignal): Promise<EngineInfo>;
  image(name: string, signal: AbortSignal): Promise<ImageRead | undefined>;
  /** Returns the id. A 409 means that the name is taken; without one the engine makes one up. */
  create(name: string | undefined, template: ContainerTemplate | ProbeTemplate, signal: AbortSignal): Promise<string>;
  /** By id or name. */
  inspect(container: string, signal: AbortSignal): Promise<ContainerRead | undefined>;
  /** Ids of all containers with the label, in any state. */
  idsWithLabel(label: string, signal: AbortSignal): Promise<string[]>;
  putFiles(id: string, archive: Buffer, signal: AbortSignal): Promise<void>;
  /** Starting what runs already is no error. */
  start(id: string, signal: AbortSignal): Promise<void>;
  /** Takes it away whatever its state, with its anonymous volumes. What is not there or on its way out is no error. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  readFile(id: string, path: string, signal: AbortSignal): Promise<Buffer | undefined>;
  hasFile(id: string, path: string, signal: AbortSignal): Promise<boolean>;
  lastLogs(id: string, lines: number, signal: AbortSignal): Promise<Buffer>;
  cpuReading(id: string, signal: AbortSignal): Promise<CpuReading | undefined>;
}

/** A container that is never started: only to look into an image. */
export interface ProbeTemplate {
  readonly Image: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly NetworkDisabled: true;
}

/** Bytes of a file or of logs that a container may make us read. */
const READ_LIMIT = 256 * 1024;

export function createDockerEngine(deps: {
  address: DockerAddress;
  clock: Pick<Clock, 'timeoutSignal'>;
  callTimeoutMs: number;
}): DockerEngine {
  const { address, clock, callTimeoutMs } = deps;
  const docker = new Docker(connection(address));

  async function call<T>(signal: AbortSignal, work: (limits: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    if (signal.aborted) throw new EngineError('not_sent', 'cancelled before it was sent', { cause: signal.reason });
    const abortSignal = clock.timeoutSignal(callTimeoutMs, signal);
    try {
      // the client heeds the signal in some of its calls only, and not while it reads a file
      return await Promise.race([work({ abortSignal }), rejectOnAbort(abortSignal)]);
    } catch (thrown) {
      throw toEngineError(thrown, address);
    }
  }

  return {
    info: (signal) => call(signal, async () => read(EngineInfo, await docker.info(), 'info')),
    image: (name, signal) =>
      unless404(call(signal, async () => read(ImageRead, await docker.getImage(name).inspect(), 'image'))),
    create: (name, template, signal) =>
      call(signal, async (limits) => {
        // Without _query and _body the client puts the whole body, variables included, into the URL; its types know neither.
        const options = {
          _query: name === undefined ? {} : { name },
          _body: template,
          ...limits,
        } as unknown as Docker.ContainerCreateOptions;
        return read(Created, await docker.createContainer(options), 'create', (made) => ({ Id: made.id })).Id;
      }),
    inspect: (container, signal) =>
      unless404(
        call(signal, async (limits) => read(ContainerRead, await docker.getContainer(container).inspect(limits), 'inspect')),
      ),
    idsWithLabel: (label, signal) =>
      call(signal, async (limits) => {
        const listed = await docker.listContainers({ all: true, filters: { label: [label] }, ...limits });
        return read(Listed, listed, 'list').map((container) => container.Id);
      }),
    putFiles: (id, archive, signal) =>
      call(signal, async (limits) => {
        await docker.getContainer(id).putArchive(archive, { path: '/', ...limits });
      }),
    start: (id, signal) =>
      unlessStatus(
        [304],
        call(signal, async (limits) => void (await docker.getContainer(id).start(limits))),
      ),
    remove: (id, signal) =>
      unlessStatus(
        [404, 409],
        call(signal, async (limits) => void (await docker.getContainer(id).remove({ force: true, v: true, ...limits }))),
      ),
    readFile: (id, path, signal) =>
      unless404(
        call(signal, async (limits) =>
          unpackFirstFile(await collect(await docker.getContainer(id).getArchive({ path, ...limits }))),
        ),
      ),
    hasFile: async (id, path, signal) =>
      (await unless404(
        call(signal, async (limits) => {
          (await docker.getContainer(id).infoArchive({ path, ...limits })).resume();
          return true;
        }),
      )) === true,
    lastLogs: (id, lines, signal) =>
      call(signal, async (limits) => {
        const logs = await docker.getContainer(id).logs({ stdout: true, stderr: true, tail: lines, follow: false, ...limits });
        return Buffer.isBuffer(logs) ? logs.subarray(0, READ_LIMIT) : Buffer.from(JSON.stringify(logs)); // the client parses a log that is JSON
      }),
    cpuReading: (id, signal) =>
      unless404(
        call(signal, async (limits) => {
          const stats: unknown = await docker.getContainer(id).stats({ stream: false, 'one-shot': true, ...limits });
          return read(CpuReading, stats, 'stats');
        }),
      ),
  };
}

/** Each part is named, since the client takes what is missing from the process's environment. */
function connection(address: DockerAddress): Docker.DockerOptions {
  const none = { ca: undefined, cert: undefined, key: undefined, timeout: undefined, pathPrefix: '/' };
  const where =
    address.kind === 'socket'
      ? { ...none, socketPath: address.path, host: undefined, port: undefined, protocol: 'http' }
      : { ...none, host: address.host, port: address.port, protocol: 'http' };
  return where as Docker.DockerOptions; // its types forbid undefined, which is what keeps the environment out
}

function read<Schema extends z.ZodType, Raw>(
  schema: Schema,
  body: Raw,
  call: string,
  pick: (body: Raw) => unknown = (raw) => raw,
) {
  const parsed = schema.safeParse(pick(body));
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues[0]?.path.join('.') ?? '';
  throw new EngineError('cut_off', `the Docker engine's answer to ${call} cannot be read (${where})`, { cause: parsed.error });
}

function unless404<T>(work: Promise<T>): Promise<T | undefined> {
  return unlessStatus([404], work);
}

async function unlessStatus<T>(statuses: readonly number[], work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof EngineError && error.status !== undefined && statuses.includes(error.status)) return undefined;
    throw error;
  }
}

async function collect(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    chunks.push(bytes);
    size += bytes.length;
    if (size > READ_LIMIT) break; // leaving the loop ends the stream
  }
  return Buffer.concat(chunks);
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
