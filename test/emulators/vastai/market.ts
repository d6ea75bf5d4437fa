import type { EpochMs } from '../../../src/core/clock.ts';
import type { Random } from '../../../src/core/random.ts';
import { GPU_MODELS } from './gpu-models.ts';
import type { GpuModel } from './gpu-models.ts';

/** Who has one GPU of a machine. A stranger is another customer of the vendor. */
export type Holder =
  | { readonly kind: 'free' }
  | { readonly kind: 'contract'; readonly id: number; readonly isBid: boolean }
  | { readonly kind: 'stranger'; readonly isBid: boolean };

export interface Machine {
  readonly id: number;
  readonly hostId: number;
  readonly gpu: GpuModel;
  readonly holders: Holder[];
  /** $/h for one GPU on demand; drifts. */
  pricePerGpu: number;
  driftedAt: EpochMs;
  /** The host's floor for bids, $/h for one GPU: not what others bid. */
  readonly floorPerGpu: number;
  /** The highest bid of strangers, $/h for one GPU; 0 when nobody else wants it. */
  standingBidPerGpu: number;
  readonly storageCost: number;
  readonly inet: { readonly up: number; readonly down: number; readonly upCost: number; readonly downCost: number };
  readonly cpu: { readonly name: string; readonly cores: number | null; readonly ramMb: number };
  readonly diskGb: number;
  readonly cuda: number;
  readonly driver: string;
  readonly reliability: number;
  readonly verification: 'verified' | 'unverified' | 'deverified';
  readonly geolocation: string | null;
  readonly address: string;
  readonly directPorts: number;
  readonly isDatacenter: boolean;
  readonly isExternal: boolean;
  endAt: EpochMs;
}

/** One slice of one machine for sale under an id that is used once. */
export interface Ask {
  readonly id: number;
  readonly bundleId: number;
  readonly machine: Machine;
  /** Indexes of its GPUs: aligned, a power of two. */
  readonly gpus: readonly number[];
}

export interface Market {
  readonly machines: readonly Machine[];
  ask(id: number): Ask | undefined;
  asks(): Iterable<Ask>;
  /** Gives GPUs to a holder. Every offer that overlaps is replaced by one with a new id. */
  hold(machine: Machine, gpus: readonly number[], holder: Holder): void;
  /** The host withdraws an offer and lists the same slice anew. */
  relist(ask: Ask): void;
  /** Prices wander, at most by the share a minute. */
  drift(now: EpochMs, sharePerMinute: number): void;
}

const PLACES = [
  'Utah, US',
  'Quebec, CA',
  'Stockholm, SE',
  'Texas, US',
  'Sichuan, CN',
  ', CN',
  'Bavaria, DE',
  'Poland, PL',
  null,
];
/** A driver and the newest CUDA that it supports. */
const DRIVERS = [
  ['570.133.07', 12.8],
  ['550.127.05', 12.4],
  ['535.183.01', 12.2],
  ['580.95.05', 13.0],
] as const;

/** Machines until at least `offers` different slices are for sale; each as one row of a search that bundles. */
export function createMarket({ random, offers, now }: { random: Random; offers: number; now: EpochMs }): Market {
  const asks = new Map<number, Ask>();
  const byMachine = new Map<number, Ask[]>();
  const machines: Machine[] = [];
  let nextId = 41_000_000 + Math.floor(random.next() * 900_000);

  const issue = (machine: Machine, gpus: readonly number[], bundleId: number): Ask => {
    nextId += 1 + Math.floor(random.next() * 40);
    const ask = { id: nextId, bundleId, machine, gpus };
    asks.set(ask.id, ask);
    return ask;
  };
  const replace = (machine: Machine, isHit: (ask: Ask) => boolean) => {
    const renewed = (byMachine.get(machine.id) ?? []).map((ask) => {
      if (!isHit(ask)) return ask;
      asks.delete(ask.id);
      return issue(machine, ask.gpus, ask.bundleId);
    });
    byMachine.set(machine.id, renewed);
  };

  for (let rows = 0; rows < offers;) {
    const machine = aMachine(random, machines.length, now);
    machines.push(machine);
    const slices: Ask[] = [];
    for (const size of machine.gpu.sizes.filter((each) => each <= machine.holders.length)) {
      const bundleId = 903_000_000 + machines.length * 10 + size;
      for (let from = 0; from + size <= machine.holders.length; from += size) {
        slices.push(issue(machine, Array.from({ length: size }, (_, index) => from + index), bundleId)); // prettier-ignore
      }
      if (machine.holders.some((holder) => holder.kind === 'free')) rows += 1;
    }
    byMachine.set(machine.id, slices);
  }

  return {
    machines,
    ask: (id) => asks.get(id),
    asks: () => asks.values(),
    hold(machine, gpus, holder) {
      for (const index of gpus) machine.holders[index] = holder;
      replace(machine, (ask) => ask.gpus.some((index) => gpus.includes(index)));
    },
    relist(ask) {
      replace(ask.machine, (other) => other === ask);
    },
    drift(time, sharePerMinute) {
      if (sharePerMinute === 0) return;
      for (const machine of machines) {
        const minutes = (time - machine.driftedAt) / 60_000;
        if (minutes < 1 / 6) continue;
        const reach = Math.min(0.5, sharePerMinute * minutes);
        machine.pricePerGpu = round4(machine.pricePerGpu * (1 + (random.next() * 2 - 1) * reach));
        machine.driftedAt = time;
      }
    },
  };
}

function aMachine(random: Random, index: number, now: EpochMs): Machine {
  const pick = <T>(values: readonly T[]): T => {
    const value = values[Math.floor(random.next() * values.length)];
    if (value === undefined) throw new RangeError('nothing to pick from');
    return value;
  };
  // the first machines have one model each, so that a small market has variety
  const gpu = GPU_MODELS[index % GPU_MODELS.length] ?? pick(GPU_MODELS);
  const count = pick(gpu.sizes);
  const [driver, cuda] = pick(DRIVERS);
  const pricePerGpu = round4(gpu.price * (0.8 + random.next() * 0.5));
  const floorPerGpu = round4(pricePerGpu * (0.45 + random.next() * 0.2));
  const isWanted = random.next() < 0.4;
  const stranger = random.next();
  const holder: Holder =
    stranger < 0.08
      ? { kind: 'stranger', isBid: true }
      : stranger < 0.14
        ? { kind: 'stranger', isBid: false }
        : { kind: 'free' };
  return {
    id: 58_000 + index * 7 + Math.floor(random.next() * 7),
    hostId: 91_000 + Math.floor(random.next() * 400),
    gpu,
    holders: Array.from({ length: count }, () => (index < 4 ? { kind: 'free' as const } : holder)),
    pricePerGpu,
    driftedAt: now,
    floorPerGpu,
    standingBidPerGpu: isWanted && index >= 4 ? round4(floorPerGpu * (1.02 + random.next() * 0.25)) : 0,
    storageCost: pick([0.1, 0.15, 0.18, 0.2, 0.149333]),
    inet: {
      up: Math.round(100 + random.next() * 2_000),
      down: Math.round(150 + random.next() * 4_000),
      upCost: pick([0, 0.0039, 0.01, 0.02]),
      downCost: pick([0, 0.002, 0.0039]),
    },
    cpu: {
      name: pick(['AMD EPYC 7543 32-Core Processor', 'Xeon® Gold 6226R', 'AMD Ryzen 9 7950X 16-Core Processor']),
      cores: index >= 4 && random.next() < 0.05 ? pick([null, 0]) : pick([16, 32, 64, 128]),
      ramMb: pick([64_300, 128_700, 257_650, 515_900]),
    },
    diskGb: round4(200 + random.next() * 1_500),
    cuda,
    driver,
    reliability: round4(index < 4 ? 0.995 : 0.9 + random.next() * 0.0999),
    verification: index < 4 || random.next() < 0.8 ? 'verified' : pick(['unverified', 'deverified']),
    geolocation: pick(PLACES),
    address: `203.0.113.${1 + (index % 250)}`,
    directPorts: index < 4 ? 50 : pick([0, 1, 2, 24, 48, 100]),
    isDatacenter: random.next() < 0.3,
    isExternal: index >= 4 && random.next() < 0.05,
    endAt: now + Math.round((30 + random.next() * 300) * 86_400_000),
  };
}

/** Whether strangers bid as much or more for those GPUs. The floor is the host's and says nothing of it. */
export function isOutbidBy(machine: Machine, gpus: readonly number[], bidPerHour: number): boolean {
  return machine.standingBidPerGpu > 0 && machine.standingBidPerGpu * gpus.length >= bidPerHour;
}

export function round4(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
