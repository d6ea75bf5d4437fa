import type Sqlite from 'better-sqlite3';
import { createEnvelope } from '../../src/core/envelope.ts';
import type { Ids } from '../../src/core/ids.ts';
import type { Log } from '../../src/core/log.ts';
import { Secret } from '../../src/core/secret.ts';
import type { DeploymentId } from '../../src/provider/ownership-tag.ts';
import { openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import type { ReplicaDeps, WorldSettings } from '../support/replica.ts';
import { createBrokerProcess, type BrokerProcess } from './broker-process.ts';
import type { Cloud } from './cloud.ts';
import { startConsumers, type Consumers } from './consumers.ts';
import { createDice, seedOf } from './dice.ts';
import type { Fate } from './faults.ts';
import type { Intents } from './intents.ts';
import { createJudge, type Judge } from './judge.ts';
import type { SimClock } from './sim-clock.ts';
import type { Trace } from './trace.ts';

/** One installation of Berth: brokers on one database, with consumers of their own. */
export interface Deployment {
  readonly id: DeploymentId;
  readonly memory: MemoryStore;
  readonly processes: readonly BrokerProcess[];
  readonly judge: Judge;
  /** While its database is replaced: nobody starts a broker. */
  isClosed: boolean;
  readonly consumers: Consumers;
}

interface DeploymentDeps extends Pick<ReplicaDeps, 'ssh'> {
  readonly id: DeploymentId;
  readonly seed: number;
  readonly memory: MemoryStore;
  readonly replicas: number;
  readonly sessions: number;
  readonly ordersOverMs: number;
  readonly settings: WorldSettings;
  readonly ids: Ids;
  readonly clock: SimClock;
  readonly clouds: readonly Cloud[];
  readonly fate: Fate;
  readonly trace: Trace;
  readonly log: Log;
  readonly intents: Intents;
  readonly offers: readonly string[];
  readonly onFact: (kind: string) => void;
  readonly ablate?: (deps: ReplicaDeps) => ReplicaDeps;
}

export function createDeployment(deps: DeploymentDeps): Deployment {
  const { id, seed, memory, clock, clouds, fate, trace, log, intents, settings, ids, ssh, onFact } = deps;
  const { store, database } = memory;
  const envelope = createEnvelope(new Secret(new Uint8Array(32).fill(7)));
  const processes = Array.from({ length: deps.replicas }, (_, index) =>
    createBrokerProcess({
      name: `${id}-${index + 1}`,
      clock,
      store,
      providers: clouds.map((cloud) => cloud.providerOf(id)),
      fate,
      trace,
      log,
      onIntent: (tag) => intents.begin(tag, settings.createFenceMs),
      onFact,
      ids,
      envelope,
      deploymentId: id,
      ssh,
      settings: { ...settings, sharedSqlite: deps.replicas > 1 },
      seed: seedOf(seed, `broker ${id}-${index}`) % 1_000_000,
      ...(deps.ablate ? { ablate: deps.ablate } : {}),
    }),
  );
  const judge = createJudge({
    id,
    store,
    database,
    clouds,
    intents,
    clock,
    onEarly: (tag) => trace.note('judge', `EARLY: ${tag} is believed gone and lives`),
    onFailure: (sentence) => trace.note('judge', `FAILED: ${sentence}`),
  });
  return {
    id,
    memory,
    processes,
    judge,
    isClosed: false,
    consumers: startConsumers({
      clock,
      dice: createDice(seedOf(seed, `consumers of ${id}`)),
      processes,
      offers: deps.offers,
      trace,
      sessions: deps.sessions,
      overMs: deps.ordersOverMs,
    }),
  };
}

const memories: MemoryStore[] = [];
let worldClock: SimClock | undefined;

/** One database for the deployments of this number in all worlds of this process, one after the other: its statements are prepared once. */
export function emptyStore(clock: SimClock, index: number): MemoryStore {
  worldClock = clock;
  const now = () => worldClock ?? clock;
  const memory = (memories[index] ??= openMemoryStore({
    clock: {
      now: () => now().now(),
      machineNow: () => now().machineNow(),
      monotonicMs: () => now().monotonicMs(),
      sleep: (ms, signal) => now().sleep(ms, signal),
      timeoutSignal: (ms, parent) => now().timeoutSignal(ms, parent),
    },
  }));
  memory.empty();
  return memory;
}

/** Whether a broker of any of them has stored this id of an instance. */
export function knownById(databases: readonly Sqlite.Database[]): (provider: string, instance: string) => boolean {
  const queries = databases.map((database) =>
    database.prepare<[string, string], unknown>('select 1 from attempts where provider = ? and instance_id = ?'),
  );
  return (provider, instance) => queries.some((query) => query.get(provider, instance) !== undefined);
}
