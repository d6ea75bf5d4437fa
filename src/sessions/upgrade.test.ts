import { describe, expect, it } from 'vitest';
import { databases, DIALECTS, silentLog } from '../../test/support/stores.ts';
import { systemClock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { openStoreOf } from '../db/open-store.ts';
import { berthSchema, type Schema } from '../db/schema.ts';
import { everyColumn, statement } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import { createOfferRepository } from '../offers/offer-repository.ts';
import { providerId } from '../provider/ids.ts';
import { aMarketOffer, aSession, nothingBeside, SESSION_ID, START } from './fixtures/session-records.ts';
import { createSessionRepository } from './session-repository.ts';

/** What the first release made: listings were kept whole, and nobody shared them. */
const firstRelease = {
  defineTables(kit) {
    const { offerSlices: _, leases: __, ...kept } = berthSchema.defineTables(kit);
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
    const { offerSnapshots } = old.tables;
    const snapshot = statement(
      'test.snapshot',
      (query, values: { provider: string; version: number; observedAt: number; dropped: number; offers: object[] }) =>
        query.insert(offerSnapshots).values(everyColumn(offerSnapshots, values)).returning({ version: offerSnapshots.version }),
    );
    await old.write(() =>
      snapshot({ provider: 'memory', version: 7, observedAt: START, dropped: 0, offers: [aMarketOffer()] }),
    );
    const session = aSession();
    const sessionsThen = createSessionRepository(old as unknown as Store); // holds because the tables of sessions are in both builds
    const event = { sessionId: SESSION_ID, version: 1, kind: 'session.requested', at: START, data: {} };
    await sessionsThen.insert({ session, event, secrets: [], beside: nothingBeside });
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
    const offers = createOfferRepository(store);
    const key = { provider: providerId('memory'), account: 'a', slice: '' };
    expect(await offers.saveSlice(key, { offers: [aMarketOffer()], observedAt: START, dropped: 0, term: 1 })).toBe('written');
    await store.close();
  });
});
