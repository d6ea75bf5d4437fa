import { expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { HOUR_MS, MINUTE_MS } from '../../core/duration.ts';
import { OfferBody, offerSerialiser } from './offer.ts';

it.each([
  ['no end', undefined, 0],
  ['half an hour', 30 * MINUTE_MS, 1],
  ['two hours and a half', 2.5 * HOUR_MS, 2],
])('an offer with %s left does not read as one without a limit', (_, maxDurationMs, hours) => {
  const offer = anOffer(maxDurationMs === undefined ? {} : { maxDurationMs });

  const text = offerSerialiser.offer({ offer, availabilityConfidence: 1, observedAt: 0, simulated: false, available: true });

  expect(OfferBody.parse(JSON.parse(text)).max_duration_hours).toBe(hours);
});
