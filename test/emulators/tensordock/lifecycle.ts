import { bill, NOTHING_USD, planEmpty } from './billing.ts';
import { cloudInitMs, keysOfCloudInit } from './cloud-init.ts';
import { aliveVms, between, isChance } from './world.ts';
import type { Fate, Phase, Vm, World } from './world.ts';

const STOPS_AT_ONCE_MS = 12_000;
const RELOCATION_MS = 120_000;

/** Takes its way from the create: an IP after seconds, sshd after more, the keys last. */
export function boot(world: World, vm: Vm): void {
  bill(world, vm);
  if (vm.fate.isStuck) return;
  plan(world, vm, vm.ipAt - world.now(), () => run(world, vm));
}

/** When a first boot gets its IP, and when it ends. */
export function drawBoot(world: World, vm: Pick<Vm, 'cloudInit'>): Pick<Vm, 'ipAt' | 'readyAt'> {
  const { ipMinMs, ipMaxMs, cloudInitMinMs, cloudInitMaxMs, bootScale } = world.knobs;
  const ipMs = Math.round(between(world, ipMinMs, ipMaxMs) * bootScale);
  const initMs = Math.round((between(world, cloudInitMinMs, cloudInitMaxMs) + cloudInitMs(vm.cloudInit)) * bootScale);
  return { ipAt: world.now() + ipMs, readyAt: world.now() + ipMs + initMs };
}

function run(world: World, vm: Vm): void {
  setPhase(world, vm, 'running');
  vm.hasAddress = true;
  if (!vm.hasRunCloudInit) planKeys(world, vm);
  if (vm.fate.stopsAtOnce) plan(world, vm, STOPS_AT_ONCE_MS, () => stop(world, vm));
  const { deathPerHour } = world.knobs;
  if (deathPerHour <= 0) return;
  const hours = -Math.log(1 - world.random.next()) / deathPerHour;
  plan(world, vm, hours * 3_600_000, () => die(world, vm, world.random.next() < 0.5 ? 'error' : 'silent'));
}

/** The field is served early in cloud-init, runcmd is its end; the login of this image is `user`. */
function planKeys(world: World, vm: Vm): void {
  const { sshKey, cloudInit, fate, keys } = vm;
  const initMs = vm.readyAt - world.now();
  const fieldKey = fate.ignoresKeyField || fate.refusesKeys ? undefined : sshKey;
  if (fieldKey !== undefined) plan(world, vm, initMs / 2, () => keys.user.push(fieldKey));
  plan(world, vm, initMs, () => {
    vm.hasRunCloudInit = true;
    if (fate.refusesKeys) return;
    const written = keysOfCloudInit(cloudInit, fieldKey);
    keys.user.splice(0, keys.user.length, ...written.user);
    keys.root.splice(0, keys.root.length, ...written.root);
  });
}

/** Nothing was released: the GPU is still its own. The keys are on its disk. */
export function start(world: World, vm: Vm): void {
  cancelPlans(vm);
  setPhase(world, vm, 'starting');
  vm.hasRestarted = true;
  const initMs = vm.readyAt - vm.ipAt;
  vm.ipAt = world.now() + world.knobs.startMs * world.knobs.bootScale;
  if (!vm.hasRunCloudInit) vm.readyAt = vm.ipAt + initMs; // it was stopped before its first boot was done
  plan(world, vm, vm.ipAt - world.now(), () => run(world, vm));
}

/** Ours, or the vendor's for want of money. v2 cannot release the GPU. */
export function stop(world: World, vm: Vm): void {
  if (vm.phase !== 'booting' && vm.phase !== 'running' && vm.phase !== 'starting') return;
  cancelPlans(vm);
  setPhase(world, vm, 'stopping');
  vm.ssh?.hangUp();
  plan(world, vm, world.knobs.stopMs, () => setPhase(world, vm, 'stopped'));
}

/** The host takes the GPU for a stranger, whether the virtual machine runs or is stopped. */
export function reclaim(world: World, vm: Vm, phase: 'reclaimed' | 'outbid'): void {
  if (vm.phase === 'reclaimed' || vm.phase === 'outbid') return;
  cancelPlans(vm);
  setPhase(world, vm, phase);
  vm.node.strangerGpus += vm.gpus;
  vm.ssh?.hangUp();
}

/** error and relocating are told; silent is a host that nobody reaches while the record goes on saying running. */
export function die(world: World, vm: Vm, how: 'error' | 'relocating' | 'silent'): void {
  vm.ssh?.hangUp();
  if (how === 'silent') {
    vm.isSilent = true;
    return;
  }
  cancelPlans(vm);
  setPhase(world, vm, how);
  if (how === 'relocating') plan(world, vm, RELOCATION_MS, () => run(world, vm));
}

/** Without a word all stops; what is still there later is deleted, if nobody has paid. */
export function stopAllForCredit(world: World): void {
  for (const vm of aliveVms(world)) {
    stop(world, vm);
    world.agenda.at(world.now() + world.knobs.deletedAfterMs, () => {
      if (world.account.credit() <= NOTHING_USD) deleteVm(world, vm);
    });
  }
}

/** Allowed in every state. Billing ends here; the list may show it for a while, or once more. */
export function deleteVm(world: World, vm: Vm): void {
  if (vm.deletedAt !== undefined) return;
  cancelPlans(vm);
  vm.deletedAt = world.now();
  vm.unlistedAt = world.now() + between(world, 0, world.knobs.goneLagMs);
  vm.reappearances = vm.phase === 'booting' ? 1 : 0;
  world.ledger.close(vm.id);
  void vm.ssh?.close();
  planEmpty(world);
}

/** Draws what will go wrong with a new virtual machine. */
export function drawFate(world: World, v0Name: string | undefined): Fate {
  const { knobs } = world;
  const troubles = ['late', 'missing', 'mismatch'] as const;
  const hasTrouble = isChance(world, knobs.driverTroubleShare);
  return {
    isStuck: isChance(world, knobs.stuckShare),
    stopsAtOnce: v0Name?.startsWith('h100') === true && isChance(world, knobs.h100StopsShare),
    ignoresForwards: isChance(world, knobs.forwardsIgnoredShare),
    ignoresKeyField: isChance(world, knobs.keyFieldIgnoredShare),
    refusesKeys: isChance(world, knobs.keyNeverShare),
    driver: hasTrouble ? (troubles[Math.floor(world.random.next() * troubles.length)] ?? 'late') : knobs.driver,
  };
}

function setPhase(world: World, vm: Vm, phase: Phase): void {
  vm.phase = phase;
  vm.phaseSince = world.now();
  bill(world, vm);
}

function plan(world: World, vm: Vm, inMs: number, run: () => void): void {
  vm.cancelPlans.push(world.agenda.at(world.now() + Math.max(0, inMs), run));
}

function cancelPlans(vm: Vm): void {
  for (const cancel of vm.cancelPlans) cancel();
  vm.cancelPlans = [];
}
