import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { Secret } from '../../src/core/secret.ts';
import { readCharges } from './charges.ts';
import { createVastClient } from './client.ts';
import { badKey, charge } from './fixtures/bodies.ts';

const API = 'https://console.vast.ai';
const DAY = { from: Date.parse('2026-10-26T10:30:00Z'), until: Date.parse('2026-10-27T11:00:00Z') };

/** Time passes as soon as somebody sleeps. */
class SwiftClock extends FakeClock {
  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.advance(ms);
  }
}

function aMarket() {
  const clock = new SwiftClock('2026-10-27T12:00:00Z');
  const log = recordingLog();
  const client = createVastClient({
    baseUrl: new URL(API),
    authorization: new Secret('Bearer s3cret-key-of-the-account'),
    allowPlainHttp: false,
    clock,
    random: { next: () => 0 },
    log,
  });
  return { clock, read: (period = DAY) => readCharges(period, { client, clock, log }, uncancelled) };
}

/** Their answers, in order; gives the queries that they were asked with. */
function replies(...bodies: readonly (readonly [status: number, body: nock.Body])[]): Record<string, unknown>[] {
  const queries: Record<string, unknown>[] = [];
  for (const [status, body] of bodies) {
    nock(API)
      .get('/api/v0/charges/')
      .query((query) => queries.push(query) > 0)
      .reply(status, body);
  }
  return queries;
}

const page = (rows: readonly unknown[], next: string | null = null) => ({
  success: true,
  count: rows.length,
  total: rows.length,
  next_token: next,
  results: rows,
});
const changed = (change: Record<string, unknown>) => ({ ...charge, ...change });

beforeEach(() => nock.disableNetConnect());
afterEach(() => {
  nock.abortPendingRequests();
  nock.cleanAll();
  nock.enableNetConnect();
});

describe('vastai: charges', () => {
  it('reads what an instance cost, apart from its traffic, of whole days', async () => {
    const queries = replies([200, page([charge])]);
    const { read, clock } = aMarket();

    const listing = await read();

    expect(queries).toEqual([
      {
        select_filters: JSON.stringify({ day: { gte: 1_792_972_800, lte: 1_793_098_800 }, type: { in: ['instance'] } }),
        format: 'table',
        latest_first: 'true',
        limit: '100',
      },
    ]);
    expect(listing).toEqual({
      charges: [
        {
          instanceId: '33918204',
          tag: 'gb1/prod/s-7f3c9a/a-01',
          from: 1_793_000_000_000,
          until: 1_793_007_200_000,
          amountMicros: 715_000,
          transferMicros: 2_000,
        },
      ],
      observedAt: clock.now(),
      dropped: 0,
      roundingMicros: 1_000,
    });
  });

  it('reads every page, and a row that moved from one to the next once', async () => {
    const second = changed({ source: 'instance-33918205' });
    const third = changed({ start: 1_793_086_400, end: 1_793_090_000 });
    const queries = replies([200, page([charge, second], 'MTAw')], [200, page([changed({ amount: 0.1 }), third])]);
    const { read } = aMarket();

    const { charges } = await read();

    expect(queries.map(({ after_token: token }) => token)).toEqual([undefined, 'MTAw']);
    expect(charges.map(({ instanceId, from, amountMicros }) => [instanceId, from, amountMicros])).toEqual([
      ['33918204', 1_793_000_000_000, 715_000],
      ['33918205', 1_793_000_000_000, 715_000],
      ['33918204', 1_793_086_400_000, 715_000],
    ]);
  });

  it('drops and counts rows that cannot be read, and passes over what is for no instance', async () => {
    replies([
      200,
      page([
        changed({ source: 'instance-x' }),
        changed({ amount: -3 }),
        changed({ amount: 1e300 }),
        changed({ start: null }),
        changed({ end: 1 }),
        'row',
        changed({ type: 'volume', source: 'volume-12' }),
        changed({ source: 'instance-7', items: 'none', metadata: null, amount: '0.5' }),
      ]),
    ]);
    const { read } = aMarket();

    const { charges, dropped } = await read();

    expect(dropped).toBe(6);
    expect(charges).toMatchObject([{ instanceId: '7', amountMicros: 500_000, transferMicros: 0 }]);
    expect(charges[0]).not.toHaveProperty('tag');
  });

  it.each([
    ['auth', 404, badKey],
    ['auth', 403, { success: false, error: 'forbidden', msg: 'Missing permission' }],
    ['unavailable', 502, 'Bad Gateway'],
    ['protocol', 200, '<html></html>'],
    ['protocol', 200, { success: true }],
    ['protocol', 200, { success: false, results: [] }],
    ['rejected', 400, { success: false, msg: "Must provide both 'day' gte and lte filters for instance charges" }],
    ['protocol', 400, { success: false, error: 'invalid_token', msg: 'Invalid pagination token' }],
  ])('says %s to an answer of %i that is no list', async (kind, status, body) => {
    replies([status, body]);
    const { read } = aMarket();

    await expect(read()).rejects.toMatchObject({ name: 'ProviderError', kind, operation: 'ListCharges' });
  });

  it('names the scope that a key lacks', async () => {
    replies([403, { success: false, error: 'forbidden', msg: 'Missing permission' }]);
    const { read } = aMarket();

    await expect(read()).rejects.toThrow('it lacks a scope (billing_read)');
  });

  it('takes a page that fails for no list at all, and one that goes round, too', async () => {
    replies([200, page([charge], 'MTAw')], [502, 'Bad Gateway']);
    await expect(aMarket().read()).rejects.toMatchObject({ kind: 'unavailable' });

    replies([200, page([charge], 'MTAw')], [200, page([charge], 'MTAw')]);
    await expect(aMarket().read()).rejects.toMatchObject({ kind: 'protocol' });
  });
});
