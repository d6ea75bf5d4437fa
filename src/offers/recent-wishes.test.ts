import { expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { providerId } from '../provider/ids.ts';
import { bookQuery, type OfferWish } from './offer-query.ts';
import { createRecentWishes, WISH_KEEPS_MS } from './recent-wishes.ts';

const vast = providerId('vastai');

function aMemory() {
  const clock = new FakeClock();
  const wishes = createRecentWishes({ clock });
  const ask = (wish: OfferWish) => wishes.note(bookQuery(wish));
  const names = (provider = vast) => wishes.of(provider).map(({ name }) => name);
  return { clock, wishes, ask, names };
}

it('remembers GPUs and sizes, the latest first, whatever else was asked with them', () => {
  const { ask, names, wishes } = aMemory();
  ask({ minVramMib: 80 * 1024, maxPriceMicrosPerHour: 5 });
  ask({ gpuTypes: ['h100-sxm'], minVramMib: 40 * 1024 });
  ask({ locations: ['oslo'] });

  expect(names()).toEqual(['gpu:h100sxm', 'vram:80']);
  expect(wishes.of(vast).map(({ query }) => query)).toEqual([{ gpuTypes: ['H100 SXM'] }, { minVramMib: 81_920 }]);
});

it('says what is news, and what nobody asked for of late is news again', async () => {
  const { ask, names, clock } = aMemory();

  expect([ask({ gpuTypes: ['T4'] }), ask({ gpuTypes: ['T4'] }), ask({})]).toEqual([true, false, false]);
  await clock.advance(WISH_KEEPS_MS + 1);
  expect(names()).toEqual([]);
  expect(ask({ gpuTypes: ['T4'] })).toBe(true);
});

it('REL-K4: takes no notice of GPUs that do not exist, and keeps the latest of any number of wishes', () => {
  const { ask, names } = aMemory();

  expect(ask({ gpuTypes: ['RTX 9999', 'x'.repeat(500)] })).toBe(false);
  for (const size of [8, 10, 11, 12, 16, 20, 24, 32, 40, 48]) ask({ minVramMib: size * 1024 });
  expect(names()).toHaveLength(8);
  expect(names()[0]).toBe('vram:48');
});

it('keeps what was asked of one provider from the others', () => {
  const { ask, names } = aMemory();
  ask({ gpuTypes: ['T4'], providers: [vast] });

  expect(names(vast)).toEqual(['gpu:t4']);
  expect(names(providerId('tensordock'))).toEqual([]);
});
