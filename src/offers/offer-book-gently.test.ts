import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { anOffer } from '../../test/support/in-memory-account.ts';
import type { Breather } from '../core/gently.ts';
import { offerId, providerId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { createFailureMemory } from './failure-memory.ts';
import { createOfferBook } from './offer-book.ts';
import { bookQuery } from './offer-query.ts';

const PROVIDER = providerId('market');

/** Rests at every chance, and does something in the first rest after `pieces` of them. */
function interrupting(pieces: number, act: () => void): Breather {
  let rests = 0;
  return {
    rest: async () => {
      rests += 1;
      if (rests === pieces) act();
    },
  };
}

function aBook({ count = 600 }: { count?: number } = {}) {
  const clock = new FakeClock();
  let written = 0;
  const book = createOfferBook({
    providers: [{ id: PROVIDER, simulated: false, staleAfterMs: 60_000 }],
    serialise: { offer: (view) => (written++, JSON.stringify(view)), provider: (status) => JSON.stringify(status) },
    clock,
    epoch: 'test',
  });
  const offers = Array.from({ length: count }, (_, at) =>
    anOffer({
      id: offerId(`market-${at}`),
      provider: PROVIDER,
      providerOfferId: String(at),
      machineId: `m${at}`,
      priceMicrosPerHour: 1_000_000 - at * 7,
    }),
  );
  return { book, clock, offers, written: () => written };
}

type Book = ReturnType<typeof aBook>['book'];

/** How often the work pauses when one listing follows another. */
async function restsFor(before: readonly Offer[], after: readonly Offer[]): Promise<number> {
  const { book, clock } = aBook();
  book.replace(PROVIDER, { offers: before, observedAt: clock.now(), dropped: 0 });
  let rests = 0;
  const counting = { rest: async () => void (rests += 1) };
  await book.replaceGently(PROVIDER, { offers: after, observedAt: clock.now(), dropped: 0 }, counting);
  return rests;
}

const FAILURE = {
  sessionId: 'ses_00000000000000000000000001',
  ordinal: 1,
  provider: PROVIDER,
  offerId: offerId('market-290'),
  machineId: 'm290',
  gpuType: 'RTX 4090',
  kind: 'price_changed',
  reason: 'dearer',
} as const;

const all = bookQuery({});

it('shows the same whether a listing is taken in at once or in pieces, and has written it before it is asked', async () => {
  const [one, other] = [aBook(), aBook()];
  const observedAt = one.clock.now();
  one.book.replace(PROVIDER, { offers: one.offers, observedAt, dropped: 0 });
  await other.book.replaceGently(
    PROVIDER,
    { offers: other.offers, observedAt, dropped: 0 },
    interrupting(-1, () => {}),
  );
  const before = other.written();

  expect(other.book.page(all).body.equals(one.book.page(all).body)).toBe(true);
  expect(other.written()).toBe(before);
});

it('shows the former listing until the new one is whole', async () => {
  const { book, clock, offers } = aBook();
  book.replace(PROVIDER, { offers: offers.slice(0, 3), observedAt: clock.now(), dropped: 0 });
  const seen: number[] = [];
  const look = () => void seen.push(book.page(all).total);
  let rests = 0;

  await book.replaceGently(
    PROVIDER,
    { offers, observedAt: clock.now() + 1, dropped: 0 },
    { rest: async () => void (rests++ % 5 === 0 && look()) },
  );

  expect(seen.length).toBeGreaterThan(3);
  expect(new Set(seen)).toEqual(new Set([3]));
  expect(book.page(all).total).toBe(600);
});

describe.each(['the same offers', 'others'])('PEER-11.2.18: while a listing of %s is taken in', (kind) => {
  /** Takes in a second listing, and does something after a part of the way. */
  async function takeIn(part: number, act: (book: Book, at: number) => void, before: (book: Book) => void = () => {}) {
    const { book, clock, offers } = aBook({ count: 300 });
    book.replace(PROVIDER, { offers, observedAt: clock.now(), dropped: 0 });
    before(book);
    const listed = offers.map((offer) => (kind === 'others' ? { ...offer, location: 'elsewhere' } : { ...offer }));
    const rest = Math.ceil(part * (await restsFor(offers, listed)));
    const breather = interrupting(rest, () => act(book, clock.now()));
    await book.replaceGently(PROVIDER, { offers: listed, observedAt: clock.now() + 1, dropped: 0 }, breather);
    return book;
  }

  it.each([0.01, 0.4, 0.8, 1])('a claim is not lost (%d of the way)', async (part) => {
    const book = await takeIn(part, (inside) => inside.setClaims(offerId('market-295'), 1));

    expect(book.page(all).total).toBe(299);
    expect(book.item(offerId('market-295'))?.body).toContain('"available":false');
  });

  it.each([0.01, 0.4, 0.8, 1])('the end of a claim is not lost (%d of the way)', async (part) => {
    const inBefore = (inside: Book) => inside.setClaims(offerId('market-295'), 1);
    const book = await takeIn(part, (inside) => inside.setClaims(offerId('market-295'), 0), inBefore);

    expect(book.page(all).total).toBe(300);
    expect(book.item(offerId('market-295'))?.body).toContain('"available":true');
  });

  it.each([0.01, 0.4, 0.8, 1])('a failure is not lost (%d of the way)', async (part) => {
    const book = await takeIn(part, (inside, at) => inside.setFailures(createFailureMemory([{ ...FAILURE, at }])));

    const confidence = anOffer().confidence * 0.7;
    expect(book.item(offerId('market-290'))?.body).toContain(`"availabilityConfidence":${confidence.toFixed(2)}`);
    expect(book.item(offerId('market-6'))?.body).toContain(`"availabilityConfidence":${anOffer().confidence}`);
  });
});

it('a listing that was overtaken while it was taken in changes nothing', async () => {
  const { book, clock, offers } = aBook();
  await book.replaceGently(
    PROVIDER,
    { offers, observedAt: clock.now(), dropped: 0 },
    interrupting(5, () => book.replace(PROVIDER, { offers: offers.slice(0, 2), observedAt: clock.now() + 1, dropped: 0 })),
  );

  expect(book.page(all).total).toBe(2);
});

it('gives offers of a part of the market the time at which they were listed', () => {
  const { book, clock, offers } = aBook({ count: 2 });
  const observedAt = clock.now();
  const seenAt = new Map([[offerId('market-1'), observedAt - 5_000]]);
  book.replace(PROVIDER, { offers, observedAt, dropped: 0, seenAt });

  expect(book.find(offerId('market-0'))?.observedAt).toBe(observedAt);
  expect(book.find(offerId('market-1'))?.observedAt).toBe(observedAt - 5_000);
});
