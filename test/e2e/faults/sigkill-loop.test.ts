import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { seededRandom } from '../../../src/core/random.ts';
import { freePort } from '../../../src/tunnel/fixtures/tunnels.ts';
import { endBrokers, launchBroker, makeFolder, startBroker, until, type LaunchedBroker } from '../../support/broker-process.ts';
import { createClientLedger, runClients, whatIsBroken } from '../../support/faults/client-ledger.ts';
import { fastTime } from '../../support/faults/fast-time.ts';
import {
  A_VAST_GPU,
  compareBills,
  expectEachTagOnce,
  livingAt,
  openQuickVast,
  tagsOfCreates,
  vastSettings,
} from '../../support/faults/quick-vast.ts';
import { describePart } from '../../support/parts.ts';
import { end, sessionOf, type WireSession } from '../../support/wire-session.ts';

const KILLS = Number(process.env['FAULT_KILLS'] ?? 200);
const SEED = Number(process.env['FAULT_SEED'] ?? 20_261);
const CLIENTS = 4;
const EARLY_SHARE = 0.15;
const MEAN_LIFE_MS = 450;
const LONGEST_LIFE_MS = 4_000;
/** The market's verdict of absence takes fifteen minutes; so many of the broker's seconds then pass in one. */
const VERDICT_SPEED = 30;

afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

describePart('faketime', 'a broker that is killed at any moment, again and again', () => {
  it(
    `REL-A1, REL-A2, REL-G4, REL-M4: has lost nothing and left nothing behind after ${KILLS} kills`,
    { timeout: 240_000 + KILLS * 5_000 },
    async () => {
      const random = seededRandom(SEED);
      const startedMs = performance.now();
      await using market = await closing(await openQuickVast());
      const planted = [await market.plant(null), await market.plant('berth-somebody-01k0n8q2ghe1sa3wq5x1c0v7tz-1')];
      const settings = { env: vastSettings(market), folder: makeFolder(), port: await freePort() };
      const ledger = createClientLedger();
      const leaving = new AbortController();
      let broker: LaunchedBroker = await launchBroker(settings);
      const clients = runClients({
        count: CLIENTS,
        seed: SEED,
        api: () => broker.api,
        ledger,
        body: A_VAST_GPU,
        most: 3,
        paceMs: 120,
        signal: leaving.signal,
      });

      for (let kills = 0; kills < KILLS; kills += 1) {
        if (kills > 0) broker = await launchBroker(settings);
        if (random.next() < EARLY_SHARE) await pause(random.next() * 500);
        else {
          await broker.listening();
          await pause(Math.min(LONGEST_LIFE_MS, -Math.log(1 - random.next()) * MEAN_LIFE_MS));
        }
        await broker.kill();
      }
      const killedMs = performance.now() - startedMs;
      leaving.abort();
      await Promise.all(clients);

      const quiet = await startBroker(settings);
      const { body: all } = await quiet.api<{ sessions: readonly WireSession[] }>('GET', '/api/v1/sessions');
      const broken = [...ledger.broken];
      for (const promised of ledger.promised) broken.push(...whatIsBroken(promised, await sessionOf(quiet, promised.id)));
      expect(broken).toEqual([]);
      for (const { id, status } of all.sessions)
        if (status === 'pending' || status === 'provisioning' || status === 'running')
          expect((await end(quiet, id, 0)).status).toBe(200);
      await until('no instance of ours', () => (livingAt(market, planted).length === 0 ? true : undefined), 180_000);
      await quiet.stop();

      const later = await quiet.again(fastTime(VERDICT_SPEED));
      const settled = await until(
        'every session settled',
        async () => {
          const { body } = await later.api<{ sessions: readonly WireSession[] }>('GET', '/api/v1/sessions');
          return body.sessions.every(({ phase, cost_is_final: final }) => phase === 'settled' && final)
            ? body.sessions
            : undefined;
        },
        180_000,
      );

      const invoice = compareBills(market, settled, planted);
      const attempts = settled.flatMap((session) => session.attempts);
      console.log(
        `SIGKILL loop, seed ${SEED}: ${KILLS} kills in ${Math.round(killedMs / 1_000)} s, ${ledger.answered} requests answered and ${ledger.unanswered} not; ` +
          `${ledger.promised.length} sessions, ${ledger.extended} extensions and ${ledger.stopped} ends acknowledged, 0 lost; ` +
          `${attempts.length} attempts, ${tagsOfCreates(market).length} creates, ${market.ledger().length - planted.length} instances, 0 leaked; ` +
          `billed ${invoice.billedUsd.toFixed(4)} of ${invoice.invoicedUsd.toFixed(4)} USD invoiced, a session at most ${invoice.mostAboveSeconds.toFixed(1)} s above and ${invoice.mostBelowSeconds.toFixed(1)} s below; ` +
          `${Math.round((performance.now() - startedMs) / 1_000)} s in all`,
      );
      expect(livingAt(market).map(({ id }) => id)).toEqual(planted);
      expectEachTagOnce(market);
    },
  );
});

async function closing<T extends { close(): Promise<void> }>(resource: T): Promise<T & AsyncDisposable> {
  return Object.assign(resource, { [Symbol.asyncDispose]: () => resource.close() });
}
