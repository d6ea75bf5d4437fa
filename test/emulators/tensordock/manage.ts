import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { businessRefusal, checkOutcome, conflict, failure, invalid, issuesOf, notFound, ok } from './answers.ts';
import type { Context, Issue } from './answers.ts';
import { bill, LEAST_CREDIT_USD } from './billing.ts';
import { roomOf } from './capacity.ts';
import { LEAST_STORAGE_GB, STORAGE_STEP_GB } from './create-body.ts';
import { pricePerHour } from './inventory.ts';
import { deleteVm, start, stop } from './lifecycle.ts';
import { statusText } from './wire.ts';
import { aliveVm, isChance } from './world.ts';
import type { Vm, World } from './world.ts';

const RECLAIMED = 'Machine is stoppeddisassociated, therefore it cannot be';
const GPU_GONE = 'GPU is no longer available on the host: resource unavailable';

/** `POST /instances/{id}/start`. */
export function startVm({ world, params }: Context): Reply {
  const vm = aliveVm(world, params[0] ?? '');
  if (vm === undefined) return notFound(world);
  switch (vm.phase) {
    case 'booting':
    case 'running':
    case 'starting':
      return conflict(world, 409, 'Virtual machine is already running');
    case 'stopping':
    case 'error':
    case 'relocating':
      return conflict(world, 409, 'Virtual machine must be stopped');
    case 'reclaimed':
    case 'outbid':
      if (roomOf(world, vm.node).gpus < vm.gpus) return conflict(world, 400, GPU_GONE);
      break;
    case 'stopped':
      break;
  }
  if (world.account.credit() < LEAST_CREDIT_USD)
    return businessRefusal(world, `You need at least $${LEAST_CREDIT_USD.toFixed(2)} in your account`);
  start(world, vm);
  return accepted(world, vm);
}

/** `POST /instances/{id}/stop`: no way to give the GPU back. */
export function stopVm({ world, params }: Context): Reply {
  const vm = aliveVm(world, params[0] ?? '');
  if (vm === undefined) return notFound(world);
  if (vm.phase === 'reclaimed' || vm.phase === 'outbid') return conflict(world, 400, `${RECLAIMED} stopped`);
  if (vm.phase === 'stopped' || vm.phase === 'stopping') return conflict(world, 409, 'Virtual machine is already stopped');
  if (vm.phase === 'error' || vm.phase === 'relocating') return conflict(world, 409, 'Virtual machine is not running');
  stop(world, vm);
  return accepted(world, vm);
}

function accepted(world: World, { id, phase }: Vm): Reply {
  return ok({ data: { type: 'virtualmachine', id, attributes: { status: statusText(world, id, phase) } } });
}

/** The words that a fault of kind `outcome` may have on `DELETE /instances/{id}`. */
const DELETE_OUTCOMES = ['error-but-deleted', 'not-deleted'];

/** `DELETE /instances/{id}`: in every state. May fail and have deleted, and may say so and go on. */
export function destroyVm({ world, params, outcome }: Context): Reply {
  const vm = aliveVm(world, params[0] ?? '');
  if (vm === undefined) return notFound(world);
  checkOutcome(outcome, DELETE_OUTCOMES);
  if (outcome !== 'not-deleted') deleteVm(world, vm);
  const hasError = outcome === 'error-but-deleted' || (outcome === undefined && isChance(world, world.knobs.deleteErrorShare));
  if (hasError) return { status: 500, text: 'Internal Server Error', contentType: 'text/plain' };
  if (world.shapes.deleted === 204) return { status: 204, text: '', contentType: 'text/plain' };
  return ok({ data: { type: 'success', attributes: { message: 'Instance deleted successfully' } } });
}

const ModifyBody = z.object({
  cpuCores: z.int().min(2).multipleOf(2).optional(),
  ramGb: z.int().min(2).optional(),
  diskGb: z.int().min(LEAST_STORAGE_GB).multipleOf(STORAGE_STEP_GB).optional(),
  gpus: z.object({ gpuV0Name: z.string(), count: z.int().min(0) }).optional(),
});
export const MODIFY_FIELDS = Object.keys(ModifyBody.shape);

/** `PUT /instances/{id}/modify`: only what is stopped, and a disk only grows. */
export function modifyVm(context: Context): Reply {
  const { world } = context;
  const vm = aliveVm(world, context.params[0] ?? '');
  if (vm === undefined) return notFound(world);
  const parsed = ModifyBody.safeParse(context.body ?? {});
  if (!parsed.success) return invalid(world, issuesOf(parsed.error));
  if (vm.phase !== 'stopped') return conflict(world, 400, 'Virtual machine must be stopped');
  const { cpuCores: vcpus = vm.vcpus, ramGb = vm.ramGb, diskGb: storageGb = vm.storageGb, gpus } = parsed.data;
  const refuse = (path: string, message: string): Issue => ({ code: 'custom', message, path: [path] });
  if (storageGb < vm.storageGb) return invalid(world, [refuse('diskGb', 'diskGb can only grow')]);
  if (gpus !== undefined && gpus.gpuV0Name !== vm.node.gpu.v0Name)
    return invalid(world, [refuse('gpus', 'the host has no such GPU')]);
  const count = gpus?.count ?? vm.gpus;
  const room = roomOf(world, vm.node);
  const isRoomy =
    count - vm.gpus <= room.gpus &&
    vcpus - vm.vcpus <= room.vcpus &&
    ramGb - vm.ramGb <= room.ramGb &&
    storageGb - vm.storageGb <= room.storageGb;
  if (!isRoomy) return businessRefusal(world, world.shapes.noRoom);
  Object.assign(vm, { vcpus, ramGb, storageGb, gpus: count });
  vm.rate = pricePerHour(vm.node.location, { v0Name: vm.node.gpu.v0Name, gpus: count, vcpus, ramGb, storageGb });
  bill(world, vm);
  return ok({ data: { type: 'virtualmachine', id: vm.id, attributes: { status: statusText(world, vm.id, vm.phase) } } });
}

export function methodNotAllowed(): Reply {
  return failure(405, 'Method not allowed');
}
