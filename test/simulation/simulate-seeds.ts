import { ABLATIONS } from './ablations.ts';
import { FAULT_NAMES, type FaultName } from './faults.ts';
import { SOMETIMES } from './sometimes.ts';
import { simulateWorld, type WorldOptions, type WorldResult } from './simulate-world.ts';

// What scripts/simulate.mjs runs in processes of their own; each line of what it prints is JSON, but for replay and shrink.
//   worlds FROM COUNT          these worlds
//   ablation RULE FROM COUNT   the same without a rule, until one fails; what it shows is held against the same world with the rule
//   sometimes                  what has to happen again and again
//   rules                      the rules that can be left out
//   replay SEED [STEP]         everything that happens in a world, up to a step
//   shrink SEED                the faults that its failure needs

const [command = '', ...rest] = process.argv.slice(2);
await main();
process.exit(0); // brokers that died wait for ever

async function main(): Promise<void> {
  switch (command) {
    case 'worlds': {
      const [from = 0, count = 0] = rest.map(Number);
      for (let seed = from; seed < from + count; seed += 1) say(await told(seed));
      return;
    }
    case 'ablation':
      return ablation(rest[0] ?? '', Number(rest[1]), Number(rest[2]));
    case 'sometimes':
      return say(SOMETIMES);
    case 'rules':
      return say(ABLATIONS.map(({ rule, without }) => ({ rule, without })));
    case 'replay':
      return replay(Number(rest[0]), Number(rest[1] ?? Number.POSITIVE_INFINITY));
    case 'shrink':
      return shrink(Number(rest[0]));
    default:
      throw new RangeError(`no command ${command}`);
  }
}

async function told(seed: number, options: WorldOptions = {}) {
  try {
    const { plan, counts, sessions, attempts, instances, ...judged } = await simulateWorld(seed, options);
    const { failures, closedWhileAlive, booked, invoiced, hash } = judged;
    return {
      seed,
      failures,
      sessions,
      attempts,
      instances,
      closedWhileAlive,
      booked,
      invoiced,
      hash,
      replicas: plan.replicas,
      counts: Object.fromEntries(counts),
    };
  } catch (error) {
    return {
      seed,
      failures: [`the world broke: ${error instanceof Error ? error.stack : String(error)}`],
      closedWhileAlive: 0,
    };
  }
}

async function ablation(rule: string, from: number, count: number): Promise<void> {
  const found = ABLATIONS.find((each) => each.rule === rule);
  if (!found) throw new RangeError(`no rule ${rule} can be left out`);
  const { rates = {} } = found;
  for (let seed = from; seed < from + count; seed += 1) {
    const { failures, closedWhileAlive } = await told(seed, { rates, ablate: found.apply });
    const [failure] = failures;
    const isTelling = failure !== undefined || closedWhileAlive > 0;
    say({ seed, closedWhileAlive, failure, ...(isTelling ? { withRule: await wrongIn(seed, rates) } : {}) });
    if (failure !== undefined) return;
  }
}

/** What is wrong in the same world with all rules: a world shows what a rule is good for when nothing is. */
async function wrongIn(seed: number, rates: NonNullable<WorldOptions['rates']>): Promise<string | undefined> {
  const { failures, closedWhileAlive } = await told(seed, { rates });
  return failures[0] ?? (closedWhileAlive > 0 ? 'an instance was believed gone and lived' : undefined);
}

async function replay(seed: number, until: number): Promise<void> {
  tell(
    await simulateWorld(seed, {
      onLine: (line, step) => {
        if (step <= until) process.stdout.write(`${step} ${line}\n`);
      },
    }),
  );
}

/** Leaves out one fault after the other for as long as the world still fails. */
async function shrink(seed: number): Promise<void> {
  const without: FaultName[] = [];
  let smallest = await simulateWorld(seed);
  if (smallest.failures.length === 0) return tell(smallest);
  for (const name of FAULT_NAMES.filter((each) => smallest.plan.rates.has(each))) {
    const result = await simulateWorld(seed, { without: [...without, name] });
    if (result.failures.length === 0) continue;
    without.push(name);
    smallest = result;
  }
  process.stdout.write(`${smallest.trace.slice(-60).join('\n')}\n`);
  tell(smallest);
}

function tell({ failures, hash, plan, seed, steps }: WorldResult): void {
  const on = FAULT_NAMES.filter((name) => plan.rates.has(name)).map((name) => `${name} ${plan.rates.get(name)?.toFixed(2)}`);
  process.stdout.write(
    `\nseed ${seed}: ${plan.replicas} brokers, ${plan.markets} markets, ${steps} steps; faults ${on.join(', ')}\nhash ${hash}\n`,
  );
  process.stdout.write(failures.length === 0 ? 'it held\n' : `it FAILED\n  ${failures.join('\n  ')}\n`);
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
