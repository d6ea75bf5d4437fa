import { SECOND_MS } from '../../src/core/duration.ts';
import { describeError } from '../../src/core/errors.ts';
import type { Log } from '../../src/core/log.ts';
import { StoreError } from '../../src/db/store-error.ts';
import type { Store } from '../../src/db/store.ts';
import { aroundEveryCall } from '../../src/provider/decorators/around.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { FactKind } from '../../src/sessions/fact.ts';
import type { SessionRepository } from '../../src/sessions/session-repository.ts';
import { createLife, type Life } from '../support/mortal.ts';
import { createReplica, type Replica, type ReplicaDeps } from '../support/replica.ts';
import type { Fate } from './faults.ts';
import { machineClock, type MachineClock, type SimClock } from './sim-clock.ts';
import type { Trace } from './trace.ts';

/** Where a death falls: before the effect, after it, or after it without its answer having been heard. */
export type DeathPosition = 'before' | 'after' | 'unheard';

/** One machine on which a broker runs: it dies, stands still, is started again. */
export interface BrokerProcess {
  readonly name: string;
  /** Undefined while it is down or starting. */
  readonly replica: Replica | undefined;
  readonly machine: MachineClock;
  readonly isUp: boolean;
  start(): Promise<void>;
  /** It dies at the effect after so many others. */
  doom(afterEffects: number, position: DeathPosition): void;
  kill(): void;
  /** As by SIGSTOP and SIGCONT. */
  freeze(ms: number): Promise<void>;
  /** The same, when it has the answer to the effect after so many others. */
  freezeAt(afterEffects: number, ms: number): void;
  /** With its machine, then: whose monotonic clock does not count the time. */
  suspendAt(afterEffects: number, ms: number): void;
  /** As by SIGTERM. */
  end(): Promise<void>;
}

export interface ProcessDeps extends Pick<ReplicaDeps, 'ids' | 'envelope' | 'deploymentId' | 'settings' | 'ssh'> {
  readonly name: string;
  readonly clock: SimClock;
  readonly store: Store;
  readonly providers: readonly Provider[];
  readonly fate: Fate;
  readonly trace: Trace;
  readonly log: Log;
  /** Told before the attempt is written that a create is to be made for. */
  readonly onIntent: (tag: string) => void;
  /** Told of each fact that changed a session. */
  readonly onFact: (kind: FactKind) => void;
  readonly seed: number;
  /** Rules of the life cycle that this process does without. */
  readonly ablate?: (deps: ReplicaDeps) => ReplicaDeps;
}

const FIRST_PASSES = ['offers.refresh', 'tunnel.ports', 'instance.orphans'];
const FIRST_PASSES_MS = 30 * SECOND_MS;

export function createBrokerProcess(deps: ProcessDeps): BrokerProcess {
  const { name, clock, fate, trace } = deps;
  const machine = machineClock(clock);
  let replica: Replica | undefined;
  let life: Life | undefined;
  let starts = 0;
  let doomed: { left: number; readonly position: DeathPosition } | undefined;
  let chilled: { left: number; readonly ms: number; readonly isSuspended: boolean } | undefined;
  let toldOfDeath = () => {};

  /** Whether the process dies with this effect, and where. */
  function deathAt(): DeathPosition | undefined {
    if (!doomed) return undefined;
    doomed.left -= 1;
    if (doomed.left >= 0) return undefined;
    const { position } = doomed;
    doomed = undefined;
    return position;
  }

  function die(current: Life, what: string): Promise<never> {
    trace.note(name, 'dies', what);
    current.end();
    if (life === current) replica = undefined;
    toldOfDeath();
    return new Promise<never>(() => {});
  }

  /** An effect of the process, at which it may die. */
  async function effect<Result>(current: Life, what: string, perform: () => Promise<Result>): Promise<Result> {
    const death = deathAt();
    if (death === 'before') return die(current, `before ${what}`);
    if (death === 'unheard') {
      void perform().catch(() => undefined); // it goes on; nobody hears of it
      return die(current, `after ${what}, unheard`);
    }
    const result = await perform();
    if (death === 'after') return die(current, `after ${what}`);
    if (chilled && (chilled.left -= 1) < 0) {
      const { ms, isSuspended } = chilled;
      chilled = undefined;
      void freeze(current, ms, isSuspended);
    }
    return result;
  }

  async function freeze(current: Life, ms: number, isSuspended = false): Promise<void> {
    if (!current.alive || current.frozen) return;
    trace.note(name, isSuspended ? 'is suspended' : 'freezes', `${Math.round(ms / SECOND_MS)} s`);
    if (isSuspended) machine.suspend();
    const over = clock.sleep(ms).then(() => {
      machine.resume();
      current.frozen = undefined;
    });
    current.frozen = over;
    await over;
    trace.note(name, 'thaws');
  }

  function mortalEffects(store: Store, current: Life): Store {
    const isShared = deps.settings.sharedSqlite;
    return {
      ...store,
      read: (call) => {
        clock.noteRead();
        return store.read(call);
      },
      // two brokers share no connection: what one asks in vain says nothing of the other
      write: async (body, isolation) => {
        if (fate.strikes('database.busy')) throw databaseError('SQLITE_BUSY');
        if (fate.strikes('database.full')) throw databaseError('SQLITE_FULL');
        if (isShared && fate.strikes('database.unsure')) {
          if (fate.dice.chance(0.5)) await store.write(body, isolation).catch(() => undefined);
          throw databaseError('ECONNRESET', { atCommit: true });
        }
        const result = await effect(current, 'write', () => store.write(body, isolation));
        trace.note(name, 'write');
        return result;
      },
    };
  }

  /** Between the row and what is made of it another broker may write. The time passes outside the database, which answers others meanwhile. */
  function slowRows(made: SessionRepository): SessionRepository {
    return {
      ...made,
      async find(id) {
        const record = await made.find(id);
        if (fate.strikes('database.slow')) await clock.sleep(fate.dice.between(0.05, 3) * SECOND_MS);
        return record;
      },
    };
  }

  /** Resolves when it works, or has died on the way. */
  async function start(): Promise<void> {
    const death = new Promise<void>((resolve) => (toldOfDeath = resolve));
    await Promise.race([boot(), death]);
  }

  async function boot(): Promise<void> {
    starts += 1;
    machine.resume();
    machine.setRight(); // who starts with a wrong clock and no witness cannot know
    const current = createLife();
    life = current;
    doomed = undefined;
    chilled = undefined;
    clock.busy.push(() => (current.alive ? current.busy : 0)); // what a dead process has sent is done within a turn or two
    trace.note(name, 'starts');
    const replicaDeps: ReplicaDeps = {
      ...deps,
      clock: machine,
      ...(deps.settings.sharedSqlite ? { witness: { now: async () => clock.now() } } : {}),
      store: mortalEffects(deps.store, current),
      providers: deps.providers.map((provider) =>
        aroundEveryCall(provider, ({ operation, options }, proceed) => effect(current, operation, () => proceed(options))),
      ),
      ssh: {
        ...deps.ssh,
        verifier: {
          prove: (request, options) => effect(current, 'prove', () => deps.ssh.verifier.prove(request, options)),
        },
      },
      realSsh: false,
      remade: {
        ...(deps.settings.sharedSqlite ? { sessions: slowRows } : {}),
        writer: (made) => ({
          async apply(session, fact, beside) {
            if (fact.kind === 'attempt_begun') deps.onIntent(fact.attempt.tag);
            const applied = await made.apply(session, fact, beside);
            if (applied.outcome === 'changed') deps.onFact(fact.kind);
            return applied;
          },
        }),
      },
      life: current,
      seed: deps.seed * 1_000 + starts,
    };
    const made = await createReplica(deps.ablate ? deps.ablate(replicaDeps) : replicaDeps);
    if (!current.alive || life !== current) return;
    replica = made;
    // as the broker does: what a former life left behind is found before anything new is made
    const signal = clock.timeoutSignal(FIRST_PASSES_MS);
    await Promise.all(
      FIRST_PASSES.map((controller) =>
        made
          .controller(controller)
          .reconcile({ signal })
          .catch((error: unknown) => deps.log.warn({ error: describeError(error) }, 'first pass failed')),
      ),
    );
    if (current.alive && replica === made) made.driver.start();
  }

  return {
    name,
    machine,
    get replica() {
      return replica;
    },
    get isUp() {
      return replica !== undefined && life?.alive === true && life.frozen === undefined;
    },
    start,
    doom: (afterEffects, position) => {
      doomed = { left: afterEffects, position };
    },
    kill() {
      if (life?.alive) void die(life, 'killed');
    },
    async freeze(ms) {
      if (life) await freeze(life, ms);
    },
    freezeAt: (afterEffects, ms) => {
      chilled = { left: afterEffects, ms, isSuspended: false };
    },
    suspendAt: (afterEffects, ms) => {
      chilled = { left: afterEffects, ms, isSuspended: true };
    },
    async end() {
      const ending = replica;
      const current = life;
      if (!ending || !current?.alive) return;
      trace.note(name, 'ends');
      replica = undefined;
      for (const pool of ending.pools) pool.stop(new Error('the broker is shutting down'));
      const inTime = clock.sleep(30 * SECOND_MS); // as the service manager, which kills in the end
      await Promise.race([ending.driver.stop().then(() => ending.release()), inTime]).catch(() => undefined);
      current.end();
    },
  };
}

function databaseError(code: string, options: { readonly atCommit?: boolean } = {}): StoreError {
  return new StoreError('commit', Object.assign(new Error(`simulated: ${code}`), { code }), options);
}
