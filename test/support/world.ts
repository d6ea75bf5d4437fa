import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe } from 'vitest';
import { createEnvelope } from '../../src/core/envelope.ts';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { SessionId } from '../../src/core/ids.ts';
import { Secret } from '../../src/core/secret.ts';
import type { Report } from '../../src/controllers/controller.ts';
import type { Attempt, Session, SessionEvent, SessionStatus, StoredRequest } from '../../src/db/tables.ts';
import { berthSchema } from '../../src/db/schema.ts';
import type { Store } from '../../src/db/store.ts';
import { offerId } from '../../src/provider/ids.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { parseDeploymentId, type DeploymentId } from '../../src/provider/ownership-tag.ts';
import type { SessionOrder } from '../../src/sessions/commands/session-order.ts';
import { createSessionRepository } from '../../src/sessions/session-repository.ts';
import type { SessionRecord } from '../../src/sessions/session-record.ts';
import type { StopReason } from '../../src/sessions/session-state.ts';
import type { Sampler } from '../../src/ssh/sampler.ts';
import type { SshVerifier } from '../../src/ssh/verifier.ts';
import { countedIds } from './counted-ids.ts';
import { FakeClock } from './fake-clock.ts';
import type { InMemoryAccount } from './in-memory-account.ts';
import { createInMemoryProvider, type InMemoryProvider, type InMemoryProviderDeps } from './in-memory-provider.ts';
import { recordingLog, type RecordingLog } from './log.ts';
import { createReplica, WORLD_SETTINGS, type Replica, type ReplicaDeps, type WorldSettings } from './replica.ts';
import { databases } from './stores.ts';
import { createScriptedSsh, type ScriptedSsh } from './scripted-ssh.ts';

export type WorldOrder = Partial<Omit<SessionOrder, 'request'>> & {
  readonly request?: Partial<StoredRequest>;
  /** The broker makes the key pair. */
  readonly keysOfTheBroker?: boolean;
  /** No offer is named: the broker picks. */
  readonly byRequirements?: boolean;
};

export interface WorldOptions {
  readonly store: Store;
  /** Markets in memory; one named `memory` unless told otherwise. */
  readonly providers?: readonly Omit<InMemoryProviderDeps, 'clock'>[];
  /** Another world's markets, for two deployments on one account; they bring their clock. */
  readonly shares?: World;
  /** Providers of the test's own in place of markets in memory, and the clock by which they live. */
  readonly outside?: { readonly clock: WorldClock; readonly providers: readonly Provider[] };
  readonly deployment?: string;
  readonly settings?: Partial<WorldSettings>;
  /** Real SSH instead of the script. */
  readonly ssh?: { readonly verifier: Pick<SshVerifier, 'prove'>; readonly sampler: Sampler };
  readonly seed?: number;
  readonly metrics?: ReplicaDeps['metrics'];
}

/**
 * The product's own parts over a real database, markets in memory and time that a test moves. Nothing happens but by `pass`, `run`, or a
 * command, and after each everything has come to rest that does not wait for the clock: the same steps give the same world.
 */
export interface World {
  readonly clock: FakeClock;
  readonly log: RecordingLog;
  readonly ssh: ScriptedSsh;
  readonly deploymentId: DeploymentId;
  readonly markets: ReadonlyMap<string, InMemoryProvider>;
  /** The broker process, the latest one after a crash. */
  readonly replica: Replica;
  /** The market's own truth; of `memory`, or of the only one, when none is named. */
  account(provider?: string): InMemoryAccount;

  /** Commits a session by the product's own command. */
  order(order?: WorldOrder, replica?: Replica): Promise<Session>;
  stop(id: SessionId, reason?: StopReason): Promise<SessionRecord>;
  /** One pass of a controller, and everything that it began, as far as that does not wait for time. */
  pass(name: string, replica?: Replica): Promise<Report>;
  /** The same for a pass that may wait for time: it goes on in the background. */
  begin(name: string, replica?: Replica): Promise<void>;
  /** Starts the driver of the process, if need be, and moves time until it is so; throws when that is not within the time. */
  run(options: { until?: () => Promise<boolean> | boolean; withinMs: number }): Promise<void>;
  runUntil(id: SessionId, status: SessionStatus, withinMs?: number): Promise<SessionRecord>;
  /** Lets everything come to rest. */
  settle(): Promise<void>;

  record(id: SessionId): Promise<SessionRecord>;
  attempt(id: SessionId, ordinal?: number): Promise<Attempt>;
  events(id: SessionId): Promise<SessionEvent[]>;
  eventKinds(id: SessionId): Promise<string[]>;

  /** The process dies in the moment after an event of that kind was committed, before anybody acts on it. */
  dieAt(eventKind: string): void;
  /** The process dies as it stands and another one starts over the same database and markets. */
  crash(): Promise<Replica>;
  /** A further process beside it. */
  join(): Promise<Replica>;
  /** Ends a process as SIGTERM does. */
  shutDown(replica?: Replica): Promise<void>;
}

/** Real turns of the event loop that nothing may happen in before the world counts as at rest. */
const QUIET_TURNS = 4;
const MOST_TURNS = 200_000;
export const CONSUMER_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIConsumerconsumerconsumerconsumerconsum0';

/** Time that goes on only when all processes of its worlds are at rest, whatever database or network they wait for. */
export class WorldClock extends FakeClock {
  readonly busy: (() => number)[] = [];

  override async settle(): Promise<void> {
    let quiet = 0;
    for (let turn = 0; quiet < QUIET_TURNS; turn += 1) {
      if (turn > MOST_TURNS) throw new Error('the world does not come to rest: something goes round without time passing');
      await nextTurn();
      quiet = this.busy.some((busy) => busy() > 0) ? 0 : quiet + 1;
    }
  }
}

/** The same tests for worlds over SQLite; each world's process ends with its test. */
export function describeWorld(
  name: string,
  define: (make: (options?: Omit<WorldOptions, 'store'>) => Promise<World>) => void,
): void {
  describe(name, () => {
    const create = databases('sqlite', berthSchema);
    const worlds: World[] = [];
    afterEach(() => {
      for (const { replica } of worlds.splice(0)) replica.life.end();
    });
    define(async (options = {}) => {
      const world = await aWorld({ ...options, store: await (await create()).open() });
      worlds.push(world);
      return world;
    });
  });
}

export async function aWorld(options: WorldOptions): Promise<World> {
  const { store, shares, outside, seed = 1, deployment = 'test' } = options;
  const settings = { ...WORLD_SETTINGS, ...options.settings };
  const clock = outside?.clock ?? (shares?.clock as WorldClock | undefined) ?? new WorldClock(); // every other world made its clock here
  const log = recordingLog();
  const ids = countedIds();
  const envelope = createEnvelope(new Secret(new Uint8Array(32).fill(7)));
  const ssh = createScriptedSsh();
  const deploymentId = deploymentIdOf(deployment);
  const markets =
    shares?.markets ??
    new Map(
      (outside ? [] : (options.providers ?? [{}])).map((market) => [
        market.id ?? 'memory',
        createInMemoryProvider({ ...market, clock }),
      ]),
    );
  const rows = createSessionRepository(store); // the test's own eyes, whatever dies
  const started = new Set<Replica>();
  let generation = 0;

  async function boot(): Promise<Replica> {
    generation += 1;
    const replica = await createReplica({
      store,
      clock,
      ids,
      envelope,
      log,
      deploymentId,
      providers: outside?.providers ?? [...markets.values()].map(({ provider }) => provider),
      ssh: options.ssh ?? ssh,
      realSsh: options.ssh !== undefined && !outside, // a world from outside says itself how long it waits for a knock
      settings,
      seed: seed * 1_000 + generation,
      ...(options.metrics && { metrics: options.metrics }),
    });
    clock.busy.push(() => replica.life.busy);
    return replica;
  }

  let current = await boot();

  function account(provider?: string): InMemoryAccount {
    const market = provider === undefined ? (markets.get('memory') ?? [...markets.values()][0]) : markets.get(provider);
    if (!market) throw new RangeError(`no market is named ${provider}`);
    return market.account;
  }

  async function record(id: SessionId): Promise<SessionRecord> {
    const found = await rows.find(id);
    if (!found) throw new Error(`there is no session ${id}`);
    return found;
  }

  function start(replica: Replica): void {
    if (started.has(replica)) return;
    started.add(replica);
    replica.driver.start();
  }

  const world: World = {
    clock,
    log,
    ssh,
    deploymentId,
    markets,
    get replica() {
      return current;
    },
    account,

    async order({ request, keysOfTheBroker = false, byRequirements = false, ...order } = {}, replica = current) {
      const { record: made } = await replica.commands.request({
        consumerId: 'alice',
        workloadType: 'ssh',
        reservationMinutes: 60,
        idleThresholdMinutes: 0,
        ...(keysOfTheBroker ? {} : { sshPublicKey: CONSUMER_KEY }),
        metadata: {},
        warnings: [],
        maxAttempts: 3,
        ...order,
        request: {
          ...(byRequirements ? {} : { offerId: offerId(`${[...markets.keys()][0]}-ask-1`) }),
          environment: {},
          autoRetry: false,
          maxRetries: 3,
          retryScope: 'same_gpu',
          storagePolicy: 'destroy',
          launchMode: 'ssh',
          ...request,
        },
      });
      await clock.settle();
      return made.session;
    },

    async stop(id, reason = 'user_requested') {
      const stopped = await current.commands.stop(id, reason);
      if (!stopped) throw new Error(`there is no session ${id}`);
      await clock.settle();
      return stopped;
    },

    async pass(name, replica = current) {
      let report: Report | undefined;
      let failure: { readonly error: unknown } | undefined;
      void replica.reconcile(name).then(
        (made) => (report = made),
        (error: unknown) => (failure = { error }),
      );
      await clock.settle();
      if (failure) throw failure.error;
      if (!report) throw new Error(`a pass of ${name} waits for time: begin it instead`);
      return report;
    },

    async begin(name, replica = current) {
      replica.reconcile(name).catch((error: unknown) => log.error({ name, error: String(error) }, 'pass failed'));
      await clock.settle();
    },

    async run({ until, withinMs }) {
      start(current);
      await clock.settle();
      const endsMs = clock.monotonicMs() + withinMs;
      while (!(await until?.())) {
        const leftMs = endsMs - clock.monotonicMs();
        if (leftMs <= 0) {
          if (!until) return;
          throw new Error(`it was not so within ${withinMs / SECOND_MS} s`);
        }
        await clock.advance(Math.min(leftMs, Math.max(1, clock.nextWakeInMs ?? leftMs)));
      }
    },

    async runUntil(id, status, withinMs = 5 * MINUTE_MS) {
      try {
        await world.run({ until: async () => (await record(id)).session.status === status, withinMs });
      } catch (error) {
        const { session } = await record(id);
        throw new Error(`session is ${session.status} (${session.phase}, ${session.reason}), not ${status}`, { cause: error });
      }
      return record(id);
    },

    settle: () => clock.settle(),
    record,
    async attempt(id, ordinal = 1) {
      const attempt = (await record(id)).attempts.find((each) => each.ordinal === ordinal);
      if (!attempt) throw new Error(`session ${id} has no attempt ${ordinal}`);
      return attempt;
    },
    events: (id) => rows.listEvents({ id, after: 0, limit: 10_000 }),
    eventKinds: async (id) => (await world.events(id)).map(({ kind }) => kind),

    dieAt(eventKind) {
      const { changes, life } = current;
      changes.onAny(({ events }) => {
        if (events.some(({ kind }) => kind === eventKind)) life.end();
      });
    },

    async crash() {
      current.life.end();
      await clock.settle();
      current = await boot();
      return current;
    },
    join: boot,
    async shutDown(replica = current) {
      for (const pool of replica.pools) pool.stop(new Error('the broker is shutting down'));
      await replica.driver.stop();
      await replica.release();
    },
  };

  if (!outside) await world.pass('offers.refresh');
  return world;
}

function deploymentIdOf(text: string): DeploymentId {
  const id = parseDeploymentId(text);
  if (!id) throw new RangeError(`not a deployment id: ${text}`);
  return id;
}
