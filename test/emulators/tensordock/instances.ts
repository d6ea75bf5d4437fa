import type { Reply } from '../kit/http-server.ts';
import { notFound, ok } from './answers.ts';
import type { Context } from './answers.ts';
import type { Vm, World } from './world.ts';
import { shortRow, vmRow } from './wire.ts';

/** `GET /instances`: everything at once; not yet what was just made, still what is just gone. */
export function listVms({ world }: Context): Reply {
  const toRow = world.shapes.listRow === 'full' ? vmRow : shortRow;
  const rows = [...world.vms.values()].filter((vm) => isListed(world, vm)).map((vm) => toRow(world, vm));
  for (const vm of world.vms.values()) if (vm.deletedAt !== undefined) vm.reappearances = 0;
  return ok({ data: world.shapes.list === 'array' ? rows : { instances: rows } });
}

function isListed(world: World, vm: Vm): boolean {
  if (vm.deletedAt !== undefined) return vm.reappearances > 0 || world.now() < (vm.unlistedAt ?? 0);
  return vm.listedAt <= world.now();
}

/** `GET /instances/{id}`: bare, as a rule. */
export function getVm({ world, params }: Context): Reply {
  const vm = world.vms.get(params[0] ?? '');
  const isGone = vm?.deletedAt !== undefined && (world.shapes.afterDelete === '404' || world.now() >= (vm.unlistedAt ?? 0));
  if (vm === undefined || isGone) return notFound(world);
  const { type, id, name, ...attributes } = vmRow(world, vm);
  switch (world.shapes.single) {
    case 'flat':
      return ok({ type, id, name, ...attributes });
    case 'data':
      return ok({ data: { type, id, name, ...attributes } });
    case 'attributes':
      return ok({ data: { type, id, attributes: { name, ...attributes } } });
  }
}
