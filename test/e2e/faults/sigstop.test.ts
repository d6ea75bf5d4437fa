import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { VastEmulator } from '../../../providers/vastai/emulator.ts';
import { berthSchema } from '../../../src/db/schema.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../../support/broker-process.ts';
import { fastTime } from '../../support/faults/fast-time.ts';
import {
  A_VAST_GPU,
  expectEachTagOnce,
  livingAt,
  openQuickVast,
  tagsOfCreates,
  vastSettings,
} from '../../support/faults/quick-vast.ts';
import { startTwoBrokers } from '../../support/faults/two-brokers.ts';
import { describePart } from '../../support/parts.ts';
import { databases } from '../../support/stores.ts';
import { end, rent, sessionOf, untilSession, type WireSession } from '../../support/wire-session.ts';

/** So many of a broker's seconds pass in one. */
const SPEED = 8;
/** After its intent a create may be sent for 30 s. */
const PAST_THE_FENCE_MS = (30_000 / SPEED) * 1.2;

let market: VastEmulator;

describePart('faketime', 'a broker that is stopped between intents and creates', () => {
  const createDatabase = databases('postgres', berthSchema);

  beforeEach(async () => {
    market = await openQuickVast({ speed: SPEED });
    market.injectFault({ method: 'PUT', path: '^/api/v0/asks/', kind: 'silence-after' });
  });

  afterEach(async ({ task }) => {
    await endBrokers({ show: task.result?.state === 'fail' });
    await market.close();
  });

  it('REL-A15: sends no create that it should have sent before it was stopped, and looks for the one that it had sent', async () => {
    const broker = await startBroker({ env: { ...vastSettings(market), ...fastTime(SPEED) } });
    const ids = await stopBetweenIntentAndCreate(broker);

    await pause(PAST_THE_FENCE_MS); // this is the fault: nothing can be waited for
    const sent = new Set(tagsOfCreates(market));
    broker.signal('SIGCONT');

    await expectAllRunAndEnd(broker, { ids, sent });
  });

  it('REL-A15, REL-D2: another broker takes over what was stopped past its leases, and nothing is made twice when it goes on', async () => {
    const { url } = await createDatabase();
    if (url === undefined) throw new Error('a PostgreSQL database has a url');
    const [broker, other] = await startTwoBrokers(url.reveal(), { ...vastSettings(market), ...fastTime(SPEED) });
    const ids = await stopBetweenIntentAndCreate(broker);

    await until('all taken over by the other one', async () => {
      const sessions = await sessionsOf(other, ids);
      return sessions.every(({ id, phase }) => phase === (isSent(id) ? 'running' : 'resolving')) ? true : undefined;
    });
    const sent = tagsOfCreates(market);
    broker.signal('SIGCONT');
    await until('nothing in the hands of the one that was stopped', () => hasNoCreateUnderWay(broker));

    // what was never sent is not known to have never been sent: the other one looks for it until its absence is a verdict
    const states = (await sessionsOf(other, ids)).map(({ id, phase }) => ({ id, phase }));
    expect(states).toEqual(ids.map((id) => ({ id, phase: isSent(id) ? 'running' : 'resolving' })));
    expect(tagsOfCreates(market)).toEqual(sent);
    await Promise.all(ids.flatMap((id) => [end(broker, id, 0), end(other, id, 0)]));
    await until('no instance', () => (livingAt(market).length === 0 ? true : undefined));
    expect(tagsOfCreates(market)).toEqual(sent);
    expectEachTagOnce(market);
  });
});

/** Orders that come at once: the market takes a create in five seconds, so that while one is under way the next ones wait with their intents stored. */
async function stopBetweenIntentAndCreate(broker: BrokerProcess): Promise<string[]> {
  const orders = await Promise.all([1, 2, 3].map(() => rent(broker, { body: A_VAST_GPU, wait: 0 })));
  const ids = orders.map(({ session }) => session.id);
  await until('a create and an intent', async () => {
    const sessions = await sessionsOf(broker, ids);
    const begun = sessions.every(({ attempts }) => attempts.length === 1);
    return begun && sessions.some(({ id }) => isSent(id)) && sessions.some(({ id }) => !isSent(id)) ? true : undefined;
  });
  broker.signal('SIGSTOP');
  return ids;
}

/** An intent whose create was not sent in time is never sent: its session runs by a later attempt, and all of it ends. */
async function expectAllRunAndEnd(broker: BrokerProcess, { ids, sent }: { ids: readonly string[]; sent: ReadonlySet<string> }) {
  for (const id of ids) {
    const { status, attempts } = await untilSession(
      broker,
      id,
      (session) => session.status === 'running' || session.status === 'failed',
    );
    expect(status).toBe('running');
    const was = [...sent].filter((tag) => tag.includes(suffixOf(id)));
    const is = tagsOfCreates(market).filter((tag) => tag.includes(suffixOf(id)));
    expect(is).toEqual(was.length > 0 ? was : [expect.stringMatching(/-2$/)]);
    expect(attempts).toHaveLength(was.length > 0 ? 1 : 2);
  }
  expect(sent.size).toBeLessThan(ids.length);
  expect(livingAt(market)).toHaveLength(ids.length);
  await Promise.all(ids.map((id) => end(broker, id, 0)));
  for (const id of ids) await untilSession(broker, id, ({ status }) => status === 'stopped');
  expect(livingAt(market)).toEqual([]);
  expectEachTagOnce(market);
}

const suffixOf = (id: string) => id.replace('ses_', '');

function isSent(id: string): boolean {
  return tagsOfCreates(market).some((tag) => tag.includes(suffixOf(id)));
}

async function hasNoCreateUnderWay(broker: BrokerProcess): Promise<true | undefined> {
  const { body } = await broker.api<{
    controllers: readonly { name: string; report?: { details?: { in_flight?: number } } }[];
  }>('GET', '/api/v1/controllers');
  const report = body.controllers.find(({ name }) => name === 'session.provisioning')?.report;
  return report?.details?.in_flight === 0 ? true : undefined;
}

function sessionsOf(broker: BrokerProcess, ids: readonly string[]): Promise<WireSession[]> {
  return Promise.all(ids.map((id) => sessionOf(broker, id)));
}
