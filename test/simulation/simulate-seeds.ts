import { FAULT_NAMES } from './faults.ts';
import { simulateWorld } from './simulate-world.ts';

// simulate-seeds.ts FROM COUNT: simulates these worlds and prints a line of JSON for each, as scripts/simulate.mjs reads them.
// simulate-seeds.ts replay SEED [STEP]: prints everything that happens in one world, up to a step.
const [first = '', second = '', third] = process.argv.slice(2);
if (first === 'replay') await replay(Number(second), Number(third ?? Number.POSITIVE_INFINITY));
else for (let seed = Number(first); seed < Number(first) + Number(second); seed += 1) say(await told(seed));
process.exit(0); // brokers that died wait for ever

async function told(seed: number): Promise<object> {
  try {
    const { failures, sessions, attempts, instances, closedWhileAlive, booked, invoiced, faults, eventKinds, hash, plan } =
      await simulateWorld(seed);
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
      faults: Object.fromEntries(faults),
      events: Object.fromEntries(eventKinds),
    };
  } catch (error) {
    return { seed, failures: [`the world broke: ${error instanceof Error ? error.stack : String(error)}`] };
  }
}

async function replay(seed: number, until: number): Promise<void> {
  const print = (line: string, step: number) => {
    if (step <= until) process.stdout.write(`${step} ${line}\n`);
  };
  const { failures, hash, plan } = await simulateWorld(seed, { onLine: print });
  const on = FAULT_NAMES.filter((name) => plan.rates.has(name)).map((name) => `${name} ${plan.rates.get(name)?.toFixed(2)}`);
  process.stdout.write(
    `\nseed ${seed}: ${plan.replicas} brokers, ${plan.markets} markets; faults ${on.join(', ')}\nhash ${hash}\n`,
  );
  process.stdout.write(failures.length === 0 ? 'it held\n' : `it FAILED\n  ${failures.join('\n  ')}\n`);
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
