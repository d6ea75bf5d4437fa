import type Sqlite from 'better-sqlite3';
import type { Clock } from '../../src/core/clock.ts';
import type { SessionId } from '../../src/core/ids.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { billOf } from '../../src/costs/bill.ts';
import { createCostRepository } from '../../src/costs/cost-repository.ts';
import { createAuditRepository } from '../../src/db/audit-repository.ts';
import type { Store } from '../../src/db/store.ts';
import { brokenInvariants } from '../../src/sessions/invariants.ts';
import { receiptOf } from '../../src/sessions/receipt.ts';
import { createSessionRepository } from '../../src/sessions/session-repository.ts';
import type { Cloud } from './cloud.ts';
import type { Acknowledged } from './consumers.ts';
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
  /** The sum of what each attempt was booked too much and too little. */
  readonly overbooked: MicroUsd;
  readonly underbooked: MicroUsd;
  /** Sessions whose books differ from the invoice, the worst first. */
  readonly misbooked: readonly { readonly id: SessionId; readonly booked: MicroUsd; readonly invoiced: MicroUsd }[];
  readonly eventKinds: ReadonlyMap<string, number>;
  /** Why sessions ended. */
  readonly reasons: ReadonlyMap<string, number>;
}

interface JudgeDeps {
  readonly store: Store;
  readonly database: Sqlite.Database;
  readonly clouds: readonly Cloud[];
  readonly clock: Clock;
  /** Told of each that is believed gone and lives. */
  readonly onEarly: (tag: string) => void;
}

interface AttemptRow {
  readonly session_id: SessionId;
  readonly ordinal: number;
  readonly tag: string;
  readonly gone_verified_at: number | null;
}

/** Looks on from outside: the vendor's truth, the rows, and what consumers were told. */
export function createJudge({ store, database, clouds, clock, onEarly }: JudgeDeps) {
  const sessions = createSessionRepository(store);
  const costs = createCostRepository(store);
  const audit = createAuditRepository(store);
  const attemptRows = database.prepare<[], AttemptRow>('select session_id, ordinal, tag, gone_verified_at from attempts');
  const openSessions = database.prepare<[], { id: SessionId; phase: string; status: string }>(
    "select id, phase, status from sessions where phase <> 'settled' or settled_cost_micros is null",
  );
  const livingStrays = database.prepare<[], { instance_id: string }>('select instance_id from strays where gone_at is null');
  const believedGone = new Set<string>();
  let closedWhileAlive = 0;

  const isAlive = (tag: string) => clouds.some((cloud) => cloud.isAlive(tag));

  return {
    /** After each step of time. */
    look(): void {
      for (const { tag, gone_verified_at } of attemptRows.all()) {
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
    },

    /** Whether everything has ended and been proven, and nothing of ours lives. */
    isSettled(): boolean {
      return (
        openSessions.all().length === 0 &&
        clouds.every((cloud) => cloud.livingOurs().length === 0) &&
        livingStrays.all().length === 0
      );
    },

    async conclude(acknowledged: readonly Acknowledged[]): Promise<Judgement> {
      const failures: string[] = clouds.flatMap(({ crimes }) => crimes);
      for (const cloud of clouds)
        for (const { id, tag, request } of cloud.livingOurs())
          failures.push(`leaked: ${id} at ${cloud.id} (tag ${tag ?? request?.tag}) lives`);
      for (const { id, phase, status } of openSessions.all()) failures.push(`stuck: session ${id} is ${status} (${phase})`);
      for (const { instance_id } of livingStrays.all()) failures.push(`stuck: stray ${instance_id} is not known to be gone`);
      const tags = clouds.flatMap((cloud) => cloud.madeTags());
      if (new Set(tags).size !== tags.length) failures.push('an attempt was carried out twice');
      for (const told of acknowledged) failures.push(...(await heldAgainst(told)));

      const rows = attemptRows.all();
      const eventKinds = new Map<string, number>();
      const reasons = new Map<string, number>();
      const misbooked: { id: SessionId; booked: MicroUsd; invoiced: MicroUsd }[] = [];
      let [booked, invoiced, overbooked, underbooked] = [0, 0, 0, 0];
      for (const id of new Set(rows.map((row) => row.session_id))) {
        const record = await sessions.find(id);
        if (!record) continue;
        const { attempts } = record;
        const { reason } = record.session;
        if (reason !== null) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        for (const { outcome } of attempts) if (outcome !== null) reasons.set(outcome, (reasons.get(outcome) ?? 0) + 1);
        failures.push(...brokenInvariants(record).map((sentence) => `session ${id} breaks: ${sentence}`));
        const events = await sessions.listEvents({ id, after: 0, limit: 10_000 });
        for (const { kind } of events) eventKinds.set(kind, (eventKinds.get(kind) ?? 0) + 1);
        if (events.some(({ version }, index) => index > 0 && version <= (events[index - 1]?.version ?? 0)))
          failures.push(`session ${id}: the versions of its events do not rise`);
        const lastEnd = events.findLast(({ kind }) => kind === 'session.stopped' || kind === 'session.failed')?.kind;
        if (lastEnd !== `session.${record.session.status}`)
          failures.push(`session ${id} is ${record.session.status}, its events say ${lastEnd}`);
        const segments = await costs.segmentsOf(id);
        const spends = attempts.map((attempt) =>
          judgeSpend({
            attempt,
            segments,
            lives: clouds.flatMap((cloud) => cloud.lives(attempt.tag)),
            invoiced: clouds.reduce((micros, cloud) => micros + cloud.invoice(attempt.tag), 0),
            cameBack: events.some(({ kind, data }) => kind === 'instance.reappeared' && data['attempt'] === attempt.ordinal),
            startsAt: clock.now() - clock.monotonicMs(),
            now: clock.now(),
          }),
        );
        failures.push(...spends.flatMap(({ failure }) => failure ?? []));
        const receipt = receiptOf(await audit.list(id));
        failures.push(...receipt.missing.map((sentence) => `the receipt of ${id}: ${sentence}`));
        const told = billOf(receipt.segments, 0, clock.now());
        const bill = billOf(segments, 0, clock.now());
        if (told.consumerMicros !== bill.consumerMicros || told.operatorMicros !== bill.operatorMicros)
          failures.push(`the receipt of ${id} tells another bill than its segments`);
        const ours = spends.reduce((sum, spend) => sum + spend.booked, 0);
        const real = spends.reduce((sum, spend) => sum + spend.invoiced, 0);
        booked += ours;
        invoiced += real;
        overbooked += Math.max(0, ours - real);
        underbooked += Math.max(0, real - ours);
        if (Math.abs(ours - real) > 1) misbooked.push({ id, booked: ours, invoiced: real });
      }
      return {
        failures,
        sessions: acknowledged.length,
        attempts: rows.length,
        instances: tags.length,
        closedWhileAlive,
        booked,
        invoiced,
        overbooked,
        underbooked,
        misbooked: misbooked.toSorted((a, b) => Math.abs(b.booked - b.invoiced) - Math.abs(a.booked - a.invoiced)),
        eventKinds,
        reasons,
      };
    },
  };

  async function heldAgainst({ sessionId, stopped, expiresAt }: Acknowledged): Promise<readonly string[]> {
    const record = await sessions.find(sessionId);
    if (!record) return [`lost: session ${sessionId} was acknowledged and is not there`];
    const { session } = record;
    return [
      ...(stopped && session.desired !== 'gone' ? [`lost: the stop of ${sessionId} was acknowledged and is forgotten`] : []),
      ...(session.expiresAt < expiresAt ? [`lost: the extension of ${sessionId} was acknowledged and is forgotten`] : []),
    ];
  }
}
