import type Sqlite from 'better-sqlite3';
import { createEnvelope } from '../../src/core/envelope.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import { Secret } from '../../src/core/secret.ts';
import { providerId } from '../../src/provider/ids.ts';
import { parseDeploymentId } from '../../src/provider/ownership-tag.ts';
import { countedIds } from '../support/counted-ids.ts';
import { anOffer } from '../support/in-memory-account.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { WORLD_SETTINGS, type ReplicaDeps } from '../support/replica.ts';
import { createScriptedSsh } from '../support/scripted-ssh.ts';
import { createBrokerProcess, type BrokerProcess, type DeathPosition } from './broker-process.ts';
import { createCloud, LANDED_BY } from './cloud.ts';
import { startConsumers } from './consumers.ts';
import { createDice, seedOf, type Dice } from './dice.ts';
import { createFate, planOf, type Fate, type PlanOptions, type WorldPlan } from './faults.ts';
import { createJudge, type Judgement } from './judge.ts';
import { createLogins } from './logins.ts';
import { SimClock } from './sim-clock.ts';
import { createTrace } from './trace.ts';

export interface WorldResult extends Judgement {
  readonly seed: number;
  readonly plan: WorldPlan;
  readonly hash: string;
  readonly steps: number;
  readonly virtualMinutes: number;
  /** How often each fault, fact, event and reason happened, by names such as `fault list.empty`. */
  readonly counts: ReadonlyMap<string, number>;
  readonly refused: ReadonlyMap<string, number>;
  /** The last lines of what happened. */
  readonly trace: readonly string[];
}

export interface WorldOptions extends PlanOptions {
  readonly ablate?: (deps: ReplicaDeps) => ReplicaDeps;
  readonly onLine?: (line: string, step: number) => void;
  /** Handed the database when all is over. */
  readonly onEnd?: (database: Sqlite.Database) => void;
}

const SETTINGS = {
  ...WORLD_SETTINGS,
  bootTimeoutMs: 6 * MINUTE_MS,
  periodMs: 20 * SECOND_MS,
  checkIntervalMs: MINUTE_MS,
  reconciliationIntervalMs: MINUTE_MS,
  orphanGraceMs: 5 * MINUTE_MS,
  callTimeoutMs: 30 * SECOND_MS,
  slowestKnockMs: 20 * SECOND_MS,
  offerBackOffMs: MINUTE_MS,
  clockTickMs: 10 * SECOND_MS,
};
const STEP_MS = 10 * SECOND_MS;
/** After the faults have stopped: by then nothing can land later any more, and sweeps have been round. */
const leastQuietMs = ({ absenceMinutes }: WorldPlan) => (LANDED_BY * absenceMinutes + 3) * MINUTE_MS;
/** And by then everything must have come to its end. */
const MOST_QUIET_MS = HOUR_MS;
/** From seed to seed the same moment: nothing of a world may depend on the day. */
const STARTS_AT = '2026-10-26T12:00:00Z';

/** One world from one seed: the product's own life cycle before hostile clouds, on machines that die, over a real database; then peace, and a judgement. */
export async function simulateWorld(seed: number, options: WorldOptions = {}): Promise<WorldResult> {
  const plan = planOf(seed, options);
  const clock = new SimClock(STARTS_AT);
  const fate = createFate(plan);
  const trace = createTrace({ clock, ...(options.onLine ? { onLine: options.onLine } : {}) });
  const { store, database } = emptyStore(clock);
  const deploymentId = parseDeploymentId('simu');
  if (!deploymentId) throw new Error('the deployment id is none');
  const { log, errors } = watchedLog();

  const known = database.prepare<[string, string], unknown>('select 1 from attempts where provider = ? and instance_id = ?');
  const markets = Array.from({ length: plan.markets }, (_, index) => ['alpha', 'beta'][index] ?? 'gamma');
  const offers = markets.map(offersOf);
  const clouds = markets.map((id, index) =>
    createCloud({
      id,
      clock,
      plan,
      fate,
      trace,
      deployment: deploymentId,
      offers: offers[index] ?? [],
      isKnownById: (instance) => known.get(id, instance) !== undefined,
    }),
  );
  const ids = countedIds();
  const envelope = createEnvelope(new Secret(new Uint8Array(32).fill(7)));
  const ssh = {
    verifier: createLogins({ clouds, clock, dice: createDice(seedOf(seed, 'logins')) }),
    sampler: createScriptedSsh().sampler,
  };
  const facts = new Map<string, number>();
  const processes = Array.from({ length: plan.replicas }, (_, index) =>
    createBrokerProcess({
      name: `broker-${index + 1}`,
      clock,
      store,
      providers: clouds.map(({ provider }) => provider),
      fate,
      trace,
      log,
      onFact: (kind) => facts.set(kind, (facts.get(kind) ?? 0) + 1),
      ids,
      envelope,
      deploymentId,
      ssh,
      settings: { ...SETTINGS, sharedSqlite: plan.replicas > 1 },
      seed: seedOf(seed, `broker-${index}`) % 1_000_000,
      ...(options.ablate ? { ablate: options.ablate } : {}),
    }),
  );
  const judge = createJudge({
    store,
    database,
    clouds,
    clock,
    onEarly: (tag) => trace.note('judge', `EARLY: ${tag} is believed gone and lives`),
  });

  const failures: string[] = [];
  const inBackground = (work: Promise<unknown>) =>
    void work.catch((error: unknown) => failures.push(`unforeseen: ${String(error)}`));
  for (const process of processes) inBackground(process.start());
  const consumers = startConsumers({
    clock,
    dice: createDice(seedOf(seed, 'consumers')),
    processes,
    offers: offers.flat().map(({ id }) => id),
    trace,
    sessions: plan.sessions,
    overMs: plan.chaosMinutes * 0.8 * MINUTE_MS,
  });
  for (const process of processes)
    inBackground(torment(process, { clock, fate, dice: createDice(seedOf(seed, `torment ${process.name}`)) }));

  const advance = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await clock.advance(STEP_MS);
      judge.look();
    }
  };
  await advance(plan.chaosMinutes * MINUTE_MS);
  fate.end();
  for (const cloud of clouds) cloud.heal();
  trace.note('world', 'peace');
  inBackground(consumers.stopAll());
  const peaceAt = clock.monotonicMs();
  const quietMs = () => clock.monotonicMs() - peaceAt;
  while (quietMs() < leastQuietMs(plan) || (quietMs() < MOST_QUIET_MS && !judge.isSettled())) await advance(MINUTE_MS);

  options.onEnd?.(database);
  const judgement = await judge.conclude(consumers.acknowledged);
  for (const process of processes) process.kill();
  await clock.settle();
  return {
    ...judgement,
    failures: [...failures, ...errors(), ...judgement.failures],
    seed,
    plan,
    hash: trace.hash(),
    steps: trace.length,
    virtualMinutes: Math.round(clock.monotonicMs() / MINUTE_MS),
    counts: new Map([
      ...named('fault', fate.counts),
      ...named('fact', facts),
      ...named('event', judgement.eventKinds),
      ...named('reason', judgement.reasons),
    ]),
    refused: consumers.refused,
    trace: trace.tail(),
  };
}

const named = (what: string, counts: ReadonlyMap<string, number>) =>
  [...counts].map(([name, count]) => [`${what} ${name}`, count] as const);

let memory: ReturnType<typeof openMemoryStore> | undefined;
let worldClock: SimClock | undefined;

/** One database for all worlds of this process, one after the other: its statements are prepared once. */
function emptyStore(clock: SimClock) {
  worldClock = clock;
  const now = () => worldClock ?? clock;
  memory ??= openMemoryStore({
    clock: {
      now: () => now().now(),
      monotonicMs: () => now().monotonicMs(),
      sleep: (ms, signal) => now().sleep(ms, signal),
      timeoutSignal: (ms, parent) => now().timeoutSignal(ms, parent),
    },
  });
  memory.empty();
  return memory;
}

/** What happens to a machine until there is peace; then it is started for good. */
async function torment(
  process: BrokerProcess,
  { clock, fate, dice }: { clock: SimClock; fate: Fate; dice: Dice },
): Promise<void> {
  const positions: readonly DeathPosition[] = ['before', 'after', 'unheard'];
  while (!fate.isOver) {
    await clock.sleep(dice.between(10, 90) * SECOND_MS);
    if (fate.isOver) break;
    if (!process.isUp) {
      if (process.replica === undefined) await process.start();
      continue;
    }
    if (fate.strikes('process.dies')) process.doom(dice.whole(0, 25), dice.pick(positions));
    else if (fate.strikes('process.freezes')) process.freezeAt(dice.whole(0, 25), dice.between(5, 300) * SECOND_MS);
    else if (fate.strikes('process.ends')) await process.end();
    else if (fate.strikes('clock.jumps')) {
      process.machine.jump(dice.between(-2, 2) * HOUR_MS);
      await clock.sleep(dice.between(0.2, 8) * MINUTE_MS);
      process.machine.setRight();
    }
  }
  process.doom(Number.MAX_SAFE_INTEGER, 'before');
  if (!process.isUp) await process.start();
}

function offersOf(market: string) {
  const provider = providerId(market);
  const ask = (providerOfferId: string, change: Parameters<typeof anOffer>[0] = {}) =>
    anOffer({ provider, providerOfferId, ...change });
  return [
    ask('ask-1'),
    ask('ask-2', { priceMicrosPerHour: 410_000 }),
    ask('ask-3', { gpuType: 'RTX 3090', priceMicrosPerHour: 220_000 }),
    ask('ask-4', { gpuType: 'H100 SXM', gpuCount: 2, vramMib: 81_559, priceMicrosPerHour: 4_980_000 }),
    ask('stock-t4', { gpuType: 'T4', vramMib: 15_360, priceMicrosPerHour: 120_000, units: 8 }),
    ask('stock-a10', { gpuType: 'A10', vramMib: 24_564, priceMicrosPerHour: 250_000, units: 4 }),
  ];
}

/** Errors that no fault of the world explains: a broken invariant, a bug. */
function watchedLog(): { readonly log: Log; readonly errors: () => readonly string[] } {
  const found: string[] = [];
  const isOfTheWorld = (text: string) =>
    /simulated: |the market says|cancelled|not sent, its deadline|unknown creates could not be resolved/.test(text);
  const log: Log = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields, message) => {
      const error = 'error' in fields ? String(fields.error) : '';
      if (/overdue|something may be leaking/.test(message)) return; // alarms, and right ones here
      if (isOfTheWorld(error)) return;
      if (found.length < 20) found.push(`error in the log: ${message} ${JSON.stringify(fields)}`);
    },
  };
  return { log, errors: () => found };
}
