import { describe, expect, it } from 'vitest';
import { databases, DIALECTS, silentLog } from '../../test/support/stores.ts';
import { systemClock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { createAuditRepository } from '../db/audit-repository.ts';
import { openStoreOf } from '../db/open-store.ts';
import { berthSchema, type Schema } from '../db/schema.ts';
import { everyColumn, statement } from '../db/statement.ts';
import type { Session, SessionEvent } from '../db/tables.ts';
import { createOfferRepository } from '../offers/offer-repository.ts';
import { providerId } from '../provider/ids.ts';
import { aMarketOffer, aSession, SESSION_ID, START } from './fixtures/session-records.ts';
import { createSessionRepository } from './session-repository.ts';

/** What the first release made: listings were kept whole, and nobody shared them; two tables have grown since. */
const firstRelease = {
  defineTables(kit) {
    const { offerSlices: _, leases: _1, audit: _2, attempts: _3, observations: _4, ...kept } = berthSchema.defineTables(kit);
    const offerSnapshots = kit.table('offer_snapshots', {
      provider: kit.text('provider').primaryKey(),
      version: kit.int('version').notNull(),
      observedAt: kit.instant('observed_at').notNull(),
      dropped: kit.int('dropped').notNull(),
      offers: kit.json<readonly object[]>('offers'),
    });
    return { ...kept, offerSnapshots };
  },
  migrations: (dialect) => berthSchema.migrations(dialect).slice(0, 1),
} satisfies Schema<object>;

describe.each(DIALECTS)('an upgrade from the first release (%s)', (dialect) => {
  const create = databases(dialect, firstRelease);

  it('keeps sessions and their events; listings begin anew', async () => {
    const { open, path, url } = await create();
    const old = await open();
    const { offerSnapshots, sessions: sessionsThen, events: eventsThen } = old.tables;
    const snapshot = statement(
      'test.snapshot',
      (query, values: { provider: string; version: number; observedAt: number; dropped: number; offers: object[] }) =>
        query.insert(offerSnapshots).values(everyColumn(offerSnapshots, values)).returning({ version: offerSnapshots.version }),
    );
    await old.write(() =>
      snapshot({ provider: 'memory', version: 7, observedAt: START, dropped: 0, offers: [aMarketOffer()] }),
    );
    const session = aSession();
    const event: SessionEvent = { sessionId: SESSION_ID, version: 1, kind: 'session.requested', at: START, data: {} };
    const insertSession = statement('test.session', (query, values: Session) =>
      query.insert(sessionsThen).values(everyColumn(sessionsThen, values)).returning({ id: sessionsThen.id }),
    );
    const insertEvent = statement('test.event', (query, values: SessionEvent) =>
      query.insert(eventsThen).values(everyColumn(eventsThen, values)).returning({ version: eventsThen.version }),
    );
    await old.write(() => insertSession(session));
    await old.write(() => insertEvent(event));
    await old.close();

    const store = await openStoreOf(berthSchema, {
      path,
      url,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      onFatal: () => {},
    });

    const sessions = createSessionRepository(store);
    expect((await sessions.find(SESSION_ID))?.session).toEqual(session);
    expect(await createAuditRepository(store).list(SESSION_ID)).toEqual([]);
    const offers = createOfferRepository(store);
    const key = { provider: providerId('memory'), account: 'a', slice: '' };
    expect(await offers.saveSlice(key, { offers: [aMarketOffer()], observedAt: START, dropped: 0, term: 1 })).toBe('written');
    await store.close();
  });
});
