import { expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { describeEachDatabase, describeEachStore } from '../../test/support/stores.ts';
import type { OfferFailure } from '../db/tables.ts';
import { offerId, providerId } from '../provider/ids.ts';
import type { OfferId } from '../provider/ids.ts';
import { createOfferRepository } from './offer-repository.ts';
import type { ClaimRequest, OfferRepository } from './offer-repository.ts';

const vast = providerId('vast');
const pool = providerId('pool');
const offers = [anOffer({ provider: vast }), anOffer({ provider: vast, providerOfferId: '2', maxDurationMs: 5 })];

const key = (provider: typeof vast, slice = '') => ({ provider, account: 'acc', slice });

const wholeOf = async (repository: OfferRepository) =>
  (await repository.loadSlices({ provider: vast, account: 'acc' })).find(({ slice }) => slice === '');

function aFailure(count: number, overrides: Partial<OfferFailure> = {}): OfferFailure {
  return {
    sessionId: countedId('ses', count),
    ordinal: 1,
    provider: vast,
    offerId: offerId('vast-1'),
    machineId: null,
    gpuType: 'RTX 4090',
    kind: 'stale_inventory',
    reason: 'taken',
    at: count,
    ...overrides,
  };
}

function aClaim(session: number, overrides: Partial<ClaimRequest> = {}): ClaimRequest {
  return { offerId: offerId('vast-1'), units: 2, sessionId: countedId('ses', session), consumerId: 'one', at: 1, ...overrides };
}

describeEachStore('offer repository', (open) => {
  it('gives listings back as they were, each account its own', async () => {
    const repository = createOfferRepository(await open());
    await repository.saveSlice(key(vast), { offers, observedAt: 10, dropped: 1, term: 1 });
    await repository.saveSlice(key(vast, 'gpu:h100'), { offers: [], observedAt: 12, dropped: 0, term: 1, truncated: true });
    await repository.saveSlice({ ...key(vast), account: 'other' }, { offers: [], observedAt: 20, dropped: 0, term: 1 });

    const whole = { ...key(vast), parts: 1, version: 1, term: 1, observedAt: 10, dropped: 1, truncated: false, offers };
    expect(await repository.loadSlices({ provider: vast, account: 'acc' })).toEqual([
      whole,
      { ...whole, slice: 'gpu:h100', observedAt: 12, dropped: 0, truncated: true, offers: [] },
    ]);
    expect(await wholeOf(repository)).toEqual(whole);
    expect(await repository.loadSlices({ provider: pool, account: 'acc' })).toEqual([]);
  });

  it('raises the version only when the offers changed', async () => {
    const repository = createOfferRepository(await open());
    const save = (observedAt: number, listed = offers) =>
      repository.saveSlice(key(vast), { offers: listed, observedAt, dropped: 0, term: 1 });

    const outcomes = [
      await save(1),
      await save(2, structuredClone(offers)),
      await save(3, offers.slice(1)),
      await save(4, offers.slice(1)),
    ];

    expect(outcomes).toEqual(['written', 'confirmed', 'written', 'confirmed']);
    expect(await repository.sliceTimes({ provider: vast, account: 'acc' })).toEqual([
      { ...key(vast), parts: 1, version: 2, term: 1, observedAt: 4, dropped: 0, truncated: false },
    ]);
    expect((await wholeOf(repository))?.offers).toEqual(offers.slice(1));
  });

  it('refuses a listing that is older than the stored one', async () => {
    const repository = createOfferRepository(await open());
    await repository.saveSlice(key(vast), { offers, observedAt: 10, dropped: 0, term: 1 });

    expect(await repository.saveSlice(key(vast), { offers: [], observedAt: 9, dropped: 0, term: 1 })).toBe('older');
    expect(await repository.saveSlice(key(vast), { offers, observedAt: 9, dropped: 0, term: 1 })).toBe('older');

    expect(await wholeOf(repository)).toMatchObject({ version: 1, observedAt: 10, offers: [{}, {}] });
  });

  it('REL-D2: takes what a later lease brings, whatever its clock says, and nothing more of a former one', async () => {
    const repository = createOfferRepository(await open());
    await repository.saveSlice(key(vast), { offers, observedAt: 10, dropped: 0, term: 1 });

    expect(await repository.saveSlice(key(vast), { offers, observedAt: 8, dropped: 0, term: 2 })).toBe('confirmed');
    expect(await repository.saveSlice(key(vast), { offers: [], observedAt: 7, dropped: 0, term: 3 })).toBe('written');
    expect(await repository.saveSlice(key(vast), { offers, observedAt: 99, dropped: 0, term: 2 })).toBe('older');

    expect(await wholeOf(repository)).toMatchObject({ term: 3, observedAt: 7, offers: [] });
  });

  it('REL-D2: stores a long listing in parts, none of which a former lease overwrites', async () => {
    const repository = createOfferRepository(await open());
    const long = Array.from({ length: 1_201 }, (_, at) => anOffer({ provider: vast, providerOfferId: `ask-${at}` }));
    const renamed = long.map((offer) => ({ ...offer, location: 'elsewhere' }));
    await repository.saveSlice(key(vast), { offers: long, observedAt: 10, dropped: 0, term: 1 });
    expect((await wholeOf(repository))?.offers).toEqual(long);

    await repository.saveSlice(key(vast), { offers: long.slice(0, 400), observedAt: 11, dropped: 0, term: 2 });
    await repository.saveSlice(key(vast), { offers: long, observedAt: 12, dropped: 0, term: 2 });
    expect(await repository.saveSlice(key(vast), { offers: renamed, observedAt: 99, dropped: 0, term: 1 })).toBe('older');

    expect(await wholeOf(repository)).toMatchObject({ parts: 3, term: 2, observedAt: 12 });
    expect((await wholeOf(repository))?.offers).toEqual(long);
    await repository.saveSlice(key(vast), { offers: long.slice(0, 3), observedAt: 13, dropped: 0, term: 2 });
    expect((await wholeOf(repository))?.offers).toEqual(long.slice(0, 3));
  });

  it('forgets what nobody has listed again', async () => {
    const repository = createOfferRepository(await open());
    await repository.saveSlice(key(vast), { offers, observedAt: 10, dropped: 0, term: 1 });
    await repository.saveSlice(key(vast, 'gpu:t4'), { offers: [], observedAt: 5, dropped: 0, term: 1 });

    expect(await repository.pruneSlices({ provider: vast, before: 10 })).toBe(1);
    expect(await repository.sliceTimes({ provider: vast, account: 'acc' })).toMatchObject([{ slice: '' }]);
  });

  it('forgets no part of a long listing that was only confirmed since', async () => {
    const repository = createOfferRepository(await open());
    const long = Array.from({ length: 501 }, (_, at) => anOffer({ provider: vast, providerOfferId: `ask-${at}` }));
    await repository.saveSlice(key(vast), { offers: long, observedAt: 1, dropped: 0, term: 1 });
    await repository.saveSlice({ ...key(vast), account: 'former' }, { offers: long, observedAt: 1, dropped: 0, term: 1 });
    await repository.saveSlice(key(vast), { offers: long, observedAt: 99, dropped: 0, term: 1 });

    expect(await repository.pruneSlices({ provider: vast, before: 50 })).toBe(1);

    expect((await wholeOf(repository))?.offers).toEqual(long);
    expect(await repository.loadSlices({ provider: vast, account: 'former' })).toEqual([]);
  });

  it('writes all of a listing again after a write that stopped half-way', async () => {
    const store = await open();
    let failing = false;
    const repository = createOfferRepository({
      ...store,
      write: (body, isolation) => (failing ? Promise.reject(new Error('the disk is full')) : store.write(body, isolation)),
    });
    const long = Array.from({ length: 1_001 }, (_, at) => anOffer({ provider: vast, providerOfferId: `ask-${at}` }));
    const dearer = long.map((offer) => ({ ...offer, priceMicrosPerHour: 9_000_000 }));
    const save = (listed: typeof long, observedAt: number) =>
      repository.saveSlice(key(vast), { offers: listed, observedAt, dropped: 0, term: 1 });
    await save(long, 1);
    const stopping = save(dearer, 2);
    failing = true; // after the last part, which is written first
    await expect(stopping).rejects.toThrow('the disk is full');
    failing = false;

    await save(long, 3);

    expect((await wholeOf(createOfferRepository(store)))?.offers).toEqual(long);
  });

  it('keeps an attempt’s failure once, and forgets the old ones', async () => {
    const store = await open();
    const repository = createOfferRepository(store);
    const record = (failure: OfferFailure) => store.write(() => repository.recordFailure(failure));

    expect(await record(aFailure(2))).toBe(true);
    expect(await record(aFailure(1, { machineId: 'm1' }))).toBe(true);
    expect(await record(aFailure(2, { reason: 'told twice' }))).toBe(false);

    expect(await repository.failuresSince(0)).toEqual([aFailure(1, { machineId: 'm1' }), aFailure(2)]);
    expect(await repository.failuresSince(2)).toEqual([aFailure(2)]);
    expect(await repository.pruneFailures(2)).toBe(1);
    expect(await repository.failuresSince(0)).toEqual([aFailure(2)]);
  });

  it('hands out the lowest free unit, each once', async () => {
    const store = await open();
    const repository = createOfferRepository(store);
    const claim = (request: ClaimRequest) => store.write(() => repository.claim(request));
    const release = (session: number, offer: OfferId) =>
      store.write(() => repository.release(countedId('ses', session), offer));

    expect([await claim(aClaim(1)), await claim(aClaim(2)), await claim(aClaim(3))]).toEqual([0, 1, undefined]);
    expect(await claim(aClaim(2))).toBe(1);
    expect(await claim(aClaim(4, { offerId: offerId('vast-2') }))).toBe(0);
    expect(await repository.takenUnits()).toEqual(
      new Map([
        ['vast-1', 2],
        ['vast-2', 1],
      ]),
    );

    expect([await release(1, offerId('vast-1')), await release(1, offerId('vast-1'))]).toEqual([true, false]);
    expect(await claim(aClaim(3))).toBe(0);
  });

  it('knows whether a consumer has a session on an offer', async () => {
    const store = await open();
    const repository = createOfferRepository(store);
    await store.write(() => repository.claim(aClaim(1)));
    const holds = (consumer: string, offer: string) => store.write(() => repository.consumerHolds(consumer, offerId(offer)));

    expect([await holds('one', 'vast-1'), await holds('two', 'vast-1'), await holds('one', 'vast-2')]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('takes a claim back with the transaction that it was part of', async () => {
    const store = await open();
    const repository = createOfferRepository(store);

    const failing = store.write(function* () {
      yield* repository.claim(aClaim(1));
      throw new Error('the rest failed');
    });

    await expect(failing).rejects.toThrow('the rest failed');
    expect(await repository.takenUnits()).toEqual(new Map());
  });

  it('gives twenty sessions at once no unit twice and leaves none over', async () => {
    const store = await open();
    const repository = createOfferRepository(store);

    const units = await Promise.all(
      Array.from({ length: 20 }, (_, session) => store.write(() => repository.claim(aClaim(session, { units: 5 })))),
    );

    const taken = units.filter((unit) => unit !== undefined);
    expect(taken.toSorted((one, other) => one - other)).toEqual([0, 1, 2, 3, 4]);
  });
});

describeEachDatabase('offer repository after a restart', (create) => {
  it('does not write anew what it has loaded, and notices what another process wrote meanwhile', async () => {
    const database = await create();
    const before = await database.open();
    await createOfferRepository(before).saveSlice(key(vast), { offers, observedAt: 1, dropped: 0, term: 1 });
    await before.close();
    const store = await database.open();
    const [one, other] = [createOfferRepository(store), createOfferRepository(store)];

    await one.loadSlices({ provider: vast, account: 'acc' });
    expect(await one.saveSlice(key(vast), { offers, observedAt: 2, dropped: 0, term: 1 })).toBe('confirmed');
    expect(await other.saveSlice(key(vast), { offers: [], observedAt: 3, dropped: 0, term: 1 })).toBe('written');
    expect(await one.saveSlice(key(vast), { offers, observedAt: 4, dropped: 0, term: 1 })).toBe('written');

    expect(await wholeOf(one)).toMatchObject({ version: 3, observedAt: 4, offers: [{}, {}] });
  });
});
