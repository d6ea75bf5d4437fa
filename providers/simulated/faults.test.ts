import { afterEach, describe, expect, it, vi } from 'vitest';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { cleanUp, options, aMarket, tagNumber, aRequest, untilState, kindOf } from './fixtures/a-market.ts';

afterEach(cleanUp);

describe('the faults of the simulated market', () => {
  const withFault = async (faults: string) => {
    const clock = new FakeClock();
    const market = await aMarket(
      { SIMULATED_FAULTS: faults, SIMULATED_BOOT_SECONDS: '2', SIMULATED_DESTROY_SECONDS: '1' },
      { clock },
    );
    return { clock, ...market };
  };

  it('taken: the offer was listed, and is taken, and is not listed any more', async () => {
    const { provider } = await withFault('taken=1');
    const request = await aRequest(provider);

    expect(await kindOf(provider.createInstance(request, options))).toBe('capacity');
    expect((await provider.listOffers({}, options)).offers.map(({ id }) => id)).not.toContain(request.offer.id);
    expect(await provider.listInstances(options)).toEqual([]);
  });

  it('create_lost: the answer is lost and the instance is there', async () => {
    const { provider } = await withFault('create_lost=1');

    expect(await kindOf(provider.createInstance(await aRequest(provider), options))).toBe('ambiguous');
    expect(await provider.listInstances(options)).toEqual([expect.objectContaining({ tag: tagNumber(1) })]);
  });

  it('create_late: the answer is lost and the instance is there only later', async () => {
    const { provider, clock } = await withFault('create_late=1');

    expect(await kindOf(provider.createInstance(await aRequest(provider), options))).toBe('ambiguous');
    expect(await provider.listInstances(options)).toEqual([]);
    await clock.advance(5_000);
    expect(await provider.listInstances(options)).toEqual([expect.objectContaining({ tag: tagNumber(1) })]);
  });

  it('create_void: the answer is lost and nothing was made', async () => {
    const { provider, clock } = await withFault('create_void=1');

    expect(await kindOf(provider.createInstance(await aRequest(provider), options))).toBe('ambiguous');
    await clock.advance(MINUTE_MS);
    expect(await provider.listInstances(options)).toEqual([]);
  });

  it('slow_boot: booting takes ten times as long', async () => {
    const { provider, clock } = await withFault('slow_boot=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);

    await clock.advance(19_000);
    expect((await provider.getInstance(id, options))?.state).toBe('starting');
    await clock.advance(1_000);
    await untilState(provider, id, 'running');
  });

  it('stuck_boot: it starts for ever and can be destroyed', async () => {
    const { provider, clock } = await withFault('stuck_boot=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);

    await clock.advance(HOUR_MS);
    expect((await provider.getInstance(id, options))?.state).toBe('starting');
    expect(await provider.destroyInstance(id, options)).toBe('destroying');
    await clock.advance(1_000);
    expect(await provider.getInstance(id, options)).toBeUndefined();
  });

  it('fail_boot: it fails and says why', async () => {
    const { provider, clock } = await withFault('fail_boot=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);

    await clock.advance(2_000);
    expect(await untilState(provider, id, 'failed')).toMatchObject({ reason: expect.stringContaining('boot failed') });
  });

  it('vanish: it is gone within a minute of booting', async () => {
    const { provider, clock } = await withFault('vanish=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);

    await clock.advance(2_000 + MINUTE_MS);
    expect(await provider.getInstance(id, options)).toBeUndefined();
    expect(await provider.listInstances(options)).toEqual([]);
  });

  it('destroy_lies: the destroy is accepted and the instance lives', async () => {
    const { provider, clock } = await withFault('destroy_lies=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);
    await clock.advance(2_000);
    await untilState(provider, id, 'running');

    expect(await provider.destroyInstance(id, options)).toBe('destroying');
    await clock.advance(MINUTE_MS);
    expect((await provider.getInstance(id, options))?.state).toBe('running');
  });

  it('destroy_lies: a market that lies now and then gives way to who repeats the destroy', async () => {
    const { provider } = await withFault('destroy_lies=0.5');
    const { id } = await provider.createInstance(await aRequest(provider), options);

    await vi.waitFor(async () => {
      await provider.destroyInstance(id, options);
      expect((await provider.getInstance(id, options))?.state).toBe('stopping');
    });
  });

  it('reappear: it was gone and is there again, once', async () => {
    const { provider, clock } = await withFault('reappear=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);
    await clock.advance(2_000);
    const first = await untilState(provider, id, 'running');

    await provider.destroyInstance(id, options);
    await clock.advance(1_000);
    expect(await provider.getInstance(id, options)).toBeUndefined();
    await clock.advance(10_000);
    expect((await untilState(provider, id, 'running')).ssh).toEqual(first.ssh);
    await provider.destroyInstance(id, options);
    await clock.advance(MINUTE_MS);
    expect(await provider.getInstance(id, options)).toBeUndefined();
  });

  it('list_empty: the list is empty although the instance is there', async () => {
    const { provider } = await withFault('list_empty=1');
    const { id } = await provider.createInstance(await aRequest(provider), options);

    expect(await provider.listInstances(options)).toEqual([]);
    expect(await provider.getInstance(id, options)).toBeDefined();
  });

  it('unavailable, rate_limited: the call is refused and nothing is done', async () => {
    const { provider } = await withFault('unavailable=1');
    const { provider: busy } = await withFault('rate_limited=1');

    expect(await kindOf(provider.check(options))).toBe('unavailable');
    await expect(busy.check(options)).rejects.toMatchObject({ kind: 'rate_limited', retryAfterMs: 1_000 });
  });

  it('happens as often as asked, to the same ones for the same seed', async () => {
    const fates = async () => {
      const { provider, clock } = await withFault('fail_boot=0.3');
      const { offers } = await provider.listOffers({}, options);
      for (const offer of offers) await provider.createInstance(await aRequest(provider, { offer }), options);
      await clock.advance(2_000);
      await vi.waitFor(async () => {
        expect((await provider.listInstances(options)).some(({ state }) => state === 'starting')).toBe(false);
      });
      return (await provider.listInstances(options)).map(({ state }) => state);
    };

    const [once_, again] = [await fates(), await fates()];

    expect(again).toEqual(once_);
    const failed = once_.filter((state) => state === 'failed').length;
    expect(failed).toBeGreaterThan(20);
    expect(failed).toBeLessThan(55);
  });
});
