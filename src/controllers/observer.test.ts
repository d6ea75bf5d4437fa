import { setMaxListeners } from 'node:events';
import { expect, it } from 'vitest';
import { describeWorld, type World } from '../../test/support/world.ts';
import { HOUR_MS } from '../core/duration.ts';
import { instanceId, providerId } from '../provider/ids.ts';
import type { Listing } from './observer.ts';

const MEMORY = providerId('memory');
const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER); // as the driver's, which every call listens to
const list = (world: World, notBeforeMonotonicMs = world.clock.monotonicMs(), signal = NEVER) =>
  world.replica.observer.list(MEMORY, { notBeforeMonotonicMs, signal });

describeWorld('observer', (make) => {
  it('answers callers at the same time with one call', async () => {
    const world = await make();
    await Promise.all(Array.from({ length: 20 }, () => list(world)));

    expect(world.account().calls('ListAllInstances')).toBe(1);
  });

  it('REL-B17: however many need a later list than the one under way, they share the next one', async () => {
    const world = await make();
    world.account().failNext('ListAllInstances', { do: 'hang', done: false });
    const first = list(world);
    first.catch(() => undefined);
    await world.clock.advance(100);
    const later: Promise<Listing>[] = [];
    for (let count = 0; count < 20; count += 1) {
      later.push(list(world));
      await world.clock.advance(10);
    }
    expect(world.account().calls('ListAllInstances')).toBe(1);
    await world.clock.advance(32_000);

    await expect(first).rejects.toMatchObject({ kind: 'unavailable' });
    const listings = await Promise.all(later);
    expect(world.account().calls('ListAllInstances')).toBe(2);
    expect(new Set(listings).size).toBe(1);
    expect(listings[0]?.began.monotonicMs).toBeGreaterThan(290);
  });

  it('never answers with a list that began too early', async () => {
    const world = await make();
    const early = await list(world);
    await world.clock.advance(1);

    expect(await list(world, early.began.monotonicMs)).toBe(early);
    expect((await list(world)).began.monotonicMs).toBe(1);
  });

  it('one caller that gives up does not take the answer from the others', async () => {
    const world = await make();
    world.account().settings.listLagMs = 0;
    const hasty = new AbortController();
    const cancelled = list(world, 0, hasty.signal);
    const patient = list(world, 0);
    hasty.abort(new Error('gone'));

    await expect(cancelled).rejects.toThrow('gone');
    expect((await patient).instances).toEqual([]);
  });

  it('a list is good although it could not be recorded', async () => {
    const world = await make();
    Object.assign(world.replica.sightings, { record: () => Promise.reject(new Error('disk full')) });

    expect((await list(world)).suspect).toBe(false);
    world.account().failNext('ListAllInstances', { do: 'fail', kind: 'auth' });
    await world.clock.advance(1);
    await expect(list(world)).rejects.toMatchObject({ name: 'ProviderError', kind: 'auth' });
    expect(world.log.messages('error')).toContain('observation could not be recorded');
  });

  it('REL-B2, RULE-R7: a list that has lost all instances of others at once proves nothing for an hour, one that lost some does', async () => {
    const world = await make();
    const strangers = ['a', 'b', 'c'].map((id) => instanceId(id));
    for (const id of strangers) world.account().plant({ id, tag: 'berth-other-00000000000000000000000009-1' });
    expect((await list(world)).suspect).toBe(false);

    world.account().vanish(instanceId('a'));
    await world.clock.advance(1_000);
    expect((await list(world)).suspect).toBe(false);

    world.account().failNext('ListAllInstances', { do: 'empty' });
    await world.clock.advance(1_000);
    expect((await list(world)).suspect).toBe(true);
    await world.clock.advance(1_000);
    expect((await list(world)).suspect).toBe(false);

    for (const id of strangers) world.account().vanish(id);
    await world.clock.advance(1_000);
    expect((await list(world)).suspect).toBe(true);
    await world.clock.advance(HOUR_MS);
    expect((await list(world)).suspect).toBe(false);
  });

  it('RULE-R7: a list that shows others, though none of those that were seen last, is as good as any', async () => {
    const world = await make();
    for (const id of ['a', 'b']) world.account().plant({ id: instanceId(id) });
    const c = world.account().plant({ id: instanceId('c') });
    world.account().failNext('ListAllInstances', { do: 'omit', ids: [c] }); // a list that lacks some
    expect((await list(world)).suspect).toBe(false);

    for (const id of ['a', 'b']) world.account().vanish(instanceId(id));
    await world.clock.advance(1_000);

    expect((await list(world)).suspect).toBe(false);
  });

  it('REL-B2, RULE-R7: a start does not forget that there were instances of others, and a suspect list does not either', async () => {
    const world = await make();
    const strangers = ['a', 'b'].map((id) => instanceId(id));
    for (const id of strangers) world.account().plant({ id });
    expect((await list(world)).suspect).toBe(false);
    await world.crash();

    for (const id of strangers) world.account().vanish(id);
    for (let look = 0; look < 3; look += 1) {
      await world.clock.advance(1_000);
      expect((await list(world)).suspect).toBe(true);
    }
    await world.clock.advance(HOUR_MS);
    expect((await list(world)).suspect).toBe(false);
  });
});
