import { afterEach, beforeEach, expect, it } from 'vitest';
import type { z } from 'zod';
import { startVastEmulator, type VastEmulator } from '../../providers/vastai/emulator.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { InventoryBody } from '../../src/http/schemas/offer.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { loginOf, rentRunning, untilSession } from '../support/wire-session.ts';

// Interruptible sessions on Vast.ai: the broker as it ships, the market emulated, and somebody who bids more.

const QUICK = {
  bootScale: 0.02,
  sshdDelayMs: 400,
  keyDelayMs: 300,
  stopMs: 300,
  listLagMs: 500,
  goneLagMs: 500,
  heartbeatMs: 1_000,
} as const;
const HOUR_MS = 3_600_000;

let market: VastEmulator;

beforeEach(async () => {
  market = await startVastEmulator({ clock: systemClock, seed: 20_262, mode: 'strict', knobs: QUICK, shapes: {} });
});

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  await market.close();
});

describePart('sshd', 'an interruptible session on Vast.ai', () => {
  it.each(['a', 'b'] as const)(
    'CONF-C14, REL-A11: is rented for a bid, and ends as preempted when it is outbid in picture (%s), before it can resume',
    async (picture) => {
      const broker = await startVastBroker();
      const { offers: fixed } = await inventoryOf(broker, '');
      const { offers: interruptible } = await inventoryOf(broker, '&interruptible=true');
      const { session, ssh_private_key: key } = await rentRunning(broker, {
        body: { provider: 'vastai', interruptible: true, gpu_count: 1, reservation_hours: 1 },
      });
      const login = await stockSsh(loginOf(session, key), 'echo in');
      const [contract] = living();
      await outbid(contract?.id ?? 0, { picture, resumeAfterMs: 10_000 });

      const ended = await untilSession(broker, session.id, ({ status }) => status === 'stopped' || status === 'failed');

      expect(fixed.length).toBeGreaterThan(10);
      expect(fixed.some((offer) => offer.interruptible)).toBe(false);
      expect(interruptible.length).toBeGreaterThan(5);
      expect(interruptible.every((offer) => offer.interruptible && (offer.min_bid ?? 0) > 0)).toBe(true);
      expect(login.stdout).toBe('in');
      expect(session).toMatchObject({ interruptible: true });
      expect(contract?.row).toMatchObject({ is_bid: true, dph_base: session.bid_price });
      expect(ended).toMatchObject({ status: 'stopped', reason: 'preempted' });
      expect(await eventsOf(broker, session.id)).toEqual(
        expect.arrayContaining(['instance.preempted', 'session.stopping', 'session.stopped']),
      );
      expectOneContractAndNothingLeft();
    },
  );

  it('is bid what was asked, and nothing is bought when the market refuses the bid', async () => {
    const broker = await startVastBroker();
    const { offers } = await inventoryOf(broker, '&interruptible=true');
    const [offer] = offers;
    if (!offer?.min_bid) throw new Error('there is no interruptible offer');
    const floor = offer.min_bid;

    const low = await broker.api('POST', '/api/v1/sessions', { offer_id: offer.id, bid_price: floor / 2 });
    const { session } = await rentRunning(broker, { body: { offer_id: offer.id, bid_price: floor * 3 } });

    expect(low.status).toBe(400);
    expect(session.bid_price).toBeCloseTo(floor * 3, 5);
    expect(living()).toMatchObject([{ row: { is_bid: true } }]);
    expect(living()[0]?.row['dph_base']).toBeCloseTo(floor * 3, 5);
    await broker.api('DELETE', `/api/v1/sessions/${session.id}?wait=60`);
    expectOneContractAndNothingLeft();
  });
});

function startVastBroker(): Promise<BrokerProcess> {
  return startBroker({
    env: {
      VASTAI_API_KEY: market.apiKey,
      VASTAI_BASE_URL: market.url,
      LIFECYCLE_CHECK_INTERVAL: '1s',
      LIFECYCLE_RECONCILIATION_INTERVAL: '2s',
      SSH_CHECK_INTERVAL: '1s',
    },
  });
}

/** Over the control port, as somebody who works with the emulator by hand would. */
async function outbid(contractId: number, how: { readonly picture: 'a' | 'b'; readonly resumeAfterMs: number }) {
  const answer = await fetch(`${market.controlUrl}/preempt`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ contractId, ...how }),
  });
  if (!answer.ok) throw new Error(`it could not be outbid: ${answer.status} ${await answer.text()}`);
}

async function inventoryOf(broker: BrokerProcess, query: string): Promise<z.infer<typeof InventoryBody>> {
  return until('a listing', async () => {
    const { body } = await broker.api<z.infer<typeof InventoryBody>>('GET', `/api/v1/inventory?limit=100${query}`);
    return body.offers.length > 0 ? body : undefined;
  });
}

async function eventsOf(broker: BrokerProcess, id: string): Promise<string[]> {
  const { body } = await broker.api<{ events: { kind: string }[] }>('GET', `/api/v1/sessions/${id}/events`);
  return body.events.map(({ kind }) => kind);
}

function living() {
  return market.instances().filter(({ isAlive }) => isAlive);
}

/** By the market's own books, which know nothing of ours. */
function expectOneContractAndNothingLeft(): void {
  expect(living()).toEqual([]);
  const before = market.ledger();
  market.advance(HOUR_MS);
  expect(before).toHaveLength(1);
  expect(before.every(({ closedAt, totalUsd }) => closedAt !== undefined && totalUsd > 0)).toBe(true);
  expect(market.ledger()).toEqual(before);
}
