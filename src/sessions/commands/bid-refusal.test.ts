import { describe, expect, it } from 'vitest';
import { aMarketOffer, aSession, DISK_PRICE } from '../fixtures/session-records.ts';
import { bidRefusal } from './bid-refusal.ts';

const offer = aMarketOffer('a-bid', {
  interruptible: true,
  minBidMicrosPerHour: 200_000,
  priceMicrosPerHour: 200_000 + DISK_PRICE,
});
const { request } = aSession();

describe('a bid for an offer that was named', () => {
  it.each([
    ['none at all', {}],
    ['the floor', { bidMicrosPerHour: 200_000 }],
    ['all that the limit leaves', { bidMicrosPerHour: 240_000, maxPriceMicrosPerHour: 250_000 }],
  ])('may be %s', (_, asked) => {
    expect(bidRefusal(offer, { ...request, ...asked })).toBeUndefined();
  });

  it.each([
    ['under the floor', { bidMicrosPerHour: 199_999 }, 'bid_price must be at least 0.2, the min_bid of offer cloud-a-bid now'],
    [
      'over the limit with the disk',
      { bidMicrosPerHour: 245_000, maxPriceMicrosPerHour: 250_000 },
      'bid_price must be at most 0.24: with 0.01 for the disk it comes to more than max_price 0.25',
    ],
    [
      'over it with a larger disk',
      { bidMicrosPerHour: 230_000, maxPriceMicrosPerHour: 250_000, diskGb: 200 },
      'bid_price must be at most 0.21: with 0.04 for the disk',
    ],
  ])('%s is refused with what to send instead', (_, asked, words) => {
    const error = bidRefusal(offer, { ...request, ...asked });

    expect(error).toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(words),
      details: { offer_id: 'cloud-a-bid', min_bid: 0.2, fields: [{ field: 'bid_price' }] },
    });
  });

  it('is not what is wrong when the limit leaves no room for the lowest one', () => {
    const error = bidRefusal(offer, { ...request, bidMicrosPerHour: 205_000, maxPriceMicrosPerHour: 207_000 });

    expect(error).toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('max_price must be at least 0.21: offer cloud-a-bid costs 0.2 at the lowest bid'),
      details: { offer_id: 'cloud-a-bid', min_bid: 0.2, fields: [{ field: 'max_price' }] },
    });
  });

  it('is refused for an offer that takes none', () => {
    const error = bidRefusal(aMarketOffer(), { ...request, bidMicrosPerHour: 300_000 });

    expect(error).toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('offer cloud-a is none; leave it out'),
    });
    expect(error?.details).not.toHaveProperty('min_bid');
  });
});
