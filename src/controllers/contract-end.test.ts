import { expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { describeWorld } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { providerId } from '../provider/ids.ts';

const provider = providerId('memory');
const lasting = (name: string, priceMicrosPerHour: number, maxDurationMs?: number) =>
  anOffer({ provider, providerOfferId: name, priceMicrosPerHour, ...(maxDurationMs !== undefined && { maxDurationMs }) });

describeWorld('offers whose contract ends by itself', (make) => {
  it('are not picked for longer than they last', async () => {
    const offers = [lasting('short', 200_000, HOUR_MS), lasting('long', 300_000, 5 * HOUR_MS), lasting('endless', 400_000)];
    const world = await make({ providers: [{ offers }] });

    const pick = async (reservationMinutes: number) =>
      (await world.order({ byRequirements: true, reservationMinutes })).offerId;

    expect([await pick(301), await pick(61), await pick(60)]).toEqual(['memory-endless', 'memory-long', 'memory-short']);
  });

  it('replace none when they end before what is left of the reservation', async () => {
    const offers = [lasting('first', 200_000), lasting('short', 210_000, HOUR_MS), lasting('long', 220_000, 5 * HOUR_MS)];
    const world = await make({ providers: [{ offers }] });
    world.account().failNext('CreateInstance', { do: 'fail', kind: 'capacity' });
    const { id } = await world.order({ byRequirements: true, reservationMinutes: 120 });

    const { session } = await world.runUntil(id, 'running', 5 * MINUTE_MS);

    expect(session.offerId).toBe('memory-long');
  });
});
