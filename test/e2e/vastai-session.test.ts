import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { startVastEmulator, type VastEmulator } from '../../providers/vastai/emulator.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { InventoryBody } from '../../src/http/schemas/offer.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { end, loginOf, rent, rentRunning, untilSession } from '../support/wire-session.ts';

// The README's main job on Vast.ai: the broker as it ships, the market emulated over HTTP and SSH on loopback.

/** The market's own behaviour, without most of the waiting. */
const QUICK = {
  bootScale: 0.02,
  sshdDelayMs: 400,
  keyDelayMs: 300,
  stopMs: 300,
  listLagMs: 500,
  goneLagMs: 500,
  heartbeatMs: 1_000,
} as const;

const CREATE = { method: 'PUT', path: '^/api/v0/asks/' } as const;
const WANTED = { provider: 'vastai', gpu_count: 1, reservation_hours: 1 } as const;
const HOUR_MS = 3_600_000;

/** Where the vendor's papers leave it open: not the reading that the market has by itself. */
const OTHER_SHAPES: Partial<VastEmulator['shapes']> = {
  gone: '404',
  single: 'array',
  portsBeforeRunning: 'null',
  destroyed: 'empty',
  keyField: 'key',
  unknownFilter: 'refused',
  accountKeys: 'all',
  addressNewline: false,
  externalAs: 'number',
  gpuMemory: 'round',
};

let market: VastEmulator;

beforeEach(async () => {
  market = await openMarket();
});

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  await market.close();
});

describePart('sshd', 'a session on Vast.ai', () => {
  it.each([
    { manner: 'as it is most likely to', shapes: {} },
    { manner: 'as it might as well', shapes: OTHER_SHAPES },
  ])(
    'is found, rented, logged into, destroyed and not billed any more by a market that answers $manner',
    async ({ shapes }) => {
      await market.close();
      market = await openMarket(shapes);
      const broker = await startVastBroker();

      const { offers } = await inventoryOf(broker);
      const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });
      const gpu = await stockSsh(loginOf(session, key), 'nvidia-smi --query-gpu=name --format=csv,noheader');
      const ended = await end(broker, session.id);

      expect(offers.length).toBeGreaterThan(10);
      expect(offers.every(({ provider, simulated }) => provider === 'vastai' && !simulated)).toBe(true);
      expect(gpu).toMatchObject({ code: 0, stderr: '' });
      expect(gpu.stdout).toMatch(new RegExp(`^.*${session.gpu_type}$`)); // one line: one GPU
      expect(ended.body.status).toBe('stopped');
      // a strict market has understood everything
      expect(market.requests().filter(({ status }) => status === 400)).toEqual([]);
      expect(broker.output()).not.toContain(market.apiKey);
      expectOneContractAndNothingLeft();
    },
  );

  it('REL-A2: survives that the answer to its create is lost, and nothing is bought twice', async () => {
    market.injectFault({ ...CREATE, kind: 'reset-after' });
    const broker = await startVastBroker();

    const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });

    expect((await stockSsh(loginOf(session, key), 'echo in')).stdout).toBe('in');
    expect(creates()).toHaveLength(1);
    expect(living()).toHaveLength(1);
    expect((await end(broker, session.id)).body.status).toBe('stopped');
    expectOneContractAndNothingLeft();
  });

  it('REL-A1, REL-A2: is adopted by the next process when the broker was killed before it knew of its contract', async () => {
    const { broker, session, key } = await killedAtCreate();

    const next = await broker.again();
    const running = await untilSession(next, session.id, ({ status }) => status === 'running' || status === 'failed');

    expect(running).toMatchObject({ status: 'running' });
    expect((await stockSsh(loginOf(running, key), 'echo in')).stdout).toBe('in');
    expect(creates()).toHaveLength(1);
    expect((await end(next, session.id)).body.status).toBe('stopped');
    expectOneContractAndNothingLeft();
  });

  it('REL-A1, REL-A2: leaves no contract when the next process is told at once to end it', async () => {
    const { broker, session } = await killedAtCreate();

    const next = await broker.again();
    await end(next, session.id, 0);

    await untilSession(next, session.id, ({ status }) => status === 'stopped');
    expect(creates()).toHaveLength(1);
    expectOneContractAndNothingLeft();
  });

  it('ends when its host stops the instance, and the stopped contract is destroyed', async () => {
    const broker = await startVastBroker();
    const { session } = await rentRunning(broker, { body: WANTED });

    market.preempt(theContract());

    const ended = await untilSession(broker, session.id, ({ status }) => status === 'failed' || status === 'stopped');
    expect(ended.reason).toBe('instance_stopped');
    await until('no contract', () => (living().length === 0 ? true : undefined));
    expectOneContractAndNothingLeft();
  });
});

describe('a market that does not know the key', () => {
  it('is told in the inventory, and nothing simulated is shown in its place', async () => {
    const broker = await startVastBroker({ VASTAI_API_KEY: 'not-the-key-of-anybody' });

    const { offers, providers } = await until('a listing that was refused', async () => {
      const inventory = await inventoryOf(broker);
      return inventory.providers.some(({ error }) => error !== undefined) ? inventory : undefined;
    });

    expect(offers).toEqual([]);
    expect(providers).toMatchObject([{ id: 'vastai', simulated: false, error: { kind: 'auth' } }]);
  });
});

function openMarket(shapes: Partial<VastEmulator['shapes']> = {}): Promise<VastEmulator> {
  return startVastEmulator({ clock: systemClock, seed: 20_261, mode: 'strict', knobs: QUICK, shapes });
}

function startVastBroker(changes: Readonly<Record<string, string>> = {}): Promise<BrokerProcess> {
  return startBroker({
    env: {
      VASTAI_API_KEY: market.apiKey,
      VASTAI_BASE_URL: market.url,
      LIFECYCLE_CHECK_INTERVAL: '1s',
      LIFECYCLE_RECONCILIATION_INTERVAL: '2s',
      SSH_CHECK_INTERVAL: '1s',
      ...changes,
    },
  });
}

/** The market has acted on the create; the broker will never learn of it, since it is killed. */
async function killedAtCreate() {
  market.injectFault({ ...CREATE, kind: 'silence-after' });
  const broker = await startVastBroker();
  const { session, ssh_private_key: key } = await rent(broker, { body: WANTED, wait: 0 });
  await until('the create at the market', () => (creates().length > 0 ? true : undefined));
  await broker.kill();
  expect(living()).toHaveLength(1);
  return { broker, session, key };
}

async function inventoryOf(broker: BrokerProcess): Promise<z.infer<typeof InventoryBody>> {
  return (await broker.api<z.infer<typeof InventoryBody>>('GET', '/api/v1/inventory?limit=100')).body;
}

function creates() {
  return market.requests().filter(({ method, path }) => method === CREATE.method && new RegExp(CREATE.path).test(path));
}

function living() {
  return market.instances().filter(({ isAlive }) => isAlive);
}

function theContract(): number {
  const [only, ...others] = living();
  if (only === undefined || others.length > 0) throw new Error(`not one contract: ${JSON.stringify(market.instances())}`);
  return only.id;
}

/** By the market's own books, which know nothing of ours. */
function expectOneContractAndNothingLeft(): void {
  expect(living()).toEqual([]);
  const before = market.ledger();
  market.advance(HOUR_MS);
  expect(before).toHaveLength(1);
  expect(before.every(({ closedAt, totalUsd }) => closedAt !== undefined && totalUsd > 0)).toBe(true);
  expect(market.ledger()).toEqual(before);
}
