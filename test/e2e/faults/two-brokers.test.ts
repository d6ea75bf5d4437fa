import { afterEach, beforeEach, expect, it } from 'vitest';
import type { z } from 'zod';
import type { VastEmulator } from '../../../providers/vastai/emulator.ts';
import { berthSchema } from '../../../src/db/schema.ts';
import type { InventoryBody } from '../../../src/http/schemas/offer.ts';
import { endBrokers, until, type BrokerProcess } from '../../support/broker-process.ts';
import { fastTime } from '../../support/faults/fast-time.ts';
import { expectEachTagOnce, livingAt, openQuickVast, tagsOfCreates, vastSettings } from '../../support/faults/quick-vast.ts';
import { startTwoBrokers } from '../../support/faults/two-brokers.ts';
import { describePart } from '../../support/parts.ts';
import { databases } from '../../support/stores.ts';
import { end, untilSession, type Created } from '../../support/wire-session.ts';

/** The market's pace, a create in five seconds, is so much faster. */
const SPEED = 8;

let market: VastEmulator;

describePart('faketime', 'two brokers on one PostgreSQL', () => {
  const createDatabase = databases('postgres', berthSchema);

  beforeEach(async () => {
    market = await openQuickVast({ speed: SPEED });
  });

  afterEach(async ({ task }) => {
    await endBrokers({ show: task.result?.state === 'fail' });
    await market.close();
  });

  async function start(): Promise<[BrokerProcess, BrokerProcess]> {
    const { url } = await createDatabase();
    if (url === undefined) throw new Error('a PostgreSQL database has a url');
    return startTwoBrokers(url.reveal(), { ...vastSettings(market), ...fastTime(SPEED) });
  }

  it('REL-D1, REL-D12: sell each offer once, and make and end each machine once, whoever is asked', async () => {
    const brokers = await start();
    const offers = await until('the same offers at both', async () => {
      const [here, there] = await Promise.all(brokers.map(singleOffers));
      const both = here?.filter((id) => there?.includes(id)) ?? [];
      return both.length >= 6 ? both.slice(0, 6) : undefined;
    });

    const orders = offers.flatMap((offerId) =>
      [0, 1, 2, 3].map(async (index) => {
        const answer = await brokers[index % 2]?.api<Created>('POST', '/api/v1/sessions?wait=0', {
          offer_id: offerId,
          consumer_id: `team-${index}`,
          reservation_hours: 1,
        });
        return { offerId, status: answer?.status, id: answer?.status === 201 ? answer.body.session.id : undefined };
      }),
    );
    const answers = await Promise.all(orders);
    const sold = answers.flatMap(({ id }) => (id === undefined ? [] : [id]));
    for (const offerId of offers)
      expect(answers.filter((answer) => answer.offerId === offerId && answer.status === 201)).toHaveLength(1);
    expect(answers.every(({ status }) => status === 201 || status === 503)).toBe(true);

    const [first, second] = brokers;
    for (const id of sold) await untilSession(second, id, ({ status }) => status === 'running');
    expect(tagsOfCreates(market)).toHaveLength(sold.length);
    expect(livingAt(market)).toHaveLength(sold.length);

    const ends = await Promise.all(sold.flatMap((id) => brokers.flatMap((broker) => [end(broker, id, 0), end(broker, id, 0)])));
    expect(ends.every(({ status }) => status === 200)).toBe(true);
    for (const id of sold) await untilSession(first, id, ({ status }) => status === 'stopped');

    expectEachTagOnce(market);
    expect(livingAt(market)).toEqual([]);
    for (const id of sold) {
      const kinds = await eventsOf(first, id);
      for (const kind of ['session.stopping', 'session.stopped', 'instance.created', 'session.running'])
        expect(kinds.filter((each) => each === kind)).toEqual([kind]);
    }
  });
});

async function singleOffers(broker: BrokerProcess): Promise<string[]> {
  const { body } = await broker.api<z.infer<typeof InventoryBody>>('GET', '/api/v1/inventory?limit=100&gpu_count=1');
  return body.offers.map(({ id }) => id);
}

async function eventsOf(broker: BrokerProcess, id: string): Promise<string[]> {
  const { body } = await broker.api<{ events: readonly { kind: string }[] }>('GET', `/api/v1/sessions/${id}/events`);
  return body.events.map(({ kind }) => kind);
}
