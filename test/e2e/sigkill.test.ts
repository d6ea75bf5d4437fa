import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { A_SHARE, dockerClient, poolSettings } from '../support/docker-broker.ts';
import { makeTestImage, startDockerEngine, type TestEngine } from '../support/docker-engine.ts';
import { openEventStream } from '../support/event-stream.ts';
import { describePart } from '../support/parts.ts';
import { QUICK_MARKET } from '../support/simulated-market.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { A_GPU, end, loginOf, rent, rentRunning, sessionOf, untilSession, type Created } from '../support/wire-session.ts';

const SEED = 20_261;

/** What the broker had promised when it was killed. */
interface Acknowledged {
  /** Absent where the answer to the POST never came. */
  readonly created?: Created;
  readonly expiresAt?: string;
  /** `asked`: the DELETE was sent and never answered. */
  readonly deleted?: 'asked' | 'answered';
}

interface Scene {
  readonly broker: BrokerProcess;
  readonly client: ReturnType<typeof dockerClient>;
  readonly headers: Readonly<Record<string, string>>;
  /** A moment of up to so many milliseconds, another one for each place. */
  readonly aMoment: (mostMs: number) => Promise<void>;
}

interface Moment {
  readonly when: string;
  /** Plays the story up to the moment at which the broker is killed. */
  readonly play: (scene: Scene) => Promise<Acknowledged>;
}

const body = A_SHARE;

const MOMENTS: readonly Moment[] = [
  {
    when: 'the request was sent and not answered',
    play: async ({ broker, headers, aMoment }) => {
      const unanswered = broker.api('POST', '/api/v1/sessions', body, headers).catch(() => undefined);
      await aMoment(15);
      await broker.kill();
      await unanswered;
      return {};
    },
  },
  {
    when: 'the session was stored and told',
    play: async ({ broker, headers }) => ({ created: await rent(broker, { body, headers, wait: 0 }) }),
  },
  {
    when: 'the container was made and not started',
    play: async ({ broker, client, headers }) => {
      const engine = await client.watch('create');
      const created = await rent(broker, { body, headers, wait: 0 });
      await engine.happened;
      await broker.kill();
      engine.stop();
      return { created };
    },
  },
  {
    when: 'the container was started and its id not stored',
    play: async ({ broker, client, headers }) => {
      const engine = await client.watch('start');
      const created = await rent(broker, { body, headers, wait: 0 });
      await engine.happened;
      await broker.kill();
      engine.stop();
      return { created };
    },
  },
  {
    when: 'the create was accepted',
    play: async ({ broker, headers }) => {
      const created = await rent(broker, { body, headers, wait: 0 });
      await untilEvent(broker, created, 'instance.created');
      return { created };
    },
  },
  {
    when: 'it boots and is being proven',
    play: async ({ broker, headers, aMoment }) => {
      const created = await rent(broker, { body, headers, wait: 0 });
      await untilEvent(broker, created, 'instance.created');
      await aMoment(500);
      return { created };
    },
  },
  {
    when: 'it has just begun to run',
    play: async ({ broker, headers }) => {
      const created = await rent(broker, { body, headers, wait: 0 });
      await untilEvent(broker, created, 'session.running');
      return { created };
    },
  },
  {
    when: 'an extension was acknowledged',
    play: async ({ broker, headers }) => {
      const created = await rentRunning(broker, { body, headers });
      const path = `/api/v1/sessions/${created.session.id}/extend`;
      const extended = await broker.api<{ new_expires_at: string }>('POST', path, { additional_hours: 3 });
      expect(extended.status).toBe(200);
      return { created, expiresAt: extended.body.new_expires_at };
    },
  },
  {
    when: 'the DELETE was sent and not answered',
    play: async ({ broker, headers, aMoment }) => {
      const created = await rentRunning(broker, { body, headers });
      const unanswered = end(broker, created.session.id, 0).catch(() => undefined);
      await aMoment(8);
      await broker.kill();
      await unanswered;
      return { created, deleted: 'asked' };
    },
  },
  {
    when: 'the DELETE was acknowledged',
    play: async ({ broker, headers }) => {
      const created = await rentRunning(broker, { body, headers });
      expect((await end(broker, created.session.id, 0)).status).toBe(200);
      return { created, deleted: 'answered' };
    },
  },
  {
    when: 'the container is being destroyed',
    play: async ({ broker, client, headers }) => {
      const created = await rentRunning(broker, { body, headers });
      const engine = await client.watch('die');
      await end(broker, created.session.id, 0);
      await engine.happened;
      await broker.kill();
      engine.stop();
      return { created, deleted: 'answered' };
    },
  },
  {
    when: 'the provider has said gone and nobody has looked again',
    play: async ({ broker, headers }) => {
      const created = await rentRunning(broker, { body, headers });
      await end(broker, created.session.id, 0);
      await untilEvent(broker, created, 'instance.gone_accepted');
      return { created, deleted: 'answered' };
    },
  },
];

describePart(['docker', 'sshd'], 'REL-A1, REL-A2: a broker that is killed while its session is in a real container', () => {
  let engine: TestEngine;
  let client: ReturnType<typeof dockerClient>;

  beforeAll(async () => {
    engine = await startDockerEngine();
    client = dockerClient(engine.dockerHost);
    await makeTestImage(engine.dockerHost);
  });

  afterAll(() => engine?.stop());

  afterEach(async ({ task }) => {
    await endBrokers({ show: task.result?.state === 'fail' });
    const left = await client.tagged();
    if (left.length > 0) await client.docker('rm', '-f', '-v', ...left);
  });

  it.each(MOMENTS.map((moment, index) => ({ ...moment, index })))(
    'loses nothing and leaks nothing when it dies as $when',
    async ({ play, index }) => {
      const random = seededRandom(SEED + index);
      const headers = { 'idempotency-key': `story-${index}` };
      const broker = await startBroker({ env: poolSettings(engine.dockerHost) });
      const { created, expiresAt, deleted } = await play({
        broker,
        client,
        headers,
        aMoment: (mostMs) => pause(random.next() * mostMs),
      });
      await broker.kill();

      const next = await broker.again();

      // what was acknowledged is known, and whoever lost the answer gets it again, the key as well
      if (created) expect((await sessionOf(next, created.session.id)).id).toBe(created.session.id);
      const again = await rent(next, { body, headers, wait: 0 });
      if (created) expect(again.session.id).toBe(created.session.id);
      if (created) expect(again.ssh_private_key).toBe(created.ssh_private_key);
      const { id } = again.session;

      if (deleted === undefined) {
        const running = await untilSession(next, id, ({ status }) => status === 'running' || status === 'failed');
        expect(running).toMatchObject({ status: 'running' });
        if (expiresAt !== undefined) expect(running.expires_at).toBe(expiresAt);
        expect((await stockSsh(loginOf(running, again.ssh_private_key), 'echo in')).stdout).toBe('in');
        expect(await client.tagged()).toHaveLength(1);
      }
      if (deleted !== 'answered') expect((await end(next, id)).body.status).toBe('stopped');

      const gone = await untilSession(
        next,
        id,
        ({ destroy_verified_at: at, cost_is_final: final }) => final && at !== undefined,
      );
      expect(gone).toMatchObject({ status: 'stopped', reason: 'user_requested' });
      expect(gone.attempts.every(({ state }) => state === 'gone')).toBe(true);
      expect(await client.tagged()).toEqual([]);
      expect(next.logs().filter(({ message }) => message.startsWith('orphan'))).toEqual([]);
      const { body: list } = await next.api<{ count: number }>('GET', '/api/v1/sessions');
      expect(list.count).toBe(1);
    },
  );
});

describe('REL-A1, REL-A2: a broker on the simulated market that is killed again and again', () => {
  const ROUNDS = 10;

  afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

  it(`loses nothing and leaks nothing in ${ROUNDS} rounds of creating and ending`, async () => {
    const random = seededRandom(SEED);
    const acknowledged = new Set<string>();
    const deleted = new Set<string>();
    let broker = await startBroker({ env: QUICK_MARKET });

    for (let round = 0; round < ROUNDS; round += 1) {
      const before = acknowledged.size;
      const working = Promise.allSettled(
        [0, 1, 2].map(async (worker) => {
          await pause(random.next() * 300);
          const { session } = await rent(broker, { body: A_GPU, wait: worker });
          acknowledged.add(session.id);
          const [oldest] = [...acknowledged].filter((id) => !deleted.has(id));
          if (worker === 0 || oldest === undefined) return;
          if ((await end(broker, oldest, 0)).status === 200) deleted.add(oldest);
        }),
      );
      // every other round something has been promised by then; else it dies whenever it does
      if (round % 2 === 0) await until('a session that was acknowledged', () => acknowledged.size > before || undefined);
      await pause(random.next() * 1_500);
      await broker.kill();
      await working;
      broker = await broker.again();
    }

    expect(acknowledged.size).toBeGreaterThanOrEqual(ROUNDS / 2);
    for (const id of acknowledged) expect((await sessionOf(broker, id)).id).toBe(id);
    const { body: all } = await broker.api<{ sessions: readonly { id: string }[] }>('GET', '/api/v1/sessions');
    for (const { id } of all.sessions) if (!deleted.has(id)) expect((await end(broker, id, 0)).status).toBe(200);
    for (const { id } of all.sessions) {
      const gone = await untilSession(
        broker,
        id,
        ({ status, phase, cost_is_final: final }) => status === 'stopped' && phase === 'settled' && final,
      );
      expect(gone).toMatchObject({ reason: 'user_requested' });
      // one machine at a time: a new attempt only after the former was proven never to have been
      expect(gone.attempts.slice(0, -1).map(({ outcome }) => outcome)).toEqual(gone.attempts.slice(1).map(() => 'create_lost'));
    }
    await until('a sweep that finds no instance at all', () => sweptInstances(broker, 0));
    expect(broker.logs().filter(({ message }) => message.startsWith('orphan'))).toEqual([]);
  });
});

/** Waits for an event as it is streamed, so that little time goes by since it happened. */
async function untilEvent(broker: BrokerProcess, { session }: Created, kind: string): Promise<void> {
  const stream = await openEventStream(broker.url, session.id);
  await stream.event(kind);
  stream.close();
}

/** True once the last sweep for orphans saw this many instances of the provider. */
async function sweptInstances(broker: BrokerProcess, count: number): Promise<true | undefined> {
  const { body } = await broker.api<{
    controllers: readonly { name: string; report?: { examined: number; failed: number } }[];
  }>('GET', '/api/v1/controllers');
  const report = body.controllers.find(({ name }) => name === 'instance.orphans')?.report;
  return report?.examined === count && report.failed === 0 ? true : undefined;
}
