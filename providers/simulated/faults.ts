import { chanceOf } from './chance.ts';

/** How the market can misbehave, and what each word does; rates are 0 to 1, each an independent draw. */
export const FAULTS = {
  taken: 'a create finds the offer taken although it is listed (per create)',
  create_lost: 'the instance is made, the answer to the create is lost (per create)',
  create_late: 'the answer is lost and the instance appears only 5 s later (per create)',
  create_void: 'the answer is lost and nothing was made (per create)',
  slow_boot: 'booting takes ten times as long (per instance)',
  stuck_boot: 'it never leaves starting (per instance)',
  fail_boot: 'it fails when it should have booted (per instance)',
  vanish: 'it is gone without a word within a minute of booting (per instance)',
  preempt: 'somebody bids more within a minute of booting, for half a minute (per interruptible instance)',
  destroy_lies: 'a destroy is accepted and nothing happens (per destroy)',
  reappear: 'ten seconds after it was gone it is there again, once (per instance)',
  list_empty: 'the list of instances is empty although there are some (per list)',
  unavailable: 'the call is refused as out of service, nothing is done (per call)',
  rate_limited: 'the call is refused as too many, nothing is done (per call)',
} as const;

export type Fault = keyof typeof FAULTS;
export type FaultRates = Readonly<Partial<Record<Fault, number>>>;

const EXAMPLE = 'taken=0.1,slow_boot=0.05';

/** Reads `taken=0.1,vanish=0.01`; throws a RangeError that names the word at fault. */
export function parseFaults(text: string): FaultRates {
  const rates: Partial<Record<Fault, number>> = {};
  for (const word of text.split(/[,\s]+/).filter((part) => part !== '')) {
    const [, name, rateText] = /^([a-z_]+)=(\d*\.?\d+)$/.exec(word) ?? [];
    if (name === undefined || rateText === undefined) throw fault(word, 'is not of the form name=rate');
    if (!isFault(name)) throw fault(word, `is no fault; there are ${Object.keys(FAULTS).join(', ')}`);
    const rate = Number(rateText);
    if (rate > 1) throw fault(word, 'has a rate above 1');
    rates[name] = rate;
  }
  return rates;
}

function isFault(name: string): name is Fault {
  return Object.hasOwn(FAULTS, name);
}

function fault(word: string, why: string): RangeError {
  return new RangeError(`SIMULATED_FAULTS: "${word}" ${why}. Example: SIMULATED_FAULTS=${EXAMPLE}`);
}

/** Draws whether a fault happens: by the seed and the number of the instance or call, so that a run can be repeated. */
export type FaultDice = (name: Fault, first: number, second?: number) => boolean;

export function faultDice({ seed, rates }: { seed: number; rates: FaultRates }): FaultDice {
  return (name, first, second) => {
    const rate = rates[name] ?? 0;
    return rate > 0 && chanceOf(seed, name, first, second) < rate;
  };
}
