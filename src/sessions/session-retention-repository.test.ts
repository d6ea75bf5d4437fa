import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { databases, describeEachStore } from '../../test/support/stores.ts';
import { DAY_MS, MINUTE_MS } from '../core/duration.ts';
import { berthSchema } from '../db/schema.ts';
import { SESSION_ID, START, aSession, nothingBeside } from './fixtures/session-records.ts';
import { createSessionRepository } from './session-repository.ts';
import { requested, aSecret, aKey, live, begun, acceptedOf, rowsOf } from './fixtures/stored-sessions.ts';

describeEachStore('session repository', (open) => {
  const repository = async () => createSessionRepository(await open());

  describe('what is kept, and for how long', () => {
    it('shreds keys whose time is over, and no others', async () => {
      const sessions = await repository();
      const secrets = [
        aSecret('over', SESSION_ID, START),
        aSecret('later', SESSION_ID, START + 1),
        aSecret('probe', SESSION_ID, null),
      ];
      await sessions.insert({ session: aSession(), event: requested(), secrets, beside: nothingBeside });

      expect(await sessions.shredExpired(START)).toBe(1);

      expect(await sessions.findSecret('sec_over')).toBeUndefined();
      expect(await sessions.findSecret('sec_later')).toBeDefined();
      expect(await sessions.findSecret('sec_probe')).toBeDefined();
      expect(await sessions.shredExpired(START)).toBe(0);
    });

    it('retires what is settled and past both its retention and its tombstone, with everything that refers to it', async () => {
      const store = await open();
      const sessions = createSessionRepository(store);
      await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [aSecret('a', SESSION_ID, null)],
        beside: nothingBeside,
      });
      const clock = new FakeClock(START);
      const record = await live(sessions, SESSION_ID, [begun()], clock);
      await live(
        sessions,
        SESSION_ID,
        [
          acceptedOf(record),
          { kind: 'stop_requested', reason: 'idle' },
          { kind: 'destroy_answered', ordinal: 1, result: 'gone' },
        ],
        clock,
      );
      for (let minute = 0; minute < 17; minute += 1) {
        await clock.advance(MINUTE_MS);
        await live(
          sessions,
          SESSION_ID,
          [
            { kind: 'missing', ordinal: 1, by: 'get' },
            { kind: 'missing', ordinal: 1, by: 'list' },
          ],
          clock,
        );
      }
      const retired = (days: number) =>
        sessions.findRetired({ before: clock.now() + days * DAY_MS - 30 * DAY_MS, now: clock.now() + days * DAY_MS, limit: 9 });
      expect(await retired(91)).toEqual([]); // its cost is not fixed
      await live(sessions, SESSION_ID, [{ kind: 'settled', costMicros: 1 }], clock);
      expect(await retired(20)).toEqual([]);
      expect(await retired(89)).toEqual([]); // its tombstone stands
      expect(await retired(91)).toEqual([SESSION_ID]);

      await sessions.purge(SESSION_ID);

      for (const table of ['sessions', 'attempts', 'events', 'idempotency', 'secrets', 'costSegments', 'claims'] as const)
        expect(await rowsOf(store, table), table).toEqual([]);
    });

    it('forgets idempotency keys whose time is over', async () => {
      const sessions = await repository();
      await sessions.insert({
        session: aSession(),
        event: requested(),
        idempotency: aKey(),
        secrets: [],
        beside: nothingBeside,
      });

      expect(await sessions.purgeIdempotency(START + DAY_MS - 1)).toBe(0);
      expect(await sessions.purgeIdempotency(START + DAY_MS)).toBe(1);
    });
  });
});

describe('session repository on a SQLite file', () => {
  const create = databases('sqlite', berthSchema);

  it('REL-H8: a shredded key is not in the file any more', async () => {
    const database = await create();
    const store = await database.open();
    const sessions = createSessionRepository(store);
    const canary = { ...aSecret('a', SESSION_ID, START), sealed: 'CANARY-OF-A-SEALED-KEY' };
    await sessions.insert({ session: aSession(), event: requested(), secrets: [canary], beside: nothingBeside });
    await store.scrub();
    const bytes = () => [database.path, `${database.path}-wal`].map((path) => readFileSync(path, 'latin1')).join('');
    expect(bytes()).toContain(canary.sealed);

    await sessions.shredExpired(START);
    expect(await store.scrub()).toBe(true);

    expect(bytes()).not.toContain(canary.sealed);
  });
});
