import { addressOf, openForwards } from './ssh-side.ts';
import type { Phase, Vm, World } from './world.ts';

const WORDS: Readonly<Record<string, readonly string[]>> = {
  stoppeddisassociated: ['stopped', 'disassociated'],
};
const CASES = ['lower', 'title', 'upper', 'spaced', 'dashed'] as const;

/** The vendor's word for a state, in this run's spelling. */
export function statusText(world: World, id: string, status: string): string {
  const { statusCase } = world.shapes;
  const spelling = statusCase === 'mixed' ? (CASES[sum(id + status) % CASES.length] ?? 'lower') : statusCase;
  const words = WORDS[status] ?? [status];
  const titled = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  switch (spelling) {
    case 'lower':
      return status;
    case 'title':
      return titled.join('');
    case 'upper':
      return words.join('_').toUpperCase();
    case 'spaced':
      return titled.join(' ');
    case 'dashed':
      return words.join('-');
  }
}

function sum(text: string): number {
  let total = 0;
  for (const char of text) total = (total * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return total;
}

function statusOf(world: World, vm: Vm): string {
  if (world.knobs.unknownStatusShare > 0 && world.random.next() < world.knobs.unknownStatusShare) return 'defrosting';
  if (vm.deletedAt !== undefined && vm.reappearances === 0) return world.shapes.goneStatus;
  return wordOf(world, vm.phase);
}

/** Running before it has an address, where a create says so. */
function wordOf(world: World, phase: Phase): string {
  switch (phase) {
    case 'booting':
      return world.shapes.createStatus;
    case 'reclaimed':
      return 'stoppeddisassociated';
    case 'running':
    case 'starting':
    case 'stopping':
    case 'stopped':
    case 'outbid':
    case 'error':
    case 'relocating':
      return phase;
  }
}

/** A sum of money or a count, as a number or as text. */
export function money({ shapes }: World, usd: number): number | string {
  const rounded = Math.round(usd * 1e6) / 1e6;
  return shapes.moneyNumbers === 'string' ? String(rounded) : rounded;
}

function rateOf({ rate }: Vm): number {
  return rate.gpu + rate.compute + rate.storage;
}

/** One virtual machine, as the single read and a full list have it. */
export function vmRow(world: World, vm: Vm): Record<string, unknown> {
  const optional = <T>(value: T): T | null => (world.knobs.everyOptionalNull ? null : value);
  const { v0Name } = vm.node.gpu;
  return {
    ...shortRow(world, vm),
    ...forwardsOf(world, vm),
    resources: optional({
      vcpu_count: vm.vcpus,
      ram_gb: vm.ramGb,
      storage_gb: vm.storageGb,
      gpus: vm.gpus === 0 ? {} : { [v0Name]: { count: vm.gpus, v0Name: optional(v0Name) } },
    }),
    image: optional(vm.image),
    useDedicatedIp: vm.isDedicated,
    hostnode: optional({ id: vm.node.id, organizationName: vm.node.organization.name }),
    suspendedReason: null,
    _rev: 3,
  };
}

export function shortRow(world: World, vm: Vm): Record<string, unknown> {
  return {
    type: 'virtualmachine',
    id: vm.id,
    name: vm.name,
    status: statusText(world, vm.id, statusOf(world, vm)),
    ...ipOf(world, vm),
    rateHourly: world.knobs.everyOptionalNull ? null : money(world, rateOf(vm)),
  };
}

function ipOf(world: World, vm: Vm): { ipAddress?: string | null } {
  if (vm.hasAddress) return { ipAddress: addressOf(vm) };
  switch (world.shapes.noIp) {
    case 'empty':
      return { ipAddress: '' };
    case 'absent':
      return {};
    case 'null':
      return { ipAddress: null };
  }
}

function forwardsOf(world: World, vm: Vm): Record<string, unknown> {
  const open = vm.hasAddress ? openForwards(vm) : [];
  const port = (value: number) => (world.shapes.portNumbers === 'string' ? String(value) : value);
  const rows = open.map(({ internal, external }) => ({ internal_port: port(internal), external_port: port(external) }));
  switch (world.shapes.forwards) {
    case 'camel':
      return { portForwards: rows };
    case 'snake':
      return { port_forwards: rows };
    case 'map':
      return { port_forwards: Object.fromEntries(open.map(({ internal, external }) => [external, port(internal)])) };
  }
}
