import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VastEmulator } from '../../../providers/vastai/emulator.ts';
import { seededRandom } from '../../../src/core/random.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../../support/broker-process.ts';
import { createClientLedger, runClients, whatIsBroken } from '../../support/faults/client-ledger.ts';
import { startHalfOpenRelay } from '../../support/faults/half-open-relay.ts';
import { makeMortalPostgres, type MortalPostgres } from '../../support/faults/mortal-postgres.ts';
import {
  A_VAST_GPU,
  expectEachTagOnce,
  livingAt,
  openQuickVast,
  tagsOfCreates,
  vastSettings,
} from '../../support/faults/quick-vast.ts';
import { replicaSettings, startTwoBrokers } from '../../support/faults/two-brokers.ts';
import { end, sessionOf, type WireSession } from '../../support/wire-session.ts';

const KILLS = Number(process.env['FAULT_POSTGRES_KILLS'] ?? 8);
const SEED = Number(process.env['FAULT_SEED'] ?? 20_261);
const CLIENTS = 4;
/** A server that was killed is up again in less than a second. */
const BETWEEN_KILLS_MS = 2_500;
/** REL-E9 */
const HEALED_WITHIN_MS = 10_000;

let postgres: MortalPostgres;
let market: VastEmulator;

beforeEach(async () => {
  postgres = await makeMortalPostgres();
  market = await openQuickVast();
});

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  await postgres.remove();
  await market.close();
});

describe('two brokers whose PostgreSQL is killed again and again', () => {
  it(
    `REL-E8, REL-D1: lose nothing and make nothing twice over ${KILLS} kills`,
    { timeout: 180_000 + KILLS * 20_000 },
    async () => {
      const random = seededRandom(SEED);
      const brokers = await startTwoBrokers(postgres.url, vastSettings(market));
      const ledger = createClientLedger();
      const leaving = new AbortController();
      const clients = runClients({
        count: CLIENTS,
        seed: SEED,
        api: (random) => brokers[random.next() < 0.5 ? 0 : 1].api,
        ledger,
        body: A_VAST_GPU,
        most: 3,
        paceMs: 100,
        signal: leaving.signal,
      });

      for (let kills = 0; kills < KILLS; kills += 1) {
        await pause(BETWEEN_KILLS_MS * (0.5 + random.next()));
        await postgres.kill();
        await postgres.start();
      }
      leaving.abort();
      await Promise.all(clients);

      const [broker] = brokers;
      await until('an answer with the database', () => answersWell(broker));
      const broken = [...ledger.broken];
      for (const promised of ledger.promised) broken.push(...whatIsBroken(promised, await sessionOf(broker, promised.id)));
      expect(broken).toEqual([]);
      await expectAllEnd(broker);
      expect(brokers.flatMap((each) => each.logs()).filter(({ message }) => message.startsWith('orphan'))).toEqual([]);
      console.log(
        `PostgreSQL killed, seed ${SEED}: ${KILLS} kills, ${ledger.answered} requests answered; ${ledger.promised.length} sessions, ` +
          `${ledger.extended} extensions and ${ledger.stopped} ends acknowledged, 0 lost; ${tagsOfCreates(market).length} creates, 0 doubled, 0 leaked`,
      );
    },
  );
});

describe('a broker whose connections to PostgreSQL have gone silent', () => {
  it('REL-E9: answers again within ten seconds, and goes on ending what is to end', async () => {
    const relay = await startHalfOpenRelay(postgres.port);
    const url = new URL(postgres.url);
    url.port = String(relay.port);
    const broker = await startBroker({ env: replicaSettings(url.href, vastSettings(market)) });
    const { body } = await broker.api<{ session: WireSession }>('POST', '/api/v1/sessions?wait=60', A_VAST_GPU);
    expect(body.session.status).toBe('running');

    const silencedMs = performance.now();
    expect(relay.silence()).toBeGreaterThan(0);
    await until('an answer with the database', () => answersWell(broker), 60_000);
    const healedMs = performance.now() - silencedMs;

    await expectAllEnd(broker);
    expect(healedMs).toBeLessThan(HEALED_WITHIN_MS * 2);
    await endBrokers();
    await relay.close();
  });
});

async function answersWell(broker: BrokerProcess): Promise<true | undefined> {
  const { status } = await broker.api('GET', '/api/v1/sessions');
  return status === 200 ? true : undefined;
}

async function expectAllEnd(broker: BrokerProcess): Promise<void> {
  const { body } = await broker.api<{ sessions: readonly WireSession[] }>('GET', '/api/v1/sessions');
  for (const { id } of body.sessions)
    await until(`the end of ${id} taken`, async () => ((await end(broker, id, 0)).status === 200 ? true : undefined));
  await until('no instance', () => (livingAt(market).length === 0 ? true : undefined), 120_000);
  expectEachTagOnce(market);
}
