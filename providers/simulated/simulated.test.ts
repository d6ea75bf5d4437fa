import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { simulated } from './index.ts';
import {
  cleanUp,
  options,
  consumer,
  probe,
  bare,
  aMarket,
  tagNumber,
  aRequest,
  untilState,
  untilGone,
  aRunningInstance,
  portOf,
  aConnection,
  kindOf,
} from './fixtures/a-market.ts';
import { byMonotonic } from '../../test/support/provider-calls.ts';

afterEach(cleanUp);

describe('the environment of the simulated market', () => {
  it('is on when asked for, off when told so, and on by itself only when no other provider is', () => {
    const isOn = (text: string | undefined, otherIsOn: boolean) =>
      simulated.isOn(simulated.environment.parse({ PROVIDERS_SIMULATED_ENABLED: text }), { otherIsOn });

    expect([isOn(undefined, false), isOn(undefined, true)]).toEqual([true, false]);
    expect([isOn('true', true), isOn('false', false), isOn('', false)]).toEqual([true, false, true]);
  });

  it.each([
    ['SIMULATED_FAULTS', 'taken=0.1,takn=1', /"takn=1" is no fault.*Example: SIMULATED_FAULTS=taken=0\.1/],
    ['SIMULATED_FAULTS', 'taken=2', /"taken=2" has a rate above 1/],
    ['SIMULATED_FAULTS', 'taken', /"taken" is not of the form name=rate/],
    ['SIMULATED_OFFERS', '1.5', /"1\.5" must be a whole number from 0 to 1000000. Example: 120/],
    ['SIMULATED_BOOT_SECONDS', 'soon', /must be a number/],
    ['SIMULATED_PORTS', '30000-20000', /no range of ports. Example: 20000-29999/],
  ])('refuses %s=%s and says how it should be', (name, text, message) => {
    const { error } = simulated.environment.safeParse({ [name]: text });

    expect(error?.issues).toHaveLength(1);
    expect(error?.issues[0]).toMatchObject({ path: [name], message: expect.stringMatching(message) });
  });
});

describe('the offers of the simulated market', () => {
  it('says simulated in the log, in the capabilities and at every offer', async () => {
    const { provider, log } = await aMarket();

    const { offers } = await provider.listOffers({}, options);

    expect(provider.capabilities.simulated).toBe(true);
    expect(log.messages('warn')).toEqual(['the simulated market is on: its offers, machines and prices are not real']);
    expect(offers).toHaveLength(120);
    expect(offers.every((offer) => offer.location.startsWith('Simulated, ') && offer.id.startsWith('simulated-'))).toBe(true);
  });

  it('has many kinds of GPU, counts and places, and hosts without a GPU', async () => {
    const { provider } = await aMarket();

    const { offers } = await provider.listOffers({}, options);

    expect(new Set(offers.map((offer) => offer.gpuType)).size).toBeGreaterThan(15);
    expect(new Set(offers.map((offer) => offer.gpuCount))).toEqual(new Set([0, 1, 2, 4, 8]));
    expect(new Set(offers.map((offer) => offer.location)).size).toBeGreaterThan(10);
    for (const offer of offers) {
      expect(Number.isSafeInteger(offer.priceMicrosPerHour) && offer.priceMicrosPerHour > 0).toBe(true);
      expect(offer.gpuType === 'CPU').toBe(offer.gpuCount === 0);
      expect(offer.units).toBe(1);
    }
  });

  it('is the same market for the same seed and another one for another', async () => {
    const clock = new FakeClock();
    const listing = async (seed: string) =>
      (await (await aMarket({ SIMULATED_SEED: seed }, { clock })).provider.listOffers({}, options)).offers;

    const [one, same, other] = [await listing('7'), await listing('7'), await listing('8')];

    expect(same).toEqual(one);
    expect(other).not.toEqual(one);
  });

  it('lets prices drift a little, and gives offers new ids over the hours', async () => {
    const clock = new FakeClock();
    const { provider } = await aMarket({}, { clock });
    const list = async () => (await provider.listOffers({}, options)).offers;

    const before = await list();
    await clock.advance(MINUTE_MS * 30);
    const later = await list();
    await clock.advance(HOUR_MS * 6);
    const muchLater = await list();

    const changes = later.map((offer, index) => offer.priceMicrosPerHour / (before[index]?.priceMicrosPerHour ?? 0));
    expect(changes.filter((change) => change !== 1).length).toBeGreaterThan(60);
    expect(changes.every((change) => change > 0.84 && change < 1.19)).toBe(true);
    expect(later.filter((offer, index) => offer.id === before[index]?.id).length).toBeGreaterThan(90);
    expect(muchLater.filter((offer, index) => offer.id === before[index]?.id)).toEqual([]);
    expect(muchLater.map((offer) => offer.machineId)).toEqual(before.map((offer) => offer.machineId));
  });

  it('prices the disk that was asked for', async () => {
    const { provider } = await aMarket({}, { clock: new FakeClock() });

    const [usual] = (await provider.listOffers({}, options)).offers;
    const [large] = (await provider.listOffers({ diskGb: 150 }, options)).offers;

    expect(large?.priceMicrosPerHour).toBe((usual?.priceMicrosPerHour ?? 0) + 100 * (usual?.diskMicrosPerGbHour ?? 0));
  });

  it('serves a market of 100,000 offers', async () => {
    const { provider } = await aMarket({ SIMULATED_OFFERS: '100000' });

    const { offers } = await provider.listOffers({}, options);

    expect(new Set(offers.map((offer) => offer.id)).size).toBe(100_000);
  });
});

describe('an instance of the simulated market', () => {
  it('starts, runs, is destroyed, is gone, and holds its offer as long', async () => {
    const { provider } = await aMarket({ SIMULATED_BOOT_SECONDS: '0.2' });
    const request = await aRequest(provider);
    const isListed = async () => (await provider.listOffers({}, options)).offers.some(({ id }) => id === request.offer.id);

    const created = await provider.createInstance(request, options);
    expect(created).toMatchObject({
      state: 'starting',
      tag: request.tag,
      priceMicrosPerHour: request.offer.priceMicrosPerHour,
    });
    expect(await isListed()).toBe(false);
    expect(await kindOf(provider.createInstance(request, options))).toBe('capacity');

    const running = await untilState(provider, created.id, 'running');
    expect(running.ssh).toMatchObject({
      user: 'root',
      routes: [{ host: '127.0.0.1' }],
      hostKey: expect.stringMatching(/^ssh-ed25519 /),
    });
    expect(await provider.listInstances(options)).toEqual([expect.objectContaining({ id: created.id, state: 'running' })]);

    expect(await provider.destroyInstance(created.id, options)).toBe('destroying');
    await untilGone(provider, created.id);
    expect(await provider.getInstance(created.id, options)).toBeUndefined();
    expect(await provider.listInstances(options)).toEqual([]);
    await vi.waitFor(async () => expect(await isListed()).toBe(true), { timeout: 5_000 });
    expect(await provider.destroyInstance(created.id, options)).toBe('gone');
  });

  it('hangs up and stops listening at the destroy', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    const client = await aConnection(instance);
    const hungUp = once(client, 'close');

    await provider.destroyInstance(instance.id, options);

    await hungUp;
    await expect(aConnection(instance)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('refuses a disk, a key or a price that the offer does not have', async () => {
    const { provider } = await aMarket();
    const request = await aRequest(provider);

    expect(await kindOf(provider.createInstance({ ...request, diskGb: 1_000_000 }, options))).toBe('rejected');
    expect(await kindOf(provider.createInstance({ ...request, sshPublicKeys: ['ssh-ed25519 %'] }, options))).toBe('rejected');
    expect(
      await kindOf(provider.createInstance({ ...request, sshPublicKeys: [`${bare(probe)}\n${bare(consumer)}`] }, options)),
    ).toBe('rejected');
    expect(await kindOf(provider.createInstance({ ...request, maxPriceMicrosPerHour: 1 }, options))).toBe('capacity');
    expect(await provider.listInstances(options)).toEqual([]);
  });

  it('takes an offer whose id changed a moment ago, and no older one', async () => {
    const clock = new FakeClock();
    const { provider } = await aMarket({ SIMULATED_BOOT_SECONDS: '9999' }, { clock });
    const { offers } = await provider.listOffers({}, options);
    let now = offers;
    const renamed = () => offers.find((offer, index) => now[index]?.id !== offer.id);

    while (renamed() === undefined) {
      await clock.advance(MINUTE_MS);
      now = (await provider.listOffers({}, options)).offers;
    }
    const offer = renamed() ?? expect.unreachable('just found');
    const request = await aRequest(provider, { offer, maxPriceMicrosPerHour: offer.priceMicrosPerHour * 2 });

    expect(await kindOf(provider.createInstance(request, options))).toBe('no error');
    await clock.advance(6 * MINUTE_MS);
    const other = { ...request, offer: { ...offer, providerOfferId: '5-1' } };
    expect(await kindOf(provider.createInstance(other, options))).toBe('capacity');
  });

  it('RULE-R11: sends nothing past the fence', async () => {
    const { provider } = await aMarket();

    const late = await aRequest(provider, { notAfter: byMonotonic(systemClock.monotonicMs() - 1) });

    expect(await kindOf(provider.createInstance(late, options))).toBe('unavailable');
    expect(await provider.listInstances(options)).toEqual([]);
  });

  it('was not sent when the caller had given up before', async () => {
    const { provider } = await aMarket();

    const outcome = await kindOf(provider.createInstance(await aRequest(provider), { signal: AbortSignal.abort() }));

    expect(outcome).toBe('unavailable');
    expect(await provider.listInstances(options)).toEqual([]);
  });

  it('is ambiguous to a caller who gives up in the middle of the create, and is found in the list by its tag', async () => {
    const clock = new FakeClock();
    const { provider } = await aMarket({ SIMULATED_CREATE_SECONDS: '2' }, { clock });
    const caller = new AbortController();
    const outcome = kindOf(provider.createInstance(await aRequest(provider), { signal: caller.signal }));
    await vi.waitFor(() => expect(clock.sleeping).toBe(2)); // the market's agenda, and the create

    caller.abort();

    expect(await outcome).toBe('ambiguous');
    expect(await provider.listInstances(options)).toEqual([]);
    await clock.advance(1_000);
    expect(await provider.listInstances(options)).toEqual([expect.objectContaining({ tag: tagNumber(1), state: 'starting' })]);
  });
});

describe('many instances', () => {
  it('sleep cheaply: thousands that boot later open no port and cost a line each', async () => {
    const { provider, folder } = await aMarket({ SIMULATED_OFFERS: '3000', SIMULATED_BOOT_SECONDS: '3600' });
    const { offers } = await provider.listOffers({}, options);
    const template = await aRequest(provider);

    await Promise.all(
      offers.map((offer) =>
        provider.createInstance(
          { ...template, offer, diskGb: offer.diskGb, maxPriceMicrosPerHour: 1e9 },
          { signal: new AbortController().signal },
        ),
      ),
    );

    expect(await provider.listInstances(options)).toHaveLength(3_000);
    expect((await provider.listOffers({}, options)).offers).toEqual([]);
    const [name = ''] = readdirSync(folder);
    expect(readFileSync(join(folder, name), 'utf8').trim().split('\n')).toHaveLength(3_001);
  });

  it('boot together', async () => {
    const { provider } = await aMarket({ SIMULATED_BOOT_SECONDS: '0.05' });
    const { offers } = await provider.listOffers({}, options);
    const template = await aRequest(provider);
    for (const offer of offers) await provider.createInstance({ ...template, offer, maxPriceMicrosPerHour: 1e9 }, options);

    await vi.waitFor(
      async () => expect((await provider.listInstances(options)).filter(({ state }) => state === 'running')).toHaveLength(120),
      { timeout: 20_000, interval: 50 },
    );
    const instances = (await provider.listInstances(options)).filter((instance) => instance.state === 'running');
    expect(new Set(instances.map(portOf)).size).toBe(120);
    expect(new Set(instances.map(({ ssh }) => ssh.hostKey)).size).toBe(120);
  });
});
