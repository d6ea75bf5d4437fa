import { expect, it } from 'vitest';
import { recordingLog } from '../../test/support/log.ts';
import { describeWorld } from '../../test/support/world.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import type { Charge } from '../provider/charge.ts';
import { instanceId, providerId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import { createChargeReconciliationController } from './charge-reconciliation.ts';

const MEMORY = providerId('memory');

describeWorld('charge reconciliation', (make) => {
  /** Some minutes on a machine for 0.34 dollars an hour, ended; and a provider that bills as a test says. */
  async function anEnd() {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    await world.run({ withinMs: 10 * MINUTE_MS });
    await world.stop(id);
    await world.runUntil(id, 'stopped');
    const record = await world.record(id);
    const [attempt] = record.attempts;
    if (!attempt?.instanceId || !attempt.acceptedAt) throw new Error('it ran');
    const segments = await world.replica.costs.segmentsOf(id);
    const until = Math.max(...segments.map(({ toAt }) => toAt ?? 0));
    const oursMicros = Math.round((340_000 * (until - attempt.acceptedAt)) / HOUR_MS);
    const whole: Charge = {
      instanceId: attempt.instanceId,
      from: attempt.acceptedAt,
      until,
      amountMicros: oursMicros,
      transferMicros: 0,
    };
    let laterMs = 0;
    const clock = {
      now: () => world.clock.now() + laterMs,
      timeoutSignal: (ms: number, signal?: AbortSignal) => world.clock.timeoutSignal(ms, signal),
    };
    const bill = { charges: [] as readonly Charge[], asked: 0, failure: undefined as ProviderError | undefined };
    const charges: NonNullable<Provider['charges']> = async ({ from, until: end }) => {
      bill.asked += 1;
      if (bill.failure) throw bill.failure;
      expect(from).toBeLessThanOrEqual(attempt.acceptedAt ?? 0);
      expect(end).toBe(clock.now());
      return { charges: bill.charges, observedAt: end, dropped: 0, roundingMicros: 1_000 };
    };
    const log = recordingLog();
    const counted: string[] = [];
    const controller = createChargeReconciliationController({
      sessions: world.replica.sessions,
      costs: world.replica.costs,
      providers: new Map([[MEMORY, { id: MEMORY, charges }]]),
      clock,
      log,
      metrics: { chargeReconciled: (provider, result) => void counted.push(`${provider} ${result}`) },
      settings: { periodMs: HOUR_MS, callTimeoutMs: MINUTE_MS },
    });
    const pass = (afterMs: number) => {
      laterMs += afterMs;
      return controller.reconcile({ signal: new AbortController().signal });
    };
    const warnings = () => log.entries.filter(({ level }) => level === 'warn');
    return { world, id, bill, whole, oursMicros, counted, pass, warnings, log };
  }

  it('CONF-C1: is content when provider and meter agree, and says so once', async () => {
    const { bill, whole, counted, pass, warnings } = await anEnd();
    bill.charges = [{ ...whole, amountMicros: whole.amountMicros + 1_000 }];

    const report = await pass(3 * HOUR_MS);
    await pass(HOUR_MS);

    expect(report).toMatchObject({ examined: 1, changed: 1, failed: 0, details: { awaited: 0 } });
    expect(counted).toEqual(['memory matches']);
    expect(warnings()).toEqual([]);
    expect(bill.asked).toBe(1);
  });

  it('asks nobody before the bill can be there', async () => {
    const { bill, pass } = await anEnd();

    expect(await pass(HOUR_MS)).toMatchObject({ examined: 0 });
    expect(bill.asked).toBe(0);
  });

  it('CONF-C27: waits for rows that are late or partial, and then is content', async () => {
    const { bill, whole, counted, pass, warnings } = await anEnd();

    await pass(3 * HOUR_MS);
    bill.charges = [{ ...whole, amountMicros: Math.round(whole.amountMicros / 2) }];
    const partial = await pass(HOUR_MS);
    bill.charges = [whole];
    await pass(HOUR_MS);

    expect(partial).toMatchObject({ examined: 1, changed: 0, details: { awaited: 1 } });
    expect(counted).toEqual(['memory matches']);
    expect(warnings()).toEqual([]);
  });

  it('warns, with both figures, when the provider has billed more', async () => {
    const { id, bill, whole, counted, pass, warnings } = await anEnd();
    bill.charges = [{ ...whole, amountMicros: 500_000 }];

    await pass(3 * HOUR_MS);

    expect(counted).toEqual(['memory differs']);
    expect(warnings()).toMatchObject([
      {
        message: 'an instance has not cost what its provider billed',
        fields: { provider: 'memory', sessionId: id, ordinal: 1, verdict: 'differs', chargedUsd: 0.5 },
      },
    ]);
  });

  it('leaves what is billed for bytes out of the comparison, and tells it', async () => {
    const { bill, whole, counted, pass, log } = await anEnd();
    bill.charges = [{ ...whole, amountMicros: whole.amountMicros + 2_000_000, transferMicros: 2_000_000 }];

    await pass(3 * HOUR_MS);

    expect(counted).toEqual(['memory matches']);
    expect(log.entries).toContainEqual(expect.objectContaining({ fields: expect.objectContaining({ transferUsd: 2 }) }));
  });

  it('warns after two days without a bill', async () => {
    const { counted, pass, warnings } = await anEnd();

    await pass(2 * DAY_MS + HOUR_MS);

    expect(counted).toEqual(['memory missing']);
    expect(warnings()).toHaveLength(1);
  });

  it('counts nothing of another instance, nor of one that had the id long before', async () => {
    const { bill, whole, counted, pass } = await anEnd();
    bill.charges = [
      whole,
      { ...whole, instanceId: instanceId('another'), amountMicros: 9_000_000 },
      { ...whole, from: whole.from - 30 * DAY_MS, until: whole.until - 30 * DAY_MS, amountMicros: 9_000_000 },
    ];

    await pass(3 * HOUR_MS);

    expect(counted).toEqual(['memory matches']);
  });

  it('goes on when the provider does not tell, and does not touch the session', async () => {
    const { world, id, bill, counted, pass } = await anEnd();
    const before = (await world.record(id)).session;
    bill.failure = new ProviderError({
      kind: 'auth',
      provider: MEMORY,
      operation: 'ListCharges',
      message: 'list charges at memory: the key lacks a scope',
    });

    expect(await pass(3 * HOUR_MS)).toMatchObject({ examined: 1, changed: 0, failed: 0 });

    expect(counted).toEqual([]);
    expect((await world.record(id)).session.version).toBe(before.version);
  });
});
