import { isOutbidBy } from './market.ts';
import { diskPerHour } from './prices.ts';
import { keysWrittenBy } from './start-script.ts';
import { notify } from './webhooks.ts';
import { aliveContracts, isChance } from './world.ts';
import type { Contract, World } from './world.ts';

const FREE = { kind: 'free' } as const;
const OCI_TEXT =
  'Error response from daemon: failed to create task: OCI runtime create failed: failed to inject CDI devices: unresolvable CDI devices';
const LATE_REPORT_MS = 240_000;
const GONE_AFTER_NO_CREDIT_MS = 48 * 3_600_000;

/** Takes the GPUs and boots: the disk is billed from here, the GPU only once the container runs. */
export function start(world: World, contract: Contract, override?: 'rebooting' | 'recycling'): void {
  cancelPlans(contract);
  evictOwnBids(world, contract);
  if (override === undefined) world.market.hold(contract.machine, contract.gpus, holderOf(contract));
  contract.intended = 'running';
  contract.current = 'running';
  contract.isQueued = false;
  contract.isOutbid = false;
  setPhase(world, contract, 'booting', override);
  contract.bootMs = override === undefined && contract.bootMs > 0 ? bootMsOf(world, contract) : 20_000 * world.knobs.bootScale;
  bill(world, contract);
  if (contract.fate.hasOciFailure) plan(world, contract, contract.bootMs * 0.4, () => failBoot(world, contract));
  else if (!contract.fate.isStuck) plan(world, contract, contract.bootMs, () => run(world, contract));
  planExpiry(world, contract);
}

/** Seconds by image and by the host's line: cached, medium, huge. */
export function bootMsOf(world: World, contract: { image: string; machine: Contract['machine'] }): number {
  const { image, machine } = contract;
  const slowness = Math.min(2, Math.max(0.6, 800 / machine.inet.down));
  const chance = world.random.next();
  const seconds = /huge|comfy|nemo|vllm/i.test(image)
    ? 600 + chance * 3_000
    : /cached|pytorch|ubuntu|alpine|cuda/i.test(image)
      ? 40 + chance * 30
      : Math.min(240, Math.max(90, (90 + chance * 150) * slowness));
  return seconds * 1_000 * world.knobs.bootScale;
}

function run(world: World, contract: Contract): void {
  setPhase(world, contract, 'running');
  contract.statusMessage = `success, running ${contract.image.replaceAll(':', '_')}/ssh`;
  bill(world, contract);
  if (!contract.hasRunScript) {
    contract.hasRunScript = true;
    for (const key of keysWrittenBy(contract.onstart)) {
      if (!contract.authorizedKeys.includes(key)) contract.authorizedKeys.push(key);
    }
  }
  for (const key of contract.attachedKeys) planKey(world, contract, key.publicKey);
  const { deathPerHour } = world.knobs;
  if (deathPerHour > 0) {
    const hours = -Math.log(1 - world.random.next()) / deathPerHour;
    plan(world, contract, hours * 3_600_000, () => goOffline(world, contract));
  }
}

/** A key of the account or attached through the API reaches sshd later, or never. */
export function planKey(world: World, contract: Contract, publicKey: string): void {
  if (contract.fate.refusesKeys || contract.phase !== 'running') return;
  plan(world, contract, world.knobs.keyDelayMs, () => {
    const isAttached = contract.attachedKeys.some((key) => key.publicKey === publicKey);
    if (isAttached && !contract.authorizedKeys.includes(publicKey)) contract.authorizedKeys.push(publicKey);
  });
}

function failBoot(world: World, contract: Contract): void {
  setPhase(world, contract, 'failed');
  contract.intended = 'stopped';
  contract.current = 'stopped';
  contract.statusMessage = `${OCI_TEXT} D.${contract.id}`;
  release(world, contract);
  bill(world, contract);
}

/** The host stops reporting: the record freezes, and neither GPU nor disk is billed. */
export function goOffline(world: World, contract: Contract, status = 'offline'): void {
  contract.override = status;
  contract.frozenAt = world.now();
  bill(world, contract);
}

/** Our stop, the host's, or the vendor's for want of credit. Not for a bid that lost: see spot. */
export function stop(world: World, contract: Contract): void {
  contract.intended = 'stopped';
  contract.isQueued = false;
  if (contract.phase === 'stopped' || contract.phase === 'stopping' || contract.phase === 'failed') return;
  cancelPlans(contract);
  setPhase(world, contract, 'stopping');
  contract.current = 'stopped';
  release(world, contract);
  bill(world, contract);
  contract.ssh?.hangUp();
  plan(world, contract, world.knobs.stopMs, () => setPhase(world, contract, 'stopped'));
}

/** Allowed in every state. Billing ends here; the list may show it for a while. */
export function destroy(world: World, contract: Contract): void {
  if (contract.destroyedAt !== undefined) return;
  cancelPlans(contract);
  contract.destroyedAt = world.now();
  contract.unlistedAt = world.now() + world.random.next() * world.knobs.goneLagMs;
  release(world, contract);
  world.ledger.close(contract.id);
  void contract.ssh?.close();
  planEmpty(world);
}

export function setPhase(world: World, contract: Contract, phase: Contract['phase'], override?: string): void {
  contract.phase = phase;
  contract.phaseSince = world.now();
  if (override === undefined) delete contract.override;
  else contract.override = override;
}

/** Writes what is billed from now on, and when the credit will be gone at that pace. */
export function bill(world: World, contract: Contract): void {
  const isOnline = contract.override !== 'offline' && contract.override !== 'unknown';
  const isRunning = contract.phase === 'running' && isOnline;
  const { inet } = contract.machine;
  world.ledger.rate(contract.id, {
    state: isOnline ? contract.phase : 'offline',
    gpuPerHour: isRunning ? contract.gpuPerHour : 0,
    diskPerHour: isOnline ? diskPerHour(contract.diskGb, contract.machine.storageCost) : 0,
    bandwidthPerHour: isRunning ? world.knobs.bandwidthGbPerHour * inet.downCost : 0,
  });
  planEmpty(world);
}

const emptyPlans = new WeakMap<World, () => void>();
const NOTHING_USD = 1e-9;

export function planEmpty(world: World): void {
  emptyPlans.get(world)?.();
  emptyPlans.delete(world);
  const pace = world.ledger.usdPerHour();
  const credit = world.account.credit();
  if (pace <= 0 || credit <= NOTHING_USD) return;
  const inMs = Math.ceil((credit / pace) * 3_600_000);
  emptyPlans.set(world, world.agenda.at(world.now() + inMs, () => stopAllForCredit(world))); // prettier-ignore
}

/** Without any word all instances stop, their disks are billed into debt, and 48 h later they are deleted. */
export function stopAllForCredit(world: World): void {
  emptyPlans.delete(world);
  notify(world, { key: 'client:low_credit', subject: 'Low credit', message: 'All instances are stopped.' });
  for (const contract of aliveContracts(world)) {
    stop(world, contract);
    world.agenda.at(world.now() + GONE_AFTER_NO_CREDIT_MS, () => {
      if (world.account.credit() <= NOTHING_USD) destroy(world, contract);
    });
  }
}

/** Frees its GPUs, and starts who has waited for them. */
export function release(world: World, contract: Contract): void {
  const own = contract.gpus.filter((index) => isHeldBy(contract, index));
  if (own.length === 0) return;
  world.market.hold(contract.machine, own, FREE);
  startQueued(world);
}

export function startQueued(world: World): void {
  for (const contract of aliveContracts(world)) {
    const waits = contract.isQueued || (contract.isOutbid && !isOutbidBy(contract.machine, contract.gpus, contract.gpuPerHour));
    if (waits && isAvailable(contract) && world.account.credit() > 0) start(world, contract);
  }
}

/** Whether its GPUs are free, or its own, or would be taken from a bid. */
export function isAvailable(contract: Contract): boolean {
  return contract.gpus.every((index) => {
    const holder = contract.machine.holders[index];
    return holder === undefined || holder.kind === 'free' || isHeldBy(contract, index) || (!contract.isBid && holder.isBid);
  });
}

export function isHeldBy(contract: Contract, index: number): boolean {
  const holder = contract.machine.holders[index];
  return holder?.kind === 'contract' && holder.id === contract.id;
}

function holderOf(contract: Contract) {
  return { kind: 'contract', id: contract.id, isBid: contract.isBid } as const;
}

/** Who rents on demand takes the GPUs from a bid, without notice: our own included. */
function evictOwnBids(world: World, contract: Contract): void {
  for (const other of aliveContracts(world)) {
    if (other !== contract && other.machine === contract.machine && contract.gpus.some((index) => isHeldBy(other, index)))
      outbid(world, other, world.shapes.preemption);
  }
}

/** Picture (a): the container exited while running is still intended. Picture (b): all is stopped while the host still says loading. */
export function outbid(world: World, contract: Contract, picture: 'a' | 'b'): void {
  if (contract.phase !== 'booting' && contract.phase !== 'running') return;
  cancelPlans(contract);
  const wasBooting = contract.phase === 'booting';
  contract.isOutbid = true;
  const subject = `Instance ${contract.id} was outbid`;
  notify(world, { key: 'client:outbid', subject, message: `Your interruptible instance ${contract.id} was paused.` });
  setPhase(world, contract, 'stopped', picture === 'a' ? 'exited' : wasBooting ? 'loading' : 'exited');
  if (picture === 'b') {
    contract.intended = 'stopped';
    contract.current = 'stopped';
  }
  // the host keeps saying loading for minutes
  plan(world, contract, LATE_REPORT_MS, () => (contract.override = 'exited'));
  const own = contract.gpus.filter((index) => isHeldBy(contract, index));
  world.market.hold(contract.machine, own, { kind: 'stranger', isBid: true });
  bill(world, contract);
  contract.ssh?.hangUp();
}

function planExpiry(world: World, contract: Contract): void {
  plan(world, contract, Math.max(0, contract.machine.endAt - world.now()), () => stop(world, contract));
}

function plan(world: World, contract: Contract, inMs: number, run: () => void): void {
  contract.cancelPlans.push(world.agenda.at(world.now() + inMs, run));
}

function cancelPlans(contract: Contract): void {
  for (const cancel of contract.cancelPlans) cancel();
  contract.cancelPlans = [];
}

/** Draws what will go wrong with a new contract. */
export function drawFate(world: World): Contract['fate'] {
  const { knobs } = world;
  return {
    isStuck: isChance(world, knobs.stuckShare),
    hasOciFailure: isChance(world, knobs.ociFailureShare),
    isProxyDead: isChance(world, knobs.proxyDeadShare),
    isDirectDead: isChance(world, knobs.directDeadShare),
    refusesKeys: isChance(world, knobs.keyNeverShare),
  };
}
