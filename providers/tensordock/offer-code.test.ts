import { expect, it } from 'vitest';
import { readOfferCode, writeOfferCode, type OfferCode } from './offer-code.ts';

const SITE = '5d0d6a1e-3f0f-4d7b-9a57-6b1e1c2a9f10';
const MODEL = 'geforcertx4090-pcie-24gb';

it.each<[OfferCode, string]>([
  [{ site: 'location', siteId: SITE, model: MODEL, network: 'ip' }, `location/${SITE}/${MODEL}/ip`],
  [{ site: 'location', siteId: '7', model: 'a_1.b', network: 'forward' }, 'location/7/a_1.b/forward'],
  [{ site: 'hostnode', siteId: SITE, model: MODEL, network: [20_010] }, `hostnode/${SITE}/${MODEL}/20010`],
  [{ site: 'hostnode', siteId: SITE, model: MODEL, network: [20_010, 1] }, `hostnode/${SITE}/${MODEL}/20010+1`],
])('%j is written as %s, and read back', (code, text) => {
  expect(writeOfferCode(code)).toBe(text);
  expect(readOfferCode(text)).toEqual(code);
});

it('the longest site, model and list of ports are read', () => {
  const ports = Array.from({ length: 10 }, () => '65535').join('+');
  const text = `hostnode/${'s'.repeat(100)}/${'m'.repeat(80)}/${ports}`;

  expect(readOfferCode(text)?.network).toHaveLength(10);
  expect(readOfferCode(text.replace('/m', '/mm'))).toBeUndefined();
  expect(readOfferCode(text.replace('/s', '/ss'))).toBeUndefined();
  expect(readOfferCode(`${text}+1`)).toBeUndefined();
});

it.each([
  '',
  `location/${SITE}/${MODEL}`,
  `xlocation/${SITE}/${MODEL}/ip`,
  `location/${SITE}/${MODEL}/ip/`,
  `cloud/${SITE}/${MODEL}/ip`,
  `location//${MODEL}/ip`,
  `location/-a/${MODEL}/ip`,
  `location/a b/${MODEL}/ip`,
  `location/${SITE}/m/ip`,
  `location/${SITE}/.model/ip`,
  `location/${SITE}/mo del/ip`,
  `location/${SITE}/${MODEL}/ips`,
  `location/${SITE}/${MODEL}/`,
  `location/${SITE}/${MODEL}/+1`,
  `location/${SITE}/${MODEL}/1+`,
  `location/${SITE}/${MODEL}/100000`,
  `location/${SITE}/${MODEL}/1+100000`,
  `location/${SITE}/${MODEL}/a`,
])('%j is no code of an offer', (text) => {
  expect(readOfferCode(text)).toBeUndefined();
});
