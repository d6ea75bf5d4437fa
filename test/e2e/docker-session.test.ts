import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { A_SHARE, dockerClient, poolSettings } from '../support/docker-broker.ts';
import { makeTestImage, startDockerEngine, type TestEngine } from '../support/docker-engine.ts';
import { describePart } from '../support/parts.ts';
import { startSocketRelay } from '../support/socket-relay.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { end, endForGood, loginOf, rentRunning, sessionOf, untilSession } from '../support/wire-session.ts';

const DEPLOYMENT = 'dock1';
const PRICE_PER_SECOND = 3.6 / 3_600;

interface PoolStatus {
  readonly id: string;
  readonly observed_at?: string;
  readonly error?: { readonly kind: string; readonly message: string };
}

interface ControllerList {
  readonly controllers: readonly { readonly name: string; readonly runs: number }[];
}

describePart(['docker', 'sshd'], 'a session in a real container', () => {
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
    const ids = (await client.docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (ids.length > 0) await client.docker('rm', '-f', '-v', ...ids);
  });

  const aBroker = (changes: Readonly<Record<string, string>> = {}) =>
    startBroker({ env: poolSettings(engine.dockerHost, { DEPLOYMENT_ID: DEPLOYMENT, ...changes }) });

  it('is rented, logged into with the stock client, extended, kept over a restart, deleted, seen gone and settled', async () => {
    const broker = await aBroker();
    const { session, ssh_private_key: key } = await rentRunning(broker, { body: A_SHARE });
    expect(session).toMatchObject({ provider: 'pool', gpu_type: 'CPU', gpu_count: 0, price_per_hour: 3.6 });
    const login = loginOf(session, key);

    expect((await stockSsh(login, 'id -un')).stdout).toBe('root');
    expect((await stockSsh(login, 'tty', { terminal: true })).stdout).toMatch(/^\/dev\/pts\/\d+$/);
    const hardening = await stockSsh(
      login,
      'grep -E "^(NoNewPrivs|CapBnd):" /proc/self/status; hostname; cat ~/.ssh/authorized_keys',
    );
    const [name] = await client.tagged();
    expect(hardening.stdout).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(hardening.stdout).toMatch(/^CapBnd:\s+0{8}200400e1$/m); // AUDIT_WRITE CHOWN KILL SETGID SETUID SYS_CHROOT
    expect(name).toMatch(new RegExp(`^berth-${DEPLOYMENT}-${session.id.slice(4)}-1$`));
    expect(hardening.stdout).toContain(name);
    expect(hardening.stdout.split('\n').filter((line) => line.startsWith('ssh-'))).toHaveLength(1); // the broker's own is gone

    const extended = await broker.api<{ new_expires_at: string }>('POST', `/api/v1/sessions/${session.id}/extend`, {
      additional_hours: 0.5,
    });
    expect(Date.parse(extended.body.new_expires_at) - Date.parse(session.expires_at)).toBe(1_800_000);

    expect(await broker.stop()).toBe(0);
    const next = await broker.again();
    expect(await sessionOf(next, session.id)).toMatchObject({ status: 'running', expires_at: extended.body.new_expires_at });
    expect((await stockSsh(login, 'echo still here')).stdout).toBe('still here');

    expect(await end(next, session.id)).toMatchObject({ status: 200, body: { status: 'stopped' } });
    expect(await client.tagged()).toEqual([]);
    const gone = await untilSession(next, session.id, ({ destroy_verified_at: at }) => at !== undefined);
    expect(gone).toMatchObject({ status: 'stopped', reason: 'user_requested', attempts: [{ state: 'gone' }] });
    expect((await stockSsh(login, 'echo in')).code).toBe(255);

    const { body: cost } = await next.api<{ total_cost: number; hours_used: number }>(
      'GET',
      `/api/v1/costs?session_id=${session.id}`,
    );
    const ranSeconds = (Date.parse(gone.destroy_accepted_at!) - Date.parse(gone.running_at!)) / 1_000; // it ran and was destroyed
    const heldSeconds = (Date.parse(gone.destroy_accepted_at!) - Date.parse(gone.created_at)) / 1_000; // and so was made
    expect(cost.total_cost).toBeGreaterThanOrEqual(ranSeconds * PRICE_PER_SECOND - 0.002);
    expect(cost.total_cost).toBeLessThanOrEqual(heldSeconds * PRICE_PER_SECOND + 0.002);
    expect(cost.total_cost).toBeCloseTo(cost.hours_used * 3.6, 5);
    expect(await untilSession(next, session.id, ({ cost_is_final: final }) => final)).toMatchObject({ cost: cost.total_cost });
  });

  it('ends when its container was killed behind our back, and the container is removed', async () => {
    const broker = await aBroker();
    const { session } = await rentRunning(broker, { body: A_SHARE });
    const [name] = await client.tagged();

    await client.docker('kill', name!); // it runs

    const ended = await untilSession(broker, session.id, ({ destroy_verified_at: at }) => at !== undefined);
    expect(ended).toMatchObject({ status: 'stopped', reason: 'instance_stopped' });
    expect(ended.error).toContain('exit code 137');
    expect(await client.tagged()).toEqual([]);
  });

  it('ends when its container was removed behind our back, after more than one look', async () => {
    const broker = await aBroker();
    const { session } = await rentRunning(broker, { body: A_SHARE });
    const [name] = await client.tagged();

    await client.docker('rm', '-f', name!); // it runs

    const ended = await untilSession(broker, session.id, ({ status }) => status === 'stopped');
    expect(ended).toMatchObject({ reason: 'instance_vanished' });
  });

  it('stays as it is while the engine cannot be reached, which is told, and goes on when it is back', async () => {
    const relay = await startSocketRelay(engine.dockerHost);
    try {
      const broker = await aBroker({ DOCKER_HOST: relay.dockerHost });
      const { session, ssh_private_key: key } = await rentRunning(broker, { body: A_SHARE });
      const login = loginOf(session, key);

      await relay.cut();
      const failing = await untilPool(broker, ({ error }) => error !== undefined);
      expect(failing.error?.message).toMatch(/engine|docker/i);
      const health = await broker.api('GET', '/health');
      expect(health.body).toMatchObject({ providers: [{ id: 'pool', state: 'failing', error: failing.error?.message }] });
      await passes(broker, ['session.ghosts', 'instance.orphans'], 3);
      expect(await sessionOf(broker, session.id)).toMatchObject({ status: 'running' });
      expect((await stockSsh(login, 'echo in')).stdout).toBe('in');

      const deleted = await end(broker, session.id, 2);
      expect(deleted.body.status).toBe('stopping'); // nobody said gone yet
      expect(await client.tagged()).toHaveLength(1);

      await relay.mend();
      await untilPool(broker, ({ error }) => error === undefined);
      expect(await untilSession(broker, session.id, ({ status }) => status === 'stopped')).toMatchObject({
        reason: 'user_requested',
      });
      expect(await client.tagged()).toEqual([]);
      await rentRunning(broker, { body: A_SHARE });
    } finally {
      await relay.close();
    }
  });

  it('RULE-R10, REL-B9: destroys what bears its tag and has no row, after two sightings, and touches nothing of anybody else', async () => {
    const suffix = '01arz3ndektsv4rrffq69g5fav';
    const orphan = `berth-${DEPLOYMENT}-${suffix}-1`;
    const longer = `berth-${DEPLOYMENT}0-${suffix}-1`;
    const shorter = `berth-${DEPLOYMENT.slice(0, 4)}-${suffix}-1`;
    const other = `berth-prod9-${suffix}-1`;
    const run = (name: string, ...flags: string[]) =>
      client.docker('run', '-d', '--name', name, ...flags, 'berth-ssh', 'sleep', '600');
    for (const tag of [orphan, longer, shorter, other])
      await run(tag, '--label', `berth.tag=${tag}`, '--label', 'berth.units=');
    await run(`berth-${DEPLOYMENT}-${suffix}-2`); // our name, but no tag
    await run('somebodys');

    const broker = await aBroker({ LIFECYCLE_ORPHAN_GRACE_PERIOD: '0s' });
    await until('the orphan is gone', async () => ((await client.tagged()).includes(orphan) ? undefined : true));
    await passes(broker, ['instance.orphans'], 4);

    const names = (await client.docker('ps', '--format', '{{.Names}}')).split('\n').toSorted();
    expect(names).toEqual([longer, shorter, other, `berth-${DEPLOYMENT}-${suffix}-2`, 'somebodys'].toSorted());
    const destroyed = broker.logs().filter(({ message }) => message === 'orphan is being destroyed');
    expect(new Set(destroyed.map((line) => line['tag']))).toEqual(new Set([orphan]));
    expect(Number(destroyed[0]?.['sightings'])).toBeGreaterThanOrEqual(2);
  });

  it('lets an orphan be while its time of grace runs', async () => {
    const orphan = `berth-${DEPLOYMENT}-01arz3ndektsv4rrffq69g5fav-1`;
    await client.docker('run', '-d', '--name', orphan, '--label', `berth.tag=${orphan}`, 'berth-ssh', 'sleep', '600');

    const broker = await aBroker();
    await passes(broker, ['instance.orphans'], 4);

    expect(await client.tagged()).toEqual([orphan]);
    expect(broker.logs().filter(({ message }) => message.startsWith('orphan detected'))).toHaveLength(1);
  });

  it('two sessions at once are strangers to each other', async () => {
    const broker = await aBroker();
    const [one, other] = await Promise.all([rentRunning(broker, { body: A_SHARE }), rentRunning(broker, { body: A_SHARE })]);

    const crossed = await stockSsh({ ...loginOf(one.session, one.ssh_private_key), privateKey: other.ssh_private_key! }, 'id'); // both are the broker's
    expect(crossed.code).toBe(255);
    expect(one.session.ssh_host_key).not.toBe(other.session.ssh_host_key);
    await Promise.all([endForGood(broker, one.session.id), endForGood(broker, other.session.id)]);
    expect(await client.tagged()).toEqual([]);
  });

  // The last one: what is left of the engine's network after such an end is nobody's care.
  it('stays as it is while the engine is dead; a container that the engine lost with it ends the session once the engine is back', async () => {
    const broker = await aBroker();
    const { session } = await rentRunning(broker, { body: A_SHARE });

    process.kill(Number(await readFile(join(engine.folder, 'pid'), 'utf8')), 'SIGKILL');
    await untilPool(broker, ({ error }) => error !== undefined);
    await passes(broker, ['session.ghosts', 'instance.orphans'], 2);
    expect(await sessionOf(broker, session.id)).toMatchObject({ status: 'running' });

    await engine.resume();
    const ended = await untilSession(broker, session.id, ({ destroy_verified_at: at }) => at !== undefined);
    expect(ended).toMatchObject({ status: 'stopped', reason: 'instance_stopped' });
    expect(await client.tagged()).toEqual([]);
  });
});

/** Waits for the pool to be shown as described in the inventory. */
async function untilPool(broker: BrokerProcess, isSo: (pool: PoolStatus) => boolean): Promise<PoolStatus> {
  return until(`the pool in the inventory: ${isSo.toString()}`, async () => {
    const { body } = await broker.api<{ providers: readonly PoolStatus[] }>('GET', '/api/v1/inventory?provider=pool');
    const pool = body.providers.find(({ id }) => id === 'pool');
    return pool && isSo(pool) ? pool : undefined;
  });
}

/** Waits until each of these controllers has run so many times more. */
async function passes(broker: BrokerProcess, names: readonly string[], count: number): Promise<void> {
  const runsOf = async (name: string) => {
    const { body } = await broker.api<ControllerList>('GET', '/api/v1/controllers');
    return body.controllers.find((controller) => controller.name === name)?.runs ?? 0;
  };
  const untilDone = async (name: string) => {
    const before = await runsOf(name);
    await until(`${count} more passes of ${name}`, async () => ((await runsOf(name)) >= before + count ? true : undefined));
  };
  await Promise.all(names.map(untilDone));
}
