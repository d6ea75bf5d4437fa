import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SqliteDatabase } from '../../src/db/sqlite-driver.ts';
import { endBrokers, makeFolder, runBroker, startBroker } from '../support/broker-process.ts';
import { QUICK_MARKET } from '../support/simulated-market.ts';
import { rent, sessionOf } from '../support/wire-session.ts';

const EXIT_CONFIG = 78;

afterEach(({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

describe('a broker that must not start', () => {
  it('refuses an address that other machines reach while nobody is asked for a key, and says the fix', async () => {
    const { code, output } = await runBroker({ env: { SERVER_HOST: '0.0.0.0' } });

    expect(code).toBe(EXIT_CONFIG);
    expect(output).toContain('SERVER_HOST="0.0.0.0"');
    expect(output).toContain('API_KEYS=');
    expect(output).toContain('AUTH=none');
  });

  it('names every fault of the configuration at once, each with an example', async () => {
    const env = { SERVER_PORT: 'http', LOG_LEVEL: 'loud', SIMULATED_SEED: 'x', LIFECYCLE_HARD_MAX_HOURS: '-1' };

    const { code, output } = await runBroker({ env });

    expect(code).toBe(EXIT_CONFIG);
    for (const name of Object.keys(env)) expect(output).toMatch(new RegExp(`^ +${name}\\b.*xample`, 'm'));
  });

  it('REL-D7: refuses a database that another broker has open, which goes on undisturbed', async () => {
    const first = await startBroker({ env: QUICK_MARKET });
    const { session } = await rent(first, { wait: 0 });

    const { code, output } = await runBroker({ env: QUICK_MARKET, folder: first.folder });

    expect(code).toBe(EXIT_CONFIG);
    expect(output).toContain(first.databasePath);
    expect(output).toMatch(/in use by another Berth/);
    expect((await sessionOf(first, session.id)).id).toBe(session.id);
  });

  it('REL-D7: takes over at once from a process that was killed', async () => {
    const first = await startBroker({ env: QUICK_MARKET });
    const { session } = await rent(first, { wait: 0 });
    await first.kill();

    const second = await first.again();

    expect((await sessionOf(second, session.id)).id).toBe(session.id);
  });

  it("refuses somebody else's database by name and touches nothing", async () => {
    const folder = makeFolder();
    const path = join(folder, 'berth.db');
    const database = new SqliteDatabase(path);
    database.exec("CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES ('Ada');");
    database.close();
    const before = contentOf(folder);

    const { code, output } = await runBroker({ folder });

    expect(code).toBe(EXIT_CONFIG);
    expect(output).toContain(path);
    expect(output).toContain('customers');
    expect(contentOf(folder)).toEqual(before);
  });

  it('REL-B9: refuses another DEPLOYMENT_ID than the one whose instances the database knows', async () => {
    const first = await startBroker({ env: { ...QUICK_MARKET, DEPLOYMENT_ID: 'alpha1' } });
    expect(await first.stop()).toBe(0);

    const { code, output } = await runBroker({ env: { ...QUICK_MARKET, DEPLOYMENT_ID: 'alpha2' }, folder: first.folder });

    expect(code).toBe(EXIT_CONFIG);
    expect(output).toContain('DEPLOYMENT_ID is alpha2');
    expect(output).toContain('DEPLOYMENT_ID=alpha1');
    const second = await startBroker({ env: QUICK_MARKET, folder: first.folder });
    expect(second.logs().some((line) => line['deploymentId'] === 'alpha1')).toBe(true);
  });

  it('refuses to forget sessions whose provider was taken out of the configuration', async () => {
    const first = await startBroker({ env: QUICK_MARKET });
    await rent(first);
    await first.kill();

    const { code, output } = await runBroker({
      env: { ...QUICK_MARKET, PROVIDERS_SIMULATED_ENABLED: 'false', PROVIDERS_POOL_ENABLED: 'true' },
      folder: first.folder,
    });

    expect(code).toBe(EXIT_CONFIG);
    expect(output).toContain('PROVIDERS_SIMULATED_ENABLED=true');
  });
});

/** What is in a folder, by name: a refused start must not change it. */
function contentOf(folder: string): Record<string, string> {
  const names = readdirSync(folder).toSorted();
  return Object.fromEntries(
    names.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );
}
