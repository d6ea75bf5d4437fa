import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { startTensorDockEmulator, type TensorDockEmulator } from '../../providers/tensordock/emulator.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { InventoryBody } from '../../src/http/schemas/offer.ts';
import { endBrokers, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { end, loginOf, rent, rentRunning, untilSession } from '../support/wire-session.ts';

// The README's main job on TensorDock: the broker as it ships, the market emulated over HTTP and SSH on loopback.

/** The market's own behaviour, without most of the waiting. */
const QUICK = { bootScale: 0.02, sshdDelayMs: 0, stopMs: 300, startMs: 300, listLagMs: 500, goneLagMs: 500 } as const;

const CREATE = { method: 'POST', path: '/instances$' } as const;
const WANTED = { provider: 'tensordock', gpu_count: 1, reservation_hours: 1 } as const;
const HOUR_MS = 3_600_000;

/** Where the vendor's papers leave it open: not the reading that the market has by itself. */
const OTHER_SHAPES: Partial<TensorDockEmulator['shapes']> = {
  refusal: 'http-400',
  notFound: 'empty',
  single: 'attributes',
  list: 'nested',
  listRow: 'full',
  statusCase: 'mixed',
  createStatus: 'provisioning',
  created: 201,
  noIp: 'null',
  forwards: 'map',
  portNumbers: 'string',
  moneyNumbers: 'string',
  id: 'compact',
  deleted: 204,
  afterDelete: 'row',
  goneStatus: 'terminated',
};

let market: TensorDockEmulator;

beforeEach(async () => {
  market = await openMarket();
});

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  await market.close();
});

describePart('sshd', 'a session on TensorDock', () => {
  it.each([
    { manner: 'as it is most likely to', shapes: {} },
    { manner: 'as it might as well', shapes: OTHER_SHAPES },
  ])(
    'is found, rented, logged into, destroyed and not billed any more by a market that answers $manner',
    async ({ shapes }) => {
      await market.close();
      market = await openMarket(shapes);
      const broker = await startTensorDockBroker();

      const { offers } = await inventoryOf(broker);
      const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });
      const gpu = await stockSsh(loginOf(session, key), 'nvidia-smi --query-gpu=name --format=csv,noheader');
      const ended = await end(broker, session.id);

      expect(offers.length).toBeGreaterThan(10);
      expect(offers.every(({ provider, simulated }) => provider === 'tensordock' && !simulated)).toBe(true);
      expect(session.ssh_user).toBe('user');
      expect(gpu).toMatchObject({ code: 0, stderr: '' });
      expect(gpu.stdout.trim().split('\n')).toHaveLength(1); // one line: one GPU
      expect(ended.body.status).toBe('stopped');
      // a strict market has understood everything
      expect(market.requests().filter(({ status }) => status === 400)).toEqual([]);
      expect(broker.output()).not.toContain(market.apiToken);
      expect(broker.output()).not.toContain(market.authorizationId);
      expectOneMachineAndNothingLeft();
    },
  );

  it.each([
    ['an address of its own', 'ip'],
    ['a port of its host', 'forward'],
    ['a port of a host node', 'ports'],
  ] as const)(
    'is entered at %s by a consumer with a key of their own, where the market forgets its key field',
    async (_, way) => {
      market.setKnobs({ keyFieldIgnoredShare: 1 });
      const broker = await startTensorDockBroker();
      const { offers } = await inventoryOf(broker);
      const isWay = (code = '') => (way === 'ports' ? /\/[\d+]+$/.test(code) : code.endsWith(`/${way}`));
      const offer = offers.find((each) => each.gpu_count === 1 && isWay(each.provider_id));
      if (offer === undefined) throw new Error(`the emulated market offers nothing behind ${way}`);

      const { session, ssh_private_key: key } = await rentRunning(broker, {
        body: { offer_id: offer.id, reservation_hours: 1 },
      });

      expect((await stockSsh(loginOf(session, key), 'echo in')).stdout).toBe('in');
      expect((await end(broker, session.id)).body.status).toBe('stopped');
      expectOneMachineAndNothingLeft();
    },
  );

  it('TD-7.2.T7: goes to other offers until one is there', async () => {
    market.injectFault({ ...CREATE, kind: 'outcome', outcome: 'no-nodes', times: 2 });
    const broker = await startTensorDockBroker();

    const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });

    expect((await stockSsh(loginOf(session, key), 'echo in')).stdout).toBe('in');
    expect(creates()).toHaveLength(3);
    expect((await end(broker, session.id)).body.status).toBe('stopped');
    expectOneMachineAndNothingLeft();
  });

  it('REL-A2: survives that the answer to its create is lost, and nothing is bought twice', async () => {
    market.injectFault({ ...CREATE, kind: 'reset-after' });
    const broker = await startTensorDockBroker();

    const { session, ssh_private_key: key } = await rentRunning(broker, { body: WANTED });

    expect((await stockSsh(loginOf(session, key), 'echo in')).stdout).toBe('in');
    expect(creates()).toHaveLength(1);
    expect((await end(broker, session.id)).body.status).toBe('stopped');
    expectOneMachineAndNothingLeft();
  });

  it('REL-A1, REL-A2: is adopted by the next process when the broker was killed before it knew of its machine', async () => {
    market.injectFault({ ...CREATE, kind: 'silence-after' });
    const broker = await startTensorDockBroker();
    const { session, ssh_private_key: key } = await rent(broker, { body: WANTED, wait: 0 });
    await until('the create at the market', () => (creates().length > 0 ? true : undefined));
    await broker.kill();
    expect(living()).toHaveLength(1);

    const next = await broker.again();
    const running = await untilSession(next, session.id, ({ status }) => status === 'running' || status === 'failed');

    expect(running).toMatchObject({ status: 'running' });
    expect((await stockSsh(loginOf(running, key), 'echo in')).stdout).toBe('in');
    expect(creates()).toHaveLength(1);
    expect((await end(next, session.id)).body.status).toBe('stopped');
    expectOneMachineAndNothingLeft();
  });

  it('TD-7.2.T11: ends when its GPU is taken back, and the machine without it is destroyed', async () => {
    const broker = await startTensorDockBroker();
    const { session } = await rentRunning(broker, { body: WANTED });

    market.preempt(theMachine());

    const ended = await untilSession(broker, session.id, ({ status }) => status === 'failed' || status === 'stopped');
    expect(ended.reason).toBe('instance_stopped');
    await until('no machine', () => (living().length === 0 ? true : undefined));
    expectOneMachineAndNothingLeft();
  });

  it('TD-7.2.T9: is destroyed by a market that says that it failed to, and did', async () => {
    const broker = await startTensorDockBroker();
    const { session } = await rentRunning(broker, { body: WANTED });
    market.injectFault({ kind: 'outcome', method: 'DELETE', path: '/instances/', outcome: 'error-but-deleted', times: 2 });

    expect((await end(broker, session.id)).body.status).toBe('stopped');

    expectOneMachineAndNothingLeft();
  });
});

describe('a market that does not know the token', () => {
  it('is told in the inventory, and nothing simulated is shown in its place', async () => {
    const broker = await startTensorDockBroker({ TENSORDOCK_API_TOKEN: 'not-the-token-of-anybody' });

    const { offers, providers } = await until('a listing that was refused', async () => {
      const inventory = await inventoryOf(broker);
      return inventory.providers.some(({ error }) => error !== undefined) ? inventory : undefined;
    });

    expect(offers).toEqual([]);
    expect(providers).toMatchObject([{ id: 'tensordock', simulated: false, error: { kind: 'auth' } }]);
  });
});

function openMarket(shapes: Partial<TensorDockEmulator['shapes']> = {}): Promise<TensorDockEmulator> {
  return startTensorDockEmulator({ clock: systemClock, seed: 20_261, mode: 'strict', knobs: QUICK, shapes });
}

function startTensorDockBroker(changes: Readonly<Record<string, string>> = {}): Promise<BrokerProcess> {
  return startBroker({
    env: {
      TENSORDOCK_API_TOKEN: market.apiToken,
      TENSORDOCK_AUTH_ID: market.authorizationId,
      TENSORDOCK_BASE_URL: `${market.url}/api/v2`,
      LIFECYCLE_CHECK_INTERVAL: '1s',
      LIFECYCLE_RECONCILIATION_INTERVAL: '2s',
      SSH_CHECK_INTERVAL: '1s',
      ...changes,
    },
  });
}

async function inventoryOf(broker: BrokerProcess): Promise<z.infer<typeof InventoryBody>> {
  return (await broker.api<z.infer<typeof InventoryBody>>('GET', '/api/v1/inventory?limit=500')).body;
}

function creates() {
  return market.requests().filter(({ method, path }) => method === CREATE.method && new RegExp(CREATE.path).test(path));
}

function living() {
  return market.instances().filter(({ isAlive }) => isAlive);
}

function theMachine(): string {
  const [only, ...others] = living();
  if (only === undefined || others.length > 0) throw new Error(`not one machine: ${JSON.stringify(market.instances())}`);
  return only.id;
}

/** By the market's own books, which know nothing of ours. */
function expectOneMachineAndNothingLeft(): void {
  expect(living()).toEqual([]);
  const before = market.ledger();
  market.advance(HOUR_MS);
  expect(before).toHaveLength(1);
  expect(before.every(({ closedAt, totalUsd }) => closedAt !== undefined && totalUsd > 0)).toBe(true);
  expect(market.ledger()).toEqual(before);
}
