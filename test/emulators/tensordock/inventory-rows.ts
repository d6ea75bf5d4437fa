import type { Reply } from '../kit/http-server.ts';
import { notFound, ok } from './answers.ts';
import type { Context } from './answers.ts';
import { roomOf } from './capacity.ts';
import type { Room } from './capacity.ts';
import type { GpuModel } from './gpu-models.ts';
import type { HostNode, Location } from './inventory.ts';
import { money } from './wire.ts';
import type { World } from './world.ts';

interface Snapshot {
  readonly takenAt: number;
  readonly rooms: ReadonlyMap<HostNode, Room>;
}

const snapshots = new WeakMap<World, Snapshot>();

/** What the inventory shows is as old as the knob allows; what is there is another matter. */
function shownRoom(world: World, node: HostNode): Room {
  const last = snapshots.get(world);
  const isFresh = last !== undefined && world.now() - last.takenAt < world.knobs.inventoryLagMs;
  const snapshot = isFresh
    ? last
    : { takenAt: world.now(), rooms: new Map(world.inventory.nodes.map((each) => [each, roomOf(world, each)])) };
  snapshots.set(world, snapshot);
  return snapshot.rooms.get(node) ?? roomOf(world, node);
}

/** `GET /locations`. */
export function listLocations({ world }: Context): Reply {
  world.inventory.drift(world.now(), world.knobs.priceDriftPerMinute);
  return ok({ data: { locations: world.inventory.locations.map((location) => locationRow(world, location)) } });
}

function locationRow(world: World, location: Location) {
  const nodes = world.inventory.nodes.filter((node) => node.location === location);
  const models = [...new Set(nodes.map(({ gpu }) => gpu))];
  const gpus = models
    .map((gpu) => gpuRow(world, location, gpu))
    .filter(({ max_count: count }) => count > 0 || world.shapes.soldOut === 'zero');
  const optional = <T>(value: T): T | null => (world.knobs.everyOptionalNull ? null : value);
  const { id, city, region, country, tier } = location;
  return { id, city, stateprovince: optional(region), country: optional(country), tier, gpus, region_code: null };
}

function gpuRow(world: World, location: Location, gpu: GpuModel) {
  const nodes = world.inventory.nodes.filter((node) => node.location === location && node.gpu === gpu);
  const rooms = nodes.map((node) => shownRoom(world, node));
  const most = (amount: (room: Room) => number) => Math.max(0, ...rooms.map(amount));
  const optional = <T>(value: T): T | null => (world.knobs.everyOptionalNull ? null : value);
  return {
    v0Name: gpu.v0Name,
    displayName: optional(gpu.displayName),
    max_count: most((room) => room.gpus),
    price_per_hr: money(world, location.gpuPrices.get(gpu.v0Name) ?? gpu.price),
    resources: {
      max_vcpus: most(({ vcpus }) => vcpus),
      max_ram_gb: most(({ ramGb }) => ramGb),
      max_storage_gb: most(({ storageGb }) => storageGb),
    },
    pricing: pricingRow(world, location),
    network_features: optional({
      dedicated_ip_available: most(({ publicIps }) => publicIps) > 0,
      port_forwarding_available: most(({ ports }) => ports.length) > 0,
      network_storage_available: false,
    }),
  };
}

function pricingRow(world: World, { rates }: Location) {
  return {
    per_vcpu_hr: money(world, rates.perVcpuHour),
    per_gb_ram_hr: money(world, rates.perRamGbHour),
    per_gb_storage_hr: money(world, rates.perStorageGbHour),
  };
}

/** `GET /hostnodes?gpu_model=&status=`. */
export function listNodes({ world, call }: Context): Reply {
  world.inventory.drift(world.now(), world.knobs.priceDriftPerMinute);
  const model = call.query.get('gpu_model');
  const isAvailable = call.query.get('status') === 'available';
  const nodes = world.inventory.nodes.filter(
    (node) => (model === null || node.gpu.v0Name === model) && (!isAvailable || shownRoom(world, node).gpus > 0),
  );
  return ok({ data: { hostnodes: nodes.map((node) => nodeRow(world, node)) } });
}

/** `GET /hostnodes/{id}`. */
export function getNode({ world, params }: Context): Reply {
  const node = world.inventory.nodes.find(({ id }) => id === params[0]);
  return node === undefined ? notFound(world, 'Hostnode not found') : ok({ data: nodeRow(world, node) });
}

function nodeRow(world: World, node: HostNode) {
  const { location, gpu, organization } = node;
  const room = shownRoom(world, node);
  const price = location.gpuPrices.get(gpu.v0Name) ?? gpu.price;
  const { city, region, country, tier } = location;
  const place = { uuid: location.id, city, stateprovince: region, country };
  return {
    id: node.id,
    location_id: location.id,
    engine: 'libvirt',
    uptime_percentage: node.uptime,
    available_resources: {
      gpus: [{ v0Name: gpu.v0Name, availableCount: room.gpus, price_per_hr: money(world, price) }],
      vcpu_count: room.vcpus,
      ram_gb: room.ramGb,
      storage_gb: room.storageGb,
      max_vcpus_per_gpu: Math.floor(node.vcpus / node.gpuCount),
      max_ram_per_gpu: Math.floor(node.ramGb / node.gpuCount),
      available_ports: room.ports,
      has_public_ip_available: room.publicIps > 0,
    },
    pricing: pricingRow(world, location),
    location: {
      ...place,
      has_network_storage: false,
      network_speed_gbps: 1,
      network_speed_upload_gbps: 1,
      organization: organization.id,
      organizationName: organization.name,
      tier,
    },
    deprecated: null,
  };
}
