import type { Reply } from '../kit/http-server.ts';
import { bodyOf, noSuchInstance, ok, refusal } from './context.ts';
import type { Context } from './context.ts';
import { destroy, isAvailable, start, stop } from './lifecycle.ts';
import { isOutbidBy } from './market.ts';
import { resumeIfOutbid } from './spot.ts';
import { aliveContract } from './world.ts';
import type { Contract } from './world.ts';

const LONGEST_LABEL = 1_024;
const QUEUED = 'Required resources are currently unavailable, state change queued.';

/** `PUT instances/{id}/`: the state that is wanted, or a label. */
export function changeInstance(context: Context): Reply {
  const contract = named(context);
  const body = bodyOf(context);
  if (contract === undefined) return noSuchInstance();
  if (body === undefined) return refusal(400, 'invalid_request', 'Invalid json body');
  const { label, state } = body;
  if (label !== undefined) {
    if (label !== null && typeof label !== 'string') return refusal(400, 'invalid_args', 'label is text');
    if ((label ?? '').length > LONGEST_LABEL) return refusal(400, 'label_too_long', 'The label is too long.');
    contract.label = label;
    context.world.ledger.relabel(contract.id, label);
  }
  if (state === 'running') return startAgain(context, contract);
  if (state === 'stopped') {
    stop(context.world, contract);
    contract.current = 'stopped';
    contract.isOutbid = false;
    return ok({ success: true });
  }
  if (state !== undefined) return refusal(400, 'invalid_args', `state ${JSON.stringify(state)} is not known`);
  return label === undefined ? refusal(400, 'invalid_args', 'state or label is needed') : ok({ success: true });
}

function startAgain({ world }: Context, contract: Contract): Reply {
  if (contract.phase === 'booting' || (contract.phase === 'running' && contract.override === undefined))
    return ok({ success: true });
  if (world.account.credit() <= 1e-9)
    return refusal(400, 'insufficient_credit', 'Your account lacks credit; see the billing page.');
  contract.intended = 'running';
  const isOutbid = contract.isBid && isOutbidBy(contract.machine, contract.gpus, contract.gpuPerHour);
  if (isAvailable(contract) && !isOutbid) {
    start(world, contract);
    return ok({ success: true });
  }
  contract.isQueued = !isOutbid;
  contract.isOutbid = isOutbid;
  return ok({ success: true, msg: QUEUED });
}

/** `DELETE instances/{id}/`: in every state, at once; whoever asks again is told in another shape. */
export function destroyInstance(context: Context): Reply {
  const { world } = context;
  const contract = named(context);
  if (contract === undefined) {
    if (world.shapes.secondDestroy === 'not_found') return refusal(404, 'not_found', 'Instance not found.');
    return refusal(world.shapes.secondDestroy === '200' ? 200 : 404, 'no_such_instance', 'No such instance.');
  }
  destroy(world, contract);
  return ok(world.shapes.destroyed === 'empty' ? {} : { success: true });
}

/** Reboot keeps the file system and the keys in it; recycle makes the container anew. Both keep the GPU. */
export function restartInstance(how: 'rebooting' | 'recycling'): (context: Context) => Reply {
  return (context) => {
    const contract = named(context);
    if (contract === undefined) return noSuchInstance();
    if (contract.phase !== 'running') return refusal(400, 'invalid_args', 'The instance is not running.');
    if (how === 'recycling') {
      contract.authorizedKeys.length = 0;
      contract.hasRunScript = false;
    }
    contract.ssh?.hangUp();
    start(context.world, contract, how);
    return ok({ success: true });
  };
}

export function changeBid(context: Context): Reply {
  const contract = named(context);
  const price = bodyOf(context)?.['price'];
  if (contract === undefined) return noSuchInstance();
  if (typeof price !== 'number' || price < 0.001) return refusal(400, 'invalid_args', 'Please set a bid price >= 0.001.');
  if (price > 32 * contract.gpus.length) return refusal(400, 'invalid_price', 'The bid is too high.');
  if (!contract.isBid) return refusal(400, 'invalid_args', 'The instance is not interruptible.');
  contract.gpuPerHour = price;
  resumeIfOutbid(context.world, contract);
  return ok({ success: true });
}

export function requestLogs(context: Context): Reply {
  const contract = named(context);
  if (contract === undefined) return noSuchInstance();
  return ok({ success: true, result_url: `https://logs.example-bucket.s3.amazonaws.com/${contract.id}-9f1c.log`, msg: '' });
}

/** A body that is no JSON gets a status that exists nowhere else. */
export function executeCommand(context: Context): Reply {
  const contract = named(context);
  const command = bodyOf(context)?.['command'];
  if (typeof command !== 'string') return refusal(483, 'invalid_args', 'Invalid json_body');
  if (contract === undefined) return noSuchInstance();
  if (command.length > 512) return refusal(400, 'invalid_args', 'command is too long');
  return ok({ success: true, result_url: `https://logs.example-bucket.s3.amazonaws.com/${contract.id}-cmd.log` });
}

function named({ world, params }: Context): Contract | undefined {
  return aliveContract(world, Number(params[0]));
}
