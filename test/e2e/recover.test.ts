import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startVastEmulator, type VastEmulator } from '../../providers/vastai/emulator.ts';
import { systemClock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { endBrokers, runBroker, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import { rentRunning } from '../support/wire-session.ts';

// The day on which the database is broken or old: real processes, the market emulated over HTTP and SSH on loopback.

const PROGRAM = resolve(import.meta.dirname, '../../dist/src/cli/main.js');
const QUICK = {
  bootScale: 0.02,
  sshdDelayMs: 400,
  keyDelayMs: 300,
  stopMs: 300,
  listLagMs: 500,
  goneLagMs: 500,
  heartbeatMs: 1_000,
} as const;
const WANTED = { provider: 'vastai', gpu_count: 1, reservation_hours: 1 } as const;
/** Long enough under any load, and nothing is waited for so long where all is well. */
const BOUND_MS = 300_000;

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let market: VastEmulator;

beforeEach(async () => {
  market = await startVastEmulator({ clock: systemClock, seed: 20_261, mode: 'strict', knobs: QUICK });
});

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  await market.close();
});

const marketSettings = () => ({ VASTAI_API_KEY: market.apiKey, VASTAI_BASE_URL: market.url });

function startVastBroker(): Promise<BrokerProcess> {
  return startBroker({
    env: {
      ...marketSettings(),
      LIFECYCLE_CHECK_INTERVAL: '1s',
      LIFECYCLE_RECONCILIATION_INTERVAL: '4s',
      LIFECYCLE_ORPHAN_GRACE_PERIOD: '0s',
      SSH_CHECK_INTERVAL: '1s',
    },
  });
}

/** The command as a person without a terminal runs it, with nothing but the provider's settings and, where there is one, the database. */
async function berth(
  args: readonly string[],
  { folder, databasePath }: Pick<BrokerProcess, 'folder' | 'databasePath'>,
): Promise<Ran> {
  const env = { PATH: process.env['PATH'], HOME: folder, DATABASE_PATH: databasePath, ...marketSettings() };
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, ...args], { cwd: folder, env });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as Ran; // what execFile rejects with when the process ended by itself
    return { code, stdout, stderr };
  }
}

const living = () => market.instances().filter(({ isAlive }) => isAlive);
const health = async (broker: BrokerProcess) =>
  (await broker.api<{ deployment_id: string; recovery_mode?: { cause: string; reason: string } }>('GET', '/health')).body;

describePart('sshd', 'a restored old backup', () => {
  it(
    'REL-B10, REL-E10: begins recovery mode, nothing is destroyed, berth recover shows it, ends it, and the mode is ended by hand',
    async () => {
      const broker = await startVastBroker();
      const known = await rentRunning(broker, { body: WANTED });
      const { deployment_id: deployment, recovery_mode: before } = await health(broker);
      const copy = join(broker.folder, 'backup.db');
      expect((await berth(['backup', copy], broker)).code).toBe(0);
      const unknown = await rentRunning(broker, { body: WANTED });
      await broker.kill();
      for (const suffix of ['-wal', '-shm']) rmSync(broker.databasePath + suffix, { force: true });
      copyFileSync(copy, broker.databasePath);

      const restored = await broker.again();
      const sweeps = await until('several sweeps', async () => sweepsOf(restored, 4), BOUND_MS);

      expect(before).toBeUndefined();
      expect((await health(restored)).recovery_mode).toMatchObject({ cause: 'evidence' });
      expect((await health(restored)).recovery_mode?.reason).toContain(unknown.session.id);
      expect((await restored.api<object>('GET', '/ready')).body).toMatchObject({ ready: true, recovery_mode: true });
      expect((await restored.api('GET', '/metrics')).text).toMatch(/^berth_recovery_mode 1$/m);
      expect(sweeps).toBeGreaterThanOrEqual(4);
      expect(restored.logs().some(({ message, level }) => level === 'error' && message.startsWith('recovery mode is on'))).toBe(
        true,
      );
      expect(living()).toHaveLength(2);
      expect((await restored.api<{ status: string }>('GET', `/api/v1/sessions/${known.session.id}`)).body.status).toBe(
        'running',
      );

      const listed = await berth(['recover', '--json'], restored);
      expect(listed.code, listed.stderr).toBe(0);
      const { deployments } = JSON.parse(listed.stdout) as {
        deployments: { instances: { instance_id: string; session_id: string; session_status: string | null }[] }[];
      };
      const rows = deployments.flatMap(({ instances }) => instances);
      // the oldest first
      expect(rows).toMatchObject([
        { session_id: known.session.id, session_status: 'running' },
        { session_id: unknown.session.id, session_status: null },
      ]);
      const lost = rows.find(({ session_status }) => session_status === null)?.instance_id ?? '';

      const untold = await berth(['recover', '--destroy', lost, '--deployment', deployment], restored);
      expect(untold).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no terminal to ask at') });
      const foreign = await berth(['recover', '--destroy', lost, '--deployment', `${deployment}x`, '--yes'], restored);
      expect(foreign).toMatchObject({ code: 1, stderr: expect.stringContaining('belongs to deployment') });
      expect(living()).toHaveLength(2);
      const destroyed = await berth(['recover', '--destroy', lost, '--deployment', deployment, '--yes'], restored);
      expect(destroyed).toMatchObject({ code: 0, stdout: expect.stringContaining('1 of 1 instances') });
      expect(living().map(({ id }) => String(id))).not.toContain(lost);
      expect(living()).toHaveLength(1);

      const running = await berth(['recover', '--mode', 'off', '--yes'], restored);
      expect(running).toMatchObject({ code: 1, stderr: expect.stringContaining('in use by another Berth') });
      await restored.stop();
      expect(await berth(['recover', '--mode', 'off', '--yes'], restored)).toMatchObject({
        code: 0,
        stdout: 'recovery mode is off\n',
      });
      const next = await restored.again();
      await until('several sweeps', async () => sweepsOf(next, 3), BOUND_MS);
      expect((await health(next)).recovery_mode).toBeUndefined();
      expect(living()).toHaveLength(1);
    },
    BOUND_MS,
  );

  it(
    'an adopted instance is a session again: it runs, is billed to its consumer, and is destroyed when it is told to',
    async () => {
      const broker = await startVastBroker();
      const { deployment_id: deployment } = await health(broker);
      const copy = join(broker.folder, 'backup.db');
      await berth(['backup', copy], broker);
      const lost = await rentRunning(broker, { body: WANTED });
      await broker.kill();
      for (const suffix of ['-wal', '-shm']) rmSync(broker.databasePath + suffix, { force: true });
      copyFileSync(copy, broker.databasePath);

      const adopted = await berth(['recover', '--adopt', '--all', '--deployment', deployment], broker);
      expect(adopted).toMatchObject({ code: 0, stdout: expect.stringContaining('1 adopted') });
      const next = await broker.again();
      await until('several sweeps', async () => sweepsOf(next, 2), BOUND_MS);

      const { body: session } = await next.api<{ status: string; consumer_id: string; warnings: string[] }>(
        'GET',
        `/api/v1/sessions/${lost.session.id}`,
      );
      expect(session).toMatchObject({ status: 'running', consumer_id: 'operator' });
      expect((await health(next)).recovery_mode).toBeUndefined();
      const ended = await next.api<{ status: string }>('DELETE', `/api/v1/sessions/${lost.session.id}?wait=60`);
      expect(ended.body.status).toBe('stopped');
      expect(living()).toEqual([]);
    },
    BOUND_MS,
  );
});

async function sweepsOf(broker: BrokerProcess, atLeast: number): Promise<number | undefined> {
  const { body } = await broker.api<{ controllers: { name: string; runs: number }[] }>('GET', '/api/v1/controllers');
  const runs = body.controllers.find(({ name }) => name === 'instance.orphans')?.runs ?? 0;
  return runs >= atLeast ? runs : undefined;
}

describe('REL-E7: a database that is broken', () => {
  /** Flips bits in places drawn by seed: `count` in each stretch of `length` bytes that begins every `every` bytes from `from` on. */
  const flip = (path: string, seed: number, { from = 0, length = 100, every = Number.MAX_SAFE_INTEGER, count = 64 }) => {
    const bytes = readFileSync(path);
    const random = seededRandom(seed);
    for (let start = from; start < bytes.length; start += every)
      for (let flipped = 0; flipped < count; flipped += 1) {
        const at = start + Math.floor(random.next() * length);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random.next() * 8));
      }
    writeFileSync(path, bytes);
  };
  const half = (path: string) => truncateSync(path, Math.floor(readFileSync(path).length / 2));
  const withoutAllButItsLog = (path: string) => {
    truncateSync(path, 0);
    writeFileSync(`${path}-wal`, 'what is left of it');
  };

  it(
    'is refused by name and left as it is, however it broke, and berth recover lists all the same',
    async () => {
      const broker = await startVastBroker();
      const { deployment_id: deployment } = await health(broker);
      await broker.stop();
      const whole = readFileSync(broker.databasePath);
      await market.plant(`berth-${deployment}-01kb0000000000000000000000-1`);

      for (const [how, spoil] of [
        ['its header', (path: string) => flip(path, 1, {})],
        ['its first page', (path: string) => flip(path, 2, { from: 100, length: 3_996 })],
        // what SQLite can see: it keeps no sums of what stands in the rows
        ['the heads of its pages', (path: string) => flip(path, 3, { from: 4_096, length: 8, every: 4_096, count: 8 })],
        ['cut in half', half],
        ['emptied', (path: string) => truncateSync(path, 0)],
        ['emptied but for its log', withoutAllButItsLog],
      ] as const) {
        writeFileSync(broker.databasePath, whole);
        rmSync(`${broker.databasePath}-wal`, { force: true });
        spoil(broker.databasePath);
        const before = digest(broker.databasePath);

        const { code, output } = await runBroker({ env: broker.env, folder: broker.folder });
        const listed = await berth(['recover', '--deployment', deployment], broker);

        expect([how, code]).toEqual([how, 78]);
        expect(output, how).toContain(broker.databasePath);
        expect(output, how).toMatch(/berth cannot start/);
        expect(output, how).toContain('berth recover');
        expect(digest(broker.databasePath), how).toBe(before);
        expect(listed.code, `${how}: ${listed.stderr}`).toBe(0);
        expect(listed.stdout, how).toContain(`deployment ${deployment} (this installation): 1 instance`);
      }
    },
    BOUND_MS,
  );
});

function digest(path: string): string {
  const hash = createHash('sha256');
  for (const suffix of ['', '-wal']) if (existsSync(path + suffix)) hash.update(readFileSync(path + suffix));
  return hash.digest('hex');
}
