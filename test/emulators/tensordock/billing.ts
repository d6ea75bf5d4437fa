import type { Vm, World } from './world.ts';

/** An account with less may not deploy. */
export const LEAST_CREDIT_USD = 1;
/** Less than a millisecond costs. */
export const NOTHING_USD = 1e-9;
const emptyPlans = new WeakMap<World, () => void>();

/** Writes what is billed from now on, and when the balance will be gone at that pace. */
export function bill(world: World, vm: Vm): void {
  const isIdle = vm.phase === 'stopped' || vm.phase === 'reclaimed' || vm.phase === 'outbid';
  const perHour = isIdle && world.shapes.stoppedBills === 'storage' ? { ...vm.rate, gpu: 0, compute: 0 } : vm.rate;
  world.ledger.rate(vm.id, { state: vm.phase, perHour });
  planEmpty(world);
}

export function planEmpty(world: World): void {
  emptyPlans.get(world)?.();
  emptyPlans.delete(world);
  const pace = world.ledger.usdPerHour();
  const credit = world.account.credit();
  if (pace <= 0 || credit <= NOTHING_USD) return;
  const inMs = Math.ceil((credit / pace) * 3_600_000);
  emptyPlans.set(
    world,
    world.agenda.at(world.now() + inMs, () => world.account.runOut()),
  );
}
