import type Sqlite from 'better-sqlite3';
import type { Clock } from '../../src/core/clock.ts';
import type { SessionId } from '../../src/core/ids.ts';
import type { DeploymentId } from '../../src/provider/ownership-tag.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { billOf } from '../../src/costs/bill.ts';
import { createCostRepository } from '../../src/costs/cost-repository.ts';
import { createAuditRepository } from '../../src/db/audit-repository.ts';
import type { Store } from '../../src/db/store.ts';
import { brokenInvariants } from '../../src/sessions/invariants.ts';
import { receiptOf } from '../../src/sessions/receipt.ts';
import { createSessionRepository } from '../../src/sessions/session-repository.ts';
import type { Cloud } from './cloud.ts';
import type { Acknowledged, Kept } from './consumers.ts';
import type { Intents } from './intents.ts';
import { judgeSpend } from './judge-spend.ts';

/** What was found wrong, and what was counted. */
export interface Judgement {
  readonly failures: readonly string[];
  readonly sessions: number;
  readonly attempts: number;
  readonly instances: number;
  /** Believed gone for good while it lived. */
  readonly closedWhileAlive: number;
  /** What the broker booked, and what the vendors charge, micro-dollars. */
  readonly booked: MicroUsd;
  readonly invoiced: MicroUsd;
  readonly eventKinds: ReadonlyMap<string, number>;
  /** Why sessions ended. */
  readonly reasons: ReadonlyMap<string, number>;
}

export interface Judge {
  /** After each step of time: what must hold at every moment. */
  look(acknowledged: readonly Acknowledged[]): Promise<void>;
  /** What the database says of a session. */
  told(id: SessionId): Kept | undefined;
  /** The database was replaced by an older one: what was begun before may have no row. */
  rolledBack(): void;
  /** Whether everything has ended and been proven, and nothing of ours lives. */
  isSettled(): boolean;
  conclude(acknowledged: readonly Acknowledged[]): Promise<Judgement>;
}

interface JudgeDeps {
  readonly id: DeploymentId;
  readonly store: Store;
  readonly database: Sqlite.Database;
  readonly clouds: readonly Cloud[];
  readonly intents: Intents;
  readonly clock: Clock;
  readonly onFailure: (sentence: string) => void;
  /** Told of each that is believed gone and lives. */
  readonly onEarly: (tag: string) => void;
}

interface AttemptRow {
  readonly session_id: SessionId;
  readonly ordinal: number;
  readonly tag: string;
  readonly gone_verified_at: number | null;
}

interface SessionRow {
  readonly id: SessionId;
  readonly version: number;
  readonly desired: string;
  readonly expires_at: number;
}

/** Looks on from outside: the vendor's truth, the rows, and what consumers were told. */
export function createJudge({ id: deployment, store, database, clouds, intents, clock, onEarly, onFailure }: JudgeDeps): Judge {
  const sessions = createSessionRepository(store);
  const costs = createCostRepository(store);
  const audit = createAuditRepository(store);
  const attemptRows = database.prepare<[], AttemptRow>('select session_id, ordinal, tag, gone_verified_at from attempts');
  const sessionRows = database.prepare<[], SessionRow>('select id, version, desired, expires_at from sessions');
  const sessionRow = database.prepare<[string], SessionRow>(
    'select id, version, desired, expires_at from sessions where id = ?',
  );
  const openSessions = database.prepare<[], { id: SessionId; phase: string; status: string }>(
    "select id, phase, status from sessions where phase <> 'settled' or settled_cost_micros is null",
  );
  const livingStrays = database.prepare<[], { instance_id: string }>('select instance_id from strays where gone_at is null');
  const believedGone = new Set<string>();
  const failures = new Set<string>();
  const versions = new Map<SessionId, number>();
  let restoredAt = Number.NEGATIVE_INFINITY;
  let closedWhileAlive = 0;

  const isAlive = (tag: string) => clouds.some((cloud) => cloud.isAlive(tag));

  function fail(sentence: string): void {
    if (failures.has(sentence)) return;
    failures.add(sentence);
    onFailure(sentence);
  }

  /** What a verdict must not say: that something is gone which lives. */
  function lookForFalseEnds(rows: readonly AttemptRow[]): void {
    for (const { tag, gone_verified_at } of rows) {
      if (gone_verified_at === null) {
        believedGone.delete(tag);
        continue;
      }
      if (believedGone.has(tag)) continue;
      believedGone.add(tag);
      if (!isAlive(tag)) continue;
      closedWhileAlive += 1;
      onEarly(tag);
    }
  }

  /** No instance without a row (RULE-R1), but for those whose rows were lost. */
  function lookForUnwritten(rows: readonly AttemptRow[]): void {
    const written = new Set(rows.map(({ tag }) => tag));
    for (const cloud of clouds)
      for (const { id, request } of cloud.livingOf(deployment)) {
        const tag = request?.tag ?? '';
        if (!written.has(tag) && !intents.isBefore(tag, restoredAt))
          fail(`${id} lives, and nobody has written ${tag} (RULE-R1)`);
      }
  }

  function heldAgainst({ sessionId, stopped, expiresAt, isLost }: Acknowledged, row: SessionRow | undefined): void {
    if (isLost) return;
    if (!row) return fail(`lost: session ${sessionId} was acknowledged and is not there`);
    if (stopped && row.desired !== 'gone') fail(`lost: the stop of ${sessionId} was acknowledged and is forgotten`);
    if (row.expires_at < expiresAt) fail(`lost: the extension of ${sessionId} was acknowledged and is forgotten`);
  }

  /** The row of a session against what must always hold, and against its events. */
  async function lookAt(id: SessionId) {
    const record = await sessions.find(id);
    if (!record) return undefined;
    for (const sentence of brokenInvariants(record)) fail(`session ${id} breaks: ${sentence}`);
    const events = await sessions.listEvents({ id, after: 0, limit: 10_000 });
    if (events.some(({ version }, index) => index > 0 && version <= (events[index - 1]?.version ?? 0)))
      fail(`session ${id}: the versions of its events do not rise`);
    const lastEnd = events.findLast(({ kind }) => kind === 'session.stopped' || kind === 'session.failed')?.kind;
    const { status } = record.session;
    if (lastEnd !== (status === 'stopped' || status === 'failed' ? `session.${status}` : undefined))
      fail(`session ${id} is ${status}, its events say ${lastEnd ?? 'no end'}`);
    return { record, events };
  }

  return {
    async look(acknowledged) {
      const rows = attemptRows.all();
      lookForFalseEnds(rows);
      lookForUnwritten(rows);
      const kept = new Map(sessionRows.all().map((row) => [row.id, row]));
      for (const told of acknowledged) heldAgainst(told, kept.get(told.sessionId));
      for (const { id, version } of kept.values()) {
        if (versions.get(id) === version) continue;
        versions.set(id, version);
        await lookAt(id);
      }
    },

    told(id) {
      const row = sessionRow.get(id);
      return row && { isStopped: row.desired === 'gone', expiresAt: row.expires_at };
    },

    rolledBack() {
      restoredAt = clock.monotonicMs();
      versions.clear();
    },

    /** Whether everything has ended and been proven, and nothing of ours lives. */
    isSettled(): boolean {
      return (
        openSessions.all().length === 0 &&
        clouds.every((cloud) => cloud.livingOf(deployment).length === 0) &&
        livingStrays.all().length === 0
      );
    },

    async conclude(acknowledged: readonly Acknowledged[]): Promise<Judgement> {
      for (const cloud of clouds)
        for (const { id, tag, request } of cloud.livingOf(deployment))
          fail(`leaked: ${id} at ${cloud.id} (tag ${tag ?? request?.tag}) lives`);
      for (const { id, phase, status } of openSessions.all()) fail(`stuck: session ${id} is ${status} (${phase})`);
      for (const { instance_id } of livingStrays.all()) fail(`stuck: stray ${instance_id} is not known to be gone`);
      const tags = clouds.flatMap((cloud) => cloud.madeTags(deployment));
      const single = tags.filter((tag) => !intents.mayComeAgain(tag));
      if (new Set(single).size !== single.length) fail('an attempt was carried out twice');
      for (const told of acknowledged) heldAgainst(told, sessionRow.get(told.sessionId));

      const rows = attemptRows.all();
      const eventKinds = new Map<string, number>();
      const reasons = new Map<string, number>();
      let [booked, invoiced] = [0, 0];
      for (const id of new Set(rows.map((row) => row.session_id))) {
        const seen = await lookAt(id);
        if (!seen) continue;
        const { record, events } = seen;
        const { attempts } = record;
        const { reason } = record.session;
        if (reason !== null) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        for (const { outcome } of attempts) if (outcome !== null) reasons.set(outcome, (reasons.get(outcome) ?? 0) + 1);
        for (const { kind } of events) eventKinds.set(kind, (eventKinds.get(kind) ?? 0) + 1);
        const segments = await costs.segmentsOf(id);
        const spends = attempts.map((attempt) =>
          judgeSpend({
            attempt,
            segments,
            lives: clouds.flatMap((cloud) => cloud.lives(attempt.tag)),
            invoiced: clouds.reduce((micros, cloud) => micros + cloud.invoice(attempt.tag), 0),
            mayBeTwo: intents.mayComeAgain(attempt.tag),
            cameBack: events.some(({ kind, data }) => kind === 'instance.reappeared' && data['attempt'] === attempt.ordinal),
            startsAt: clock.now() - clock.monotonicMs(),
            now: clock.now(),
          }),
        );
        for (const { failure } of spends) if (failure !== undefined) fail(failure);
        const receipt = receiptOf(await audit.list(id));
        for (const sentence of receipt.missing) fail(`the receipt of ${id}: ${sentence}`);
        const told = billOf(receipt.segments, 0, clock.now());
        const bill = billOf(segments, 0, clock.now());
        if (told.consumerMicros !== bill.consumerMicros || told.operatorMicros !== bill.operatorMicros)
          fail(`the receipt of ${id} tells another bill than its segments`);
        booked += spends.reduce((sum, spend) => sum + spend.booked, 0);
        invoiced += spends.reduce((sum, spend) => sum + spend.invoiced, 0);
      }
      return {
        failures: [...failures],
        sessions: acknowledged.length,
        attempts: rows.length,
        instances: tags.length,
        closedWhileAlive,
        booked,
        invoiced,
        eventKinds,
        reasons,
      };
    },
  };
}

/** Of all deployments of a world. */
export function addedUp(judgements: readonly Judgement[]): Judgement {
  const sum = (of: (judgement: Judgement) => number) => judgements.reduce((total, each) => total + of(each), 0);
  return {
    failures: judgements.flatMap(({ failures }) => failures),
    sessions: sum(({ sessions }) => sessions),
    attempts: sum(({ attempts }) => attempts),
    instances: sum(({ instances }) => instances),
    closedWhileAlive: sum((each) => each.closedWhileAlive),
    booked: sum(({ booked }) => booked),
    invoiced: sum(({ invoiced }) => invoiced),
    eventKinds: added(judgements.map(({ eventKinds }) => eventKinds)),
    reasons: added(judgements.map(({ reasons }) => reasons)),
  };
}

/** The sum of what several counted by name. */
export function added(counts: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const [name, count] of counts.flatMap((each) => [...each])) sums.set(name, (sums.get(name) ?? 0) + count);
  return sums;
}
