// npm run simulate -- --worlds N [--from SEED]: worlds of the simulator on every core; prints what came of them, and exits 1 when any failed.
// npm run simulate -- --seed N [--until STEP]: everything that happens in one world.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { packageScript, runNode } from './lib/commands.mjs';

/** Worlds that one process simulates. */
const CHUNK = 50;
const SCRIPT = 'test/simulation/simulate-seeds.ts';
const tsx = packageScript('tsx', 'dist/cli.mjs');
const { worlds, from, seed, until } = readArguments();

if (seed !== undefined) {
  const { code } = await runNode(tsx, [SCRIPT, 'replay', String(seed), ...(until === undefined ? [] : [String(until)])], {
    show: true,
  });
  process.exit(code);
}
const chunks = [];
for (let begun = 0; begun < worlds; begun += CHUNK)
  chunks.push({ first: from + begun, count: Math.min(CHUNK, worlds - begun) });
const rows = [];
await Promise.all(Array.from({ length: Math.min(availableParallelism(), chunks.length) }, simulateChunks));
process.exit(summarise() ? 0 : 1);

async function simulateChunks() {
  for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
    const { first, count } = chunk;
    const { output } = await runNode(tsx, [SCRIPT, String(first), String(count)]);
    const lines = output.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
    for (const { seed: world, failures } of lines)
      if (failures.length > 0)
        console.log(`FAILED world ${world} (npm run simulate -- --seed ${world}):\n  ${failures.slice(0, 5).join('\n  ')}`);
    rows.push(...lines);
    if (lines.length < count)
      rows.push({ failures: [`the process of worlds ${first} to ${first + count - 1} ended: ${output.slice(-2_000)}`] });
    console.log(`${rows.length} of ${worlds} worlds`);
  }
}

function summarise() {
  const sum = (name) => rows.reduce((total, row) => total + (row[name] ?? 0), 0);
  const failed = rows.filter(({ failures }) => failures.length > 0);
  const faults = new Map();
  for (const row of rows)
    for (const [name, count] of Object.entries(row.faults ?? {})) faults.set(name, (faults.get(name) ?? 0) + count);
  console.log(
    `\n${rows.length - failed.length} of ${worlds} worlds held (from ${from}): ${sum('sessions')} sessions, ${sum('attempts')} attempts, ${sum('instances')} instances; ` +
      `${sum('closedWhileAlive')} closed while alive; booked ${((100 * sum('booked')) / Math.max(1, sum('invoiced'))).toFixed(2)} % of the invoices`,
  );
  console.log(
    `faults: ${[...faults]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')}`,
  );
  if (failed.length > 0) console.log(`${failed.length} FAILED: ${failed.map((row) => row.seed ?? '?').join(', ')}`);
  return failed.length === 0;
}

function readArguments() {
  try {
    const text = { type: 'string' };
    const { values } = parseArgs({ options: { worlds: text, from: text, seed: text, until: text } });
    const whole = (name) => {
      if (values[name] === undefined) return undefined;
      const value = Number(values[name]);
      if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number`);
      return value;
    };
    return { worlds: whole('worlds') ?? 100, from: whole('from') ?? 1, seed: whole('seed'), until: whole('until') };
  } catch (error) {
    console.error(`npm run simulate: ${error.message}`);
    process.exit(2);
  }
}
