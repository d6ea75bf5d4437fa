import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import { systemRandom } from '../../src/core/random.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { priceWithDisk, type Offer } from '../../src/provider/offer.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { aCreateRequest, uncancelled } from '../../test/support/provider-calls.ts';
import { simulated } from './index.ts';

// Hosts of the simulated market that can be had for a bid, and until somebody bids more.

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-simulated-'));
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function aMarket(variables: Record<string, string> = {}, { folder = aFolder(), clock = new FakeClock() } = {}) {
  const quick = { SIMULATED_CREATE_SECONDS: '0', SIMULATED_DESTROY_SECONDS: '1', SIMULATED_PORTS: '31000-31999' };
  const environment = simulated.environment.parse({ ...quick, ...variables });
  const machinePool = undefined as never; // the simulated market owns no machines
  const deps = { clock, random: systemRandom, log: recordingLog(), dataFolder: folder, machinePool };
  const provider = await simulated.create(environment, deps);
  const close = async () => provider.close?.();
  cleanUps.push(close);
  const offers = (await provider.listOffers({}, uncancelled)).offers;
  const bid = offers.find(({ interruptible }) => interruptible) ?? expect.unreachable('it has no interruptible offer');
  return { provider, clock, folder, close, offers, bid };
}

const floorOf = ({ minBidMicrosPerHour = 0 }: Offer) => minBidMicrosPerHour;

/** Moves the market's time, and waits for what it then does in real time: opening and closing ports. */
async function after(clock: FakeClock, ms: number, provider: Provider, id: Instance['id'], state: Instance['state']) {
  await clock.advance(ms);
  await vi.waitFor(
    async () => {
      await clock.settle();
      expect((await provider.getInstance(id, uncancelled))?.state).toBe(state);
    },
    { timeout: 10_000, interval: 10 },
  );
}

describe('interruptible offers of the simulated market', () => {
  it('stand beside the same host at a fixed price, for about half of it', async () => {
    const { provider, offers } = await aMarket();
    const bids = offers.filter(({ interruptible }) => interruptible);

    expect(provider.capabilities.interruptible).toBe(true);
    expect(bids.length / offers.length).toBeGreaterThan(0.1);
    expect(bids.length / offers.length).toBeLessThan(0.3);
    for (const bid of bids) {
      const fixed = offers.find(({ id }) => `${id}-bid` === bid.id);
      expect(fixed).toMatchObject({ interruptible: false, machineId: bid.machineId, providerOfferId: bid.providerOfferId });
      expect(bid.gpuCount).toBeGreaterThan(0);
      expect(priceWithDisk(bid, 0)).toBe(floorOf(bid));
      expect(floorOf(bid)).toBeGreaterThan(0.4 * priceWithDisk(fixed ?? bid, 0));
      expect(floorOf(bid)).toBeLessThan(0.7 * priceWithDisk(fixed ?? bid, 0));
    }
  });

  it('are none when the operator wants none', async () => {
    const environment = { SIMULATED_INTERRUPTIBLE: '0' };
    const provider = await simulated.create(simulated.environment.parse(environment), {
      clock: new FakeClock(),
      random: systemRandom,
      log: recordingLog(),
      dataFolder: aFolder(),
      machinePool: undefined as never, // the simulated market owns no machines
    });
    cleanUps.push(() => provider.close?.());

    expect(provider.capabilities.interruptible).toBe(false);
    expect((await provider.listOffers({}, uncancelled)).offers.some(({ interruptible }) => interruptible)).toBe(false);
  });

  it('cost what was bid and the disk, and are held against both offers of the host', async () => {
    const { provider, bid } = await aMarket();
    const bidMicrosPerHour = floorOf(bid) + 50_000;
    const request = aCreateRequest(bid, { bidMicrosPerHour, maxPriceMicrosPerHour: 10 * bid.priceMicrosPerHour });

    const instance = await provider.createInstance(request, uncancelled);

    expect(instance.priceMicrosPerHour).toBe(bid.priceMicrosPerHour + 50_000);
    const { offers } = await provider.listOffers({}, uncancelled);
    expect(offers.filter(({ machineId }) => machineId === bid.machineId)).toEqual([]);
  });

  it.each([
    ['a bid under the floor', (bid: Offer) => ({ bidMicrosPerHour: floorOf(bid) - 1 })],
    ['a bid that comes to more than may be paid', (bid: Offer) => ({ bidMicrosPerHour: floorOf(bid) + 1_000 })],
    ['no bid', () => ({ bidMicrosPerHour: 0 })],
  ])('are not had for %s', async (_, overrides) => {
    const { provider, bid } = await aMarket();

    await expect(provider.createInstance(aCreateRequest(bid, overrides(bid)), uncancelled)).rejects.toMatchObject({
      kind: 'capacity',
    });
  });
});

describe('interruptible instances of the simulated market', () => {
  const PREEMPTED = { SIMULATED_FAULTS: 'preempt=1', SIMULATED_BOOT_SECONDS: '1' };

  it('are paused without a word, with nobody at their port, cost their disk alone, and resume half a minute later', async () => {
    const { provider, bid, clock } = await aMarket(PREEMPTED);
    const { id } = await provider.createInstance(aCreateRequest(bid), uncancelled);
    await after(clock, SECOND_MS, provider, id, 'running');
    const running = await provider.getInstance(id, uncancelled);
    await untilPaused(clock, provider, id);
    const paused = await provider.getInstance(id, uncancelled);
    await vi.waitFor(async () => expect(await hears(portOf(running))).toBe(false)); // its port is closed a moment after it is paused

    await after(clock, 30 * SECOND_MS, provider, id, 'running');

    expect(running?.priceMicrosPerHour).toBe(bid.priceMicrosPerHour);
    expect(paused).not.toHaveProperty('priceMicrosPerHour'); // by the rule:
    expect(provider.capabilities.billing.paused).toBe('disk');
    expect(portOf(await provider.getInstance(id, uncancelled))).toBe(portOf(running));
    await clock.advance(10 * MINUTE_MS);
    expect((await provider.getInstance(id, uncancelled))?.state).toBe('running');
  });

  it('stay paused over a restart, and are gone for good when they are destroyed', async () => {
    const { provider, bid, clock, folder, close } = await aMarket(PREEMPTED);
    const { id } = await provider.createInstance(aCreateRequest(bid), uncancelled);
    await after(clock, SECOND_MS, provider, id, 'running');
    await untilPaused(clock, provider, id);
    await close();

    const next = await aMarket(PREEMPTED, { folder, clock });

    expect(await next.provider.getInstance(id, uncancelled)).toMatchObject({ state: 'paused' });
    expect(await next.provider.getInstance(id, uncancelled)).not.toHaveProperty('priceMicrosPerHour');
    expect(await next.provider.destroyInstance(id, uncancelled)).toBe('destroying');
    await clock.advance(2 * MINUTE_MS);
    expect(await next.provider.destroyInstance(id, uncancelled)).toBe('gone');
    expect(await next.provider.listInstances(uncancelled)).toEqual([]);
  });

  it('at a fixed price are taken by nobody', async () => {
    const { provider, offers, clock } = await aMarket(PREEMPTED);
    const fixed = offers.find(({ interruptible }) => !interruptible) ?? expect.unreachable('it has no such offer');
    const { id } = await provider.createInstance(aCreateRequest(fixed), uncancelled);
    await after(clock, SECOND_MS, provider, id, 'running');

    await clock.advance(5 * MINUTE_MS);

    expect((await provider.getInstance(id, uncancelled))?.state).toBe('running');
  });
});

async function untilPaused(clock: FakeClock, provider: Provider, id: Instance['id']): Promise<void> {
  for (let seconds = 0; seconds < 60; seconds += 1) {
    if ((await provider.getInstance(id, uncancelled))?.state === 'paused') return;
    await clock.advance(SECOND_MS);
  }
  throw new Error('nobody bid more within a minute');
}

function portOf(instance: Instance | undefined): number {
  if (instance?.state !== 'running' || instance.ssh.routes === 'dial') throw new Error('it does not run');
  return instance.ssh.routes[0]?.port ?? 0;
}

function hears(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
