import { expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { describeEachStore, silentLog } from '../../test/support/stores.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import type { Session } from '../db/tables.ts';
import { providerId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import type { Offer } from '../provider/offer.ts';
import {
  PROOF,
  RULES,
  aMarketOffer,
  aSession,
  anInstance,
  anIntent,
  nothingBeside,
} from '../sessions/fixtures/session-records.ts';
import type { Fact } from '../sessions/fact.ts';
import { createSessionChanges } from '../sessions/session-changes.ts';
import { createSessionRepository } from '../sessions/session-repository.ts';
import { createSessionWriter } from '../sessions/session-writer.ts';
import { createCostRepository } from './cost-repository.ts';
import { createLedger } from './ledger.ts';

const JANUARY = { from: Date.parse('2026-01-01T00:00:00Z'), until: Date.parse('2026-02-01T00:00:00Z') };
const FEBRUARY = { from: JANUARY.until, until: Date.parse('2026-03-01T00:00:00Z') };
/** Costs the same whatever its state, so that the sums can be written down. */
const FLAT = { ...RULES, billingOf: () => ({ starting: 'full', paused: 'full' }) as const };
const HOURLY = 600_000;

const ascending = (one: number, other: number) => one - other;

describeEachStore('the ledger', (open) => {
  async function aBroker(startsAt = '2026-01-10T00:00:00Z') {
    const store = await open();
    const clock = new FakeClock(startsAt);
    const sessions = createSessionRepository(store);
    const writer = createSessionWriter({ sessions, clock, changes: createSessionChanges(), rules: FLAT, log: silentLog });
    const costs = createCostRepository(store);
    const ledger = createLedger({ costs, clock });
    let count = 0;

    /** A session whose first create call is under way. */
    async function request(overrides: Partial<Session> = {}, offered: Partial<Offer> = {}) {
      const id = countedId('ses', (count += 1));
      const offer = aMarketOffer(`offer-${count}`, { priceMicrosPerHour: HOURLY, ...offered });
      const createdAt = clock.now();
      const times = {
        createdAt,
        updatedAt: createdAt,
        expiresAt: createdAt + 12 * HOUR_MS,
        hardDeadlineAt: createdAt + 12 * HOUR_MS,
      };
      await sessions.insert({
        session: aSession({ id, offer, ...times, ...overrides }),
        event: { sessionId: id, version: 1, kind: 'session.requested', at: createdAt, data: {} },
        secrets: [],
        beside: nothingBeside,
      });
      const attempt = anIntent(1, { sessionId: id, offer, intentAt: createdAt });
      await tell(id, { kind: 'attempt_begun', attempt });
      const instance: Instance = { ...anInstance('running'), tag: attempt.tag };
      return { id, instance };
    }
    /** A session whose create has just been accepted. */
    async function rent(...wish: Parameters<typeof request>) {
      const { id, instance } = await request(...wish);
      await tell(id, { kind: 'create_accepted', ordinal: 1, instance });
      return { id, instance };
    }
    async function tell(id: SessionId, ...facts: Fact[]): Promise<void> {
      for (const fact of facts) await writer.apply(id, fact);
    }
    const proven: Fact = { kind: 'proven', ordinal: 1, proof: PROOF };
    const stop: Fact = { kind: 'stop_requested', reason: 'user_requested' };
    const gone: Fact = { kind: 'destroy_answered', ordinal: 1, result: 'gone' };
    return { clock, costs, ledger, request, rent, tell, proven, stop, gone };
  }

  it('PEER-11.2.8: a session of fifty minutes costs fifty minutes, while it runs and for ever after', async () => {
    const { clock, ledger, rent, tell, proven, stop, gone } = await aBroker();
    const { id } = await rent();
    await tell(id, proven);

    await clock.advance(25 * MINUTE_MS);
    expect((await ledger.billOfSession(id)).consumerMicros).toBe(250_000);
    await clock.advance(25 * MINUTE_MS);
    await tell(id, stop, gone);
    await clock.advance(DAY_MS);

    expect(await ledger.billOfSession(id)).toEqual({ consumerMicros: 500_000, operatorMicros: 0, hours: 50 / 60 });
  });

  it('PEER-11.2.8: a boot that failed costs the consumer nothing, whatever clock hours it touched', async () => {
    const { clock, ledger, rent, tell, gone } = await aBroker('2026-01-10T00:55:00Z');
    const { id } = await rent();

    await clock.advance(10 * MINUTE_MS);
    await tell(id, { kind: 'attempt_failed', ordinal: 1, reason: 'ssh_verify_timeout', message: 'no login' }, gone);

    expect(await ledger.billOfSession(id)).toEqual({ consumerMicros: 0, operatorMicros: 100_000, hours: 0 });
    expect(await ledger.summary(JANUARY)).toMatchObject({
      consumerMicros: 0,
      operatorMicros: 100_000,
      sessionCount: 0,
      byProvider: {},
    });
  });

  it('PEER-11.2.8: what was refused costs nobody anything', async () => {
    const { clock, costs, ledger, request, tell } = await aBroker();
    const { id } = await request();
    await clock.advance(HOUR_MS);

    await tell(id, { kind: 'create_refused', ordinal: 1, refusal: { kind: 'capacity', message: 'gone' } });

    expect(await costs.segmentsOf(id)).toEqual([]);
    expect(await ledger.billOfSession(id)).toEqual({ consumerMicros: 0, operatorMicros: 0, hours: 0 });
  });

  it('says of each segment whether its attempt ever ran', async () => {
    const { costs, rent, tell, proven } = await aBroker();
    const { id } = await rent();
    expect((await costs.segmentsOf(id)).map(({ ran }) => ran)).toEqual([false]);

    await tell(id, proven);

    expect((await costs.segmentsOf(id)).map(({ ran }) => ran)).toEqual([true]);
  });

  it('charges while the destroy is not confirmed, up to the last destroy that was answered', async () => {
    const { clock, ledger, rent, tell, proven, stop } = await aBroker();
    const { id } = await rent();
    await tell(id, proven, stop);
    await clock.advance(30 * MINUTE_MS);
    await tell(id, { kind: 'destroy_answered', ordinal: 1, result: 'destroying' });
    await clock.advance(30 * MINUTE_MS);
    await tell(id, { kind: 'missing', ordinal: 1, by: 'get' });

    expect((await ledger.billOfSession(id)).consumerMicros).toBe(300_000);
  });

  it('REL-C16: what comes back later is booked to the operator', async () => {
    const { clock, ledger, rent, tell, proven, stop, gone } = await aBroker();
    const { id, instance } = await rent();
    await tell(id, proven);
    await clock.advance(HOUR_MS);
    await tell(id, stop, gone);
    await clock.advance(DAY_MS);

    await tell(id, { kind: 'seen', ordinal: 1, by: 'list', instance });
    await clock.advance(2 * HOUR_MS);
    await tell(id, gone);

    expect(await ledger.billOfSession(id)).toEqual({ consumerMicros: HOURLY, operatorMicros: 2 * HOURLY, hours: 1 });
  });

  it('REL-C17: a price that changes in use is charged from then on', async () => {
    const { clock, costs, ledger, rent, tell, proven, stop, gone } = await aBroker();
    const { id, instance } = await rent();
    await tell(id, proven);
    await clock.advance(HOUR_MS);
    await tell(id, { kind: 'seen', ordinal: 1, by: 'list', instance: { ...instance, priceMicrosPerHour: 2 * HOURLY } });
    await clock.advance(HOUR_MS);
    await tell(id, stop, gone);

    expect((await costs.segmentsOf(id)).map(({ priceMicrosPerHour }) => priceMicrosPerHour).toSorted(ascending)).toEqual([
      HOURLY,
      2 * HOURLY,
    ]);
    expect((await ledger.billOfSession(id)).consumerMicros).toBe(3 * HOURLY);
  });

  it('a period is UTC and has no gaps: what spans midnight of a month is cut there', async () => {
    const { clock, ledger, rent, tell, proven, stop, gone } = await aBroker('2026-01-31T23:30:00Z');
    const { id } = await rent();
    await tell(id, proven);
    await clock.advance(90 * MINUTE_MS);
    await tell(id, stop, gone);

    expect(await ledger.summary(JANUARY)).toMatchObject({ consumerMicros: 300_000, hours: 0.5, sessionCount: 1 });
    expect(await ledger.summary(FEBRUARY)).toMatchObject({ consumerMicros: 600_000, hours: 1, sessionCount: 1 });
    expect((await ledger.summary({ from: JANUARY.from, until: FEBRUARY.until })).consumerMicros).toBe(900_000);
  });

  it('sums what is running up to now, never into the future', async () => {
    const { clock, ledger, rent, tell, proven } = await aBroker();
    const { id } = await rent();
    await tell(id, proven);
    await clock.advance(HOUR_MS);

    expect((await ledger.summary(JANUARY)).consumerMicros).toBe(HOURLY);
    expect(await ledger.summary(FEBRUARY)).toMatchObject({ consumerMicros: 0, operatorMicros: 0, hours: 0, sessionCount: 0 });
  });

  it('tells providers, kinds of GPU and consumers apart', async () => {
    const { clock, ledger, rent, tell, proven } = await aBroker();
    const rented = [
      await rent(),
      await rent({ consumerId: 'bob' }, { provider: providerId('pool'), gpuType: 'H100 SXM' }),
      await rent({}, { gpuType: 'H100 SXM' }),
    ];
    for (const { id } of rented) await tell(id, proven);
    await clock.advance(HOUR_MS);

    expect(await ledger.summary(JANUARY)).toEqual({
      consumerMicros: 3 * HOURLY,
      operatorMicros: 0,
      hours: 3,
      sessionCount: 3,
      byProvider: { cloud: 2 * HOURLY, pool: HOURLY },
      byGpuType: { 'RTX 4090': HOURLY, 'H100 SXM': 2 * HOURLY },
    });
    expect(await ledger.summary(JANUARY, 'bob')).toMatchObject({
      consumerMicros: HOURLY,
      sessionCount: 1,
      byProvider: { pool: HOURLY },
    });
    expect(await ledger.summary(JANUARY, 'nobody')).toMatchObject({ consumerMicros: 0, sessionCount: 0, byProvider: {} });
  });

  it('finds a segment by the period that it lies in, its borders excluded', async () => {
    const { clock, costs, rent, tell, proven, stop, gone } = await aBroker('2026-01-10T00:00:00Z');
    const startsAt = clock.now();
    const { id } = await rent();
    await tell(id, proven);
    await clock.advance(SECOND_MS);
    await tell(id, stop, gone);
    const endsAt = clock.now();
    const found = async (from: number, until: number) => (await costs.segmentsIn({ from, until })).length;

    expect(await found(startsAt - 1, startsAt)).toBe(0);
    expect(await found(startsAt, startsAt + 1)).toBe(1);
    expect(await found(endsAt - 1, endsAt)).toBe(1);
    expect(await found(endsAt, endsAt + 1)).toBe(0);
    expect(await found(startsAt - 1, endsAt + 1)).toBe(1);
  });
});
