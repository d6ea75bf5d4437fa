import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import Sqlite from 'better-sqlite3';
import { afterEach, describe, expect, it } from 'vitest';
import type { ReceiptBody } from '../../src/http/schemas/receipt.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { rentRunning } from '../support/wire-session.ts';

const PROGRAM = resolve(import.meta.dirname, '../../dist/src/cli/main.js');
const BOUND_MS = 120_000;

afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

async function berth({ folder, databasePath }: BrokerProcess, ...args: readonly string[]) {
  const env = { PATH: process.env['PATH'], HOME: folder, DATABASE_PATH: databasePath };
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, 'audit', ...args], { cwd: folder, env });
    return { code: 0, stdout, stderr };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string }; // what execFile rejects with when the process ended by itself
  }
}

describe('a destroy receipt and the log that it is made of', () => {
  it(
    'is complete once the machine is gone, can be checked beside the running broker, and an edit is found',
    { timeout: 3 * BOUND_MS },
    async () => {
      const broker = await startBroker({ env: { LIFECYCLE_CHECK_INTERVAL: '1s' } });
      const { session } = await rentRunning(broker);
      await broker.api('DELETE', `/api/v1/sessions/${session.id}`);
      const receipt = await until(
        'a complete receipt',
        async () => {
          const { body } = await broker.api<ReceiptBody>('GET', `/api/v1/sessions/${session.id}/receipt`);
          return body.complete ? body : undefined;
        },
        BOUND_MS,
      );
      expect(receipt).toMatchObject({
        status: 'stopped',
        reason: 'user_requested',
        missing: [],
        attempts: [{ ordinal: 1, create: { verdict: 'created' }, accepted: {}, verified: {} }],
        cost: expect.any(Number),
      });
      expect(await berth(broker, 'verify', '--session', session.id)).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/all whole\n$/),
      });

      // an unset variable of a script must not pass for a check
      expect(await berth(broker, 'verify', '--head', '')).toMatchObject({
        code: 78,
        stderr: expect.stringContaining('--head'),
      });
      // a hash of a session's chain is none of the installation's
      expect(await berth(broker, 'verify', '--head', receipt.audit.head)).toMatchObject({ code: 1 });

      const copy = join(broker.folder, 'audit.jsonl');
      expect(await berth(broker, 'export', copy)).toMatchObject({ code: 0 });
      const exported = readFileSync(copy, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { chain: string; hash: string });
      expect(exported.filter(({ chain }) => chain === session.id).at(-1)?.hash).toBe(receipt.audit.head);
      expect(await berth(broker, 'export', copy)).toMatchObject({ code: 1, stderr: expect.stringContaining('EEXIST') });

      await broker.stop();
      const database = new Sqlite(broker.databasePath);
      database
        .prepare(`UPDATE audit SET data = replace(data, 'gone', 'here') WHERE chain = ? AND kind = 'destroy.answered'`)
        .run(session.id);
      database.close();
      expect(await berth(broker, 'verify')).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`BROKEN: chain ${session.id}, row \\d+: .*the row was edited`)),
      });
    },
  );
});
