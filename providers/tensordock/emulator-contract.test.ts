import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { BOOTED_MS, KEY, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';

// The bodies of the contract, field by field. What the emulator adds on top is what nobody reads.

const Pricing = z.object({ per_vcpu_hr: z.number(), per_gb_ram_hr: z.number(), per_gb_storage_hr: z.number() });
const Locations = z.object({
  data: z.object({
    locations: z
      .array(
        z.object({
          id: z.uuid(),
          city: z.string(),
          stateprovince: z.string(),
          country: z.string(),
          tier: z.int().min(0).max(4),
          gpus: z.array(
            z.object({
              v0Name: z.string().regex(/^[a-z0-9]+-[a-z0-9]+-\d+gb$/),
              displayName: z.string(),
              max_count: z.int(),
              price_per_hr: z.number().positive(),
              resources: z.object({ max_vcpus: z.int(), max_ram_gb: z.int(), max_storage_gb: z.int() }),
              pricing: Pricing,
              network_features: z.object({
                dedicated_ip_available: z.boolean(),
                port_forwarding_available: z.boolean(),
                network_storage_available: z.boolean(),
              }),
            }),
          ),
        }),
      )
      .min(2),
  }),
});
const HostNode = z.object({
  id: z.uuid(),
  location_id: z.uuid(),
  engine: z.string(),
  uptime_percentage: z.number().max(100),
  available_resources: z.object({
    gpus: z.array(z.object({ v0Name: z.string(), availableCount: z.int(), price_per_hr: z.number() })).min(1),
    vcpu_count: z.int(),
    ram_gb: z.int(),
    storage_gb: z.int(),
    max_vcpus_per_gpu: z.int(),
    max_ram_per_gpu: z.int(),
    available_ports: z.array(z.int()),
    has_public_ip_available: z.boolean(),
  }),
  pricing: Pricing,
  location: z.object({
    uuid: z.uuid(),
    city: z.string(),
    stateprovince: z.string(),
    country: z.string(),
    has_network_storage: z.boolean(),
    network_speed_gbps: z.number(),
    network_speed_upload_gbps: z.number(),
    organization: z.string(),
    organizationName: z.string(),
    tier: z.int(),
  }),
});
const Created = z.strictObject({
  data: z.strictObject({ type: z.literal('virtualmachine'), id: z.uuid(), name: z.string(), status: z.string() }),
});
const Row = z.object({
  type: z.literal('virtualmachine'),
  id: z.uuid(),
  name: z.string(),
  status: z.string(),
  ipAddress: z.ipv4(),
  rateHourly: z.number(),
});
const Single = Row.extend({
  portForwards: z.array(z.strictObject({ internal_port: z.int(), external_port: z.int() })).min(1),
  resources: z.strictObject({
    vcpu_count: z.int(),
    ram_gb: z.int(),
    storage_gb: z.int(),
    gpus: z.record(z.string(), z.strictObject({ count: z.int(), v0Name: z.string() })),
  }),
});
const Changed = z.strictObject({
  data: z.strictObject({
    type: z.literal('virtualmachine'),
    id: z.uuid(),
    attributes: z.strictObject({ status: z.string() }),
  }),
});
const Secret = z.object({ type: z.string(), id: z.uuid(), name: z.string() });

describe('the bodies of the contract', () => {
  it('has an inventory of locations and of hosts', () =>
    withTensorDock({}, async ({ call }) => {
      Locations.parse((await call('GET', 'locations')).json);
      const hosts = z.object({ data: z.object({ hostnodes: z.array(HostNode).min(3) }) });
      const { hostnodes } = hosts.parse((await call('GET', 'hostnodes')).json).data;

      const [first] = hostnodes;
      expect(z.object({ data: HostNode }).parse((await call('GET', `hostnodes/${first?.id}`)).json).data).toEqual(first);
    }));

  it('has instances, from the create to the delete', () =>
    withTensorDock({}, async ({ call, order, emulator }) => {
      const made = Created.parse((await call('POST', 'instances', await order({ name: 'gb1-prod-s7f3c9a-a01' }))).json).data;
      emulator.advance(BOOTED_MS);
      const single = Single.parse((await call('GET', `instances/${made.id}`)).json);
      const listed = z.object({ data: z.array(Row).min(1) }).parse((await call('GET', 'instances')).json).data;
      const stopped = Changed.parse((await call('POST', `instances/${made.id}/stop`)).json).data;
      emulator.advance(10_000);
      const started = Changed.parse((await call('POST', `instances/${made.id}/start`)).json).data;

      expect(single).toMatchObject({ id: made.id, name: 'gb1-prod-s7f3c9a-a01', status: 'running' });
      expect(single.resources.gpus).toEqual({ 'geforcertx4090-pcie-24gb': { count: 1, v0Name: 'geforcertx4090-pcie-24gb' } });
      expect(listed.map(({ id }) => id)).toEqual([made.id]);
      expect([stopped.attributes.status, started.attributes.status]).toEqual(['stopping', 'starting']);
    }));

  it('has secrets', () =>
    withTensorDock({}, async ({ call }) => {
      const attributes = { name: 'gb1-session', value: KEY, type: 'SSHKEY' };
      await call('POST', 'secrets', { data: { type: 'secret', attributes } });
      const secrets = z
        .object({ data: z.strictObject({ secrets: z.array(Secret) }) })
        .parse((await call('GET', 'secrets')).json);
      const [secret] = secrets.data.secrets;
      const single = z.object({ data: Secret.extend({ value: z.string() }) });

      expect(secret).toMatchObject({ type: 'SSHKEY', name: 'gb1-session' });
      expect(single.parse((await call('GET', `secrets/${secret?.id}`)).json).data.value).toBe(KEY);
    }));
});
