import { expect, it } from 'vitest';
import { MINUTE_MS } from '../../src/core/duration.ts';
import { openStoryWorld } from './stories/story-world.ts';
import { openVastMarket } from './stories/vastai-market.ts';

it.each([1, 2])(
  'RULE-R13: the credit of the emulated Vast.ai falls by what our meter says, and no session’s beginning or end is taken for a leak (market %i)',
  { timeout: 120_000 },
  async (seed) => {
    const { world, close } = await openStoryWorld({ seed, mood: 'calm', billedUnseen: false, blindMs: 0 }, openVastMarket);
    const { broker } = world;
    const said: string[] = [];
    const watch = async (minutes: number) => {
      for (let passed = 0; passed < minutes; passed += 5) {
        await world.pass(5 * MINUTE_MS);
        said.push(...broker.replica.accountSpend.spend().map(({ state }) => state));
      }
    };

    await watch(20);
    const { session } = await world.rent({ reservationMinutes: 5 * 60 });
    await watch(45);
    const [running] = broker.replica.accountSpend.spend();
    await broker.stop(session.id);
    await world.untilEnded(session.id);
    await watch(40);

    expect(running?.state).toBe('matches');
    expect(running?.microsPerHour?.observed).toBeGreaterThan(50_000);
    expect(broker.replica.accountSpend.spend()).toMatchObject([{ state: 'matches' }]);
    expect(said).not.toContain('possible_leak');
    await close();
  },
);
