import { expect, it } from 'vitest';
import { describeEachStore } from '../../test/support/stores.ts';
import { statement } from '../db/statement.ts';
import { instanceId, providerId } from '../provider/ids.ts';
import { createSightingRepository } from './sighting-repository.ts';

const cloud = providerId('cloud');
const sighting = { provider: cloud, instanceId: instanceId('i'), tag: 'berth-test-x-1' };

describeEachStore('sightings', (open) => {
  const repository = async () => createSightingRepository(await open());

  it('counts how often and since when a stray is seen', async () => {
    const sightings = await repository();

    expect(await sightings.saw(sighting, 1)).toEqual({
      ...sighting,
      firstSeenAt: 1,
      lastSeenAt: 1,
      sightings: 1,
      destroyRequestedAt: null,
      goneAt: null,
    });
    await sightings.markDestroyRequested(sighting, 2);

    expect(await sightings.saw(sighting, 3)).toMatchObject({
      firstSeenAt: 1,
      lastSeenAt: 3,
      sightings: 2,
      destroyRequestedAt: 2,
    });
    expect(await sightings.saw({ ...sighting, provider: providerId('pool') }, 3)).toMatchObject({ sightings: 1 });
  });

  it('hands a stray that a list lacks back as gone, once, and only those of the provider that was listed', async () => {
    const sightings = await repository();
    await sightings.saw(sighting, 1);
    await sightings.saw({ ...sighting, provider: providerId('pool') }, 1);

    expect(await sightings.markGone(cloud, 1)).toEqual([]); // seen by this very list
    expect(await sightings.markGone(cloud, 2)).toMatchObject([{ provider: 'cloud', goneAt: 2 }]);
    expect(await sightings.markGone(cloud, 3)).toEqual([]);
  });

  it('a stray that comes back is not gone any more', async () => {
    const sightings = await repository();
    await sightings.saw(sighting, 1);
    await sightings.markGone(cloud, 2);

    expect(await sightings.saw(sighting, 3)).toMatchObject({ goneAt: null, sightings: 2 });
  });

  it('counts by provider those that are not known to be gone, and tells since when the oldest is seen', async () => {
    const sightings = await repository();
    expect(await sightings.countAlive()).toEqual([]);
    await sightings.saw(sighting, 1);
    await sightings.saw({ ...sighting, instanceId: instanceId('second') }, 2);
    await sightings.saw({ ...sighting, provider: providerId('pool') }, 3);
    await sightings.markGone(providerId('pool'), 4);
    await sightings.saw({ ...sighting, instanceId: instanceId('second') }, 4);

    expect(await sightings.countAlive()).toEqual([{ provider: 'cloud', count: 2, firstSeenAt: 1 }]);
    await sightings.markGone(cloud, 4);
    expect(await sightings.countAlive()).toEqual([{ provider: 'cloud', count: 1, firstSeenAt: 2 }]);
  });

  it('forgets strays that are gone long enough, and never one that is not', async () => {
    const sightings = await repository();
    await sightings.saw(sighting, 1);
    await sightings.saw({ ...sighting, instanceId: instanceId('stays') }, 9);
    await sightings.markGone(cloud, 5);

    expect(await sightings.pruneStrays(5)).toBe(0);
    expect(await sightings.pruneStrays(100)).toBe(1);
    expect(await sightings.saw({ ...sighting, instanceId: instanceId('stays') }, 10)).toMatchObject({ sightings: 2 });
  });

  it('keeps what lists said for a while; a second record of one moment changes nothing', async () => {
    const store = await open();
    const sightings = createSightingRepository(store);
    const observation = { provider: cloud, at: 1, complete: true, suspect: false, count: 3, strangers: 2, detail: '' };
    await sightings.record(observation);
    await sightings.record({ ...observation, count: 4 });
    await sightings.record({ ...observation, at: 2, complete: false, suspect: true });

    expect(await sightings.pruneObservations(2)).toBe(1);
    const all = statement('test.observations', (query) => query.select().from(store.tables.observations));
    expect(await store.read(all({}))).toEqual([{ ...observation, at: 2, complete: false, suspect: true }]);
  });
});
