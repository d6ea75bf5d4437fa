import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { openInstanceSsh } from '../kit/instance-ssh.ts';
import { bodyOf, ok, refusal } from './context.ts';
import type { Context } from './context.ts';
import { bill, bootMsOf, drawFate, isHeldBy, outbid, start, stop } from './lifecycle.ts';
import { isOutbidBy } from './market.ts';
import type { Ask } from './market.ts';
import { sshSide } from './ssh-side.ts';
import { planBidders } from './spot.ts';
import { findTemplate } from './templates.ts';
import { aliveContracts, isChance } from './world.ts';
import type { Contract, World } from './world.ts';

/** What a create may hold. The vendor ignores the rest; strict mode refuses it. */
export const CREATE_FIELDS = [
  'client_id,image,template_hash_id,label,disk,env,runtype,onstart,args,args_str,price,target_state,cancel_unavail,image_login',
  'user,vm,force,extra,python_utf8,lang_utf8,use_jupyter_lab,jupyter_dir,create_from,volume_info,ssh_key,entrypoint,onstart_cmd',
].flatMap((names) => names.split(','));

const CreateBody = z.object({
  image: z.string().max(1_024).optional(),
  template_hash_id: z.string().optional(),
  label: z.string().max(256).optional(),
  disk: z.number().min(8).default(10),
  env: z.union([z.record(z.string(), z.union([z.string(), z.number()])), z.string()]).optional(),
  runtype: z.string().optional(),
  onstart: z.string().max(4_096).optional(),
  price: z.number().min(0.001).max(128).optional(),
  target_state: z.enum(['running', 'stopped']).optional(),
  cancel_unavail: z.boolean().optional(),
  vm: z.boolean().optional(),
  ssh_key: z.string().optional(),
});
type CreateBody = z.infer<typeof CreateBody>;

/** `PUT asks/{id}/`: one offer, one contract, and every way to say no or to say something else. */
export async function createFromAsk(context: Context): Promise<Reply> {
  const { world, outcome } = context;
  const askId = Number(context.params[0]);
  const body = bodyOf(context);
  if (body === undefined) return invalidArgs('Invalid json body', askId);
  const parsed = CreateBody.safeParse(Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null)));
  if (!parsed.success) return refuseBody(parsed.error, askId);
  const refused = refuseRequest(world, parsed.data, askId) ?? refuseMoney(world);
  if (refused !== undefined) return refused;

  const ask = world.market.ask(askId);
  if (ask === undefined) return noSuchAsk(world, askId);
  if (outcome === 'no-such-ask' || isChance(world, world.knobs.goneBeforeCreateShare)) {
    world.market.relist(ask);
    return noSuchAsk(world, askId);
  }
  const minBid = ask.machine.floorPerGpu * ask.gpus.length;
  const { price } = parsed.data;
  if (price !== undefined && price < minBid - 1e-4)
    return refusal(400, 'invalid_price', `Bid must be at least ${minBid}.`, { ask_id: askId });
  const available = ask.machine.diskGb * (ask.gpus.length / ask.machine.holders.length);
  if (parsed.data.disk > available) return invalidArgs(`disk must be at most ${available}`, askId);
  if (outcome === 'nothing-but-success') return ok({ success: true });
  return rent(world, ask, parsed.data, outcome);
}

async function rent(world: World, ask: Ask, body: CreateBody, outcome: string | undefined): Promise<Reply> {
  const isBid = body.price !== undefined;
  const isBlocked = ask.gpus.some((index) => {
    const holder = ask.machine.holders[index];
    return holder !== undefined && holder.kind !== 'free' && !holder.isBid;
  });
  const loses = outcome === 'refused-with-contract' || (body.price !== undefined && losesBid(world, ask, body.price));
  // The default: give up for a start on demand, leave a stopped contract for a bid.
  const isCancelled = body.cancel_unavail ?? (!isBid && body.target_state !== 'stopped');
  if ((isBlocked || (loses && outcome === undefined)) && isCancelled) {
    return refusal(410, 'no_such_ask', `error 410/3907: no_such_ask Instance type ${ask.id} is no longer available.`, { ask_id: ask.id }); // prettier-ignore
  }

  const contract = signContract(world, ask, body);
  if (isBlocked || loses) {
    world.market.relist(ask); // the id is spent although nothing runs
    bill(world, contract);
  } else start(world, contract);
  if (isBid) planBidders(world, ask.machine);
  contract.ssh = await openInstanceSsh(sshSide(world, contract));
  if (contract.destroyedAt !== undefined) await contract.ssh.close(); // destroyed while its ports were opened

  const reply = { success: true, new_contract: contract.id, instance_api_key: contract.instanceKey };
  const stopped = refusal(loses && world.random.next() < 0.5 ? 200 : 400, 'invalid_args', 'Bid too low; contract is stopped.', {
    new_contract: contract.id,
  });
  if (body.target_state === 'stopped') {
    stop(world, contract);
    return ok(reply);
  }
  if (isBlocked) {
    stop(world, contract);
    return stopped;
  }
  if (loses && (outcome !== undefined || world.shapes.losingBid === 'refused-with-contract')) {
    outbid(world, contract, 'b');
    return stopped;
  }
  if (loses) {
    world.agenda.at(world.now() + 15_000, () => outbid(world, contract, 'b'));
    return ok(reply);
  }
  if (outcome === 'success-without-id') return ok({ success: true });
  return ok(outcome === 'refused-without-id' ? { success: false } : reply);
}

/** Against strangers, and against our own bids on those GPUs. */
function losesBid(world: World, { machine, gpus }: Ask, price: number): boolean {
  const ownBids = aliveContracts(world).filter(
    (other) => other.isBid && other.machine === machine && gpus.some((index) => isHeldBy(other, index)),
  );
  const perGpu = price / gpus.length;
  return isOutbidBy(machine, gpus, price) || ownBids.some((other) => other.gpuPerHour / other.gpus.length >= perGpu);
}

function signContract(world: World, ask: Ask, body: CreateBody): Contract {
  const { machine, gpus } = ask;
  const template = body.template_hash_id === undefined ? undefined : findTemplate(body.template_hash_id);
  const image = body.image ?? (template === undefined ? '' : `${template.image}:${template.tag}`);
  const runtype = body.runtype ?? template?.runtype ?? 'ssh';
  const env = readEnv(world, body.env, template?.env);
  const isDirect = runtype.includes('direc');
  const wanted = isDirect ? ['22/tcp', ...portsIn(env)] : portsIn(env);
  const room = Math.floor(machine.directPorts * (gpus.length / machine.holders.length));
  const id = world.nextId();
  const firstPort = 40_000 + Math.floor(world.random.next() * 9_000);
  const contract: Contract = {
    id,
    bundleId: ask.bundleId,
    machine,
    gpus,
    isBid: body.price !== undefined,
    gpuPerHour: body.price ?? Math.round(machine.pricePerGpu * gpus.length * world.knobs.createPriceFactor * 10_000) / 10_000,
    diskGb: body.disk,
    image,
    runtype,
    env,
    onstart: isChance(world, world.knobs.onstartLostShare) ? '' : (body.onstart ?? template?.onstart ?? ''),
    templateHash: template?.hash_id ?? null,
    instanceKey: Buffer.from(world.random.bytes(32)).toString('hex'),
    label: body.label ?? null,
    createdAt: world.now(),
    listedAt: world.now() + world.random.next() * world.knobs.listLagMs,
    intended: 'running',
    current: 'running',
    phase: 'booting',
    phaseSince: world.now(),
    bootMs: 1,
    statusMessage: null,
    isQueued: false,
    isOutbid: false,
    fate: drawFate(world),
    attachedKeys: world.account.keys.map((key) => ({ ...key })),
    authorizedKeys: [],
    hasRunScript: false,
    ports: new Map(wanted.slice(0, Math.max(0, room)).map((port, index) => [port, firstPort + index])),
    cancelPlans: [],
  };
  // one client in the wild relies on it, and it works now and then
  if (body.ssh_key !== undefined && world.random.next() < 0.5)
    contract.attachedKeys.push({ id: world.nextId(), publicKey: body.ssh_key, createdAt: world.now() });
  contract.bootMs = bootMsOf(world, contract);
  world.contracts.set(id, contract);
  world.ledger.open(id, contract.label);
  return contract;
}

function refuseBody(error: z.ZodError, askId: number): Reply {
  const issue = error.issues[0];
  const field = issue?.path.join('.') ?? '';
  if (field === 'price') return refusal(400, 'invalid_price', 'Bid must be between 0.001 and 128.', { ask_id: askId });
  if (field === 'disk') return invalidArgs('disk must be at least 8', askId);
  return invalidArgs(`${field}: ${issue?.message ?? 'not valid'}`, askId);
}

function refuseRequest(world: World, body: CreateBody, askId: number): Reply | undefined {
  if (body.template_hash_id !== undefined && findTemplate(body.template_hash_id) === undefined)
    return invalidArgs('template_hash_id is not known', askId);
  if (body.image === undefined && body.template_hash_id === undefined) return invalidArgs('image is needed', askId);
  if (body.vm === true && world.account.keys.length === 0)
    return refusal(400, 'no_ssh_key_for_vm', 'VM instances need an SSH key on the account.');
  return undefined;
}

function refuseMoney(world: World): Reply | undefined {
  if (world.knobs.spendRateLimit) return refusal(400, 'spend_rate_limit', 'The spend rate limit of the account is reached.');
  if (world.account.credit() > 1e-9) return undefined;
  if (world.shapes.noCredit === 'empty') return { status: 400, text: '', contentType: 'text/plain' };
  if (world.shapes.noCredit === 'text') return { status: 400, text: 'Your account lacks credit', contentType: 'text/plain' };
  return refusal(400, 'insufficient_credit', 'Your account lacks credit; see the billing page.');
}

function invalidArgs(text: string, askId: number): Reply {
  return refusal(400, 'invalid_args', `error 400/3467: Invalid args: ${text}`, { ask_id: askId });
}

export function noSuchAsk(world: World, askId: number): Reply {
  const text = `error 404/3603: no_such_ask  Instance type by id ${askId} is not available.`;
  switch (world.shapes.askGone) {
    case '400':
      return refusal(400, 'invalid_args', text, { ask_id: askId });
    case '404':
      return { status: 404, text: `no_such_ask  Instance type by id ${askId} is not available.`, contentType: 'text/plain' };
    case '410':
      return refusal(410, 'no_such_ask', `error 410/3907: no_such_ask Instance type ${askId} is no longer available.`, { ask_id: askId }); // prettier-ignore
    case '200':
      return refusal(200, 'invalid_args', text, { ask_id: askId });
  }
}

function readEnv(world: World, env: CreateBody['env'], templateEnv = ''): readonly (readonly [string, string])[] {
  const fromTemplate = dockerFlags(templateEnv);
  const own =
    typeof env === 'string'
      ? world.shapes.envText === 'ignored'
        ? []
        : dockerFlags(env)
      : Object.entries(env ?? {}).map(([name, value]) => [name, String(value)] as const);
  return [...new Map([...fromTemplate, ...own])];
}

/** `-e NAME=value -p 8000:8000` as pairs. */
function dockerFlags(text: string): [string, string][] {
  return [...text.matchAll(/-(e|p)\s+(\S+)/g)].map(([, flag, value = '']) => {
    if (flag === 'p') return [`-p ${value}`, '1'];
    const [name = '', ...rest] = value.split('=');
    return [name, rest.join('=')];
  });
}

function portsIn(env: readonly (readonly [string, string])[]): string[] {
  return env.flatMap(([name]) => {
    const found = /^-p \d+:(\d+)(?:\/(tcp|udp))?$/.exec(name);
    return found === null ? [] : [`${found[1]}/${found[2] ?? 'tcp'}`];
  });
}
