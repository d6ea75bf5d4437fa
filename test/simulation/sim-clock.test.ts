import { describe, expect, it } from 'vitest';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import { machineClock, SimClock } from './sim-clock.ts';

describe('the clock of a machine', () => {
  it('REL-F3: stands still while the machine is suspended, but for its wall clock', async () => {
    const world = new SimClock('2026-10-26T12:00:00Z');
    const machine = machineClock(world);
    await world.advance(SECOND_MS);

    machine.suspend();
    await world.advance(10 * MINUTE_MS);
    machine.resume();
    await world.advance(SECOND_MS);

    expect(machine.monotonicMs()).toBe(2 * SECOND_MS);
    expect(machine.now()).toBe(world.now());
  });

  it('REL-F3: sleeps on for as long as was left before the suspension', async () => {
    const world = new SimClock('2026-10-26T12:00:00Z');
    const machine = machineClock(world);
    let wokeAt: number | undefined;
    const sleeping = machine.sleep(MINUTE_MS).then(() => (wokeAt = world.monotonicMs()));

    await world.advance(20 * SECOND_MS);
    machine.suspend();
    await world.advance(5 * MINUTE_MS);
    machine.resume();
    await world.advance(2 * MINUTE_MS);
    await sleeping;

    expect(wokeAt).toBe(6 * MINUTE_MS);
  });
});

describe('the clock of a world', () => {
  it('says so when a broker goes round without time passing, which no turn of the event loop would show', async () => {
    const world = new SimClock('2026-10-26T12:00:00Z');
    const readOften = () => {
      for (let reads = 0; reads < 15_000; reads += 1) world.noteRead();
    };

    readOften();
    await world.advance(1);
    readOften();

    expect(readOften).toThrow('goes round without time passing');
  });
});
