import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { endBrokers, startBroker } from '../support/broker-process.ts';
import { openEventStream } from '../support/event-stream.ts';
import { describePart } from '../support/parts.ts';
import { QUICK_MARKET } from '../support/simulated-market.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import {
  A_GPU,
  end,
  endForGood,
  loginOf,
  rent,
  rentRunning,
  sessionOf,
  untilSession,
  type Created,
  type WireSession,
} from '../support/wire-session.ts';

// The whole product from outside, on the simulated market: a process, HTTP, and the stock ssh client. Runs on Node 24 as well.

interface Inventory {
  readonly offers: readonly {
    readonly id: string;
    readonly gpu_type: string;
    readonly gpu_count: number;
    readonly price_per_hour: number;
    readonly simulated: boolean;
  }[];
  readonly count: number;
  readonly total: number;
}

interface Events {
  readonly events: readonly { readonly id: number; readonly kind: string; readonly at: string }[];
}

afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

const aBroker = (env: Readonly<Record<string, string>> = {}) => startBroker({ env: { ...QUICK_MARKET, ...env } });

describe('a broker without any configuration', () => {
  it('is ready, says that its market is simulated, and shows the cheapest offers first', async () => {
    const broker = await aBroker();

    expect(await broker.api('GET', '/ready')).toMatchObject({ status: 200, body: { ready: true } });
    const health = await broker.api<{ status: string; simulated: boolean; services: Record<string, string> }>('GET', '/health');
    const { body: inventory } = await broker.api<Inventory>('GET', '/api/v1/inventory?min_vram=16&max_price=3&limit=10');

    expect(health).toMatchObject({ status: 200, body: { status: 'ok', simulated: true, services: { ready: 'true' } } });
    expect(inventory.count).toBe(inventory.offers.length);
    expect(inventory.count).toBeGreaterThan(0);
    expect(inventory.total).toBeGreaterThanOrEqual(inventory.count);
    expect(inventory.offers.every(({ simulated }) => simulated)).toBe(true);
    const prices = inventory.offers.map(({ price_per_hour: price }) => price);
    expect(prices).toEqual(prices.toSorted((one, other) => one - other));
    expect(Math.max(...prices)).toBeLessThanOrEqual(3);
    expect(broker.logs().some(({ message }) => message.includes('SIMULATED'))).toBe(true);
  });
});

describePart('sshd', 'the main job on the simulated market', () => {
  it('rents by offer, lets the stock client in, extends, ends, and is seen verified gone with its cost settled', async () => {
    const broker = await aBroker();
    const { body: inventory } = await broker.api<Inventory>('GET', '/api/v1/inventory?gpu_count=1&limit=1');
    const offer = inventory.offers[0]!; // the market has GPUs

    const { session, ssh_private_key: key } = await rentRunning(broker, {
      body: { consumer_id: 'reader', offer_id: offer.id, workload_type: 'ssh', reservation_hours: 1 },
    });
    expect(session).toMatchObject({ provider: 'simulated', offer_id: offer.id, consumer_id: 'reader' });
    const login = loginOf(session, key);
    const gpu = await stockSsh(login, 'nvidia-smi --query-gpu=name --format=csv,noheader');
    expect(gpu.code).toBe(0);
    expect(gpu.stdout.split('\n')).toHaveLength(offer.gpu_count);
    expect(gpu.stdout).toContain(offer.gpu_type.replace(/ .*/, '') === 'RTX' ? offer.gpu_type : offer.gpu_type.split(' ')[0]);
    const stranger = await stockSsh({ ...login, privateKey: generateSshKeyPair().privateKey }, 'echo in');
    expect(stranger).toMatchObject({ code: 255, stdout: '' });

    const extended = await broker.api<{ new_expires_at: string }>('POST', `/api/v1/sessions/${session.id}/extend`, {
      additional_hours: 2,
    });
    expect(extended.status).toBe(200);
    const addedMs = Date.parse(extended.body.new_expires_at) - Date.parse(session.expires_at);
    expect(addedMs).toBe(2 * 3_600_000);
    expect(await sessionOf(broker, session.id)).toMatchObject({ status: 'running', expires_at: extended.body.new_expires_at });

    const deleted = await end(broker, session.id);
    expect(deleted).toMatchObject({ status: 200, body: { status: 'stopped' } });
    const gone = await untilSession(broker, session.id, ({ destroy_verified_at: at }) => at !== undefined);
    expect(gone).toMatchObject({ status: 'stopped', reason: 'user_requested' });
    expect(Date.parse(gone.destroy_verified_at!)).toBeGreaterThanOrEqual(Date.parse(gone.destroy_accepted_at!)); // both are there by then
    expect((await stockSsh(login, 'echo in')).code).toBe(255);
    expect((await end(broker, session.id)).status).toBe(200);
    expect((await broker.api('POST', `/api/v1/sessions/${session.id}/done`)).status).toBe(409);

    const costs = `/api/v1/costs?session_id=${session.id}`;
    const cost = (await broker.api<{ total_cost: number; currency: string; hours_used: number }>('GET', costs)).body;
    expect(cost.currency).toBe('USD');
    expect(cost.hours_used).toBeGreaterThan(0);
    expect(cost.total_cost).toBeCloseTo(cost.hours_used * session.price_per_hour, 5);
    const again = (await broker.api<{ total_cost: number }>('GET', costs)).body;
    expect(again.total_cost).toBe(cost.total_cost);
    const summary = await broker.api<{ total_cost: number; session_count: number }>(
      'GET',
      '/api/v1/costs/summary?consumer_id=reader',
    );
    expect(summary.body).toMatchObject({ session_count: 1, total_cost: cost.total_cost });
  });

  it('lets in whoever sent a public key, and has no private key to tell', async () => {
    const broker = await aBroker();
    const mine = generateSshKeyPair('me@laptop');

    const created = await rentRunning(broker, { body: { ...A_GPU, ssh_public_key: mine.publicKey } });

    expect(created).not.toHaveProperty('ssh_private_key');
    const shown = await stockSsh(loginOf(created.session, mine.privateKey), 'nvidia-smi -L');
    expect(shown.stdout).toMatch(/^GPU 0: /);
  });

  it('answers a repeated Idempotency-Key with the same session and the same key, also after a restart', async () => {
    const broker = await aBroker();
    const headers = { 'idempotency-key': 'build-4711' };
    const first = await rentRunning(broker, { headers });

    const repeated = await broker.api<Created>('POST', '/api/v1/sessions?wait=60', A_GPU, headers);
    await broker.kill();
    const next = await broker.again();
    const afterwards = await rentRunning(next, { headers });

    expect(repeated.status).toBe(201);
    expect(repeated.headers['idempotent-replay']).toBe('true');
    expect(repeated.body).toMatchObject({ session: { id: first.session.id }, ssh_private_key: first.ssh_private_key });
    expect(afterwards).toMatchObject({ session: { id: first.session.id }, ssh_private_key: first.ssh_private_key });
    expect((await stockSsh(loginOf(afterwards.session, afterwards.ssh_private_key), 'echo in')).stdout).toBe('in');
    const other = await next.api('POST', '/api/v1/sessions', { gpu_count: 2 }, headers);
    expect(other.status).toBe(422);
    expect((await next.api<{ count: number }>('GET', '/api/v1/sessions')).body.count).toBe(1);
  });

  it('tells its history as a list and as a stream that goes on where a reader left off', async () => {
    const broker = await aBroker();
    const { session } = await rent(broker, { wait: 0 });
    const live = await openEventStream(broker.url, session.id);
    await live.event('session.running');
    live.close();
    const lastSeen = live.received.find(({ kind }) => kind === 'instance.created')!; // it runs, so it was created

    const resumed = await openEventStream(broker.url, session.id, { 'last-event-id': String(lastSeen.id) });
    await resumed.event('session.running');
    await endForGood(broker, session.id);
    await resumed.event('session.gone_verified');
    resumed.close();

    const { body: list } = await broker.api<Events>('GET', `/api/v1/sessions/${session.id}/events`);
    const kinds = list.events.map(({ kind }) => kind);
    expect(kinds.slice(0, 3)).toEqual(['session.requested', 'attempt.begun', 'instance.created']);
    expect(kinds).toEqual(
      expect.arrayContaining(['session.running', 'session.stopping', 'session.stopped', 'session.gone_verified']),
    );
    const ids = list.events.map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted((one, other) => one - other));
    const streamed = resumed.received.map(({ id, kind }) => ({ id, kind }));
    const expected = list.events.map(({ id, kind }) => ({ id, kind })).filter(({ id }) => id > lastSeen.id);
    expect(streamed).toEqual(expected.slice(0, streamed.length));
    expect(streamed.at(-1)?.kind).toBe('session.gone_verified');
  });

  it('counts what happened in its metrics', async () => {
    const broker = await aBroker();
    const { session } = await rentRunning(broker);
    const running = (await broker.api('GET', '/metrics')).text;
    await endForGood(broker, session.id);
    const ended = (await broker.api('GET', '/metrics')).text;

    expect(sample(running, 'gpu_sessions_active{provider="simulated",status="running"}')).toBe(1);
    expect(sample(running, 'gpu_sessions_created_total{provider="simulated"}')).toBe(1);
    expect(sample(running, 'gpu_provisioning_duration_seconds_count{provider="simulated"}')).toBe(1);
    expect(sample(ended, 'gpu_sessions_active{provider="simulated",status="running"}')).toBe(0);
    expect(sample(ended, 'gpu_sessions_destroyed_total{provider="simulated",reason="user_requested"}')).toBe(1);
    expect(sample(ended, 'gpu_sessions_destroy_unconfirmed')).toBe(0);
    expect(sample(ended, 'gpu_orphans_detected_total')).toBe(0);
  });

  it('REL-C13, PEER-11.2.5: ends cleanly and leaves the session running; the next process goes on with it at the same place', async () => {
    const broker = await aBroker();
    const { session, ssh_private_key: key } = await rentRunning(broker);
    const login = loginOf(session, key);

    expect(await broker.stop()).toBe(0);
    const next = await broker.again();

    const found = await sessionOf(next, session.id);
    expect(found).toMatchObject({
      status: 'running',
      ssh_host: login.host,
      ssh_port: login.port,
      ssh_host_key: login.hostKey,
      expires_at: session.expires_at,
      attempts: [{ ordinal: 1, state: 'live' }],
    });
    expect((await stockSsh(login, 'echo still here')).stdout).toBe('still here');
    const gone = await endForGood(next, session.id);
    expect(gone).toMatchObject({ status: 'stopped', attempts: [{ ordinal: 1, state: 'gone' }] });
  });

  it('REL-C13: goes on after a restart with a session that was still booting', async () => {
    const broker = await aBroker({ SIMULATED_BOOT_SECONDS: '3' });
    const { session, ssh_private_key: key } = await rent(broker, { wait: 'verdict' });
    expect(session).toMatchObject({ status: 'provisioning', phase: 'booting' });

    expect(await broker.stop()).toBe(0);
    const next = await broker.again();

    const running = await untilSession(next, session.id, ({ status }) => status === 'running');
    expect(running.attempts).toHaveLength(1);
    expect((await stockSsh(loginOf(running, key), 'echo in')).stdout).toBe('in');
  });

  it('REL-C13: --drain destroys every session and waits for it', async () => {
    const broker = await startBroker({ env: QUICK_MARKET, drain: true });
    const running = await rentRunning(broker);
    const booting = await rent(broker, { wait: 0 });

    expect(await broker.stop()).toBe(0);

    const next = await startBroker({ env: QUICK_MARKET, folder: broker.folder });
    for (const { session } of [running, booting]) {
      expect(await sessionOf(next, session.id)).toMatchObject({ status: 'stopped', reason: 'drained' });
    }
    expect((await stockSsh(loginOf(running.session, running.ssh_private_key), 'echo in')).code).toBe(255);
  });

  it('REL-C13: Ctrl-C on npm start -- --drain is one wish, though npm passes it on to the broker, which has heard it', async () => {
    const broker = await startBroker({ env: QUICK_MARKET, drain: true, byNpm: true });
    const { session } = await rentRunning(broker);

    for (let press = 0; press < 3; press += 1) {
      broker.signalGroup('SIGINT');
      await pause(20); // or the system makes one of them
    }
    await broker.ended;

    expect(broker.logs().at(-1)).toMatchObject({ message: 'berth has ended' });
    const next = await startBroker({ env: QUICK_MARKET, folder: broker.folder });
    expect(await sessionOf(next, session.id)).toMatchObject({ status: 'stopped', reason: 'drained' });
  });

  it('shows its sessions to sqlite3, also while it runs', async () => {
    const broker = await aBroker({ SIMULATED_FAULTS: 'taken=1' });
    const { offers } = (await broker.api<Inventory>('GET', '/api/v1/inventory?limit=1')).body;
    const refused = await broker.api<{ error_type: string; session_id: string }>('POST', '/api/v1/sessions', {
      offer_id: offers[0]!.id, // the market is not empty
    });
    expect(refused).toMatchObject({ status: 503, body: { error_type: 'stale_inventory' } });

    const ask = async (question: string) =>
      (await promisify(execFile)('sqlite3', ['-readonly', broker.databasePath, question])).stdout;
    const tables = await ask('.tables');
    const newest = await ask('SELECT * FROM sessions ORDER BY created_at DESC LIMIT 10;');
    const failed = await ask("SELECT * FROM sessions WHERE status = 'failed';");

    expect(tables).toMatch(/\bsessions\b/);
    expect(newest).toContain(refused.body.session_id);
    expect(failed).toContain(refused.body.session_id);
    await broker.kill();
    const next = await broker.again();
    expect(await sessionOf(next, refused.body.session_id)).toMatchObject({ status: 'failed', reason: 'stale_inventory' });
    expect(await ask("SELECT count(*) FROM sessions WHERE status = 'failed';")).toBe('1\n');
  });
});

describe('keys of the API', () => {
  const alice = { authorization: 'Bearer alice-0123456789abcdef' };
  const bob = { authorization: 'Bearer bob-0123456789abcdef-0' };
  const keys = { API_KEYS: 'alice=alice-0123456789abcdef,bob=bob-0123456789abcdef-0' };

  it('are asked for, but where one asks how the broker is', async () => {
    const broker = await aBroker(keys);

    const closed = ['/api/v1/inventory', '/api/v1/sessions', '/api/v1/costs', '/api/v1/controllers', '/metrics', '/docs'];
    for (const path of closed) expect((await broker.api('GET', path)).status, path).toBe(401);
    const wrong = { authorization: 'Bearer alice-0123456789abcdeF' };
    expect((await broker.api('GET', '/api/v1/sessions', undefined, wrong)).status).toBe(401);
    const { status, text } = await broker.api('GET', '/health');
    expect(status).toBe(200);
    expect(text).not.toContain('deployment');
    for (const path of closed.slice(0, 5)) expect((await broker.api('GET', path, undefined, alice)).status, path).toBe(200);
  });

  it('show each consumer its own sessions, costs and events, and nobody the others', async () => {
    const broker = await aBroker(keys);
    const hers = (await rent(broker, { headers: alice })).session;
    const his = (await rent(broker, { headers: bob })).session;

    expect([hers.consumer_id, his.consumer_id]).toEqual(['alice', 'bob']);
    const list = await broker.api<{ sessions: WireSession[] }>('GET', '/api/v1/sessions', undefined, alice);
    expect(list.body.sessions.map(({ id }) => id)).toEqual([hers.id]);
    const path = `/api/v1/sessions/${his.id}`;
    const strange: readonly (readonly [string, string, unknown?])[] = [
      ['GET', path],
      ['GET', `${path}/events`],
      ['GET', `${path}/diagnostics`],
      ['GET', `/api/v1/costs?session_id=${his.id}`],
      ['POST', `${path}/done`],
      ['POST', `${path}/extend`, { additional_hours: 1 }],
      ['DELETE', path],
    ];
    for (const [method, address, body] of strange)
      expect((await broker.api(method, address, body, alice)).status, `${method} ${address}`).toBe(404);
    expect((await sessionOf(broker, his.id, bob)).status).not.toBe('stopping');
    const inHisName = await broker.api('POST', '/api/v1/sessions?wait=0', { ...A_GPU, consumer_id: 'bob' }, alice);
    expect(inHisName.status).toBe(403);
  });
});

function sample(page: string, name: string): number | undefined {
  const line = page.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}
