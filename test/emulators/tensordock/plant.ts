import { roomOf } from './capacity.ts';
import { rent } from './create.ts';
import type { World } from './world.ts';

/** Somebody's virtual machine on the first host with room, made without the API. */
export async function plantVm(world: World, name: string): Promise<string> {
  const node = world.inventory.nodes.find((each) => {
    const { gpus, ports } = roomOf(world, each);
    return gpus > 0 && ports.length > 0;
  });
  if (node === undefined) throw new Error('no host has a free GPU to plant an instance on');
  const vm = await rent(world, {
    node,
    sshKey: undefined,
    attributes: {
      name,
      type: 'virtualmachine',
      image: 'ubuntu2404',
      resources: { vcpu_count: 2, ram_gb: 4, storage_gb: 100, gpus: { [node.gpu.v0Name]: { count: 1 } } },
      location_id: node.location.id,
      port_forwards: [{ internal_port: 22, external_port: 20_022 }],
    },
  });
  return vm.id;
}
