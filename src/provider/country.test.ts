import { expect, it } from 'vitest';
import { countryOf, isCountryCode } from './country.ts';

it.each([
  ['Utah, US', 'US'],
  [', CN', 'CN'],
  ['Orlando, Florida, United States', 'US'],
  ['Oslo, no', 'NO'],
  ['London, UK', 'GB'],
  ['South Korea', 'KR'],
  ['Prague, Czech Republic', 'CZ'],
  ['Prague, Czechia', 'CZ'],
  ['Amsterdam, The Netherlands', 'NL'],
  ['Moscow, Russia', 'RU'],
  ['SE', 'SE'],
  ['Zurich, Switzerland', 'CH'],
])('%s lies in %s', (location, country) => {
  expect(countryOf(location)).toBe(country);
});

it.each(['', 'rack 7', 'Texas, Texas', 'Brussels, EU', 'nowhere, ZZ', 'here, XX', '__proto__', 'constructor'])(
  '%j names no country',
  (location) => {
    expect(countryOf(location)).toBeUndefined();
  },
);

it('knows codes from other pairs of letters', () => {
  expect(['US', 'us', 'DE'].map(isCountryCode)).toEqual([true, true, true]);
  expect(['OR', 'UK', 'EU', 'U', 'USA', 'u1'].map(isCountryCode)).toEqual([false, false, false, false, false, false]);
});
