import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { endBrokers, runBroker, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { openEventStream } from '../support/event-stream.ts';
import { QUICK_MARKET } from '../support/simulated-market.ts';
import { A_GPU, end, endForGood, rent, rentRunning, sessionOf, untilSession, type Created } from '../support/wire-session.ts';

afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

describe('the process of a broker', () => {
  it('says which port is taken, and ends', async () => {
    const occupant = createServer().listen(0, '127.0.0.1');
    await once(occupant, 'listening');
    const { port } = occupant.address() as AddressInfo; // it listens on TCP

    const { code, output } = await runBroker({ env: QUICK_MARKET, port });
    occupant.close();

    expect(code).toBe(1);
    expect(output).toContain(`cannot listen on 127.0.0.1:${port}`);
    expect(output).toContain('EADDRINUSE');
  });

  it('writes lines for people when asked to', async () => {
    const broker = await startBroker({ env: { ...QUICK_MARKET, LOG_FORMAT: 'text' } });
    const { session } = await rentRunning(broker);
    await broker.stop();

    const lines = broker.output().trimEnd().split('\n');
    for (const line of lines) expect(line).toMatch(/^\d{4}-\d\d-\d\dT\S+Z (INFO |WARN |ERROR) \S/);
    expect(lines.some((line) => line.includes('session.running') && line.includes(`sessionId=${session.id}`))).toBe(true);
    expect(lines.at(-1)).toContain('berth has ended');
  });

  it('ends on SIGINT as on SIGTERM, and closes open streams and waits with what is so far', async () => {
    const broker = await startBroker({ env: { ...QUICK_MARKET, SIMULATED_BOOT_SECONDS: '600' } });
    const { session } = await rent(broker, { wait: 'verdict' });
    const waiting = broker.api<{ status: string }>('GET', `/api/v1/sessions/${session.id}?wait=60&status=running`);
    const creating = broker.api<Created>('POST', '/api/v1/sessions?wait=60', A_GPU);
    await until('two sessions that boot', async () => {
      const { body } = await broker.api<{ sessions: readonly { phase: string }[] }>('GET', '/api/v1/sessions');
      return body.sessions.filter(({ phase }) => phase === 'booting').length === 2 ? true : undefined;
    });

    const stream = await openEventStream(broker.url, session.id);
    await stream.event('instance.created');
    const ended = broker.stop('SIGINT');

    expect(await waiting).toMatchObject({ status: 200, body: { status: 'provisioning' } });
    const created = await creating;
    expect(created).toMatchObject({ status: 201, body: { session: { status: 'provisioning' } } });
    expect(created.body.ssh_private_key).toContain('BEGIN OPENSSH PRIVATE KEY');
    await stream.ended;
    expect(await ended).toBe(0);
  });

  it('ends at once when it is asked again later, and the next one ends what was to be ended', async () => {
    const broker = await startBroker({ env: { ...QUICK_MARKET, SIMULATED_FAULTS: 'destroy_lies=1' }, drain: true });
    const { session } = await rentRunning(broker);

    broker.signal('SIGTERM');
    await until('the wish that the session ends', () => broker.logs().find(({ message }) => message === 'session.stopping'));
    await pause(2_500);
    expect(await broker.stop()).toBe(1);

    expect(broker.logs().at(-1)).toMatchObject({ level: 'error', signal: 'SIGTERM' });
    expect(broker.logs().at(-1)?.message).toContain('asked again');
    const next = await startBroker({ env: QUICK_MARKET, folder: broker.folder });
    expect(await endForGood(next, session.id)).toMatchObject({ status: 'stopped', reason: 'drained' });
  });

  it('REL-M3: SIGTERM during a create leaves one instance, which the next process knows', async () => {
    const broker = await startBroker({ env: { ...QUICK_MARKET, SIMULATED_CREATE_SECONDS: '2' } });
    const answer = broker.api<Created>('POST', '/api/v1/sessions', A_GPU, { 'idempotency-key': 'once' });
    const creating = await until('a session that is being created', async () => {
      const { body } = await broker.api<{ sessions: readonly { id: string; phase: string }[] }>('GET', '/api/v1/sessions');
      return body.sessions.find(({ phase }) => phase === 'creating');
    });

    expect(await broker.stop()).toBe(0);
    expect(await answer).toMatchObject({ status: 201, body: { session: { id: creating.id } } });
    const next = await broker.again();

    const running = await untilSession(next, creating.id, ({ status }) => status === 'running');
    expect(running.attempts).toHaveLength(1);
    expect(await instancesSwept(next)).toBe(1);
    const again = await rent(next, { headers: { 'idempotency-key': 'once' } });
    expect(again.session.id).toBe(creating.id);
    await endForGood(next, creating.id);
    expect(await instancesSwept(next)).toBe(0);
  });

  it('REL-M3: a create that outlasts the time for an end is looked for, not repeated', async () => {
    const slow = { ...QUICK_MARKET, SIMULATED_CREATE_SECONDS: '5', LIFECYCLE_SHUTDOWN_TIMEOUT: '1s' };
    const broker = await startBroker({ env: slow });
    const { session } = await rent(broker, { wait: 0 });
    await untilSession(broker, session.id, ({ phase }) => phase === 'creating');

    expect(await broker.stop()).toBe(0);
    const next = await broker.again();

    const running = await untilSession(next, session.id, ({ status }) => status === 'running');
    expect(running.attempts.slice(0, -1).every(({ outcome }) => outcome === 'create_lost')).toBe(true);
    expect(await instancesSwept(next)).toBe(1);
  });

  it('tells no secret: not in the log, not in the database, not in metrics, not in errors', async () => {
    const apiKey = 'canary-0123456789abcdef';
    const authorization = { authorization: `Bearer ${apiKey}` };
    const broker = await startBroker({
      env: { ...QUICK_MARKET, API_KEYS: `owner=${apiKey}`, LOG_LEVEL: 'debug', KEY_REPLAY_TTL: '1s' },
    });
    const created = await broker.api<Created>('POST', '/api/v1/sessions?wait=60', A_GPU, {
      ...authorization,
      'idempotency-key': 'canary',
    });
    const key = created.body.ssh_private_key!; // the broker made it
    const secrets = [apiKey, ...canariesOf(key)];
    expect(secrets.filter((secret) => key.includes(secret)).length).toBeGreaterThanOrEqual(2); // the canaries are of this key
    const wrongKey = await broker.api('GET', `/api/v1/sessions?key=${apiKey}`, undefined, {
      authorization: `Bearer x${apiKey}`,
    });
    const wrongBody = await broker.api(
      'POST',
      '/api/v1/sessions',
      { ...A_GPU, env: { KEY: key }, ssh_public_key: key },
      authorization,
    );
    const known = await broker.api('GET', `/api/v1/sessions/${created.body.session.id}`, undefined, authorization);
    const history = await broker.api('GET', `/api/v1/sessions/${created.body.session.id}/events`, undefined, authorization);
    const metrics = await broker.api('GET', '/metrics', undefined, authorization);
    await broker.api('DELETE', `/api/v1/sessions/${created.body.session.id}?wait=60`, undefined, authorization);
    await broker.stop();

    expect([created.status, wrongKey.status, wrongBody.status, known.status, metrics.status]).toEqual([
      201, 401, 400, 200, 200,
    ]);
    for (const { text } of [wrongKey, wrongBody, known, history, metrics]) expectNone(secrets, text);
    expectNone(secrets, broker.output());
    for (const name of readdirSync(broker.folder, { recursive: true, encoding: 'utf8' })) {
      const content = contentOf(join(broker.folder, name));
      if (content) expectNone(secrets, content.toString('latin1'), name);
    }
  });

  it('shreds a private key after the time for its replay, and tells it no more', async () => {
    const broker = await startBroker({ env: { ...QUICK_MARKET, KEY_REPLAY_TTL: '2s' } });
    const headers = { 'idempotency-key': 'short' };
    const first = await rent(broker, { headers, wait: 0 });
    expect(first.ssh_private_key).toContain('PRIVATE KEY');

    const later = await until('an answer without the key', async () => {
      const repeated = await rent(broker, { headers, wait: 0 });
      return repeated.ssh_private_key === undefined ? repeated : undefined;
    });

    expect(later.session.id).toBe(first.session.id);
    expect((await sessionOf(broker, first.session.id)).status).not.toBe('failed');
    expect((await end(broker, first.session.id)).status).toBe(200);
  });
});

/** Pieces of a private key that nothing else contains: its lines, and the raw secret bytes. */
function canariesOf(privateKey: string): string[] {
  const lines = privateKey.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  const bytes = Buffer.from(lines.join(''), 'base64');
  const publicAt = bytes.indexOf('ssh-ed25519') + 'ssh-ed25519'.length + 4;
  const publicKey = bytes.subarray(publicAt, publicAt + 32);
  // OpenSSH writes seed and public key one after the other, behind the second copy of the public key
  const secret = bytes.subarray(bytes.lastIndexOf(publicKey) - 32, bytes.lastIndexOf(publicKey));
  const encodings = ['latin1', 'base64', 'hex'] as const;
  // the lines that hold the secret; those before it hold the public half, which is no secret
  const from = Math.floor(((bytes.lastIndexOf(publicKey) - 32) * 4) / 3 / 70);
  return [...lines.slice(from, -1), ...encodings.map((encoding) => secret.toString(encoding).slice(0, 40))];
}

function expectNone(secrets: readonly string[], text: string, where = ''): void {
  for (const [index, secret] of secrets.entries()) expect(text.includes(secret), `secret ${index} ${where}`).toBe(false);
}

/** Undefined for a folder. */
function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EISDIR') return undefined;
    throw error;
  }
}

/** How many instances the provider had in a sweep that began after now. */
async function instancesSwept(broker: BrokerProcess): Promise<number> {
  const latest = async () => {
    const { body } = await broker.api<{
      controllers: readonly { name: string; runs: number; report?: { examined: number } }[];
    }>('GET', '/api/v1/controllers');
    return body.controllers.find(({ name }) => name === 'instance.orphans');
  };
  const before = (await latest())?.runs ?? 0;
  const after = await until('another sweep', async () => {
    const sweep = await latest();
    return sweep?.report && sweep.runs >= before + 2 ? sweep.report : undefined;
  });
  return after.examined;
}
