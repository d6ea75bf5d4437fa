import { z } from 'zod';
import ssh2 from 'ssh2';
import { FakeClock } from '../../support/fake-clock.ts';
import { startVastEmulator } from '../../../providers/vastai/emulator.ts';
import type { VastEmulator, VastEmulatorOptions } from '../../../providers/vastai/emulator.ts';

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: Json;
  readonly headers: Headers;
}

export interface TestClient {
  readonly emulator: VastEmulator;
  call(method: string, path: string, body?: unknown, key?: string | null): Promise<Answer>;
  search(query: Json): Promise<readonly Json[]>;
  /** Rents the cheapest rentable slice; the contract's id. */
  rent(body?: Json, query?: Json): Promise<number>;
  get(id: number): Promise<Json>;
}

const AnyJson = z.record(z.string(), z.unknown());
const Rows = z.array(AnyJson);

/** An emulator that stands still unless it is advanced, and a plain HTTP client of it; limits are off unless asked for. */
export async function withVast<T>(options: Partial<VastEmulatorOptions>, use: (client: TestClient) => Promise<T>): Promise<T> {
  const emulator = await startVastEmulator({
    clock: new FakeClock('2026-10-26T08:00:00Z'),
    seed: 7,
    mode: 'lenient',
    ...options,
    knobs: { limits: false, listLagMs: 0, goneLagMs: 0, ...options.knobs },
  });
  try {
    return await use(clientOf(emulator));
  } finally {
    await emulator.close();
  }
}

function clientOf(emulator: VastEmulator): TestClient {
  const call = async (method: string, path: string, body?: unknown, key: string | null = emulator.apiKey): Promise<Answer> => {
    const response = await fetch(`${emulator.url}/api/${path}`, {
      method,
      redirect: 'manual',
      headers: { 'content-type': 'application/json', ...(key !== null && { authorization: `Bearer ${key}` }) },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, json: parsed(text), headers: response.headers };
  };
  const search = async (query: Json) => Rows.parse((await call('POST', 'v0/bundles/', query)).json['offers']);
  return {
    emulator,
    call,
    search,
    async rent(body = {}, query = {}) {
      const [offer] = await search({
        rentable: { eq: true },
        direct_port_count: { gte: 4 },
        disk_space: { gte: 60 },
        order: [['dph_total', 'asc']],
        limit: 1,
        ...query,
      });
      const answer = await call('PUT', `v0/asks/${String(offer?.['id'])}/`, {
        image: 'pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime',
        disk: 40,
        runtype: 'ssh_direct',
        ...body,
      });
      return z.number().parse(answer.json['new_contract'], { error: () => `create answered ${answer.status} ${answer.text}` });
    },
    get: async (id) => AnyJson.parse((await call('GET', `v0/instances/${id}/`)).json['instances']),
  };
}

function parsed(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? { list: value } : AnyJson.parse(value);
  } catch {
    return {};
  }
}

/** What a login on a port comes to: the command's output, or how it failed. */
export function login(port: number, privateKey: string, command: string, username = 'root'): Promise<string> {
  return new Promise((resolve) => {
    const client = new ssh2.Client();
    let output = '';
    client.on('error', (error) => {
      client.end();
      resolve(error.level === 'client-authentication' ? 'refused' : error.level === 'client-timeout' ? 'hangs' : 'closed');
    });
    client.on('ready', () => {
      client.exec(command, (error, stream) => {
        if (error) return resolve(String(error));
        stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
        stream.on('close', () => {
          client.end();
          resolve(output);
        });
      });
    });
    client.connect({ host: '127.0.0.1', port, username, privateKey, readyTimeout: 1_000 });
  });
}
