import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { VastEmulator } from '../../../providers/vastai/emulator.ts';
import { freePort } from '../../../src/tunnel/fixtures/tunnels.ts';
import { endBrokers, launchBroker, startBroker, until, type BrokerProcess } from '../../support/broker-process.ts';
import { A_VAST_GPU, livingAt, openQuickVast, vastSettings } from '../../support/faults/quick-vast.ts';
import { describePart } from '../../support/parts.ts';
import { end, rentRunning, sessionOf, untilSession, type Created } from '../../support/wire-session.ts';

const BALLAST_BYTES = 2 ** 20;

let disk: string;
let market: VastEmulator;

describePart('tmpfs', 'a broker whose disk of two megabytes is full', () => {
  beforeEach(async () => {
    disk = mkdtempSync(join(tmpdir(), 'berth-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'berth-full-disk', disk]);
    market = await openQuickVast({ offers: 60 });
  });

  afterEach(async ({ task }) => {
    await endBrokers({ show: task.result?.state === 'fail' });
    execFileSync('umount', [disk]);
    rmSync(disk, { recursive: true, force: true });
    await market.close();
  });

  it('REL-E3: makes no session, shows and ends those that there are, and makes some again when there is room', async () => {
    const settings = {
      env: { ...vastSettings(market), VASTAI_OFFERS_PER_SEARCH: '30', DATABASE_PATH: join(disk, 'berth.db') },
      port: await freePort(),
    };
    const broker = await startBroker(settings);
    const [first = '', second = ''] = await rentTwo(broker);

    const refused = await fillUntilRefused(broker);
    expect(refused).toMatchObject({ status: 507, body: { error_type: 'disk_full', retry_suggested: true } });
    expect(refused.headers['retry-after']).toBeDefined();
    expect((await broker.api('GET', '/ready')).status).toBe(503);
    expect((await broker.api('GET', '/api/v1/inventory')).status).toBe(200);
    expect((await sessionOf(broker, second)).status).toBe('running');
    await expectToEnd(broker, first);

    free();
    await until('room again', async () => ((await broker.api('GET', '/ready')).status === 200 ? true : undefined));
    const { session: third } = await rentRunning(broker, { body: A_VAST_GPU });

    // one that dies on a full disk can be started on it, and goes on ending
    fill();
    await broker.kill();
    const next = await launchBroker({ ...settings, folder: broker.folder });
    await next.listening();
    expect(next.logs().some(({ message }) => message.startsWith('the disk of the database is full'))).toBe(true);
    await fillUntilRefused(next); // a start, too, has folded the log
    for (const id of [second, third.id]) await expectToEnd(next, id);
    await until('no instance', () => (livingAt(market).length === 0 ? true : undefined));
    free();
    await until('room again', async () => ((await next.api('GET', '/ready')).status === 200 ? true : undefined));
  });
});

async function rentTwo(broker: BrokerProcess): Promise<string[]> {
  const rented = [await rentRunning(broker, { body: A_VAST_GPU }), await rentRunning(broker, { body: A_VAST_GPU })];
  return rented.map(({ session }) => session.id);
}

async function expectToEnd(broker: BrokerProcess, id: string): Promise<void> {
  expect((await end(broker, id, 0)).status).toBe(200);
  const ended = await untilSession(broker, id, ({ status }) => status === 'stopped');
  expect(ended.reason).toBe('user_requested');
}

/** Whoever writes on a full disk gets back what the log of the database had taken, so that it has to be filled again. */
async function fillUntilRefused(broker: BrokerProcess) {
  return until('a session that is refused', async () => {
    fill();
    const answer = await broker.api<Created & { error_type: string }>('POST', '/api/v1/sessions?wait=0', A_VAST_GPU);
    if (answer.status === 201) await end(broker, answer.body.session.id, 0);
    return answer.status === 201 || answer.status === 503 ? undefined : answer;
  });
}

const filler = () => join(disk, 'filler');
const free = () => rmSync(filler());

/** Somebody else's file takes whatever is left, but not what the broker has held back for itself. */
function fill(): void {
  const file = openSync(filler(), 'a');
  try {
    for (const bytes of [65_536, 4_096, 512]) while (writeSync(file, Buffer.alloc(bytes)) === bytes);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  } finally {
    closeSync(file);
  }
  if (existsSync(join(disk, 'berth.db.ballast'))) return;
  truncateSync(filler(), Math.max(0, statSync(filler()).size - BALLAST_BYTES));
}
