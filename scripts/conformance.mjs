// npm run conformance -- --seeds N [--from SEED] [--adapter vastai]: the conformance stories, each seed another one, with the product's own
// broker before the emulated vendors. Prints what came of them; exits 1 when anything was not as it must be. One seed again:
// --from SEED --seeds 1 --adapter NAME.
import { mkdtempSync, readdirSync, readFileSync, existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageScript, root, runNode } from './lib/commands.mjs';

const FOLDER = 'test/conformance';
const ENDING = '-stories.test.ts';
const adapters = readdirSync(join(root, FOLDER)).flatMap((file) =>
  file.endsWith(ENDING) ? [file.slice(0, -ENDING.length)] : [],
);
const { seeds, from, adapter } = readArguments();

const folder = mkdtempSync(join(tmpdir(), 'berth-conformance-'));
const report = join(folder, 'report.jsonl');
const files = (adapter === undefined ? adapters : [adapter]).map((name) => `${FOLDER}/${name}${ENDING}`);
const { code } = await runNode(
  packageScript('vitest', 'vitest.mjs'),
  ['run', '--project', 'unit', '--reporter=dot', ...files],
  { show: true, env: { CONFORMANCE_SEEDS: String(seeds), CONFORMANCE_FROM: String(from), CONFORMANCE_REPORT: report } },
);
printTable(
  existsSync(report)
    ? readFileSync(report, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [],
);
rmSync(folder, { recursive: true, force: true });
process.exit(code === 0 ? 0 : 1);

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
function printTable(rows) {
  const groups = new Map();
  for (const row of rows) {
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
    `\n${rows.length} of ${seeds * files.length} seeds held (from ${from}); nothing left alive, nothing made twice, every bill right\n`,
  );
  console.log(
    '| adapter · day | held | told | spoilt | sessions | instances | our bill / vendor’s |\n|---|---|---|---|---|---|---|',
  );
  for (const [key, { held, told, spoilt, sessions, instances, ours, vendor }] of [...groups].sort(([a], [b]) =>
    a.localeCompare(b),
  ))
    console.log(
      `| ${key} | ${held} | ${told} | ${spoilt} | ${sessions} | ${instances} | ${vendor > 0 ? (ours / vendor).toFixed(4) : '–'} |`,
    );
}
