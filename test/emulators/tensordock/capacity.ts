import type { HostNode } from './inventory.ts';
import { aliveVms } from './world.ts';
import type { Vm, World } from './world.ts';

/** What a host has left. A stopped virtual machine keeps all that is its own; one whose GPU was taken keeps the rest. */
export interface Room {
  readonly gpus: number;
  readonly vcpus: number;
  readonly ramGb: number;
  readonly storageGb: number;
  readonly ports: readonly number[];
  readonly publicIps: number;
}

export function roomOf(world: World, node: HostNode): Room {
  const here = aliveVms(world).filter((vm) => vm.node === node);
  const sum = (amount: (vm: Vm) => number) => here.reduce((total, vm) => total + amount(vm), 0);
  const used = here.flatMap(({ forwards }) => forwards.map(({ external }) => external));
  return {
    gpus: node.gpuCount - node.strangerGpus - sum((vm) => (holdsGpus(vm) ? vm.gpus : 0)),
    vcpus: node.vcpus - sum(({ vcpus }) => vcpus),
    ramGb: node.ramGb - sum(({ ramGb }) => ramGb),
    storageGb: node.storageGb - sum(({ storageGb }) => storageGb),
    ports: node.ports.filter((port) => !used.includes(port)),
    publicIps: node.publicIps - here.filter(({ isDedicated }) => isDedicated).length,
  };
}

function holdsGpus({ phase, deletedAt }: Vm): boolean {
  return deletedAt === undefined && phase !== 'reclaimed' && phase !== 'outbid';
}
