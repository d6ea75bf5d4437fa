import type { Clock } from '../../src/core/clock.ts';
import type { Store } from '../../src/db/store.ts';
import { aroundEveryCall } from '../../src/provider/decorators/around.ts';
import type { Provider } from '../../src/provider/provider.ts';

/** Whether a process of the test's world still lives, and how much of the outside it waits for. */
export interface Life {
  readonly alive: boolean;
  /** How much of its work goes on that does not depend on the clock: also what a dead process had sent to the database. */
  readonly busy: number;
  end(): void;
  /** What a test makes the process wait for after each write that was carried out: a pause of the whole machine, say. */
  hold: (() => Promise<void>) | undefined;
  /** While it is frozen, as by SIGSTOP, it asks nothing and hears nothing; what it has sent goes on. */
  frozen: Promise<void> | undefined;
  /** The same, counted as busy for as long as the work lasts. */
  during<Result>(work: () => Promise<Result>): Promise<Result>;
  /** The outcome, which never reaches a process that has died meanwhile. */
  whileAlive<Result>(work: () => Promise<Result>): Promise<Result>;
}

export function createLife(): Life {
  let alive = true;
  let busy = 0;

  async function whileAlive<Result>(work: () => Promise<Result>): Promise<Result> {
    if (life.frozen) await life.frozen;
    if (!alive) return new Promise<Result>(() => {}); // the dead ask nothing
    const [outcome] = await Promise.allSettled([work()]);
    if (life.frozen) await life.frozen;
    if (!alive) return new Promise<Result>(() => {}); // and hear nothing
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  }

  const life: Life = {
    get alive() {
      return alive;
    },
    get busy() {
      return busy;
    },
    end: () => {
      alive = false;
    },
    hold: undefined,
    frozen: undefined,
    whileAlive,
    during: (work) =>
      whileAlive(async () => {
        busy += 1;
        try {
          return await work();
        } finally {
          busy -= 1;
        }
      }),
  };
  return life;
}

/** The database as a process sees it that may die: what it has sent is carried out, but it does not hear of it any more. */
export function mortalStore(store: Store, life: Life): Store {
  return {
    ...store,
    read: (call) => life.during(() => store.read(call)),
    write: async (body, isolation) => {
      const result = await life.during(() => store.write(body, isolation));
      await life.hold?.();
      return result;
    },
    scrub: () => life.during(() => store.scrub()),
  };
}

export function mortalProvider(provider: Provider, life: Life): Provider {
  return aroundEveryCall(provider, (call, proceed) => life.whileAlive(() => proceed(call.options)));
}

/** The dead do not wake. */
export function mortalClock(clock: Clock, life: Life): Clock {
  return {
    now: () => clock.now(),
    machineNow: () => clock.machineNow(),
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, signal) => life.whileAlive(() => clock.sleep(ms, signal)),
    timeoutSignal: (ms, parent) => clock.timeoutSignal(ms, parent),
  };
}
