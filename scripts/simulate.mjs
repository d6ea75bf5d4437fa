// npm run simulate -- [--worlds N] [--from SEED] [--gate] [--record]   worlds of the simulator on every core, after those that once failed; exits 1 when any fails
// npm run simulate -- --ablations [--worlds N] [--from SEED]           brokers without a rule, until a world shows it; exits 1 when one is not missed
// npm run simulate -- --seed N [--until STEP]                          everything that happens in one world
// npm run simulate -- --shrink N                                       which faults the failure of a world needs, and how it ends
// --gate: a run in which something that should happen never did, or no broker took a branch of the decisions, is void. --record: adds the run to test/simulation/ledger.jsonl.
// --minutes M: begins no more worlds after so many minutes, and says how many it left out.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { endWhenTold, packageScript, root, runNode } from './lib/commands.mjs';

/** Worlds that one process simulates: its start costs as much as some of them. */
const CHUNK = 100;
/** Fewer are no gate, however slow the machine. */
const LEAST_GATE_WORLDS = 1_000;
/** Each thing that should happen, at least once in so many worlds. */
const ONCE_IN_WORLDS = 150;
/** Believed gone while alive, and found again: at most once in so many sessions. */
const SESSIONS_A_FALSE_END = 5_000;
const MOST_SHRUNK = 2;
const MINUTE_MS = 60_000;
/** Worlds without a rule that one process simulates, at first and later: most rules are missed after a few. */
const ABLATED_FIRST = 5;
const ABLATED_CHUNK = 25;
/** Believed gone while alive so often says that a rule is missed, too: with it, it is once in five thousand sessions at most. */
const TELLING_EARLY_ENDS = 5;
/** Where the ledger begins, and always the ablations and the branches. */
const FIRST_SEED = 1_000;
/** Worlds in which each branch of the decisions has to be taken. */
const BRANCH_WORLDS = 150;
const SCRIPT = 'test/simulation/simulate-seeds.ts';
const BRANCHES = 'test/simulation/simulate-branches.ts';
const LEDGER = join(root, 'test/simulation/ledger.jsonl');
const tsx = packageScript('tsx', 'dist/cli.mjs');
const wish = readArguments();
endWhenTold();

if (wish.seed !== undefined) process.exit(await show('replay', wish.seed, ...(wish.until === undefined ? [] : [wish.until])));
if (wish.shrink !== undefined) process.exit(await show('shrink', wish.shrink));
process.exit((wish.ablations ? await missEachRule(wish.worlds) : await simulate(wish.worlds)) ? 0 : 1);

async function simulate(worlds) {
  const startedAt = Date.now();
  const former = JSON.parse(readFileSync(join(root, 'test/simulation/seeds.json'), 'utf8')).map(({ seed }) => [seed, 1]);
  const chunks = [...former];
  for (let begun = 0; begun < worlds; begun += CHUNK) chunks.push([wish.from + begun, Math.min(CHUNK, worlds - begun)]);
  const rows = [];
  const untaken = [];
  let leftOut = 0;
  const simulateChunk = async (from, count) => {
    if (Date.now() - startedAt > wish.minutes * MINUTE_MS) {
      leftOut += count;
      return;
    }
    const { lines, output } = await ask('worlds', from, count);
    for (const row of lines.filter(({ failures }) => failures.length > 0))
      console.log(`FAILED world ${row.seed}:\n  ${row.failures.slice(0, 5).join('\n  ')}`);
    rows.push(...lines);
    if (lines.length < count)
      rows.push({ failures: [`the process of worlds ${from} to ${from + count - 1} ended: ${output.slice(-2_000)}`] });
    if (count > 1) console.log(`${rows.length} of ${worlds + former.length} worlds`);
  };
  const takeBranches = async () => {
    const { lines, output } = await run(BRANCHES, FIRST_SEED, BRANCH_WORLDS); // the same worlds always, so that the list of the rest stays true
    const [told = { untaken: [`the process ended: ${output.slice(-2_000)}`], listedInVain: [] }] = lines;
    untaken.push(...told.untaken.map((branch) => `never taken in ${BRANCH_WORLDS} worlds: ${branch}`));
    untaken.push(...told.listedInVain.map((pattern) => `in test/simulation/not-taken-here.ts, and taken: ${pattern}`));
  };
  const tasks = chunks.map(
    ([from, count]) =>
      () =>
        simulateChunk(from, count),
  );
  await onEveryCore(wish.gate ? [takeBranches, ...tasks] : tasks, (task) => task());
  for (const line of untaken) console.log(line);
  if (untaken.length > 0)
    console.log('the run is VOID: it takes worlds that take these branches, or a reason in test/simulation/not-taken-here.ts');
  if (leftOut > 0)
    console.log(`the time was up: ${leftOut} of ${worlds + former.length} worlds were LEFT OUT (--minutes ${wish.minutes})`);
  const isShort = wish.gate && leftOut > 0 && rows.length < LEAST_GATE_WORLDS;
  if (isShort) console.log(`the run is VOID: it takes ${LEAST_GATE_WORLDS} worlds`);
  const holds = await judge(rows, worlds + former.length - leftOut, Math.round((Date.now() - startedAt) / 1_000));
  return holds && untaken.length === 0 && !isShort;
}

async function judge(rows, worlds, seconds) {
  const sum = (name) => rows.reduce((total, row) => total + (row[name] ?? 0), 0);
  const counts = new Map();
  for (const row of rows)
    for (const [name, count] of Object.entries(row.counts ?? {})) counts.set(name, (counts.get(name) ?? 0) + count);
  const failed = rows.filter(({ failures }) => failures.length > 0);
  const [sessions, closedWhileAlive] = [sum('sessions'), sum('closedWhileAlive')];
  const booked = ((100 * sum('booked')) / Math.max(1, sum('invoiced'))).toFixed(2);
  console.log(
    `\n${rows.length - failed.length} of ${worlds} worlds held (from ${wish.from}, commit ${commit()}, ${seconds} s): ${sessions} sessions, ${sum('attempts')} attempts, ` +
      `${sum('instances')} instances; ${closedWhileAlive} believed gone while alive, and found again; booked ${booked} % of the invoices`,
  );
  const [{ lines: expected }] = [await ask('sometimes')];
  console.log(expected[0].map((name) => `${name} ${counts.get(name) ?? 0}`).join(', '));
  const wanted = Math.max(1, Math.floor(worlds / ONCE_IN_WORLDS));
  const rare = expected[0].filter((name) => (counts.get(name) ?? 0) < wanted);
  if (rare.length > 0) console.log(`fewer than ${wanted} times: ${rare.join(', ')}${wish.gate ? ': the run is VOID' : ''}`);
  const isTooOften = closedWhileAlive > Math.max(1, Math.floor(sessions / SESSIONS_A_FALSE_END));
  if (isTooOften) console.log(`FAILED: more than one in ${SESSIONS_A_FALSE_END} sessions was believed gone while alive`);
  if (failed.length > 0) console.log(`${failed.length} FAILED: ${failed.map((row) => row.seed ?? '?').join(', ')}`);
  for (const { seed } of failed.filter((row) => row.seed !== undefined).slice(0, MOST_SHRUNK)) {
    console.log(
      `\nworld ${seed}, commit ${commit()}, with no more faults than it needs (npm run simulate -- --seed ${seed} shows all of it):`,
    );
    await show('shrink', seed);
  }
  if (wish.record) {
    const block = { from: wish.from, to: wish.from + wish.worlds - 1 }; // the kept seeds, which count as worlds too, are not in it
    const run = { commit: commit(), ...block, worlds, sessions, failed: failed.map((row) => row.seed ?? '?') };
    appendFileSync(LEDGER, `${JSON.stringify({ ...run, closedWhileAlive, bookedPercent: Number(booked), seconds })}\n`);
  }
  return failed.length === 0 && !isTooOften && !(wish.gate && rare.length > 0);
}

/** Each rule that can be left out, and the world that showed it. Rules share the cores; the last one has them all. */
async function missEachRule(worlds) {
  const [
    {
      lines: [rules],
    },
  ] = [await ask('rules')];
  const searches = rules.map((rule) => ({ ...rule, begun: 0, inFlight: 0, rows: new Map(), isOver: false, isMissed: false }));
  const next = () =>
    searches
      .filter(({ begun, isOver }) => !isOver && begun < worlds)
      .sort((one, other) => one.inFlight - other.inFlight || one.begun - other.begun)[0];
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => {
      for (let search = next(); search !== undefined; search = next()) await searchOn(search, worlds);
    }),
  );
  return searches.every(({ isMissed }) => isMissed);
}

/** The next worlds without the rule, and the verdict on all up to the first that is still under way. */
async function searchOn(search, worlds) {
  const from = wish.from + search.begun;
  const count = Math.min(search.begun === 0 ? ABLATED_FIRST : ABLATED_CHUNK, worlds - search.begun);
  search.begun += count;
  search.inFlight += 1;
  const { lines, output } = await ask('ablation', search.rule, from, count);
  search.inFlight -= 1;
  if (lines.length === 0) console.log(output.slice(-2_000));
  for (const row of lines) search.rows.set(row.seed, row);
  if (search.isOver) return;
  const tell = (line, isMissed) => {
    Object.assign(search, { isOver: true, isMissed });
    console.log(line);
  };
  let early = 0;
  for (let seed = wish.from; seed < wish.from + worlds; seed += 1) {
    const row = search.rows.get(seed);
    if (row === undefined) {
      if (search.inFlight === 0 && seed < wish.from + search.begun)
        tell(`${search.rule}: the process of world ${seed} ended without a word`, false);
      return;
    }
    if (row.withRule !== undefined)
      return tell(`${search.rule}: world ${seed} shows nothing, with the rule, too: ${row.withRule}`, false);
    early += row.closedWhileAlive;
    const found = row.failure ?? (early >= TELLING_EARLY_ENDS ? `${early} instances were believed gone and lived` : undefined);
    if (found !== undefined) {
      const needed = seed - wish.from + 1;
      return tell(`${search.rule} is missed after ${needed} worlds (${seed}), when ${search.without}: ${found}`, true);
    }
  }
  tell(`NOT MISSED in ${worlds} worlds: ${search.rule} (${search.without})`, false);
}

async function onEveryCore(tasks, perform) {
  const worker = async () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) await perform(task);
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), tasks.length) }, worker));
}

function ask(...command) {
  return run(SCRIPT, ...command);
}

async function run(script, ...command) {
  const { output } = await runNode(tsx, [script, ...command.map(String)]);
  return { output, lines: output.split('\n').flatMap((line) => (/^[{[]/.test(line) ? [JSON.parse(line)] : [])) };
}

async function show(...command) {
  return (await runNode(tsx, [SCRIPT, ...command.map(String)], { show: true })).code;
}

function commit() {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return 'unknown';
  }
}

/** After the last world that the ledger knows, so that recorded runs add up to ever more worlds. */
function nextSeed() {
  if (!existsSync(LEDGER)) return FIRST_SEED;
  const runs = readFileSync(LEDGER, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return Math.max(FIRST_SEED, ...runs.map(({ to }) => to + 1));
}

function readArguments() {
  try {
    const text = { type: 'string' };
    const flag = { type: 'boolean', default: false };
    const { values } = parseArgs({
      options: {
        worlds: text,
        from: text,
        minutes: text,
        seed: text,
        until: text,
        shrink: text,
        gate: flag,
        record: flag,
        ablations: flag,
      },
    });
    const whole = (name) => {
      if (values[name] === undefined) return undefined;
      const value = Number(values[name]);
      if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number`);
      return value;
    };
    const [worlds, minutes, seed, until, shrink] = ['worlds', 'minutes', 'seed', 'until', 'shrink'].map(whole);
    if (values.record && minutes !== undefined) throw new Error('--record names its worlds beforehand: leave out --minutes');
    const isAblated = values.ablations;
    return {
      ...values,
      worlds: worlds ?? (isAblated ? 500 : 100),
      minutes: minutes ?? Number.POSITIVE_INFINITY,
      seed,
      until,
      shrink,
      from: whole('from') ?? (isAblated ? FIRST_SEED : nextSeed()),
    };
  } catch (error) {
    console.error(`npm run simulate: ${error.message}`);
    process.exit(2);
  }
}
