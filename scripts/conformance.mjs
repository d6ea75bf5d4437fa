// npm run conformance -- --seeds N [--from SEED] [--adapter vastai]: the conformance stories, each seed another one, with the product's own
// broker before the emulated vendors, on every core. Prints what came of them; exits 1 when anything was not as it must be. One seed again:
// --from SEED --seeds 1 --adapter NAME.
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { endWhenTold, packageScript, root, runNode } from './lib/commands.mjs';

const ENDING = '-stories.test.ts';
/** Seeds that one process tells. */
const CHUNK = 50;
const adapters = readdirSync(join(root, 'test/conformance')).flatMap((file) =>
  file.endsWith(ENDING) ? [file.slice(0, -ENDING.length)] : [],
);
const { seeds, from, adapter } = readArguments();
endWhenTold();

const chosen = adapter === undefined ? adapters : [adapter];
const chunks = [];
for (let told = 0; told < seeds; told += CHUNK)
  for (const name of chosen) chunks.push({ name, from: from + told, count: Math.min(CHUNK, seeds - told) });
const rows = [];
let failures = 0;
await Promise.all(Array.from({ length: Math.min(availableParallelism(), chunks.length) }, tellChunks));
printTable(rows);
process.exit(failures === 0 ? 0 : 1);

async function tellChunks() {
  for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
    const { name, count } = chunk;
    const script = ['test/conformance/stories/tell-seeds.ts', name, String(chunk.from), String(count)];
    const { output } = await runNode(packageScript('tsx', 'dist/cli.mjs'), script);
    const lines = output.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
    const held = lines.filter(({ failure }) => failure === undefined);
    rows.push(...held);
    failures += count - held.length;
    for (const { failure } of lines) if (failure !== undefined) console.log(`\nFAILED ${failure}`);
    if (lines.length < count)
      console.log(`\nFAILED ${count - lines.length} seeds of ${name} from ${chunk.from}: the process ended\n${output}`);
    console.log(
      `${rows.length} of ${seeds * chosen.length} held, ${failures} failed (${name} ${chunk.from} to ${chunk.from + count - 1})`,
    );
  }
}

function readArguments() {
  const options = { seeds: { type: 'string' }, from: { type: 'string' }, adapter: { type: 'string' } };
  try {
    const { values } = parseArgs({ options });
    const number = (name, least, otherwise) => {
      const value = Number(values[name] ?? otherwise);
      if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name} must be a whole number from ${least} on`);
      return value;
    };
    if (values.adapter !== undefined && !adapters.includes(values.adapter))
      throw new Error(`--adapter must be one of ${adapters.join(', ')}`);
    return { seeds: number('seeds', 1, 200), from: number('from', 0, 0), adapter: values.adapter };
  } catch (error) {
    console.error(`npm run conformance: ${error.message}`);
    process.exit(2);
  }
}

/** `spoilt`: the day was not calm and no session came about; that nothing was left, made twice or billed wrongly was looked at all the same. */
function printTable(held) {
  const groups = new Map();
  for (const row of held) {
    const key = `${row.adapter} · ${row.mood}`;
    const group = groups.get(key) ?? { held: 0, told: 0, spoilt: 0, sessions: 0, instances: 0, ours: 0, vendor: 0 };
    group.held += 1;
    group[row.outcome] += 1;
    group.sessions += row.sessions;
    group.instances += row.instances;
    group.ours += row.told;
    group.vendor += row.real;
    groups.set(key, group);
  }
  console.log(
    `\n${held.length} of ${seeds * chosen.length} seeds held (from ${from}); nothing left alive, nothing made twice, every bill right\n`,
  );
  console.log(
    '| adapter · day | held | told | spoilt | sessions | instances | our bill / vendor’s |\n|---|---|---|---|---|---|---|',
  );
  for (const [key, { held: count, told, spoilt, sessions, instances, ours, vendor }] of [...groups].sort(([a], [b]) =>
    a.localeCompare(b),
  ))
    console.log(
      `| ${key} | ${count} | ${told} | ${spoilt} | ${sessions} | ${instances} | ${vendor > 0 ? (ours / vendor).toFixed(4) : '–'} |`,
    );
}
