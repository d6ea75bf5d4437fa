import type Sqlite from 'better-sqlite3';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import { createIds } from '../../src/core/ids.ts';
import type { Log } from '../../src/core/log.ts';
import { seededRandom } from '../../src/core/random.ts';
import { providerId } from '../../src/provider/ids.ts';
import { parseDeploymentId, type DeploymentId } from '../../src/provider/ownership-tag.ts';
import { anOffer } from '../support/in-memory-account.ts';
import { WORLD_SETTINGS, type ReplicaDeps } from '../support/replica.ts';
import { createScriptedSsh } from '../support/scripted-ssh.ts';
import { createCloud, LANDED_BY } from './cloud.ts';
import { createDeployment, emptyStore, knownById } from './deployment.ts';
import { createDice, seedOf } from './dice.ts';
import { createFate, planOf, type PlanOptions, type WorldPlan } from './faults.ts';
import { createIntents } from './intents.ts';
import { added, addedUp, type Judgement } from './judge.ts';
import { createLogins } from './logins.ts';
import { SimClock } from './sim-clock.ts';
import { operate, torment } from './torment.ts';
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
  /** Handed the databases when all is over. */
  readonly onEnd?: (...databases: readonly Sqlite.Database[]) => void;
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

/** The second one's tags begin like those of the first, which must not matter (RULE-R10). */
const DEPLOYMENTS = ['simu', 'simuz'].map(deployment);
/** What the second one orders of all that is ordered. */
const SECOND_SHARE = 0.35;

/** One world from one seed: the product's own life cycle before hostile clouds, on machines that die, over a real database; then peace, and a judgement. */
export async function simulateWorld(seed: number, options: WorldOptions = {}): Promise<WorldResult> {
  const plan = planOf(seed, options);
  const clock = new SimClock(STARTS_AT);
  const fate = createFate(plan);
  const trace = createTrace({ clock, ...(options.onLine ? { onLine: options.onLine } : {}) });
  const { log, errors } = watchedLog();
  const intents = createIntents(clock);
  const ids = createIds({ clock, random: seededRandom(seedOf(seed, 'ids')) }); // they tell when: a restored backup is known by that

  const deploymentIds = DEPLOYMENTS.slice(0, plan.deployments);
  const memories = deploymentIds.map((_, index) => emptyStore(clock, index));
  const isKnownById = knownById(memories.map(({ database }) => database));
  const markets = Array.from({ length: plan.markets }, (_, index) => ['alpha', 'beta'][index] ?? 'gamma');
  const offers = markets.map(offersOf);
  const clouds = markets.map((id, index) =>
    createCloud({
      id,
      clock,
      plan,
      fate,
      trace,
      deployments: deploymentIds,
      offers: offers[index] ?? [],
      intents,
      isKnownById: (instance) => isKnownById(id, instance),
    }),
  );
  const ssh = {
    verifier: createLogins({ clouds, clock, dice: createDice(seedOf(seed, 'logins')) }),
    sampler: createScriptedSsh().sampler,
  };
  const facts = new Map<string, number>();
  const secondSessions = plan.deployments > 1 ? Math.round(plan.sessions * SECOND_SHARE) : 0;
  const deployments = memories.map((memory, index) =>
    createDeployment({
      id: deploymentIds[index] ?? deployment(''),
      seed,
      memory,
      replicas: index === 0 ? plan.replicas : 1,
      sessions: index === 0 ? plan.sessions - secondSessions : secondSessions,
      ordersOverMs: plan.chaosMinutes * 0.8 * MINUTE_MS,
      settings: SETTINGS,
      ids,
      clock,
      clouds,
      fate,
      trace,
      log,
      intents,
      offers: offers.flat().map(({ id }) => id),
      ssh,
      onFact: (kind) => facts.set(kind, (facts.get(kind) ?? 0) + 1),
      ...(options.ablate ? { ablate: options.ablate } : {}),
    }),
  );

  const failures: string[] = [];
  const inBackground = (work: Promise<unknown>) =>
    void work.catch((error: unknown) => failures.push(`unforeseen: ${String(error)}`));
  for (const { processes } of deployments) for (const process of processes) inBackground(process.start());
  for (const each of deployments) {
    for (const process of each.processes)
      inBackground(torment(process, each, { clock, fate, dice: createDice(seedOf(seed, `torment ${process.name}`)) }));
    if (plan.rates.has('database.restored'))
      inBackground(operate(each, { clock, fate, dice: createDice(seedOf(seed, `operator of ${each.id}`)), intents, trace }));
  }

  const advance = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await clock.advance(STEP_MS);
      for (const { judge, consumers } of deployments) await judge.look(consumers.acknowledged);
    }
  };
  await advance(plan.chaosMinutes * MINUTE_MS);
  fate.end();
  for (const cloud of clouds) cloud.heal();
  trace.note('world', 'peace');
  for (const { consumers } of deployments) inBackground(consumers.stopAll());
  const peaceAt = clock.monotonicMs();
  const quietMs = () => clock.monotonicMs() - peaceAt;
  const isSettled = () => deployments.every(({ judge }) => judge.isSettled());
  while (quietMs() < leastQuietMs(plan) || (quietMs() < MOST_QUIET_MS && !isSettled())) await advance(MINUTE_MS);

  options.onEnd?.(...memories.map(({ database }) => database));
  const judgements = [];
  for (const { judge, consumers } of deployments) judgements.push(await judge.conclude(consumers.acknowledged));
  const judgement = addedUp(judgements);
  for (const { processes } of deployments) for (const process of processes) process.kill();
  await clock.settle();
  return {
    ...judgement,
    failures: [...failures, ...errors(), ...clouds.flatMap(({ crimes }) => crimes), ...judgement.failures],
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
    refused: added(deployments.map(({ consumers }) => consumers.refused)),
    trace: trace.tail(),
  };
}

function deployment(text: string): DeploymentId {
  const id = parseDeploymentId(text);
  if (!id) throw new RangeError(`${text} is no deployment id`);
  return id;
}

const named = (what: string, counts: ReadonlyMap<string, number>) =>
  [...counts].map(([name, count]) => [`${what} ${name}`, count] as const);

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
      if (/overdue|something may be leaking|recovery mode/.test(message)) return; // alarms, and right ones here
      if (isOfTheWorld(error)) return;
      if (found.length < 20) found.push(`error in the log: ${message} ${JSON.stringify(fields)}`);
    },
  };
  return { log, errors: () => found };
}
