import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { SessionId } from '../../src/core/ids.ts';
import type { Attempt, Session, SessionPhase, SessionStatus } from '../../src/db/tables.ts';
import type { AbsencePolicy } from '../../src/provider/capabilities.ts';
import { offerId, type InstanceId } from '../../src/provider/ids.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { SessionRecord } from '../../src/sessions/session-record.ts';
import type { EndReason } from '../../src/sessions/session-state.ts';
import type { InMemoryAccount } from '../support/in-memory-account.ts';
import { createInMemoryProvider } from '../support/in-memory-provider.ts';
import { createScriptedSsh, type ScriptedSsh } from '../support/scripted-ssh.ts';
import { aWorld, WorldClock, type World, type WorldOrder } from '../support/world.ts';
import { createEffects, type CrashPoint, type Effects } from './effects.ts';
import type { MemoryStore } from '../support/memory-store.ts';
import type { Staging } from './staging.ts';

/** How long the broker is away after a death. */
export const DOWN_MS = SECOND_MS;
const PATIENCE_MS = 10 * MINUTE_MS;
const CREATE_MS = 100;
const ABSENCE: AbsencePolicy = { observations: 2, spacingMs: 500, windowMs: SECOND_MS, kinds: ['get', 'list'] };

/** What a consumer holds the broker to. */
export interface Acknowledged {
  stopped: boolean;
  expiresAt: number;
}

/** Where a story is played: a broker that may die once and is started again, a market, and a consumer who repeats what was not answered. */
export interface Stage {
  readonly world: World;
  readonly account: InMemoryAccount;
  readonly ssh: ScriptedSsh;
  readonly effects: Effects;
  readonly acknowledged: ReadonlyMap<SessionId, Acknowledged>;

  order(order?: WorldOrder): Promise<SessionId>;
  stop(id: SessionId): Promise<void>;
  extend(id: SessionId, addedMinutes: number): Promise<void>;
  /** Any other command to the broker, repeated until it is answered; what it throws is an answer. */
  ask<Answer>(command: () => Promise<Answer>): Promise<Answer>;

  /** As by SIGTERM, and started again. */
  restart(): Promise<void>;
  /** Its retention is over: nobody holds the broker to it any more. */
  forget(id: SessionId): void;

  wait(ms: number): Promise<void>;
  /** Moves time until it is so. */
  until(what: string, isSo: () => Promise<boolean> | boolean, withinMs?: number): Promise<void>;
  untilStatus(id: SessionId, status: SessionStatus): Promise<void>;
  untilPhase(id: SessionId, ...phases: readonly SessionPhase[]): Promise<void>;
  /** Until an event of that kind stands in its history. */
  untilTold(id: SessionId, kind: string): Promise<void>;
  /** Proven and handed out. */
  untilRunning(id: SessionId): Promise<InstanceId>;
  /** Ended, verified as gone where anything was, and its cost final. */
  untilSettled(id: SessionId, end?: { readonly status: 'stopped' | 'failed'; readonly reason?: EndReason }): Promise<void>;

  session(id: SessionId): Promise<Session>;
  attempts(id: SessionId): Promise<readonly Attempt[]>;
}

export async function openStage(story: Staging, memory: MemoryStore, point?: CrashPoint): Promise<Stage> {
  memory.empty();
  const clock = new WorldClock();
  const { settings: marketSettings, dials = false, ...market } = story.market ?? {};
  const { account, provider: direct } = createInMemoryProvider({
    ...market,
    clock,
    settings: { createMs: CREATE_MS, bootMs: 600, ...marketSettings },
    capabilities: { offerRefreshMs: 10 * MINUTE_MS, absence: ABSENCE, ...market.capabilities },
  });
  const provider = dials ? dialled(direct) : direct;
  const ssh = createScriptedSsh();
  const acknowledged = new Map<SessionId, Acknowledged>();
  const effects = createEffects(point, () => world.replica.life.end());
  const world = await aWorld({
    store: effects.store(memory.store),
    outside: { clock, providers: [effects.provider(provider)] },
    ssh: { verifier: effects.verifier(ssh.verifier), sampler: ssh.sampler },
    ...(story.settings ? { settings: story.settings } : {}),
  });
  let orders = 0;

  const start = () => world.run({ withinMs: 0 });

  /** Ends whoever heard an answer too many, and starts the next one. */
  async function mourn(): Promise<void> {
    effects.endDoomed();
    if (world.replica.life.alive) return;
    await clock.advance(DOWN_MS);
    await world.crash();
    await start();
  }

  async function move(atMostMs: number): Promise<void> {
    await clock.advance(Math.min(atMostMs, Math.max(1, clock.nextWakeInMs ?? SECOND_MS)));
    await mourn();
  }

  async function until(what: string, isSo: () => Promise<boolean> | boolean, withinMs = PATIENCE_MS): Promise<void> {
    await mourn();
    const endsMs = clock.monotonicMs() + withinMs;
    while (!(await isSo())) {
      const leftMs = endsMs - clock.monotonicMs();
      if (leftMs <= 0) throw new Error(`not within ${withinMs / SECOND_MS} s: ${what}; ${await tell()}`);
      await move(leftMs);
    }
  }

  /** How everything stands, for people. */
  async function tell(): Promise<string> {
    const lines: string[] = [];
    for (const id of acknowledged.keys()) {
      const { status, phase, reason } = await session(id);
      const kinds = (await world.eventKinds(id)).join(' ');
      const states = (await record(id)).attempts.map(({ state }) => state).join(', ');
      lines.push(`${id} is ${status} (${phase}, ${reason}), attempts ${states}: ${kinds}`);
    }
    return lines.join('\n');
  }

  async function ask<Answer>(command: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      await mourn();
      const { replica } = world;
      let answer: { readonly value: Answer } | { readonly error: unknown } | undefined;
      command().then(
        (value) => (answer = { value }),
        (error: unknown) => (answer = { error }),
      );
      await clock.settle();
      const heard = () => answer; // or the compiler believes that it is never set
      while (!heard() && world.replica === replica) await move(SECOND_MS);
      const told = heard();
      if (!told) continue; // the broker died: the consumer asks again
      if ('error' in told) throw told.error;
      return told.value;
    }
  }

  const record = (id: SessionId): Promise<SessionRecord> => world.record(id);
  const session = async (id: SessionId) => (await record(id)).session;
  const of = (id: SessionId) => {
    const found = acknowledged.get(id);
    if (!found) throw new Error(`nobody was told of ${id}`);
    return found;
  };

  const stage: Stage = {
    world,
    account,
    ssh,
    effects,
    acknowledged,
    ask,
    until,
    session,
    attempts: async (id) => (await record(id)).attempts,

    async order({ request, ...order } = {}) {
      orders += 1;
      const idempotency = { key: `order-${orders}`, bodyHash: `${orders}` };
      const named = order.byRequirements ? {} : { offerId: offerId('memory-ask-1') };
      const made = await ask(() => world.order({ idempotency, ...order, request: { ...named, ...request } }));
      acknowledged.set(made.id, { stopped: false, expiresAt: made.expiresAt });
      return made.id;
    },
    async stop(id) {
      await ask(() => world.stop(id));
      of(id).stopped = true;
    },
    async extend(id, addedMinutes) {
      const extended = await ask(() => world.replica.commands.extend(id, addedMinutes));
      of(id).expiresAt = Math.max(of(id).expiresAt, extended?.session.expiresAt ?? 0);
    },

    async restart() {
      await mourn();
      const { replica } = world;
      let isDown = false;
      void world.shutDown(replica).then(() => (isDown = true));
      await clock.settle();
      await until('the broker has shut down', () => isDown || world.replica !== replica);
      if (world.replica !== replica) return;
      await world.crash();
      await start();
    },
    forget: (id) => void acknowledged.delete(id),

    async wait(ms) {
      await mourn();
      const endsMs = clock.monotonicMs() + ms;
      while (clock.monotonicMs() < endsMs) await move(endsMs - clock.monotonicMs());
    },
    untilStatus: (id, status) => until(`${id} is ${status}`, async () => (await session(id)).status === status),
    untilPhase: (id, ...phases) =>
      until(`${id} is ${phases.join(' or ')}`, async () => phases.includes((await session(id)).phase)),
    untilTold: (id, kind) => until(`${id} has ${kind}`, async () => (await world.eventKinds(id)).includes(kind)),
    async untilRunning(id) {
      await stage.untilStatus(id, 'running');
      const live = (await stage.attempts(id)).find(({ state }) => state === 'live');
      if (!live?.instanceId) throw new Error(`${id} runs on nothing`);
      return live.instanceId;
    },
    async untilSettled(id, end) {
      await until(`${id} is settled`, async () => {
        const { phase, settledCostMicros } = await session(id);
        return phase === 'settled' && settledCostMicros !== null;
      });
      const { status, reason } = await session(id);
      if (end && (status !== end.status || (end.reason !== undefined && reason !== end.reason)))
        throw new Error(`${id} is ${status} for ${reason}, not ${end.status} for ${end.reason ?? 'anything'}`);
    },
  };

  if (story.fromStart) effects.begin();
  await start();
  if (!story.fromStart) effects.begin();
  await mourn();
  if (story.fromStart) await until('offers are listed', () => world.replica.book.find(offerId('memory-ask-1')) !== undefined);
  return stage;
}

function dialled(provider: Provider): Provider {
  const viaDial = <Seen extends { readonly state: string } | undefined>(seen: Seen): Seen =>
    seen?.state === 'running' ? { ...seen, ssh: { user: 'root', routes: 'dial' } } : seen;
  return {
    ...provider,
    getInstance: async (id, options) => viaDial(await provider.getInstance(id, options)),
    listInstances: async (options) => (await provider.listInstances(options)).map(viaDial),
    createInstance: async (request, options) => viaDial(await provider.createInstance(request, options)),
    dialSsh: () => Promise.reject(new Error('nobody dials in a story')),
  };
}
