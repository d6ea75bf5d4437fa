import { expect, it } from 'vitest';
import { notBefore } from './draft.ts';

it.each([
  [null, 5, 5],
  [3, 5, 5],
  [7, 5, 7],
])('REL-F2: a time that was %s, and is %i by the clock, is %i: it never goes back', (previous, now, at) => {
  expect(notBefore(previous, now)).toBe(at);
});
