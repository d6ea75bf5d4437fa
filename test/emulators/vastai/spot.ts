import { outbid, start } from './lifecycle.ts';
import { isOutbidBy } from './market.ts';
import type { Machine } from './market.ts';
import { aliveContracts } from './world.ts';
import type { Contract, World } from './world.ts';

/** Somebody moves the standing bid: who bids less is paused without notice, who bids more again resumes by itself, and is billed again. */
export function moveStandingBid(world: World, machine: Machine, perGpu: number, picture = world.shapes.preemption): void {
  machine.standingBidPerGpu = perGpu;
  for (const contract of bidsOn(world, machine)) {
    const loses = isOutbidBy(machine, contract.gpus, contract.gpuPerHour);
    if (loses) outbid(world, contract, picture);
    else resumeIfOutbid(world, contract);
  }
}

export function resumeIfOutbid(world: World, contract: Contract): void {
  if (contract.isOutbid && !isOutbidBy(contract.machine, contract.gpus, contract.gpuPerHour) && !isTakenOnDemand(contract))
    start(world, contract);
}

function isTakenOnDemand(contract: Contract): boolean {
  return contract.gpus.some((index) => {
    const holder = contract.machine.holders[index];
    return holder !== undefined && holder.kind !== 'free' && !(holder.kind === 'stranger' && holder.isBid);
  });
}

/** Other bidders on this machine, as a random process for as long as a bid of ours is on it. */
export function planBidders(world: World, machine: Machine): void {
  const { outbidPerHour } = world.knobs;
  if (outbidPerHour <= 0) return;
  const inHours = -Math.log(1 - world.random.next()) / outbidPerHour;
  world.agenda.at(world.now() + inHours * 3_600_000, () => {
    if (bidsOn(world, machine).length === 0) return;
    moveStandingBid(world, machine, machine.floorPerGpu * (0.9 + world.random.next() * 0.8));
    planBidders(world, machine);
  });
}

function bidsOn(world: World, machine: Machine): Contract[] {
  return aliveContracts(world).filter((contract) => contract.isBid && contract.machine === machine);
}
