import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type EpochMs } from '../../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../../src/core/duration.ts';
import type { SessionId } from '../../../src/core/ids.ts';
import type { MicroUsd } from '../../../src/core/money.ts';
import { systemRandom } from '../../../src/core/random.ts';
import { billOf } from '../../../src/costs/bill.ts';
import { openStore } from '../../../src/db/open-store.ts';
import type { Attempt, Session } from '../../../src/db/tables.ts';
import { aroundEveryCall } from '../../../src/provider/decorators/around.ts';
import { parseOwnershipTag } from '../../../src/provider/ownership-tag.ts';
import type { SessionRecord } from '../../../src/sessions/session-record.ts';
import { isEnded } from '../../../src/sessions/session-state.ts';
import { createSampler } from '../../../src/ssh/sampler.ts';
import { createSshVerifier } from '../../../src/ssh/verifier.ts';
import { silentLog } from '../../support/stores.ts';
import { aWorld, WorldClock } from '../../support/world.ts';
import type { WorldSettings } from '../../support/replica.ts';
import { Spoilt, type Book, type Mood, type OpenMarket, type StoryWorld } from './story.ts';

const SETTINGS: Partial<WorldSettings> = {
  driverTimeoutMs: 90 * SECOND_MS,
  periodMs: 15 * SECOND_MS,
  reconciliationIntervalMs: MINUTE_MS,
  orphanGraceMs: 5 * MINUTE_MS,
  checkIntervalMs: 30 * SECOND_MS,
  callTimeoutMs: 30 * SECOND_MS,
  offerBackOffMs: MINUTE_MS,
  clockTickMs: 30 * SECOND_MS, // no clock jumps in a story
};
/** Shortly before midnight, so that every story's bill has two days. */
const STARTS_AT = '2026-10-26T23:52:00Z';
const RUNS_WITHIN_MS = 90 * MINUTE_MS;
const ENDS_WITHIN_MS = 3 * 60 * MINUTE_MS;
/** Of the vendor's own bill, and what a machine costs between two looks: when it began to run is known no better than that. */
const COST_TOLERANCE = 0.01;
const LOOKS_MS = 20 * SECOND_MS;
/** Between two lists, and the time that the vendor's list may lag behind. */
const LISTS_MS = 3 * MINUTE_MS;

interface Order {
  readonly seed: number;
  readonly mood: Mood;
  readonly billedUnseen: boolean;
  readonly blindMs: number;
}

/** Of a story: how many, and what they cost by our books and by the vendor's, micro-dollars. */
export interface Sums {
  readonly sessions: number;
  readonly instances: number;
  readonly told: MicroUsd;
  readonly real: MicroUsd;
}

/** The broker's own parts before a market, both in time that a story moves; with real SSH between them. */
export async function openStoryWorld({ seed, mood, billedUnseen, blindMs }: Order, open: OpenMarket) {
  const clock = new WorldClock(STARTS_AT);
  const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'berth-story-'));
  const store = await openStore({
    path: join(folder, 'berth.db'),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    onFatal: (error) => {
      throw error;
    },
  });
  const market = await open({ clock, seed, mood });
  clock.busy.push(() => market.traffic.busy());
  const listedAt: EpochMs[] = [];
  const provider = aroundEveryCall(market.provider, async ({ operation, options }, proceed) => {
    const startedAt = clock.now();
    const answer = await proceed(options);
    if (operation === 'ListAllInstances') listedAt.push(startedAt);
    return answer;
  });
  const verifier = createSshVerifier({ clock, log: silentLog });
  const sampler = createSampler({ clock });
  const broker = await aWorld({
    store,
    seed,
    outside: { clock, providers: [provider] },
    ssh: {
      verifier: { prove: (request, options) => market.traffic.during(() => verifier.prove(request, options)) },
      sampler: { sample: (request, options) => market.traffic.during(() => sampler.sample(request, options)) },
    },
    settings: SETTINGS,
  });

  await broker.run({
    until: () => (broker.replica.book.snapshot(market.provider.id)?.offers ?? []).length > 0,
    withinMs: ENDS_WITHIN_MS,
  });

  const isOurs = ({ tag }: Book) => tag !== undefined && parseOwnershipTag(tag)?.deployment === broker.deploymentId;
  const isBeyondReach = ({ id }: Book) => market.isBeyondReach?.(id) === true;
  const sessions = new Set<SessionId>();

  async function reached(
    ...[id, what, isSo, withinMs = 10 * MINUTE_MS]: Parameters<StoryWorld['until']>
  ): Promise<SessionRecord> {
    sessions.add(id);
    let last: SessionRecord | undefined;
    try {
      await broker.run({ until: async () => isSo((last = await broker.record(id))), withinMs });
    } catch (error) {
      throw new Error(`the session should be ${what}, but is ${last ? storyOf(last) : 'not there'}`, { cause: error });
    }
    return broker.record(id);
  }

  const world: StoryWorld = {
    mood,
    market,
    broker,
    clock,
    ours: () => market.books().filter(isOurs),
    living: () => market.books().filter((book) => isOurs(book) && book.closedAt === undefined && !isBeyondReach(book)),
    anything: {
      byRequirements: true,
      keysOfTheBroker: true,
      maxAttempts: mood === 'calm' ? 5 : 40,
      request: { autoRetry: true, gpuCount: 1 },
    },

    async rent(order = {}) {
      const session = await broker.order({ ...world.anything, ...order });
      sessions.add(session.id);
      const record = await world.until(
        session.id,
        'running or ended',
        ({ session: { status } }) => status === 'running' || status === 'failed' || status === 'stopped',
        RUNS_WITHIN_MS,
      );
      world.sure(record.session.status === 'running', `the session should run, but is ${storyOf(record)}`);
      return record;
    },

    async until(...looked) {
      try {
        return await reached(...looked);
      } catch (error) {
        if (mood === 'calm') throw error;
        throw new Spoilt(String(error));
      }
    },
    untilEnded: (id) => world.until(id, 'ended', ({ session }) => isEnded(session), ENDS_WITHIN_MS),
    async byHand(act) {
      try {
        await act();
      } catch (error) {
        world.sure(false, String(error)); // what the hand reaches for may have died of itself
      }
    },
    pass: (ms) => broker.run({ withinMs: ms }),
    sure(isSo, what) {
      if (isSo) return;
      if (mood === 'calm') assert.fail(what);
      throw new Spoilt(what);
    },
    attemptOf({ attempts, session }) {
      const found = attempts.find(({ ordinal }) => ordinal === session.attemptCount);
      assert.ok(found, `session ${session.id} has no attempt`);
      return found;
    },
  };

  async function allSessions(): Promise<readonly SessionRecord[]> {
    return Promise.all([...sessions].map((id) => broker.record(id)));
  }

  return {
    world,
    /** Ends every session and holds the broker's books against the vendor's. Hands back the sums of both. */
    async conclude(): Promise<Sums> {
      market.controls.heal?.();
      market.restoreKey?.();
      for (const id of sessions) await broker.stop(id);
      for (const id of sessions) await reached(id, 'ended', ({ session }) => isEnded(session), ENDS_WITHIN_MS);
      const alive = () => world.living().flatMap((book) => (isKnown(book, sessions) ? [book.tag] : []));
      if (alive().length > 0) await broker.run({ withinMs: STOPPING_MS });
      assert.deepEqual(alive(), [], 'every session has ended, and these instances of them live on');
      await untilNoneLives();
      const tags = world.ours().map(({ tag }) => tag);
      assert.deepEqual(tags, [...new Set(tags)], 'no attempt was carried out twice');
      const bills: Pick<Sums, 'told' | 'real'>[] = [];
      for (const record of await allSessions()) bills.push(await compareBill(record));
      assert.deepEqual(market.tooFrequent(), [], 'the vendor found these calls too frequent');
      const sum = (of: 'told' | 'real') => bills.reduce((total, bill) => total + bill[of], 0);
      return { sessions: bills.length, instances: tags.length, told: sum('told'), real: sum('real') };
    },
    async close(): Promise<void> {
      broker.replica.life.end();
      await market.close();
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };

  /** What no session knows of is the orphan sweep's; it has its own grace. */
  async function untilNoneLives(): Promise<void> {
    if (world.living().length === 0) return;
    await broker.run({ until: () => world.living().length === 0, withinMs: ENDS_WITHIN_MS });
  }

  /** From when it was really gone, or was never there, until that was accepted. */
  function costOfUnseenEnd({ tag, priceMicrosPerHour, intentAt, goneAcceptedAt }: Attempt): MicroUsd {
    const book = market.books().find((each) => each.tag === tag);
    const endedAt = book === undefined ? intentAt : (book.closedAt ?? clock.now());
    return (priceMicrosPerHour * Math.max(0, (goneAcceptedAt ?? endedAt) - endedAt)) / HOUR_MS;
  }

  /** The longest time since then in which no list was answered; on some days most calls fail. */
  function longestBlindness(since: EpochMs): number {
    const looks = [since, ...listedAt.filter((at) => at > since), clock.now()];
    return Math.max(...looks.slice(1).map((at, index) => at - (looks[index] ?? at)));
  }

  async function compareBill({ session, attempts }: SessionRecord): Promise<Pick<Sums, 'told' | 'real'>> {
    const { consumerMicros, operatorMicros } = billOf(
      await broker.replica.costs.segmentsOf(session.id),
      0,
      clock.now() satisfies EpochMs,
    );
    const told = consumerMicros + operatorMicros;
    const suffix = session.id.slice('ses_'.length);
    const books = world.ours().filter(({ tag }) => tag?.includes(suffix));
    const real = books.reduce((sum, { micros }) => sum + micros, 0);
    const unseenMs = Math.max(
      blindMs,
      mood === 'calm'
        ? billedUnseen
          ? LISTS_MS
          : LOOKS_MS
        : LISTS_MS + longestBlindness(session.createdAt) + (market.silenceMs ?? 0),
    );
    const perHour = attempts.reduce((sum, { priceMicrosPerHour }) => sum + priceMicrosPerHour, 0);
    const tolerance = real * (COST_TOLERANCE + (market.untoldPriceShare ?? 0)) + (perHour * unseenMs) / HOUR_MS;
    const ending = market.provesEndsLate === true ? attempts.reduce((sum, attempt) => sum + costOfUnseenEnd(attempt), 0) : 0;
    assert.ok(
      real - told <= tolerance && told - real <= tolerance + ending,
      `session ${session.id} (${session.status}, ${session.reason}) cost ${real} micro-dollars by the vendor's books, ${told} by ours`,
    );
    return { told, real };
  }
}

/** A container has ten seconds to stop after its Host has closed its row. */
const STOPPING_MS = 15 * SECOND_MS;

function isKnown({ tag }: Book, sessions: ReadonlySet<SessionId>): boolean {
  const parts = tag === undefined ? undefined : parseOwnershipTag(tag);
  return parts !== undefined && sessions.has(parts.sessionId);
}

function storyOf({ session, attempts }: SessionRecord): string {
  const outcomes = attempts.map(({ ordinal, state, outcome, error }) => `${ordinal}: ${state} ${outcome ?? ''} ${error ?? ''}`);
  const { status, phase, reason, error }: Session = session;
  return `${status} (${phase}, ${reason}, ${error}) after ${outcomes.join('; ') || 'no attempt'}`;
}
