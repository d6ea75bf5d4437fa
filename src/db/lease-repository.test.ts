import { expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { describeEachStore } from '../../test/support/stores.ts';
import { createLeaseRepository } from './lease-repository.ts';

const NAME = 'offers:vastai:0a1b2c3d';
const HOUR_MS = 3_600_000;

describeEachStore('leases', (open, dialect) => {
  it('REL-D1: are held by one of two that ask at once, and by that one until it lets go', async () => {
    const leases = createLeaseRepository(await open());
    const hold = (holder: string) => leases.hold({ name: NAME, holder, forMs: HOUR_MS });

    const first = await Promise.all([hold('one'), hold('other')]);
    const winner = first[0] === undefined ? 'other' : 'one';
    const loser = winner === 'one' ? 'other' : 'one';

    expect(first.filter((term) => term !== undefined)).toEqual([1]);
    expect([await hold(winner), await hold(loser)]).toEqual([1, undefined]);
    await leases.release(winner);
    expect([await hold(loser), await hold(winner)]).toEqual([2, undefined]);
  });

  it('are free again when their time is over, with another term', async () => {
    const clock = new FakeClock();
    const leases = createLeaseRepository(await open({ clock }));
    // PostgreSQL goes by its own clock, which a test cannot move: there the lease is over at once
    const forMs = dialect === 'sqlite' ? 30_000 : 0;
    await leases.hold({ name: NAME, holder: 'one', forMs });
    await clock.advance(30_000);

    expect(await leases.hold({ name: NAME, holder: 'other', forMs: HOUR_MS })).toBe(2);
    expect(await leases.hold({ name: NAME, holder: 'one', forMs: HOUR_MS })).toBeUndefined();
  });

  it('are taken from the dead by the only process there is', async () => {
    const leases = createLeaseRepository(await open());
    await leases.hold({ name: NAME, holder: 'dead', forMs: HOUR_MS });

    expect(await leases.hold({ name: NAME, holder: 'heir', forMs: HOUR_MS })).toBeUndefined();
    expect(await leases.seize({ name: NAME, holder: 'heir', forMs: HOUR_MS })).toBe(2);
    expect(await leases.seize({ name: NAME, holder: 'heir', forMs: HOUR_MS })).toBe(2);
  });

  it('carry a word from their holder, and from nobody else', async () => {
    const leases = createLeaseRepository(await open());
    expect(await leases.noteOf(NAME)).toBeUndefined();
    await leases.hold({ name: NAME, holder: 'one', forMs: HOUR_MS });

    expect(await leases.note({ name: NAME, holder: 'one', note: { askedAt: 5 } })).toBe(true);
    expect(await leases.note({ name: NAME, holder: 'other', note: { askedAt: 6 } })).toBe(false);
    await leases.hold({ name: NAME, holder: 'one', forMs: HOUR_MS });

    expect(await leases.noteOf(NAME)).toEqual({ askedAt: 5 });
  });

  if (dialect === 'sqlite') return; // one process, whose clock is the only one

  it('REL-D4: go by the database’s clock, whatever the replicas’ own clocks say', async () => {
    const late = new FakeClock('2036-01-01T00:00:00Z');
    const leases = createLeaseRepository(await open({ clock: late }));
    await leases.hold({ name: NAME, holder: 'one', forMs: HOUR_MS });
    await late.advance(10 * HOUR_MS);

    expect(await leases.hold({ name: NAME, holder: 'other', forMs: HOUR_MS })).toBeUndefined();
  });
});
