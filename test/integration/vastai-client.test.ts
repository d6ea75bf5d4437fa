import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { startVastEmulator, type VastEmulator } from '../../providers/vastai/emulator.ts';
import { systemClock } from '../../src/core/clock.ts';
import { endBrokers, makeFolder, until } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';

// The market's own command line client against our emulator of it: what that client sends and reads is what the emulator must know.

const CLIENT = 'vastai==1.9.1';
const INSTALL_BOUND_MS = 300_000;

const Offers = z.array(z.object({ id: z.int(), num_gpus: z.int(), gpu_name: z.string(), dph_total: z.number() }));
const Created = z.object({ success: z.literal(true), new_contract: z.int() });
const Instance = z.object({ id: z.int(), label: z.string().nullable(), actual_status: z.string().nullable() });
const Gone = z.object({ instances: z.null() });
const User = z.object({ credit: z.number() });

describePart('python', 'the official client of Vast.ai', () => {
  let client: PythonClient;
  let market: VastEmulator;

  beforeAll(async () => {
    client = await installClient();
  }, INSTALL_BOUND_MS);

  afterAll(() => endBrokers()); // takes the folder away

  beforeEach(async () => {
    // without the market's intervals: the client keeps none, and what it prints after a 429 is nothing
    const knobs = { listLagMs: 0, goneLagMs: 0, bootScale: 0.02, limits: false };
    market = await startVastEmulator({ clock: systemClock, seed: 20_261, mode: 'strict', knobs });
  });

  afterEach(() => market.close());

  it('finds the offers that it asked for, the API key accepted', async () => {
    const offers = Offers.parse(await client.json(market, 'search', 'offers', 'num_gpus=2 reliability>0.95', '--limit', '5'));
    const user = User.parse(await client.json(market, 'show', 'user'));

    expect(offers.length).toBeGreaterThan(0);
    expect(offers.length).toBeLessThanOrEqual(5);
    expect(offers.every(({ num_gpus: count }) => count === 2)).toBe(true);
    expect(user.credit).toBe(100);
  });

  it('rents an offer, sees the instance run, labels it and destroys it', async () => {
    const [offer] = Offers.parse(await client.json(market, 'search', 'offers', 'num_gpus=1'));
    const order = ['--image', 'ubuntu:24.04', '--disk', '10', '--label', 'first', '--ssh', '--direct'];

    const { new_contract: id } = Created.parse(await client.json(market, 'create', 'instance', String(offer?.id), ...order));
    const listed = z.array(Instance).parse(await client.json(market, 'show', 'instances'));
    await until('an instance that runs', () => market.instances().some(({ phase }) => phase === 'running') || undefined);
    const running = Instance.parse(await client.json(market, 'show', 'instance', String(id)));
    const address = await client.text(market, 'ssh-url', String(id));
    await client.text(market, 'label', 'instance', String(id), 'second');
    const labelled = market.instances();
    await client.text(market, 'destroy', 'instance', String(id), '-y');
    const gone = Gone.parse(await client.json(market, 'show', 'instance', String(id)));

    expect(listed).toMatchObject([{ id, label: 'first' }]);
    expect(running).toMatchObject({ id, label: 'first', actual_status: 'running' });
    const { sshPorts } = labelled.find((instance) => instance.id === id) ?? {};
    expect([sshPorts?.direct, sshPorts?.proxy]).toContain(Number(new URL(address.trim()).port));
    expect(labelled).toMatchObject([{ id, label: 'second', isAlive: true }]);
    expect(gone.instances).toBeNull();
    expect(market.instances()).toMatchObject([{ id, isAlive: false }]);
    expect(market.ledger()).toMatchObject([{ contractId: id, closedAt: expect.any(Number) as number }]);
  });

  it('is refused with a key that the market does not know', async () => {
    const shown = await client.text({ url: market.url, apiKey: 'not-the-key-of-anybody' }, 'show', 'user');

    expect(shown).toBe(''); // it says so on standard error, and ends with 0
    expect(market.requests().at(-1)).toMatchObject({ path: '/api/v0/users/current/', status: 401 });
  });
});

interface PythonClient {
  text(market: Pick<VastEmulator, 'url' | 'apiKey'>, ...words: readonly string[]): Promise<string>;
  json(market: Pick<VastEmulator, 'url' | 'apiKey'>, ...words: readonly string[]): Promise<unknown>;
}

/** Into a Python of its own in a folder of its own, which is also its home: a key that somebody stored here is never used. */
async function installClient(): Promise<PythonClient> {
  const run = promisify(execFile);
  const folder = makeFolder();
  await run('python3', ['-m', 'venv', join(folder, 'python')]);
  await run(join(folder, 'python/bin/pip'), ['install', '--quiet', '--disable-pip-version-check', CLIENT], {
    timeout: INSTALL_BOUND_MS,
  });
  const text: PythonClient['text'] = async ({ url, apiKey }, ...words) => {
    const program = join(folder, 'python/bin/vastai');
    const env = { PATH: process.env['PATH'], HOME: folder };
    const { stdout } = await run(program, ['--url', url, '--api-key', apiKey, '--raw', ...words], { env, timeout: 60_000 });
    return stdout;
  };
  return { text, json: async (market, ...words) => JSON.parse(await text(market, ...words)) as unknown };
}
