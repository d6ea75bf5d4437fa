import { expect, it } from 'vitest';
import { describeWorld } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { offerId } from '../provider/ids.ts';

describeWorld('cost metering', (make) => {
  it('fixes the cost of an ended session once, from its segments', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    await world.run({ withinMs: 30 * MINUTE_MS });
    await world.stop(id);
    await world.run({
      until: async () => (await world.record(id)).session.settledCostMicros !== null,
      withinMs: 2 * MINUTE_MS,
    });

    const segments = await world.replica.costs.segmentsOf(id);
    const ms = segments.reduce((sum, { fromAt, toAt }) => sum + (toAt ?? 0) - fromAt, 0);
    expect((await world.record(id)).session.settledCostMicros).toBe(Math.round((340_000 * ms) / HOUR_MS));
    await world.run({ withinMs: 5 * MINUTE_MS });
    expect((await world.eventKinds(id)).filter((kind) => kind === 'session.settled')).toHaveLength(1);
  });

  it('REL-C17: what was counted pass by pass is the sum of the segments, whatever the prices did, in whole micro-dollars', async () => {
    const world = await make();
    const ids: SessionId[] = [];
    for (let count = 0; count < 4; count += 1) {
      ids.push((await world.order({ request: { offerId: offerId('memory-stock-t4') } })).id);
      await world.run({ withinMs: 7_777 });
    }
    const rates = [333_333, 1, 999_999_999, 120_000];
    const { provider } = world.markets.get('memory')!;
    const get = provider.getInstance.bind(provider);
    const list = provider.listInstances.bind(provider);
    let rate = 120_000;
    Object.assign(provider, {
      getInstance: async (...args: Parameters<typeof get>) => {
        const found = await get(...args);
        return found && { ...found, priceMicrosPerHour: rate };
      },
      listInstances: async (...args: Parameters<typeof list>) =>
        (await list(...args)).map((instance) => ({ ...instance, priceMicrosPerHour: rate })),
    });
    for (const next of rates) {
      rate = next;
      await world.pass('session.ghosts');
      await world.run({ withinMs: 4 * MINUTE_MS + 333 });
    }
    for (const id of ids) await world.stop(id);
    for (const id of ids) await world.runUntil(id, 'stopped');
    await world.run({ withinMs: 2 * MINUTE_MS });

    const all = (await Promise.all(ids.map((id) => world.replica.costs.segmentsOf(id)))).flat();
    expect(all.length).toBeGreaterThan(8);
    const exact = all.reduce(
      (sum, { fromAt, toAt, priceMicrosPerHour }) => sum + (priceMicrosPerHour * ((toAt ?? 0) - fromAt)) / HOUR_MS,
      0,
    );
    expect(Math.abs(world.replica.counts.costMicros - exact)).toBeLessThan(60); // half a micro-dollar a pass
    let settled = 0;
    for (const id of ids) settled += (await world.record(id)).session.settledCostMicros ?? Number.NaN;
    expect(Number.isInteger(settled)).toBe(true);
    expect(Math.abs(settled - exact)).toBeLessThan(4);
  });

  it('an attempt that never ran costs the consumer nothing', async () => {
    const world = await make({
      providers: [{ settings: { bootMs: Number.POSITIVE_INFINITY } }],
      settings: { bootTimeoutMs: MINUTE_MS },
    });
    const { id } = await world.order();
    await world.runUntil(id, 'failed', 3 * MINUTE_MS);
    await world.run({
      until: async () => (await world.record(id)).session.settledCostMicros !== null,
      withinMs: 2 * MINUTE_MS,
    });

    expect((await world.record(id)).session.settledCostMicros).toBe(0);
    expect(await world.replica.costs.segmentsOf(id)).toHaveLength(1);
  });
});
