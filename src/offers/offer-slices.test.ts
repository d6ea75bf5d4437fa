import { expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { atOnce } from '../core/gently.ts';
import type { Offer } from '../provider/offer.ts';
import { gpuSlice, mergeSlices, vramSlice, WHOLE } from './offer-slices.ts';

const offer = (name: string, overrides: Partial<Offer> = {}) => anOffer({ providerOfferId: name, ...overrides });
const h100 = (name: string) => offer(name, { gpuType: 'H100 SXM', vramMib: 81_559 });
const listing = (slice: string, observedAt: number, offers: readonly Offer[], truncated = true) => ({
  slice,
  observedAt,
  offers,
  dropped: 1,
  truncated,
});
const merged = (slices: Parameters<typeof mergeSlices>[0]) => atOnce(mergeSlices(slices));
const idsIn = (listed: ReturnType<typeof merged>) => listed?.offers.map(({ id }) => id).toSorted();

it('is nothing before the whole was listed, and the whole itself without other slices', () => {
  const whole = listing(WHOLE, 5, [offer('a')]);

  expect(merged([listing('gpu:h100sxm', 5, [])])).toBeUndefined();
  expect(merged([whole])).toBe(whole);
});

it('adds to the whole what was asked for by itself, with the time of its own', () => {
  const both = merged([listing(WHOLE, 9, [offer('a')]), listing(gpuSlice('H100 SXM').name, 5, [h100('b')])]);

  expect(idsIn(both)).toEqual(['memory-a', 'memory-b']);
  expect(both).toMatchObject({ observedAt: 9, dropped: 2 });
  expect(both?.seenAt).toEqual(new Map([['memory-b', 5]]));
});

it('takes the latest word on an offer that several slices list', () => {
  const [old, young] = [h100('b'), { ...h100('b'), priceMicrosPerHour: 7 }];

  expect(merged([listing(WHOLE, 5, [old]), listing('gpu:h100sxm', 9, [young])])?.offers).toEqual([young]);
  expect(merged([listing(WHOLE, 9, [young]), listing('gpu:h100sxm', 5, [old])])?.offers).toEqual([young]);
});

it('drops what a later and complete listing of its part of the market lacks, and nothing for one that was cut off', () => {
  const whole = listing(WHOLE, 5, [h100('gone'), offer('stays')]);

  expect(idsIn(merged([whole, listing('gpu:h100sxm', 9, [], false)]))).toEqual(['memory-stays']);
  expect(idsIn(merged([whole, listing(vramSlice(80).name, 9, [], false)]))).toEqual(['memory-stays']);
  expect(idsIn(merged([whole, listing('gpu:h100sxm', 9, [], true)]))).toEqual(['memory-gone', 'memory-stays']);
  expect(idsIn(merged([whole, listing('gpu:h100sxm', 4, [], false)]))).toEqual(['memory-gone', 'memory-stays']);
});

it('a whole that is complete leaves nothing over of older slices', () => {
  const slice = listing('gpu:h100sxm', 5, [h100('gone')]);

  expect(idsIn(merged([listing(WHOLE, 9, [offer('a')], false), slice]))).toEqual(['memory-a']);
});

it('of thousands are merged in pieces, so that nobody waits for it', () => {
  const many = Array.from({ length: 3_000 }, (_, at) => offer(`many-${at}`));
  let pieces = 0;
  for (const _ of mergeSlices([listing(WHOLE, 5, many), listing('gpu:h100sxm', 6, [h100('b')])])) pieces += 1;

  expect(pieces).toBeGreaterThan(10);
});
