import { beforeEach, describe, expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { OfferFailure } from '../db/tables.ts';
import { offerId, providerId } from '../provider/ids.ts';
import type { Offer } from '../provider/offer.ts';
import { createFailureMemory } from './failure-memory.ts';
import { createOfferBook } from './offer-book.ts';
import type { BookProvider, OfferBook } from './offer-book.ts';
import { bookQuery } from './offer-query.ts';
import type { OfferWish } from './offer-query.ts';
import type { OfferSerialiser } from './offer-view.ts';

const vast = providerId('vast');
const pool = providerId('pool');
const sim = providerId('sim');
const STALE_AFTER_MS = 2 * MINUTE_MS;

let clock: FakeClock;
let serialised: string[];
beforeEach(() => {
  clock = new FakeClock(1_000_000);
  serialised = [];
});

const serialise: OfferSerialiser = {
  offer: ({ offer, availabilityConfidence, observedAt, available }) => {
    serialised.push(offer.id);
    return JSON.stringify({ id: offer.id, confidence: availabilityConfidence, observedAt, available });
  },
  provider: (status) => JSON.stringify(status),
};

function aBook(...providers: readonly (Pick<BookProvider, 'id'> & Partial<BookProvider>)[]): OfferBook {
  return createOfferBook({
    providers: providers.map((provider) => ({ simulated: false, staleAfterMs: STALE_AFTER_MS, ...provider })),
    serialise,
    clock,
    epoch: 'epoch',
  });
}

function list(book: OfferBook, provider: typeof vast, ...offers: readonly Partial<Offer>[]): readonly Offer[] {
  const listed = offers.map((offer, at) => anOffer({ provider, providerOfferId: String(at + 1), ...offer }));
  book.replace(provider, { offers: listed, observedAt: clock.now(), dropped: 0 });
  return listed;
}

const ids = (book: OfferBook, wish: OfferWish = {}) => book.search(bookQuery(wish)).views.map((view) => view.offer.id);
const page = (book: OfferBook, wish: OfferWish = {}) => JSON.parse(book.page(bookQuery(wish)).body.toString()) as unknown;

function aFailure(offer: Offer, overrides: Partial<OfferFailure> = {}): OfferFailure {
  return {
    sessionId: countedId('ses', 1),
    ordinal: 1,
    provider: offer.provider,
    offerId: offer.id,
    machineId: offer.machineId ?? null,
    gpuType: offer.gpuType,
    kind: 'stale_inventory',
    reason: 'taken',
    at: clock.now(),
    ...overrides,
  };
}

describe('search', () => {
  it('PEER-11.2.18: a filtered query does not narrow what others see', () => {
    const book = aBook({ id: vast });
    list(book, vast, { priceMicrosPerHour: 100 }, { priceMicrosPerHour: 200, reliability: 0.5 });
    const before = ids(book);

    expect(ids(book, { maxPriceMicrosPerHour: 150, minReliability: 0.9, gpuTypes: ['RTX 4090'], minVramMib: 1 })).toHaveLength(
      1,
    );
    page(book, { maxPriceMicrosPerHour: 150 });

    expect(ids(book)).toEqual(before);
    expect(page(book)).toMatchObject({ count: 2, total: 2 });
    expect(book.find(offerId('vast-2'))).toBeDefined();
  });

  it('finds a GPU by its name in any case, with or without spaces', () => {
    const book = aBook({ id: vast });
    list(book, vast, { gpuType: 'RTX 4090' }, { gpuType: 'H100 SXM' });

    for (const name of ['RTX 4090', 'rtx4090', 'Rtx-4090', 'NVIDIA GeForce RTX 4090']) {
      expect(ids(book, { gpuTypes: [name] })).toEqual(['vast-1']);
    }
    expect(ids(book, { gpuTypes: ['rtx 4090', 'h100sxm'] })).toHaveLength(2);
  });

  it('finds a location by a part of its text in any case', () => {
    const book = aBook({ id: vast });
    list(book, vast, { location: 'Oslo, NO' }, { location: 'Quebec, CA' });

    expect(ids(book, { locations: ['quebec', 'nowhere'] })).toEqual(['vast-2']);
  });

  it('PEER-10.42: takes two letters for a country, and no place for one that only has them in its name', () => {
    const book = aBook({ id: vast });
    const places = ['Utah, US', 'Moscow, Russia', 'Orlando, Florida, United States', 'Columbus', ', US', 'Oslo, NO'];
    list(book, vast, ...places.map((location) => ({ location })));

    expect(ids(book, { locations: ['us'] })).toEqual(['vast-1', 'vast-3', 'vast-5']);
    expect(ids(book, { locations: ['usa', 'RU', 'osl'] })).toEqual(['vast-2', 'vast-6']);
  });

  it('PEER-11.2.24: finds 24 GB cards that read 24564 MiB', () => {
    const book = aBook({ id: vast });
    list(book, vast, { vramMib: 24_564 }, { vramMib: 12_288 });

    expect(ids(book, { minVramMib: 24 * 1024 })).toEqual(['vast-1']);
  });

  it('lists offers without a GPU only to who asks for CPU or for their provider', () => {
    const book = aBook({ id: vast }, { id: pool });
    list(book, vast, {});
    list(book, pool, { gpuType: 'CPU', gpuCount: 0, vramMib: 0, priceMicrosPerHour: 0 });

    expect(ids(book)).toEqual(['vast-1']);
    expect(ids(book, { gpuTypes: ['cpu'] })).toEqual(['pool-1']);
    expect(ids(book, { providers: [pool] })).toEqual(['pool-1']);
    expect(ids(book, { providers: [pool, vast], gpuTypes: ['RTX 4090'] })).toEqual(['vast-1']);
  });

  it('shows simulated offers only to who names them once a real provider is on, even before its first listing', () => {
    const both = aBook({ id: vast }, { id: sim, simulated: true });
    list(both, sim, {});
    const alone = aBook({ id: sim, simulated: true });
    list(alone, sim, {});

    expect(ids(both)).toEqual([]);
    expect(ids(both, { providers: [sim] })).toEqual(['sim-1']);
    expect(ids(alone)).toEqual(['sim-1']);
    expect(alone.find(offerId('sim-1'))).toMatchObject({ simulated: true });
  });

  it('keeps one of two offers that share an id', () => {
    const book = aBook({ id: vast });
    list(book, vast, { providerOfferId: '1' }, { providerOfferId: '1', priceMicrosPerHour: 7 });

    expect(ids(book)).toEqual(['vast-1']);
    expect(book.find(offerId('vast-1'))?.offer.priceMicrosPerHour).toBe(7);
  });
});

describe('listings', () => {
  it('PEER-11.2.18: a failed refresh keeps serving what was listed, with its time and the error beside it', () => {
    const book = aBook({ id: vast });
    list(book, vast, {});
    const listedAt = clock.now();

    clock.jumpWall(30_000);
    book.fail(vast, { kind: 'unavailable', message: 'list offers at vast: no answer' }, clock.now());

    expect(page(book)).toMatchObject({
      offers: [{ id: 'vast-1', observedAt: listedAt }],
      providers: [{ id: 'vast', observedAt: listedAt, stale: true, error: { kind: 'unavailable' }, offers: 1 }],
    });
    expect(book.snapshot(vast)).toMatchObject({ observedAt: listedAt, lastAttemptAt: clock.now() });
  });

  it('forgets the error when a listing succeeds', () => {
    const book = aBook({ id: vast });
    book.fail(vast, { kind: 'auth', message: 'no' }, clock.now());
    expect(book.providers()).toMatchObject([{ stale: true, offers: 0, error: { kind: 'auth' } }]);

    list(book, vast, {});

    expect(book.providers()).toEqual([
      { id: 'vast', simulated: false, observedAt: clock.now(), offers: 1, dropped: 0, stale: false },
    ]);
  });

  it('does not go back to an older listing', () => {
    const book = aBook({ id: vast });
    list(book, vast, {});

    book.replace(vast, { offers: [], observedAt: clock.now() - 1, dropped: 0 });

    expect(ids(book)).toEqual(['vast-1']);
  });

  it('PEER-10.78: calls offers stale when nobody listed them for long, at the moment that it named', () => {
    const book = aBook({ id: vast });
    list(book, vast, {});
    const etag = book.etag(bookQuery({}));
    expect(book.nextChangeAt()).toBe(clock.now() + STALE_AFTER_MS);

    clock.jumpWall(STALE_AFTER_MS);
    book.passTime();

    expect(book.providers()).toMatchObject([{ stale: true }]);
    expect(book.etag(bookQuery({}))).not.toBe(etag);
    expect(book.nextChangeAt()).toBeUndefined();
  });

  it('refuses a provider that it was not told of', () => {
    expect(() => aBook({ id: vast }).replace(pool, { offers: [], observedAt: 0, dropped: 0 })).toThrow(
      'not told of the provider pool',
    );
  });
});

describe('pages', () => {
  it('are joined from JSON made once an offer', () => {
    const book = aBook({ id: vast });
    list(book, vast, {}, {});

    const [first, again] = [book.page(bookQuery({})), book.page(bookQuery({}))];
    book.page(bookQuery({ minCuda: 12 }));

    expect(again).toBe(first);
    expect(serialised).toEqual(['vast-1', 'vast-2']);
    expect(page(book, { limit: 1, offset: 1 })).toMatchObject({ offers: [{ id: 'vast-2' }], count: 1, total: 2 });
    expect(page(book, { limit: 0 })).toMatchObject({ offers: [], count: 0, total: 2 });
    expect(page(book, { offset: 9 })).toMatchObject({ offers: [], count: 0, total: 2 });
  });

  it('have an ETag that changes with what they show, and only then', () => {
    const book = aBook({ id: vast }, { id: pool });
    const [offer] = list(book, vast, { units: 2 });
    const query = bookQuery({ providers: [vast] });
    const etags = [book.page(query).etag];
    const look = () => etags.push(book.page(query).etag);

    list(book, pool, {}); // another provider
    look();
    book.setClaims(offer?.id ?? offerId(''), 1); // one of two units
    look();
    expect(new Set(etags).size).toBe(1);

    book.setClaims(offer?.id ?? offerId(''), 2);
    look();
    book.fail(vast, { kind: 'unavailable', message: 'no answer' }, clock.now());
    look();
    book.fail(vast, { kind: 'unavailable', message: 'no answer' }, clock.now() + 1);
    expect(book.page(query).etag).toBe(etags.at(-1));
    clock.jumpWall(1);
    list(book, vast, { units: 2 });
    look();

    expect(new Set(etags).size).toBe(4);
    expect(book.etag(query)).toBe(etags.at(-1));
    expect(book.etag(query)).toMatch(/^"[\w-]+"$/);
    expect(book.etag(bookQuery({ providers: [vast], limit: 9 }))).not.toBe(etags.at(-1));
  });

  it('show the new time when the same offers were listed again', () => {
    const book = aBook({ id: vast });
    list(book, vast, {});
    page(book);

    clock.jumpWall(30_000);
    list(book, vast, {});

    expect(page(book)).toMatchObject({ offers: [{ observedAt: clock.now() }], providers: [{ observedAt: clock.now() }] });
  });

  it('name the status of every provider that the query covers', () => {
    const book = aBook({ id: vast }, { id: pool });

    expect(page(book)).toMatchObject({
      providers: [
        { id: 'vast', stale: true },
        { id: 'pool', stale: true },
      ],
    });
    expect(page(book, { providers: [pool] })).toMatchObject({ providers: [{ id: 'pool' }] });
  });

  it('PEER-10.47: give an offer whose id was written in other letters, and of two the one that is meant', () => {
    const book = aBook({ id: vast });
    list(book, vast, { id: offerId('vast-7-bid') }, { id: offerId('VAST-7-bid') }, { id: offerId('vast-8') });

    expect(book.find(offerId('VAST-8'))?.offer.id).toBe('vast-8');
    expect(book.item(offerId('Vast-8'))?.body).toContain('vast-8');
    expect(book.find(offerId('VAST-7-bid'))?.offer.id).toBe('VAST-7-bid');
  });

  it('give one offer by its id', () => {
    const book = aBook({ id: vast });
    list(book, vast, {});

    const item = book.item(offerId('vast-1'));

    expect(JSON.parse(item?.body ?? '')).toMatchObject({ id: 'vast-1', available: true });
    expect(item?.etag).toMatch(/^"[\w-]+"$/);
    expect(book.item(offerId('vast-9'))).toBeUndefined();
  });
});

describe('claims', () => {
  it('hide an offer when its last unit is taken, until one is given back', () => {
    const book = aBook({ id: vast });
    list(book, vast, { units: 2 }, {});

    book.setClaims(offerId('vast-1'), 1);
    expect(ids(book)).toEqual(['vast-1', 'vast-2']);
    book.setClaims(offerId('vast-1'), 2);
    expect(ids(book)).toEqual(['vast-2']);
    expect(JSON.parse(book.item(offerId('vast-1'))?.body ?? '')).toMatchObject({ available: false });

    book.setClaims(offerId('vast-1'), 1);
    expect(page(book)).toMatchObject({ offers: [{ id: 'vast-1', available: true }, { id: 'vast-2' }] });
  });

  it('make only the claimed offer’s JSON anew', () => {
    const book = aBook({ id: vast });
    list(book, vast, {}, {}, {});
    page(book);
    serialised = [];

    book.setClaims(offerId('vast-2'), 1);
    page(book);
    book.setClaims(offerId('vast-2'), 0);
    page(book);

    expect(serialised).toEqual(['vast-2']);
  });

  it('hold over a new listing, and for offers that are listed later', () => {
    const book = aBook({ id: vast });
    book.replaceClaims(new Map([[offerId('vast-1'), 1]]));

    list(book, vast, {}, {});
    expect(ids(book)).toEqual(['vast-2']);
    clock.jumpWall(1);
    list(book, vast, {}, {}, {});
    expect(ids(book)).toEqual(['vast-2', 'vast-3']);

    book.replaceClaims(new Map([[offerId('vast-3'), 1]]));
    expect(ids(book)).toEqual(['vast-1', 'vast-2']);
  });
});

describe('failures', () => {
  it('hide an offer until its suppression ends, and leave it to who names it', () => {
    const book = aBook({ id: vast });
    const [first] = list(book, vast, {}, { gpuType: 'L4' });
    const etag = book.etag(bookQuery({}));

    book.setFailures(createFailureMemory([aFailure(first ?? anOffer())]));
    expect(ids(book)).toEqual(['vast-2']);
    expect(book.find(offerId('vast-1'))).toMatchObject({ available: true, availabilityConfidence: 0.63 });
    expect(book.etag(bookQuery({}))).not.toBe(etag);

    const due = book.nextChangeAt() ?? 0;
    clock.jumpWall(due - clock.now()); // stale
    book.passTime();
    expect(ids(book)).toEqual(['vast-2']);
    const end = book.nextChangeAt() ?? 0;
    clock.jumpWall(end - clock.now());
    book.passTime();
    expect(ids(book)).toEqual(['vast-1', 'vast-2']);
  });

  it('make only the JSON of the offers anew that they touch, and nothing when nothing changed', () => {
    const book = aBook({ id: vast });
    const [first] = list(book, vast, {}, {}, {});
    page(book);
    serialised = [];

    book.setFailures(createFailureMemory([aFailure(first ?? anOffer(), { kind: 'price_changed' })]));
    page(book);
    const etag = book.etag(bookQuery({}));
    clock.jumpWall(1_000);
    book.passTime();
    page(book);

    expect(serialised).toEqual(['vast-1']);
    expect(book.etag(bookQuery({}))).toBe(etag);
  });

  it('do not keep a claim from being seen by its id', () => {
    const book = aBook({ id: vast });
    const [first] = list(book, vast, {});
    book.setFailures(createFailureMemory([aFailure(first ?? anOffer())]));
    expect(JSON.parse(book.item(offerId('vast-1'))?.body ?? '')).toMatchObject({ available: true });

    book.setClaims(offerId('vast-1'), 1);

    expect(JSON.parse(book.item(offerId('vast-1'))?.body ?? '')).toMatchObject({ available: false });
  });

  it('lower the confidence that is shown and filtered by, and give it back when they are forgotten', () => {
    const book = aBook({ id: vast });
    const [first] = list(book, vast, { confidence: 1 });
    book.setFailures(createFailureMemory([aFailure(first ?? anOffer(), { kind: 'price_changed' })]));

    expect(page(book)).toMatchObject({ offers: [{ confidence: 0.7 }] });
    expect(ids(book, { minConfidence: 0.7 })).toHaveLength(1);
    expect(ids(book, { minConfidence: 0.71 })).toHaveLength(0);

    book.setFailures(createFailureMemory([]));
    expect(page(book)).toMatchObject({ offers: [{ confidence: 1 }] });
  });

  it('PEER-11.2.19: three failed requests of anybody do not hide an offer that is not at fault', () => {
    const book = aBook({ id: vast });
    const [first] = list(book, vast, {});
    const etag = book.etag(bookQuery({}));

    const failures = [1, 2, 3].map((ordinal) => aFailure(first ?? anOffer(), { ordinal, kind: 'auth' }));
    book.setFailures(createFailureMemory(failures));

    expect(ids(book)).toEqual(['vast-1']);
    expect(book.etag(bookQuery({}))).toBe(etag);
  });

  it('are remembered over a new listing', () => {
    const book = aBook({ id: vast });
    const [first] = list(book, vast, {}, {});
    book.setFailures(createFailureMemory([aFailure(first ?? anOffer())]));

    clock.jumpWall(1_000);
    list(book, vast, {}, {}, {});

    expect(ids(book)).toEqual(['vast-2', 'vast-3']);
  });
});

describe('medianPrices', () => {
  it('knows real and simulated prices apart', () => {
    const book = aBook({ id: vast }, { id: sim, simulated: true });
    list(book, vast, { priceMicrosPerHour: 400_000 });
    list(book, sim, { priceMicrosPerHour: 10_000 });

    expect(book.medianPrices({ simulated: false }).get('RTX 4090')).toBe(400_000);
    expect(book.medianPrices({ simulated: true }).get('RTX 4090')).toBe(10_000);
    clock.jumpWall(1);
    list(book, vast, { priceMicrosPerHour: 500_000 });
    expect(book.medianPrices({ simulated: false }).get('RTX 4090')).toBe(500_000);
  });
});
