import { drizzle } from 'drizzle-orm/better-sqlite3';
import { describe, expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { databases, describeEachStore } from '../../test/support/stores.ts';
import { DAY_MS, HOUR_MS, SECOND_MS } from '../core/duration.ts';
import { berthSchema } from '../db/schema.ts';
import { SqliteDatabase } from '../db/sqlite-driver.ts';
import type { Call } from '../db/statement.ts';
import { providerId } from '../provider/ids.ts';
import type { Fact } from './fact.ts';
import { SESSION_ID, START, aSession, anIntent } from './fixtures/session-records.ts';
import { createSessionRepository } from './session-repository.ts';
import { insert, live, begun, acceptedOf } from './fixtures/stored-sessions.ts';

describeEachStore('session repository', (open) => {
  const repository = async () => createSessionRepository(await open());

  describe('what is due', () => {
    it('finds sessions that wait for an attempt when it is time, and when the next one will be due', async () => {
      const sessions = await repository();
      const [a, b, c, d] = [1, 2, 3, 4].map((count) => countedId('ses', count));
      if (!a || !b || !c || !d) throw new Error('four ids');
      await insert(sessions, { id: a, dueAt: START + 2 });
      await insert(sessions, { id: b, dueAt: START + 1 });
      await insert(sessions, { id: c, dueAt: START + HOUR_MS });
      await insert(sessions, { id: d });
      await live(sessions, d, [begun(d)]);

      expect((await sessions.findAwaitingAttempt({ now: START + 2, limit: 10 })).map(({ id }) => id)).toEqual([b, a]);
      expect(await sessions.findAwaitingAttempt({ now: START + 2, limit: 1 })).toHaveLength(1);
      expect(await sessions.nextAwaitingAttemptAt(START + 2)).toBe(START + HOUR_MS);
      expect(await sessions.nextAwaitingAttemptAt(START + HOUR_MS)).toBeUndefined();
    });

    it('RULE-R4: a session whose former attempt is not accepted as gone is not due for the next', async () => {
      const sessions = await repository();
      await insert(sessions, { request: { ...aSession().request, autoRetry: true } });
      const record = await live(sessions, SESSION_ID, [begun()]);
      const failed: Fact = { kind: 'attempt_failed', ordinal: 1, reason: 'gpu_mismatch', message: 'x' };
      await live(sessions, SESSION_ID, [acceptedOf(record), failed]);
      expect(await sessions.findAwaitingAttempt({ now: START + DAY_MS, limit: 10 })).toEqual([]);

      await live(sessions, SESSION_ID, [{ kind: 'destroy_answered', ordinal: 1, result: 'gone' }]);
      expect(await sessions.findAwaitingAttempt({ now: START + DAY_MS, limit: 10 })).toHaveLength(1);
    });

    it('finds attempts by state and time, by tag, by provider, and those that are alive and wanted', async () => {
      const sessions = await repository();
      await insert(sessions);
      const intent = await live(sessions, SESSION_ID, [begun()]);
      const dueAt = START + 90 * SECOND_MS;
      expect(await sessions.findDueAttempts({ state: 'intent', now: dueAt - 1, limit: 9 })).toEqual([]);
      expect(await sessions.findDueAttempts({ state: 'intent', now: dueAt, limit: 9 })).toEqual(intent.attempts);
      expect(await sessions.nextDueAttemptAt('intent', START)).toBe(dueAt);
      expect(await sessions.nextDueAttemptAt('intent', dueAt)).toBeUndefined();
      expect(await sessions.findHeld(providerId('cloud'))).toEqual([]);

      const { attempts } = await live(sessions, SESSION_ID, [acceptedOf(intent)]);
      const [attempt] = attempts;
      if (!attempt) throw new Error('an attempt');
      expect(await sessions.findByTag(attempt.tag)).toEqual(attempt);
      expect(await sessions.findHeld(providerId('cloud'))).toEqual([attempt]);
      expect(await sessions.findHeld(providerId('other'))).toEqual([]);
      expect(await sessions.findLive({ status: 'provisioning', limit: 9 })).toEqual([attempt]);
      expect(await sessions.findLive({ status: 'running', limit: 9 })).toEqual([]);

      await live(sessions, SESSION_ID, [{ kind: 'stop_requested', reason: 'idle' }]);
      expect(await sessions.findLive({ status: 'provisioning', limit: 9 })).toEqual([]);
      expect(await sessions.unconfirmedDestroys()).toEqual({ count: 1, oldestAt: START });
      expect(await sessions.countReappeared()).toEqual([]);
    });

    it('counts what came back after its session had ended, until it is gone again', async () => {
      const sessions = await repository();
      await insert(sessions);
      const accepted = acceptedOf(await live(sessions, SESSION_ID, [begun()]));
      const gone: Fact = { kind: 'destroy_answered', ordinal: 1, result: 'gone' };
      await live(sessions, SESSION_ID, [accepted, { kind: 'stop_requested', reason: 'idle' }, gone]);
      expect(await sessions.countReappeared()).toEqual([]);

      if (accepted.kind !== 'create_accepted') throw new Error('it was accepted');
      await live(sessions, SESSION_ID, [{ kind: 'seen', ordinal: 1, by: 'get', instance: accepted.instance }]);
      expect(await sessions.countReappeared()).toEqual([{ provider: 'cloud', count: 1 }]);

      await live(sessions, SESSION_ID, [gone]);
      expect(await sessions.countReappeared()).toEqual([]);
    });

    it('tells what may exist unwanted or unknown, since when, and what it costs an hour by its open segment or else as offered', async () => {
      const sessions = await repository();
      const [destroyed, lost, alive] = [countedId('ses', 1), countedId('ses', 2), countedId('ses', 3)];
      for (const id of [destroyed, lost, alive]) await insert(sessions, { id });
      const accepted = acceptedOf(await live(sessions, destroyed, [begun(destroyed)]));
      await live(sessions, alive, [acceptedOf(await live(sessions, alive, [begun(alive)]))]);
      await live(sessions, lost, [begun(lost), { kind: 'create_unknown', ordinal: 1, message: 'no answer' }]);
      if (accepted.kind !== 'create_accepted') throw new Error('it was accepted');
      const dearer = { ...accepted.instance, priceMicrosPerHour: 345_000 };
      await live(sessions, destroyed, [
        accepted,
        { kind: 'seen', ordinal: 1, by: 'get', instance: dearer },
        { kind: 'stop_requested', reason: 'idle' },
      ]);

      const rows = await sessions.unconfirmedAttempts();

      expect(rows.toSorted((one, other) => (one.state < other.state ? -1 : 1))).toEqual([
        { provider: 'cloud', state: 'destroying', count: 1, microsPerHour: 345_000, oldestAt: START },
        { provider: 'cloud', state: 'unknown', count: 1, microsPerHour: 340_000, oldestAt: START },
      ]);
      expect(await sessions.countClosedAttempts()).toBe(0);
    });

    it('counts attempts that are over, a refused one among them: its tag is watched, too', async () => {
      const sessions = await repository();
      await insert(sessions);
      await live(sessions, SESSION_ID, [
        begun(),
        { kind: 'create_refused', ordinal: 1, refusal: { kind: 'capacity', message: 'taken' } },
      ]);

      expect(await sessions.countClosedAttempts()).toBe(1);
      expect(await sessions.unconfirmedAttempts()).toEqual([]);
    });

    it('finds what has expired and is still wanted, and when the next will', async () => {
      const sessions = await repository();
      const [a, b] = [countedId('ses', 1), countedId('ses', 2)];
      await insert(sessions, { id: a, expiresAt: START + 10, hardDeadlineAt: START + 20 });
      await insert(sessions, { id: b, expiresAt: START + 30, hardDeadlineAt: START + 40 });

      expect(await sessions.findExpired({ now: START + 9, limit: 9 })).toEqual([]);
      expect((await sessions.findExpired({ now: START + 10, limit: 9 })).map(({ id }) => id)).toEqual([a]);
      expect((await sessions.findPastHardDeadline({ now: START + 40, limit: 9 })).map(({ id }) => id)).toEqual([a, b]);
      expect(await sessions.nextExpiryAt(START + 10)).toBe(START + 30);
      await live(sessions, a, [{ kind: 'stop_requested', reason: 'expired' }]);
      expect(await sessions.findExpired({ now: START + 29, limit: 9 })).toEqual([]);
      expect(await sessions.nextExpiryAt(START + 30)).toBeUndefined();
    });

    it('finds the ended whose cost is not fixed, but only once their bill is closed', async () => {
      const sessions = await repository();
      await insert(sessions);
      const record = await live(sessions, SESSION_ID, [begun()]);
      await live(sessions, SESSION_ID, [acceptedOf(record), { kind: 'stop_requested', reason: 'idle' }]);
      expect(await sessions.findUnsettled({ limit: 9 })).toEqual([]);

      await live(sessions, SESSION_ID, [{ kind: 'destroy_answered', ordinal: 1, result: 'gone' }]);
      expect(await sessions.findUnsettled({ limit: 9 })).toHaveLength(1);
      await live(sessions, SESSION_ID, [{ kind: 'settled', costMicros: 1 }]);
      expect(await sessions.findUnsettled({ limit: 9 })).toEqual([]);
    });

    it('finds running sessions whose idleness is watched', async () => {
      const sessions = await repository();
      for (const [count, idleThresholdMinutes] of [30, 0].entries()) {
        const id = countedId('ses', count + 1);
        await insert(sessions, { id, idleThresholdMinutes, status: 'running', phase: 'running' });
      }

      expect((await sessions.findIdleWatched({ limit: 9 })).map(({ id }) => id)).toEqual([countedId('ses', 1)]);
      expect(await sessions.countLive()).toEqual([{ provider: 'cloud', status: 'running', count: 2 }]);
    });
  });
});

describe('session repository on a SQLite file', () => {
  const create = databases('sqlite', berthSchema);

  it('looks for what is due by an index, not through every row', async () => {
    const database = await create();
    const store = await database.open();
    const asked: Call[] = [];
    const sessions = createSessionRepository({
      ...store,
      read: async (call) => {
        asked.push(call);
        return [];
      },
    });
    const page = { now: START, limit: 9 };
    await sessions.findDueAttempts({ ...page, state: 'intent' });
    await sessions.nextDueAttemptAt('intent', START);
    await sessions.findAwaitingAttempt(page);
    await sessions.nextAwaitingAttemptAt(START);
    await sessions.findLive({ status: 'running', limit: 9 });
    await sessions.findHeld(providerId('cloud'));
    await sessions.findByTag(anIntent().tag);
    await sessions.findIdleWatched(page);
    await sessions.findUnsettled(page);
    await sessions.findExpired(page);
    await sessions.findPastHardDeadline(page);
    await sessions.findRetired({ ...page, before: START });
    await sessions.countLive();
    await sessions.countReappeared();
    await sessions.unconfirmedDestroys();
    await sessions.unconfirmedAttempts();
    await sessions.countClosedAttempts();
    await sessions.listEvents({ id: SESSION_ID, after: 0, limit: 9 });

    const file = new SqliteDatabase(database.path, { readonly: true });
    try {
      const plans = asked.map(({ definition }) => {
        // holds because what is built on a connection of Drizzle's is one of its queries
        const query = definition.build(drizzle(file)) as unknown as { toSQL(): { sql: string; params: unknown[] } };
        const { sql: text, params } = query.toSQL();
        const steps = file.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...params.map(() => 1)) as { detail: string }[]; // SQLite's own columns
        return [definition.name, steps.map(({ detail }) => detail)] as const;
      });

      expect(plans).toHaveLength(18);
      for (const [name, details] of plans)
        expect(
          details.filter((detail) => detail.startsWith('SCAN')),
          name,
        ).toEqual([]);
      expect(Object.fromEntries(plans)['attempt.find-due']?.[0]).toContain('attempts_state_due (state=? AND due_at<?)');
      expect(Object.fromEntries(plans)['session.find-awaiting-attempt']?.[0]).toContain(
        'sessions_status_due (status=? AND due_at<?)',
      );
    } finally {
      file.close();
    }
  });
});
