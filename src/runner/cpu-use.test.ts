import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createCpuUse } from './cpu-use.ts';

const reading = (seconds: number, usedSeconds: number) => ({
  read: new Date(seconds * 1_000).toISOString(),
  cpu_stats: { cpu_usage: { total_usage: usedSeconds * 1e9 } },
});

const open = (clock = new FakeClock()) => createCpuUse({ clock, everyMs: 10_000 });

describe('the use of rented cores', () => {
  it('is unknown at the first reading, then the share of all cores since the reading before', () => {
    const use = open();

    use.add('a', 2, reading(10, 100));
    expect(use.percent('a')).toBeUndefined();
    use.add('a', 2, reading(20, 110));
    expect(use.percent('a')).toBe(50);
    use.add('a', 2, reading(30, 130));
    expect(use.percent('a')).toBe(100);
  });

  it('keeps its value for a reading that comes too fast', () => {
    const use = open();
    use.add('a', 1, reading(10, 0));
    use.add('a', 1, reading(12, 1));

    use.add('a', 1, reading(12.2, 1.2));

    expect(use.percent('a')).toBe(50);
  });

  it('is unknown again after a restart of the container, for another container, and for a time that cannot be read', () => {
    const use = open();
    use.add('a', 1, reading(10, 50));
    use.add('a', 1, reading(20, 51));

    use.add('a', 1, reading(30, 1));
    expect(use.percent('a')).toBeUndefined();
    expect(use.percent('b')).toBeUndefined();

    use.add('a', 1, reading(40, 2));
    expect(use.percent('a')).toBe(10);
    use.add('a', 1, { ...reading(50, 3), read: 'never' });
    expect(use.percent('a')).toBeUndefined();
  });

  it('is read anew only when its time has come', async () => {
    const clock = new FakeClock();
    const use = open(clock);
    expect(use.isDue('a')).toBe(true);

    use.add('a', 1, reading(10, 0));
    await clock.advance(9_999);
    expect(use.isDue('a')).toBe(false);
    await clock.advance(1);

    expect(use.isDue('a')).toBe(true);
    use.keepOnly(new Set());
    expect(use.isDue('a')).toBe(true);
  });
});
