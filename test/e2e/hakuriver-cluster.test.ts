import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { dockerClient } from '../support/docker-broker.ts';
import { startDockerEngine, type TestEngine } from '../support/docker-engine.ts';
import { startHakuRiverCluster, type HakuRiverCluster } from '../support/hakuriver/cluster.ts';
import { describePart } from '../support/parts.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { end, loginOf, rentRunning, untilSession } from '../support/wire-session.ts';

// The README's main job on a real HakuRiver 0.3.0: its Host, two of its Runners, and their containers.

const CLUSTER_BOUND_MS = 400_000;
const STORY_BOUND_MS = 300_000;
const WANTED = { gpu_type: 'CPU', provider: 'hakuriver', reservation_hours: 1 } as const;

let engine: TestEngine;
let cluster: HakuRiverCluster;
let folder: string;

describePart(['docker', 'python', 'sshd'], 'a session on a real HakuRiver', () => {
  beforeAll(async () => {
    engine = await startDockerEngine();
    folder = await mkdtemp(join(tmpdir(), 'berth-hakuriver-')); // not one of those that end with a test's brokers
    cluster = await startHakuRiverCluster({ engine, folder });
  }, CLUSTER_BOUND_MS);

  afterAll(async () => {
    await cluster?.stop();
    await engine?.stop();
    await rm(folder, { recursive: true, force: true });
  }, CLUSTER_BOUND_MS);

  afterEach(async ({ task }) => {
    const hasFailed = task.result?.state === 'fail';
    await endBrokers({ show: hasFailed });
    if (!hasFailed) return;
    for (const name of ['host', 'node-1', 'node-2'] as const) console.log(name, (await cluster.output(name)).slice(-3_000));
  });

  it(
    'is found, rented, logged into through a port of the broker, and gone in the end',
    { timeout: STORY_BOUND_MS },
    async () => {
      const broker = await startHakuBroker();

      const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });
      const login = loginOf(session, key);
      const said = await stockSsh(login, 'cat', { stdin: 'through the tunnel' });
      const config = await broker.api<{ ssh_config: string; known_hosts: string }>(
        'GET',
        `/api/v1/sessions/${session.id}/ssh-config`,
      );
      const ended = await end(broker, session.id, 120);

      expect(said).toMatchObject({ code: 0, stdout: 'through the tunnel' });
      expect(login.host).toBe('127.0.0.1');
      expect(config.status).toBe(200);
      expect(ended.body.status).toBe('stopped');
      await untilNoContainer();
    },
  );

  it('has its own port beside another at the same time, and ends without the other', { timeout: STORY_BOUND_MS }, async () => {
    const broker = await startHakuBroker();

    const [first, second] = [await rentRunning(broker, { body: WANTED }), await rentRunning(broker, { body: WANTED })];
    const names = await Promise.all(
      [first, second].map(({ session, ssh_private_key: key }) => stockSsh(loginOf(session, key), 'hostname')),
    );
    await end(broker, first.session.id, 120);
    const stays = await stockSsh(loginOf(second.session, second.ssh_private_key), 'echo in');
    await end(broker, second.session.id, 120);

    expect(new Set([first.session.ssh_port, second.session.ssh_port]).size).toBe(2);
    expect(names.every(({ code }) => code === 0)).toBe(true);
    expect(new Set(names.map(({ stdout }) => stdout)).size).toBe(2);
    expect(stays.stdout).toBe('in');
    await untilNoContainer();
  });

  it('goes on while the Host is restarted, and can be ended after it', { timeout: STORY_BOUND_MS }, async () => {
    const broker = await startHakuBroker();
    const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });

    await cluster.kill('host');
    await cluster.begin('host');
    const said = await until('a login after the restart', async () => {
      const answer = await stockSsh(loginOf(session, key), 'echo in');
      return answer.code === 0 ? answer : undefined;
    });
    const ended = await end(broker, session.id, 120);

    expect(said.stdout).toBe('in');
    expect(ended.body.status).toBe('stopped');
    await untilNoContainer();
  });

  it(
    'ends when its Runner was killed, and its container is destroyed once the Runner is back',
    { timeout: STORY_BOUND_MS },
    async () => {
      const broker = await startHakuBroker();
      const { session } = await rentRunning(broker, { body: WANTED });
      const node = await nodeOf();

      await cluster.kill(node);
      await untilSession(broker, session.id, ({ status }) => status !== 'running', 120_000);
      await cluster.begin(node);
      const ended = await untilSession(
        broker,
        session.id,
        ({ status }) => status === 'stopped' || status === 'failed',
        180_000,
      );

      expect(['instance_stopped', 'instance_vanished']).toContain(ended.reason);
      await untilNoContainer();
    },
  );
});

function startHakuBroker(): Promise<BrokerProcess> {
  return startBroker({
    env: {
      HAKURIVER_HOST_URL: cluster.url,
      HAKURIVER_SSH_PROXY: cluster.sshProxy,
      HAKURIVER_CONTAINER: cluster.environment,
      LIFECYCLE_CHECK_INTERVAL: '1s',
      LIFECYCLE_RECONCILIATION_INTERVAL: '2s',
      SSH_CHECK_INTERVAL: '1s',
    },
  });
}

/** By the engine's own word: what a VPS leaves behind is a container that runs. */
async function untilNoContainer(): Promise<void> {
  const { docker } = dockerClient(engine.dockerHost);
  await until('no container of HakuRiver', async () => ((await docker('ps', '-q')) === '' ? true : undefined), 120_000);
}

async function nodeOf(): Promise<'node-1' | 'node-2'> {
  const nodes = (await (await fetch(`${cluster.url}/nodes`)).json()) as readonly {
    hostname: 'node-1' | 'node-2';
    cores_in_use: number;
  }[]; // its own answer
  const node = nodes.find(({ cores_in_use: cores }) => cores > 0);
  if (!node) throw new Error('no node is in use');
  return node.hostname;
}
