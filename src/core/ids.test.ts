import { expect, it } from 'vitest';
import { createIds, madeAt } from './ids.ts';
import { seededRandom } from './random.ts';

it.each([0, 1, Date.parse('2026-01-01T00:00:00Z'), Date.parse('2099-12-31T23:59:59.999Z')])(
  'a session id tells when it was made (%i)',
  (now) => {
    const ids = createIds({ clock: { now: () => now }, random: seededRandom(1) });

    expect(madeAt(ids.session())).toBe(now);
  },
);
