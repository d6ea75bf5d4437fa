import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { seededRandom } from '../../../src/core/random.ts';
import { freePort } from '../../../src/tunnel/fixtures/tunnels.ts';
import { endBrokers, launchBroker, makeFolder, until, type LaunchedBroker } from '../../support/broker-process.ts';
import { createClientLedger, runClients, whatIsBroken } from '../../support/faults/client-ledger.ts';
import { A_VAST_GPU, expectEachTagOnce, livingAt, openQuickVast, vastSettings } from '../../support/faults/quick-vast.ts';
import { describePart } from '../../support/parts.ts';
import { end, sessionOf, type WireSession } from '../../support/wire-session.ts';

const FAILURES = Number(process.env['FAULT_EIOS'] ?? 8);
const SEED = Number(process.env['FAULT_SEED'] ?? 20_261);

afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

describePart('strace', 'a broker whose disk fails under its database', () => {
  it(
    `REL-E4, REL-M4: ends by itself at the first fsync that fails, and has lost nothing that was promised, ${FAILURES} times`,
    { timeout: 120_000 + FAILURES * 15_000 },
    async () => {
      const random = seededRandom(SEED);
      const market = await openQuickVast();
      const settings = { env: vastSettings(market), folder: makeFolder(), port: await freePort() };
      const ledger = createClientLedger();
      const leaving = new AbortController();
      let broker = await launchBroker(settings);
      const clients = runClients({
        count: 3,
        seed: SEED,
        api: () => broker.api,
        ledger,
        body: A_VAST_GPU,
        most: 2,
        paceMs: 60,
        signal: leaving.signal,
      });

      for (let failures = 0; failures < FAILURES; failures += 1) {
        await broker.listening();
        await failFsync(broker, 1 + Math.floor(random.next() * 12));
        expect(await broker.ended).toBe(1);
        expect(broker.logs().at(-1)?.message).toBe('the disk failed under the database: the process ends; start it again');
        broker = await launchBroker(settings);
      }
      leaving.abort();
      await Promise.all(clients);

      await broker.listening();
      const broken = [...ledger.broken];
      for (const promised of ledger.promised) broken.push(...whatIsBroken(promised, await sessionOf(broker, promised.id)));
      expect(broken).toEqual([]);
      const { body } = await broker.api<{ sessions: readonly WireSession[] }>('GET', '/api/v1/sessions');
      for (const { id } of body.sessions) expect((await end(broker, id, 0)).status).toBe(200);
      await until('no instance', () => (livingAt(market).length === 0 ? true : undefined), 120_000);
      expectEachTagOnce(market);
      console.log(
        `fsync EIO, seed ${SEED}: ${FAILURES} failures, ${ledger.promised.length} sessions, ${ledger.extended} extensions and ${ledger.stopped} ends acknowledged, 0 lost, 0 leaked`,
      );
      await market.close();
    },
  );
});

/** From now on, the so-manieth fsync of the process fails as on a disk that has lost a page. */
async function failFsync({ pid }: LaunchedBroker, nth: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-strace-'));
  const record = join(folder, 'record');
  const tracer = spawn(
    'strace',
    [
      '-f',
      '-o',
      record,
      '-e',
      'trace=fsync,fdatasync',
      '-e',
      `inject=fsync,fdatasync:error=EIO:when=${nth}+`,
      '-p',
      String(pid),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  tracer.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  try {
    await once(tracer, 'exit');
    if (!readFileSync(record, 'utf8').includes('(INJECTED)')) throw new Error(`strace injected nothing: ${said}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
