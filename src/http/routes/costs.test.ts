import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { HOUR_MS } from '../../core/duration.ts';
import { aSession, httpWorlds } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

describe('GET /api/v1/costs', () => {
  it('PEER-11.2.8, PEER-10.77, PEER-10.46: a session that ended normally has cost what it ran, and one that never ran has cost its consumer nothing', async () => {
    const clock = new FakeClock('2026-02-15T00:00:00Z');
    const world = await aWorld({ clock });
    const ran = await aSession(world, { consumer_id: 'a' });
    await world.run(ran);
    const { ordinal } = await world.accept(await aSession(world, { consumer_id: 'b' }));
    expect(ordinal).toBe(1);
    await clock.advance(HOUR_MS / 2);
    await world.app.inject({ method: 'DELETE', url: `/api/v1/sessions/${ran}` });
    await world.vanish(ran);
    await clock.advance(HOUR_MS);

    const one = (await world.app.inject(`/api/v1/costs?session_id=${ran}`)).json<object>();
    const month = (await world.app.inject('/api/v1/costs/summary')).json<object>();
    const ofB = (await world.app.inject('/api/v1/costs?consumer_id=b')).json<object>();

    expect(one).toEqual({
      session_id: ran,
      total_cost: 0.06,
      currency: 'USD',
      session_count: 1,
      hours_used: 0.5,
      operator_cost: 0,
    });
    expect(month).toEqual({
      total_cost: 0.06,
      currency: 'USD',
      session_count: 1,
      hours_used: 0.5,
      operator_cost: 0.18,
      by_provider: { memory: 0.06 },
      by_gpu_type: { T4: 0.06 },
      period_start: '2026-02-01T00:00:00.000Z',
      period_end: '2026-03-01T00:00:00.000Z',
    });
    expect(ofB).toMatchObject({ consumer_id: 'b', total_cost: 0, session_count: 0 });
    expect(ofB).not.toHaveProperty('by_provider');
  });

  it.each([
    ['?start_date=yesterday', 400],
    ['?start_date=2026-02-02&end_date=2026-02-01', 400],
    ['?period=weekly', 400],
    ['?session_id=ses_01h00000000000000000000000', 404],
  ])('%s is answered %i', async (query, status) => {
    const world = await aWorld();

    expect((await world.app.inject(`/api/v1/costs${query}`)).statusCode).toBe(status);
  });
});
