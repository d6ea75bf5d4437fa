import { createDice, seedOf, type Dice } from './dice.ts';

/**
 * Everything that can go wrong in a world: how likely at most (of a call, of an instance, or of a spell a minute), and what it is. Each is on
 * in half of the worlds, at a rate of its own, because common faults hide rare ones.
 */
export const FAULTS = {
  'create.refused': [0.4, 'a create is refused: capacity, rate limit, unavailable, funds, rejected'],
  'create.lost': [0.4, 'a create is carried out and its answer lost (REL-A3)'],
  'create.late': [
    0.3,
    'a create is not answered, and lands later, at most when four fifths of the absence window are over (REL-A4)',
  ],
  'create.vanishes': [0.3, 'a create is not answered, and was not carried out'],
  'create.refused-but-done': [0.2, 'a create is refused, and carried out (REL-A5)'],
  'create.mislabelled': [0.2, 'a create is answered with an instance that bears no tag (REL-A6)'],
  'list.fails': [0.4, 'a list fails (REL-B1)'],
  'list.empty': [0.1, 'for some minutes lists are empty (REL-B2)'],
  'list.blind': [0.006, 'lists are empty for longer than absence has to be seen (REL-B2)'],
  'list.partial': [0.3, 'a list lacks some (REL-B3)'],
  'list.lags': [1, 'news come to the list up to 40 s late (REL-B7)'],
  'list.stale': [1, 'the list still shows for a minute what is gone (REL-B8)'],
  'get.fails': [0.4, 'a look at one instance fails'],
  'get.denies': [0.2, 'a look at one instance denies it (REL-B5)'],
  'get.lags': [1, 'a new instance is denied by its id for up to 30 s'],
  'destroy.fails': [0.5, 'a destroy fails (REL-C1)'],
  'destroy.lost': [0.4, 'a destroy is carried out and its answer lost (REL-C6)'],
  'destroy.ignored': [0.4, 'a destroy is accepted and not carried out (REL-C2)'],
  'destroy.claims-gone': [0.2, 'a destroy is not carried out, and answered with gone, and so are looks for a while'],
  'destroy.slow': [1, 'a destroy takes up to two minutes'],
  'destroy.minimum': [0.3, 'an instance cannot be destroyed before a minimum time (REL-C4)'],
  'instance.vanishes': [0.2, 'an instance dies by itself (REL-C15)'],
  'instance.breaks': [0.15, 'an instance fails for good'],
  'instance.pauses': [0.15, 'an instance is paused, and resumes by itself (REL-A11)'],
  'boot.stuck': [0.15, 'an instance boots for ever (REL-A16)'],
  'boot.slow': [0.4, 'an instance boots for minutes'],
  'ssh.never': [0.15, 'nobody can log in'],
  'ssh.other': [0.1, 'another host answers (REL-H1)'],
  'gpu.other': [0.1, 'the GPU is not what was sold (REL-H6)'],
  'label.lost': [0.2, 'an instance that is known by its id loses its tag (REL-B11)'],
  'id.reused': [0.5, 'the id of what is gone is given to a stranger (REL-B15)'],
  'price.drifts': [0.3, 'an instance costs another price than was offered (REL-A10)'],
  'account.throttled': [0.3, 'for some minutes most calls are too frequent (REL-B17)'],
  'account.bucket': [1, 'calls come out of a bucket that holds few and fills slowly (REL-B17)'],
  'account.refused': [0.1, 'for some minutes the key is refused (REL-C8)'],
  'account.down': [0.2, 'for some minutes nothing is answered (REL-C14)'],
  'network.slow': [0.3, 'a call takes up to a minute'],
  'process.dies': [1, 'a broker dies at an effect: before it, after it, or before its answer (REL-A1, REL-A2)'],
  'process.freezes': [0.3, 'a broker stands still for up to 5 minutes (REL-A15, REL-D2)'],
  'machine.suspends': [0.3, 'a machine is suspended for up to 20 minutes: its monotonic clock stands still (REL-F3)'],
  'process.ends': [0.2, 'a broker ends cleanly and another one starts (REL-C13)'],
  'database.busy': [0.05, 'a write loses against another (REL-D6)'],
  'database.full': [0.03, 'a write finds the disk full (REL-E3)'],
  'database.unsure': [0.03, 'a commit is not answered (REL-E8)'],
  'database.restored': [0.15, 'a broken database is replaced by a backup, minutes old (REL-B10, REL-E10)'],
  'database.slow': [
    0.3,
    'of several brokers, one hears of a row up to 3 s after it was so: who writes by it has lost a race (REL-D1, REL-D3)',
  ],
  'clock.jumps': [0.1, 'the wall clock of one machine jumps up to two hours (REL-F1, REL-F2)'],
} as const satisfies Record<string, readonly [most: number, what: string]>;

export type FaultName = keyof typeof FAULTS;
// the keys of the table above, and nothing else
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** What a world is like, before anything has happened in it. */
export interface WorldPlan {
  readonly seed: number;
  readonly rates: ReadonlyMap<FaultName, number>;
  readonly replicas: number;
  readonly markets: number;
  /** Brokers of other people on the same accounts, with a database of their own. */
  readonly deployments: number;
  readonly sessions: number;
  readonly chaosMinutes: number;
  /** Over how long its clouds' absences have to be seen (15 min at the real ones); what a cloud hides or delays scales with it. */
  readonly absenceMinutes: number;
}

export interface PlanOptions {
  /** Faults that stay off whatever the seed says: to find those that a failure needs. */
  readonly without?: readonly FaultName[];
  /** Only these may be on. */
  readonly only?: readonly FaultName[];
  /** These are on whatever the seed says, and so likely. */
  readonly rates?: Readonly<Partial<Record<FaultName, number>>>;
}

export function planOf(seed: number, { without = [], only = FAULT_NAMES, rates: fixed = {} }: PlanOptions = {}): WorldPlan {
  const rates = new Map<FaultName, number>();
  for (const name of FAULT_NAMES) {
    const dice = createDice(seedOf(seed, `rate of ${name}`)); // of its own: a fault more or less leaves the others as they are
    const isOn = dice.chance(0.5);
    const rate = fixed[name] ?? FAULTS[name][0] * dice.between(0.1, 1) ** 2; // more often small than large
    if ((isOn || name in fixed) && only.includes(name) && !without.includes(name)) rates.set(name, rate);
  }
  const dice = createDice(seedOf(seed, 'plan'));
  const absenceMinutes = dice.pick([4, 4, 6, 6, 15]);
  return {
    seed,
    rates,
    replicas: dice.pick([1, 1, 2, 2, 3]),
    markets: dice.pick([1, 1, 2]),
    deployments: dice.pick([1, 1, 2]),
    sessions: dice.whole(11, 19),
    chaosMinutes: absenceMinutes === 15 ? dice.whole(15, 30) : dice.whole(8, 16),
    absenceMinutes,
  };
}

/** The faults of a world while they are on: asked for each, counted when it happens. */
export interface Fate {
  /** Whether this fault happens now. */
  strikes(name: FaultName): boolean;
  /** Counts one that is how its cloud is, and not a matter of chance. */
  note(name: FaultName): void;
  readonly dice: Dice;
  /** How often each has happened. */
  readonly counts: ReadonlyMap<FaultName, number>;
  /** From now on nothing goes wrong any more. */
  end(): void;
  readonly isOver: boolean;
}

export function createFate(plan: WorldPlan): Fate {
  const dice = createDice(seedOf(plan.seed, 'fate'));
  const chances = new Map(FAULT_NAMES.map((name) => [name, createDice(seedOf(plan.seed, `chance of ${name}`))]));
  const counts = new Map<FaultName, number>();
  let isOver = false;
  const note = (name: FaultName) => void counts.set(name, (counts.get(name) ?? 0) + 1);
  return {
    dice,
    counts,
    note,
    strikes(name) {
      const isSo = !isOver && chances.get(name)?.chance(plan.rates.get(name) ?? 0) === true;
      if (isSo) note(name);
      return isSo;
    },
    end: () => {
      isOver = true;
    },
    get isOver() {
      return isOver;
    },
  };
}
