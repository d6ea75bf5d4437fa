import { openInstanceSsh } from '../kit/instance-ssh.ts';
import type { Reply } from '../kit/http-server.ts';
import { businessRefusal, checkOutcome, invalid, issuesOf, ok } from './answers.ts';
import type { Context } from './answers.ts';
import { LEAST_CREDIT_USD } from './billing.ts';
import { roomOf } from './capacity.ts';
import { NO_CLOUD_INIT } from './cloud-init.ts';
import type { CloudInit } from './cloud-init.ts';
import { createBodySchema } from './create-body.ts';
import type { CreateAttributes } from './create-body.ts';
import { pricePerHour } from './inventory.ts';
import type { HostNode } from './inventory.ts';
import { boot, drawBoot, drawFate } from './lifecycle.ts';
import { checkShell } from './shell.ts';
import { sshPlaces, sshSide } from './ssh-side.ts';
import { between, isChance } from './world.ts';
import type { Fate, Vm, World } from './world.ts';
import { statusText } from './wire.ts';

const NO_NODES = 'No available nodes found';
const NO_PUBLIC_IPS = 'No available public IPs on hostnode';
const UNEXPECTED = 'An unexpected error during deployment occurred. Please try again.';
/** What a create can be made to come to, beside a refusal in these words. */
const REFUSALS: Readonly<Record<string, string>> = {
  'no-nodes': NO_NODES,
  'no-public-ips': NO_PUBLIC_IPS,
  'insufficient-capacity': 'insufficient capacity',
  'out-of-stock': 'out of stock',
  'resource-unavailable': 'resource unavailable',
  'unexpected-error': UNEXPECTED,
};
const FATES: Readonly<Record<string, Partial<Fate>>> = {
  stuck: { isStuck: true },
  'stops-at-once': { stopsAtOnce: true },
  'no-forwards': { ignoresForwards: true },
  'no-field-key': { ignoresKeyField: true },
  'no-keys': { refusesKeys: true },
  'driver-late': { driver: 'late' },
  'driver-missing': { driver: 'missing' },
  'driver-mismatch': { driver: 'mismatch' },
};

/** The words that a fault of kind `outcome` may have on `POST /instances`. */
const CREATE_OUTCOMES = [
  ...Object.keys(REFUSALS),
  'unexpected-error-created',
  'empty-id',
  'empty-id-not-created',
  ...Object.keys(FATES),
];

interface Size {
  readonly v0Name: string | undefined;
  readonly gpus: number;
  readonly vcpus: number;
  readonly ramGb: number;
  readonly storageGb: number;
  readonly forwards: number;
  readonly isDedicated: boolean;
}

/** `POST /instances`: answered at once, with a status that means nothing, without an address; or with every way to say no. */
export async function createVm(context: Context): Promise<Reply> {
  const { world, outcome } = context;
  checkOutcome(outcome, CREATE_OUTCOMES);
  const parsed = createBodySchema(world.mode).safeParse(context.body);
  if (!parsed.success) return invalid(world, issuesOf(parsed.error));
  const { attributes } = parsed.data.data;
  checkShell(attributes.cloud_init?.runcmd ?? []);
  const keyId = attributes.ssh_key_id ?? '';
  if (keyId !== '' && !world.secrets.has(keyId))
    return invalid(world, [{ code: 'custom', message: 'ssh_key_id is not known', path: ['data', 'attributes', 'ssh_key_id'] }]);
  if (world.account.credit() < LEAST_CREDIT_USD)
    return businessRefusal(world, `You need at least $${LEAST_CREDIT_USD.toFixed(2)} in your account to deploy`);

  world.inventory.drift(world.now(), world.knobs.priceDriftPerMinute);
  const asked = outcome === undefined ? undefined : REFUSALS[outcome];
  if (asked !== undefined) return businessRefusal(world, asked);
  if (outcome === 'empty-id-not-created') return ok(created(world, { id: '', name: attributes.name }));
  if (outcome === undefined && isChance(world, world.knobs.noNodeShare)) return businessRefusal(world, NO_NODES);
  const node = findNode(world, attributes);
  if (typeof node === 'string') return businessRefusal(world, node);
  const isUnexpected = outcome === undefined && isChance(world, world.knobs.unexpectedErrorShare);
  if (isUnexpected && world.random.next() < 0.5) return businessRefusal(world, UNEXPECTED);

  const sshKey = keyId === '' ? (attributes.ssh_key ?? undefined) : world.secrets.get(keyId)?.value;
  const vm = await rent(world, { node, attributes, sshKey, fate: outcome === undefined ? undefined : FATES[outcome] });
  if (isUnexpected || outcome === 'unexpected-error-created') return businessRefusal(world, UNEXPECTED);
  const hidesId = outcome === 'empty-id' || (outcome === undefined && isChance(world, world.knobs.emptyIdShare));
  return ok(created(world, { id: hidesId ? '' : vm.id, name: vm.name }), world.shapes.created);
}

function created(world: World, { id, name }: { id: string; name: string }) {
  const status = statusText(world, id, world.shapes.createStatus);
  return { data: { type: 'virtualmachine', id, name, status } };
}

interface Deal {
  readonly node: HostNode;
  readonly attributes: CreateAttributes;
  readonly sshKey: string | undefined;
  readonly fate?: Partial<Fate> | undefined;
}

/** Takes its room at once, so that of two who want the last one gets it; then opens its ports. */
export async function rent(world: World, { node, attributes, sshKey, fate }: Deal): Promise<Vm> {
  const size = sizeOf(attributes);
  const cloudInit = readCloudInit(attributes);
  const wishes = (attributes.port_forwards ?? []).map((each) => ({
    internal: each.internal_port,
    external: each.external_port,
  }));
  const { ports } = roomOf(world, node);
  const isHostDeploy = attributes.location_id === undefined || attributes.location_id === null;
  const vm: Vm = {
    id: world.nextId(),
    name: attributes.name,
    node,
    ...size,
    image: attributes.image,
    wishes,
    forwards: size.isDedicated
      ? []
      : wishes.map(({ internal, external }, index) => ({
          internal,
          external: isHostDeploy && ports.includes(external) ? external : (ports[index] ?? 0),
        })),
    sshKey,
    cloudInit,
    rate: pricePerHour(node.location, size),
    createdAt: world.now(),
    listedAt: world.now() + between(world, 0, world.knobs.listLagMs),
    phase: 'booting',
    phaseSince: world.now(),
    ...drawBoot(world, { cloudInit }),
    hasAddress: false,
    hasRunCloudInit: false,
    hasRestarted: false,
    isSilent: false,
    fate: { ...drawFate(world, size.v0Name), ...fate },
    keys: { user: [], root: [] },
    reappearances: 0,
    cancelPlans: [],
  };
  world.vms.set(vm.id, vm);
  world.ledger.open(vm.id, vm.name);
  boot(world, vm);
  vm.ssh = await openInstanceSsh(sshSide(world, vm), sshPlaces(world, vm));
  if (vm.deletedAt !== undefined) await vm.ssh.close(); // deleted while its ports were opened
  return vm;
}

function sizeOf({ resources, port_forwards: forwards, useDedicatedIp }: CreateAttributes): Size {
  const [gpu] = Object.entries(resources.gpus ?? {});
  return {
    v0Name: gpu?.[0],
    gpus: gpu?.[1].count ?? 0,
    vcpus: resources.vcpu_count,
    ramGb: resources.ram_gb,
    storageGb: resources.storage_gb,
    forwards: forwards?.length ?? 0,
    isDedicated: useDedicatedIp === true,
  };
}

/** A host that has the room, or the words of the refusal. */
function findNode(world: World, attributes: CreateAttributes): HostNode | string {
  const size = sizeOf(attributes);
  const { location_id: locationId, hostnode_id: nodeId } = attributes;
  const nodes = world.inventory.nodes.filter((node) =>
    nodeId === undefined || nodeId === null ? node.location.id === locationId : node.id === nodeId,
  );
  const roomy = nodes.filter((node) => fits(world, node, size));
  const isHostDeploy = nodeId !== undefined && nodeId !== null;
  if (roomy.length === 0) return isHostDeploy && nodes.length > 0 ? world.shapes.noRoom : NO_NODES;
  if (size.isDedicated) return roomy.find((node) => roomOf(world, node).publicIps > 0) ?? NO_PUBLIC_IPS;
  const wished = (attributes.port_forwards ?? []).map(({ external_port: external }) => external);
  const reachable = roomy.find((node) => {
    const { ports } = roomOf(world, node);
    return isHostDeploy ? wished.every((port) => ports.includes(port)) : ports.length >= size.forwards;
  });
  return reachable ?? (isHostDeploy ? `${world.shapes.noRoom}: external port is not available on hostnode` : NO_NODES);
}

/** All of a host's processors and memory go only with all of its GPUs. */
function fits(world: World, node: HostNode, size: Size): boolean {
  if (size.v0Name !== undefined && node.gpu.v0Name !== size.v0Name) return false;
  const room = roomOf(world, node);
  const share = Math.max(1, size.gpus) / node.gpuCount;
  return (
    size.gpus <= room.gpus &&
    size.vcpus <= Math.min(room.vcpus, node.vcpus * share) &&
    size.ramGb <= Math.min(room.ramGb, node.ramGb * share) &&
    size.storageGb <= room.storageGb
  );
}

function readCloudInit({ cloud_init: asked }: CreateAttributes): CloudInit {
  if (asked === undefined || asked === null) return NO_CLOUD_INIT;
  return {
    runcmd: asked.runcmd ?? [],
    packages: asked.packages ?? [],
    package_update: asked.package_update ?? false,
    package_upgrade: asked.package_upgrade ?? false,
    write_files: asked.write_files ?? [],
  };
}
