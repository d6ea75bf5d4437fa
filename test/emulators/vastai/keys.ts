import type { Reply } from '../kit/http-server.ts';
import { bodyOf, noSuchInstance, ok, refusal } from './context.ts';
import type { Context } from './context.ts';
import { planKey } from './lifecycle.ts';
import { aliveContract, aliveContracts } from './world.ts';
import type { StoredKey, World } from './world.ts';

/** As `authorized_keys` has it: type, base64, and a comment or none. */
const PUBLIC_KEY = /^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/]+=*( .*)?$/;

export function listAccountKeys({ world }: Context): Reply {
  const { keys } = world.account;
  if (keys.length === 0) return refusal(404, 'not_found', 'No ssh keys found.');
  return ok(keys.map((key) => toWire(world, key)));
}

export function addAccountKey(context: Context): Reply {
  const { world } = context;
  const publicKey = keyIn(context);
  if (publicKey === undefined) return refusal(400, 'invalid_args', 'ssh_key is not an SSH public key');
  const key = newKey(world, publicKey);
  world.account.keys.push(key);
  if (world.shapes.accountKeys === 'all') for (const contract of aliveContracts(world)) attach(world, contract.id, key);
  return ok({ success: true, key: { ...toWire(world, key), public_key: publicKey } });
}

export function replaceAccountKey(context: Context): Reply {
  const { keys } = context.world.account;
  const index = keys.findIndex(({ id }) => id === Number(context.params[0]));
  const publicKey = keyIn(context);
  const old = keys[index];
  if (old === undefined) return refusal(400, 'no_ssh_key', 'No such ssh key.');
  if (publicKey === undefined) return refusal(400, 'invalid_args', 'ssh_key is not an SSH public key');
  keys[index] = { ...old, publicKey };
  return ok({ success: true });
}

export function deleteAccountKey({ world, params }: Context): Reply {
  const index = world.account.keys.findIndex(({ id }) => id === Number(params[0]));
  if (index < 0) return refusal(400, 'no_ssh_key', 'No such ssh key.');
  world.account.keys.splice(index, 1);
  return ok({ success: true });
}

/** The list is text inside JSON. */
export function listInstanceKeys({ world, params }: Context): Reply {
  const contract = aliveContract(world, Number(params[0]));
  if (contract === undefined) return noSuchInstance();
  return ok({ success: true, ssh_keys: JSON.stringify(contract.attachedKeys.map((key) => toWire(world, key))) });
}

/** Stored at once, accepted by sshd later; twice is harmless. */
export function attachKey(context: Context): Reply {
  const { world } = context;
  const id = Number(context.params[0]);
  if (aliveContract(world, id) === undefined) return refusal(404, 'no_such_instance', 'Instance not found.');
  const publicKey = keyIn(context);
  if (publicKey === undefined) return refusal(400, 'invalid_args', 'ssh_key is not an SSH public key');
  attach(world, id, newKey(world, publicKey));
  return ok({ success: true, msg: 'SSH key added to instance.' });
}

export function detachKey({ world, params }: Context): Reply {
  const contract = aliveContract(world, Number(params[0]));
  if (contract === undefined) return noSuchInstance();
  const index = contract.attachedKeys.findIndex(({ id }) => id === Number(params[1]));
  const [key] = index < 0 ? [] : contract.attachedKeys.splice(index, 1);
  if (key === undefined) return refusal(404, 'no_such_ssh_key', 'No such ssh key.');
  const line = contract.authorizedKeys.indexOf(key.publicKey);
  if (line >= 0) contract.authorizedKeys.splice(line, 1);
  return ok({ success: true });
}

function attach(world: World, contractId: number, key: StoredKey): void {
  const contract = aliveContract(world, contractId);
  if (contract === undefined) return;
  if (!contract.attachedKeys.some(({ publicKey }) => publicKey === key.publicKey)) contract.attachedKeys.push(key);
  planKey(world, contract, key.publicKey);
}

function newKey(world: World, publicKey: string): StoredKey {
  return { id: world.nextId(), publicKey, createdAt: world.now() };
}

function keyIn(context: Context): string | undefined {
  const key = bodyOf(context)?.['ssh_key'];
  return typeof key === 'string' && PUBLIC_KEY.test(key.trim()) ? key.trim() : undefined;
}

function toWire(world: World, { id, publicKey, createdAt }: StoredKey) {
  return {
    id,
    user_id: world.account.userId,
    [world.shapes.keyField]: publicKey,
    created_at: new Date(createdAt).toISOString().replace('.000', ''),
    deleted_at: null,
  };
}
