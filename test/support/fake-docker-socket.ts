import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packFiles } from '../../src/runner/tar.ts';

interface FakeContainer {
  Id: string;
  name: string;
  body: { Image: string; Labels: Record<string, string>; Env?: string[]; HostConfig?: Record<string, unknown> };
  status: string;
  createdAt: number;
  archive?: Buffer;
}

/**
 * `cut`, `hang`: nothing is done, and the connection breaks or stays open without a word. `cut-after`, `hang-after`: the same once it is done.
 * `garbage`: a web page.
 */
export type EngineFault =
  'cut' | 'cut-after' | 'hang' | 'hang-after' | 'garbage' | { readonly status: number; readonly message: string };

export interface FakeDocker {
  readonly dockerHost: string;
  /** Method and URL of each request, in order. */
  readonly requests: string[];
  readonly containers: Map<string, FakeContainer>;
  readonly images: Map<string, { Id: string; Config: { Labels: Record<string, string> } }>;
  /** Asked before each request; undefined lets it be answered. */
  fault: (method: string, path: string) => EngineFault | undefined;
  /** What the engine makes of an ordered HostConfig. */
  alter: (hostConfig: Record<string, unknown>) => Record<string, unknown>;
  close(): Promise<void>;
}

const HOST_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f';

/** As much of a Docker engine as a runner sees, on a Unix socket, with faults on demand: for machines without one, and for what a real one does not do. */
export async function startFakeDocker(from: { cpus?: number; memoryMib?: number } = {}): Promise<FakeDocker> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-fake-docker-'));
  const socket = join(folder, 'docker.sock');
  const fake: FakeDocker = {
    dockerHost: `unix://${socket}`,
    requests: [],
    containers: new Map(),
    images: new Map([['berth-ssh', { Id: 'sha256:1', Config: { Labels: { 'berth.sshd': '1' } } }]]),
    fault: () => undefined,
    alter: (hostConfig) => hostConfig,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return fake;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://engine');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    fake.requests.push(`${request.method} ${request.url}`);
    const fault = fake.fault(request.method ?? '', url.pathname);
    if (fault === 'hang') return;
    if (fault === 'cut') return void request.socket.destroy();
    if (fault === 'garbage') return send(response, 200, Buffer.from('<html>Welcome</html>'));
    if (typeof fault === 'object') return send(response, fault.status, { message: fault.message });
    const [status, body] = act(`${request.method} ${url.pathname}`, url.searchParams, Buffer.concat(chunks));
    if (fault === 'cut-after') return void request.socket.destroy();
    if (fault === 'hang-after') return;
    send(response, status, body);
  }

  function act(what: string, query: URLSearchParams, body: Buffer): [number, unknown] {
    if (what === 'GET /info') return [200, info()];
    const image = /^GET \/images\/(.+)\/json$/.exec(what)?.[1];
    if (image !== undefined) return found(fake.images.get(image), 'No such image');
    if (what === 'GET /containers/json') return [200, listed(query)];
    if (what === 'POST /containers/create')
      return create(query.get('name') ?? 'made_up', JSON.parse(body.toString()) as FakeContainer['body']);
    const [, method, id, rest] = /^(\w+) \/containers\/([^/]+)(.*)$/.exec(what) ?? [];
    const container = [...fake.containers.values()].find((one) => one.Id === id || one.name === id);
    if (container === undefined) return [404, { message: 'No such container' }];
    switch (`${method} ${rest}`) {
      case 'GET /json':
        return [200, inspected(container)];
      case 'DELETE ':
        fake.containers.delete(container.Id);
        return [204, undefined];
      case 'POST /start':
        container.status = 'running';
        return [204, undefined];
      case 'PUT /archive':
        container.archive = body;
        return [200, undefined];
      case 'GET /archive':
        return [200, packFiles([{ path: 'ssh_host_ed25519_key.pub', mode: 0o644, content: `${HOST_KEY} root@x\n` }])];
      case 'HEAD /archive':
        return [404, undefined];
      case 'GET /stats':
        return [200, { read: '2026-01-01T00:00:00Z', cpu_stats: { cpu_usage: { total_usage: 0 } } }];
      case 'GET /logs':
        return [200, Buffer.from('\x02\0\0\0\0\0\0\x05oops\n', 'latin1')];
      default:
        return [404, { message: 'page not found' }];
    }
  }

  function info() {
    const memory = (from.memoryMib ?? 8_192) * 1024 * 1024;
    return {
      ID: 'FAKE',
      Name: 'fake',
      OSType: 'linux',
      NCPU: from.cpus ?? 4,
      MemTotal: memory,
      DockerRootDir: folder,
      SwapLimit: true,
    };
  }

  function listed(query: URLSearchParams): unknown[] {
    const filters = JSON.parse(query.get('filters') ?? '{}') as { label?: string[] };
    const labels = filters.label ?? [];
    return [...fake.containers.values()]
      .filter((one) => labels.every((label) => label in one.body.Labels))
      .map(({ Id }) => ({ Id }));
  }

  function create(name: string, body: FakeContainer['body']): [number, unknown] {
    if (!fake.images.has(body.Image)) return [404, { message: `No such image: ${body.Image}` }];
    if ([...fake.containers.values()].some((one) => one.name === name))
      return [409, { message: `The container name "/${name}" is already in use` }];
    const Id = randomBytes(32).toString('hex');
    fake.containers.set(Id, { Id, name, body, status: 'created', createdAt: fake.containers.size });
    return [201, { Id, Warnings: [] }];
  }

  function inspected(container: FakeContainer): unknown {
    return {
      Id: container.Id,
      Created: new Date(1_700_000_000_000 + container.createdAt).toISOString(),
      State: { Status: container.status, ExitCode: container.status === 'exited' ? 1 : 0, StartedAt: '2026-01-01T00:00:00Z' },
      Config: { Labels: container.body.Labels, Env: container.body.Env },
      HostConfig: fake.alter({ ...container.body.HostConfig }),
      NetworkSettings: { Ports: { '22/tcp': [{ HostIp: '127.0.0.1', HostPort: '49153' }] } },
    };
  }

  function found(value: unknown, message: string): [number, unknown] {
    return value === undefined ? [404, { message }] : [200, value];
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const raw = Buffer.isBuffer(body);
  response.writeHead(status, { 'content-type': raw ? 'application/octet-stream' : 'application/json' });
  response.end(raw || body === undefined ? body : JSON.stringify(body));
}
