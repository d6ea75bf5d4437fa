import { describe, expect, it } from 'vitest';
import { aMarketOffer, DISK_PRICE } from './fixtures/session-records.ts';
import { floorOf, termsOf } from './terms.ts';

const FLOOR = 200_000;
const onDemand = aMarketOffer();
const bid = aMarketOffer('a-bid', {
  interruptible: true,
  minBidMicrosPerHour: FLOOR,
  priceMicrosPerHour: FLOOR + DISK_PRICE,
});

describe('the terms of an offer at a fixed price', () => {
  it('are its price with the disk that was asked, whatever is said of bids', () => {
    expect(termsOf(onDemand, {})).toEqual({ diskGb: 50, priceMicrosPerHour: 340_000 });
    expect(termsOf(onDemand, { diskGb: 150, bidMicrosPerHour: 1, bidMarginPercent: 50 })).toEqual({
      diskGb: 150,
      priceMicrosPerHour: 360_000,
    });
  });

  it('are those of the least and of the most disk that it has', () => {
    expect([10, 500].map((diskGb) => termsOf(onDemand, { diskGb })?.diskGb)).toEqual([10, 500]);
  });

  it('are none for a disk that it does not have', () => {
    expect(termsOf(onDemand, { diskGb: 9 })).toBeUndefined();
    expect(termsOf(onDemand, { diskGb: 501 })).toBeUndefined();
  });
});

describe('the terms of an interruptible offer', () => {
  it.each([
    ['the floor and a tenth, when nothing is said', {}, 220_000],
    ['what was asked', { bidMicrosPerHour: 250_000 }, 250_000],
    ['exactly the floor, when that was asked', { bidMicrosPerHour: FLOOR }, FLOOR],
    ['the floor and the margin that was in force', { bidMarginPercent: 25 }, 250_000],
    ['the floor, without a margin', { bidMarginPercent: 0 }, FLOOR],
    ['as much as the limit leaves beside the disk', { maxPriceMicrosPerHour: 225_000 }, 215_000],
    ['no fraction of a hundredth of a cent more than that', { maxPriceMicrosPerHour: 225_099 }, 215_000],
    ['the margin all the same, under a limit that is far away', { maxPriceMicrosPerHour: 900_000 }, 220_000],
    ['the floor, where the limit leaves exactly that', { maxPriceMicrosPerHour: FLOOR + DISK_PRICE }, FLOOR],
    ['what was asked, up to the limit', { bidMicrosPerHour: 250_000, maxPriceMicrosPerHour: 260_000 }, 250_000],
  ])('bid %s, and cost that and the disk', (_, asked, bidMicrosPerHour) => {
    expect(termsOf(bid, asked)).toEqual({ diskGb: 50, bidMicrosPerHour, priceMicrosPerHour: bidMicrosPerHour + DISK_PRICE });
  });

  it('pay for another disk beside the bid', () => {
    expect(termsOf(bid, { diskGb: 150, bidMicrosPerHour: 250_000 })).toMatchObject({ priceMicrosPerHour: 280_000 });
  });

  it.each([
    ['under the floor', { bidMicrosPerHour: FLOOR - 1 }],
    ['over the limit with the disk', { bidMicrosPerHour: 250_000, maxPriceMicrosPerHour: 259_999 }],
    ['with a disk that there is not', { bidMicrosPerHour: 250_000, diskGb: 501 }],
  ])('are none for a bid %s', (_, asked) => {
    expect(termsOf(bid, asked)).toBeUndefined();
  });

  it('show what it costs at least where the limit does not reach that: whoever compares with the limit sees it', () => {
    expect(termsOf(bid, { maxPriceMicrosPerHour: 100_000 })).toMatchObject({ priceMicrosPerHour: FLOOR + DISK_PRICE });
  });

  it('take the price without the disk for the floor where none is told', () => {
    const { minBidMicrosPerHour: _, ...untold } = bid;

    expect(floorOf(untold)).toBe(FLOOR);
  });
});
