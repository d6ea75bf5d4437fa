import { z } from 'zod';
import { startTensorDockEmulator } from '../../../providers/tensordock/emulator.ts';
import type { TensorDockEmulator, TensorDockEmulatorOptions } from '../../../providers/tensordock/emulator.ts';
import { FakeClock } from '../../support/fake-clock.ts';

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: Json;
  /** Where the answer is a list. */
  readonly list: readonly Json[];
  readonly headers: Headers;
}

export interface TestClient {
  readonly emulator: TensorDockEmulator;
  call(method: string, path: string, body?: unknown, token?: string | null): Promise<Answer>;
  /** The locations, as their list has them. */
  locations(): Promise<readonly z.infer<typeof LocationRow>[]>;
  /** What a create asks for, on the first location's first GPU; more attributes on top. */
  order(attributes?: Json): Promise<{ data: { type: string; attributes: Json } }>;
  /** The id of a new instance. */
  rent(attributes?: Json): Promise<string>;
  get(id: string): Promise<Json>;
  list(): Promise<readonly Json[]>;
}

const AnyJson = z.record(z.string(), z.unknown());
const Price = z.union([z.number(), z.string()]);
export const LocationRow = z.object({
  id: z.string(),
  tier: z.number(),
  gpus: z.array(
    z.object({
      v0Name: z.string(),
      displayName: z.string().nullable(),
      max_count: z.number(),
      price_per_hr: Price,
      resources: z.object({ max_vcpus: z.number(), max_ram_gb: z.number(), max_storage_gb: z.number() }),
      pricing: z.object({ per_vcpu_hr: Price, per_gb_ram_hr: Price, per_gb_storage_hr: Price }),
    }),
  ),
});
const Locations = z.object({ data: z.object({ locations: z.array(LocationRow) }) });
const Made = z.object({ data: z.object({ id: z.string().min(1) }) });
const Listed = z.object({ data: z.union([z.array(AnyJson), z.object({ instances: z.array(AnyJson) })]) });

export const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5vdEFSZWFsS2V5QnV0TG9va3NMaWtlT25lMTIz nobody';
/** Longer than any boot without accidents. */
export const BOOTED_MS = 140_000;

/** An emulator that stands still unless it is advanced, and a plain HTTP client of it; limits are off unless asked for. */
export async function withTensorDock<T>(
  options: Partial<TensorDockEmulatorOptions>,
  use: (client: TestClient) => Promise<T>,
): Promise<T> {
  const emulator = await startTensorDockEmulator({
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

function clientOf(emulator: TensorDockEmulator): TestClient {
  const call: TestClient['call'] = async (method, path, body, token = emulator.apiToken) => {
    const response = await fetch(`${emulator.url}/api/v2/${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, ...parsed(text), headers: response.headers };
  };
  const locations = async () => Locations.parse((await call('GET', 'locations')).json).data.locations;
  const order = async (attributes: Json = {}) => {
    const [location] = await locations();
    const gpu = location?.gpus[0];
    if (location === undefined || gpu === undefined) throw new Error('the inventory is empty');
    return {
      data: {
        type: 'virtualmachine',
        attributes: {
          name: 'berth-test-one-a1',
          type: 'virtualmachine',
          image: 'ubuntu2404',
          resources: { vcpu_count: 8, ram_gb: 32, storage_gb: 200, gpus: { [gpu.v0Name]: { count: 1 } } },
          location_id: location.id,
          port_forwards: [{ internal_port: 22, external_port: 20_022 }],
          useDedicatedIp: false,
          ssh_key: KEY,
          ...attributes,
        },
      },
    };
  };
  return {
    emulator,
    call,
    locations,
    order,
    async rent(attributes) {
      const answer = await call('POST', 'instances', await order(attributes));
      return Made.parse(answer.json, { error: () => `create answered ${answer.status} ${answer.text}` }).data.id;
    },
    get: async (id) => (await call('GET', `instances/${id}`)).json,
    async list() {
      const { data } = Listed.parse((await call('GET', 'instances')).json);
      return Array.isArray(data) ? data : data.instances;
    },
  };
}

function parsed(text: string): Pick<Answer, 'json' | 'list'> {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? { json: {}, list: z.array(AnyJson).parse(value) } : { json: AnyJson.parse(value), list: [] };
  } catch {
    return { json: {}, list: [] };
  }
}
