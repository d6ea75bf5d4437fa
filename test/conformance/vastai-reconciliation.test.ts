import { expect, it } from 'vitest';
import { createChargeReconciliationController } from '../../src/controllers/charge-reconciliation.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import { recordingLog } from '../support/log.ts';
import { openStoryWorld } from './stories/story-world.ts';
import { openVastMarket } from './stories/vastai-market.ts';

it.each([1, 2])(
  'CONF-C1, CONF-C27: what our meter says of sessions over midnight is what the emulated Vast.ai bills (market %i)',
  { timeout: 60_000 },
  async (seed) => {
    const { world, close } = await openStoryWorld({ seed, mood: 'calm', billedUnseen: false, blindMs: 0 }, openVastMarket);
    const { broker, market, clock } = world;
    let laterMs = 0;
    const log = recordingLog();
    const counted: string[] = [];
    const controller = createChargeReconciliationController({
      sessions: broker.replica.sessions,
      costs: broker.replica.costs,
      providers: new Map([[market.provider.id, market.provider]]),
      clock: { now: () => clock.now() + laterMs, timeoutSignal: (ms, signal) => clock.timeoutSignal(ms, signal) },
      log,
      metrics: { chargeReconciled: (_provider, result) => void counted.push(result) },
      settings: { periodMs: HOUR_MS, callTimeoutMs: MINUTE_MS },
    });
    const pass = () => market.traffic.during(() => controller.reconcile({ signal: new AbortController().signal }));
    const { session } = await world.rent({ reservationMinutes: 5 * 60 });
    await world.pass(4 * HOUR_MS);
    await broker.stop(session.id);
    await world.untilEnded(session.id);

    laterMs = 2 * HOUR_MS; // by our clock alone: the market has not billed the last minutes yet
    const early = await pass();
    await world.pass(30 * MINUTE_MS);
    const late = await pass();

    expect(early).toMatchObject({ examined: 1, changed: 0 });
    expect(late).toMatchObject({ examined: 1, changed: 1 });
    expect({ counted, warnings: log.messages('warn') }).toEqual({ counted: ['matches'], warnings: [] });
    await close();
  },
);
