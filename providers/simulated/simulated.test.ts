import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, appendFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import type { Clock } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import type { SshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { systemRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { InstanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { handOffCommand, parseHandOffAnswer, parseSample } from '../../src/provider/key-hand-off.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ownershipTag, parseDeploymentId } from '../../src/provider/ownership-tag.ts';
import type { CreateRequest, Provider } from '../../src/provider/provider.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { describePart } from '../../test/support/parts.ts';
import { connect, exec, shell } from './fixtures/ssh-client.ts';
import { simulated } from './index.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const never = new AbortController().signal;
const options = { signal: never };
const consumer = generateSshKeyPair('consumer');
const probe = generateSshKeyPair('probe');
const bare = ({ publicKey }: SshKeyPair) => publicKey.split(' ').slice(0, 2).join(' ');

function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-simulated-'));
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface MarketOptions {
  readonly folder?: string;
  readonly clock?: Clock;
  readonly log?: ReturnType<typeof recordingLog>;
}

async function aMarket(
  variables: Record<string, string> = {},
  { folder = aFolder(), clock = systemClock, log = recordingLog() }: MarketOptions = {},
) {
  // an offer a host: those that take bids stand in interruptible.test.ts
  const quick = {
    SIMULATED_INTERRUPTIBLE: '0',
    SIMULATED_CREATE_SECONDS: '0',
    SIMULATED_BOOT_SECONDS: '0.02',
    SIMULATED_DESTROY_SECONDS: '0.05',
  };
  const environment = simulated.environment.parse({ ...quick, ...variables });
  const machinePool = undefined as never; // the simulated market owns no machines
  const provider = await simulated.create(environment, { clock, random: systemRandom, log, dataFolder: folder, machinePool });
  let isOpen = true;
  const close = async () => {
    if (isOpen) await provider.close?.();
    isOpen = false;
  };
  cleanUps.push(close);
  return { provider, close, folder, log };
}

const deployment = parseDeploymentId('test1') ?? expect.unreachable('a good deployment id');
const tagNumber = (ordinal: number) => ownershipTag({ deployment, sessionId: 'ses_01hzzzzzzzzzzzzzzzzzzzzzzz', ordinal });

async function aRequest(provider: Provider, changes: Partial<CreateRequest> = {}): Promise<CreateRequest> {
  const offer = changes.offer ?? (await anOffer(provider));
  return {
    tag: tagNumber(1),
    offer,
    sshPublicKeys: [consumer.publicKey, probe.publicKey],
    diskGb: offer.diskGb,
    environment: { BERTH_TAG: tagNumber(1), GREETING: 'hello there' },
    maxPriceMicrosPerHour: offer.priceMicrosPerHour,
    notAfterMonotonicMs: Number.MAX_SAFE_INTEGER,
    ...changes,
  };
}

async function anOffer(provider: Provider, isWanted: (offer: Offer) => boolean = () => true): Promise<Offer> {
  const { offers } = await provider.listOffers({}, options);
  return offers.find(isWanted) ?? expect.unreachable('no such offer');
}

async function untilState<State extends Instance['state']>(provider: Provider, id: InstanceId, state: State) {
  let seen: Instance | undefined;
  await vi.waitFor(async () => expect((seen = await provider.getInstance(id, options))?.state).toBe(state), {
    timeout: 10_000,
    interval: 10,
  });
  return seen as Extract<Instance, { state: State }>; // the wait has just proven it
}

async function untilGone(provider: Provider, id: InstanceId) {
  await vi.waitFor(async () => expect(await provider.destroyInstance(id, options)).toBe('gone'), {
    timeout: 10_000,
    interval: 10,
  });
}

async function aRunningInstance(provider: Provider, changes: Partial<CreateRequest> = {}) {
  const created = await provider.createInstance(await aRequest(provider, changes), options);
  return untilState(provider, created.id, 'running');
}

function portOf({ ssh }: Extract<Instance, { state: 'running' }>): number {
  const [route] = ssh.routes === 'dial' ? [] : ssh.routes;
  return route?.port ?? expect.unreachable('no route');
}

async function aConnection(instance: Extract<Instance, { state: 'running' }>, key = consumer, username = 'root') {
  const client = await connect({ port: portOf(instance), key, username, hostKey: instance.ssh.hostKey ?? '' });
  cleanUps.push(() => client.end());
  return client;
}

const kindOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof Error && 'kind' in error ? error.kind : error),
  );

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

    const late = await aRequest(provider, { notAfterMonotonicMs: systemClock.monotonicMs() - 1 });

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

describe('the SSH server of a simulated instance', () => {
  it('lets in the keys of the session and nobody else, as root only', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    for (const key of [consumer, probe])
      expect(await exec(await aConnection(instance, key), 'whoami')).toMatchObject({ code: 0, stdout: 'root\n' });
    await expect(aConnection(instance, generateSshKeyPair())).rejects.toMatchObject({ level: 'client-authentication' });
    await expect(aConnection(instance, consumer, 'ubuntu')).rejects.toMatchObject({ level: 'client-authentication' });
  });

  it('says in its banner that it is simulated', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    const client = await aConnection(instance);

    expect(client.banner).toContain('simulated by Berth');
  });

  it.each([
    ['echo ok', 'ok\n'],
    ['echo "two  words" and \'one $HOME\' # no more', 'two  words and one $HOME\n'],
    ['echo $GREETING ${BERTH_TAG}', `hello there ${tagNumber(1)}\n`],
    ['hostname', `${tagNumber(1)}\n`],
    ['whoami', 'root\n'],
    ['id -u', '0\n'],
    ['pwd', '/root\n'],
    ['ls', 'README\n'],
    ['uname', 'Linux\n'],
    ['printenv GREETING', 'hello there\n'],
    ['false || echo other; true && echo more', 'other\nmore\n'],
    ['sleep 0.01 && echo awake', 'awake\n'],
    ['cat /etc/hostname 2>/dev/null', `${tagNumber(1)}\n`],
  ])('answers %s', async (command, stdout) => {
    const { provider } = await aMarket();
    const client = await aConnection(await aRunningInstance(provider));

    expect(await exec(client, command)).toEqual({ code: 0, stdout, stderr: '' });
  });

  it('shows cores, memory, environment, keys and a text about itself', async () => {
    const { provider } = await aMarket();
    const offer = await anOffer(provider);
    const client = await aConnection(await aRunningInstance(provider, { offer }));
    const outputOf = async (command: string) => (await exec(client, command)).stdout;

    expect(await outputOf('nproc')).toBe(`${offer.cpuCores}\n`);
    expect(await outputOf('free -m')).toContain(` ${offer.memoryMib} `);
    expect(await outputOf('env')).toContain(`BERTH_TAG=${tagNumber(1)}\n`);
    expect(await outputOf('cat ~/.ssh/authorized_keys')).toBe(`${consumer.publicKey}\n${probe.publicKey}\n`);
    expect(await outputOf('cat README')).toContain('simulated by Berth');
    expect(Math.abs(Number(await outputOf('date +%s')) * 1_000 - systemClock.now())).toBeLessThan(60_000);
  });

  it('refuses the rest politely', async () => {
    const { provider } = await aMarket();
    const client = await aConnection(await aRunningInstance(provider));

    for (const command of [
      'python train.py',
      'echo $(id)',
      'cat README | head',
      "sh -c 'id'",
      'echo x > file',
      'constructor',
    ]) {
      const { code, stdout, stderr } = await exec(client, command);
      expect({ code, stdout }).toEqual({ code: 127, stdout: '' });
      expect(stderr).toMatch(/^simulated machine: .*: not available \(this GPU is simulated by Berth\)\n$/);
    }
    expect(await exec(client, 'exit 7')).toMatchObject({ code: 7 });
    expect(await exec(client, 'false')).toMatchObject({ code: 1 });
  });

  it('forgets a command whose client hangs up', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    const client = await aConnection(instance);
    const burning = exec(client, 'gpu-burn 600').catch(() => undefined);
    const gpuPercent = async () => (await untilState(provider, instance.id, 'running')).utilisation?.gpuPercent;
    await vi.waitFor(async () => expect(await gpuPercent()).toBeGreaterThan(90));

    client.destroy();

    await vi.waitFor(async () => expect(await gpuPercent()).toBeLessThan(5), { timeout: 5_000 });
    await burning;
  });

  it('keeps burning with nobody logged in when told to', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    expect(await exec(await aConnection(instance), 'gpu-burn 600 &')).toMatchObject({ code: 0 });

    const { utilisation } = await untilState(provider, instance.id, 'running');
    expect(utilisation?.gpuPercent).toBeGreaterThan(90);
    expect(Math.abs((utilisation?.sampledAt ?? 0) - systemClock.now())).toBeLessThan(60_000);
  });
});

describe('nvidia-smi on a simulated instance', () => {
  it('shows the GPU that was sold, as often as it was sold', async () => {
    const { provider } = await aMarket();
    const offer = await anOffer(provider, ({ gpuType, gpuCount }) => gpuType === 'H100 SXM' && gpuCount > 1);
    const client = await aConnection(await aRunningInstance(provider, { offer }));
    const smi = (args: string) => exec(client, `nvidia-smi ${args}`);
    const lines = Array.from({ length: offer.gpuCount });

    const plain = await smi('--query-gpu=name,memory.total,driver_version --format=csv,noheader');
    expect(plain.stdout).toBe(lines.map(() => 'NVIDIA H100 80GB HBM3, 81559 MiB, 570.133.20\n').join(''));
    const numbers = await smi('--query-gpu=index,memory.total,count --format=csv,noheader,nounits');
    expect(numbers.stdout).toBe(lines.map((_, index) => `${index}, 81559, ${offer.gpuCount}\n`).join(''));
    const headed = await smi('--query-gpu=name,memory.used,utilization.gpu,temperature.gpu,power.draw --format=csv -i 0');
    expect(headed.stdout).toMatch(
      /^name, memory\.used \[MiB\], utilization\.gpu \[%\], temperature\.gpu, power\.draw \[W\]\nNVIDIA H100 80GB HBM3, 1 MiB, [0-2] %, \d+, \d+\.\d\d W\n$/,
    );
    const list = await smi('-L');
    expect(list.stdout.split('\n').slice(0, 2)).toEqual([
      expect.stringMatching(/^GPU 0: NVIDIA H100 80GB HBM3 \(UUID: GPU-[0-9a-f-]{36}\)$/),
      expect.stringMatching(/^GPU 1: /),
    ]);
    const { stdout: uuids } = await smi('--query-gpu=uuid --format=csv,noheader');
    expect(
      uuids
        .trim()
        .split('\n')
        .every((uuid) => list.stdout.includes(uuid)),
    ).toBe(true);
    const table = await smi('');
    expect(table).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/NVIDIA-SMI 570\.133\.20[^]*NVIDIA H100 80GB HBM3[^]*Simulated by Berth/),
    });
    expect(
      new Set(
        table.stdout
          .trim()
          .split('\n')
          .map((line) => line.length),
      ),
    ).toEqual(new Set([91]));
  });

  it('complains about what it does not know', async () => {
    const { provider } = await aMarket();
    const client = await aConnection(await aRunningInstance(provider));

    expect(await exec(client, 'nvidia-smi --query-gpu=name,colour --format=csv')).toMatchObject({
      code: 2,
      stdout: 'Field "colour" is not a valid field to query.\n',
    });
    expect((await exec(client, 'nvidia-smi --reset')).code).not.toBe(0);
  });

  it('is not there on a host without a GPU', async () => {
    const { provider } = await aMarket();
    const offer = await anOffer(provider, ({ gpuType }) => gpuType === 'CPU');
    const instance = await aRunningInstance(provider, { offer });

    const { code, stderr } = await exec(await aConnection(instance), 'nvidia-smi');

    expect(code).toBe(127);
    expect(stderr).toContain('command not found');
    expect(instance.utilisation).not.toHaveProperty('gpuPercent');
  });
});

describe('the shell of a simulated instance', () => {
  it('prompts, echoes, edits and ends, on a terminal', async () => {
    const { provider } = await aMarket();
    const terminal = await shell(await aConnection(await aRunningInstance(provider)), { hasTerminal: true });
    await terminal.until('# ');

    terminal.type('echo hallp\x7fo\x1b[A\r');
    await terminal.until('hallo\r\nroot@simulated:~# ');
    terminal.type('sleep 600\r');
    await terminal.until('sleep 600\r\n');
    terminal.type('\x03');
    await terminal.until('^C\r\nroot@simulated:~# ');
    terminal.type('echo $?\r');
    await terminal.until('130\r\n');
    terminal.type('false\r\x04');

    expect(await terminal.ended).toBe(1);
    expect(terminal.output()).toContain('logout');
  });

  it('reads lines without a terminal, with neither prompt nor echo', async () => {
    const { provider } = await aMarket();
    const input = await shell(await aConnection(await aRunningInstance(provider)), { hasTerminal: false });

    input.finish('echo one\nexit 3\necho never\n');

    expect(await input.ended).toBe(3);
    expect(input.output()).toBe('one\n');
  });
});

describe('the hand-off on a simulated instance', () => {
  const restrict = handOffCommand({
    consumerKey: bare(consumer),
    probeKey: bare(probe),
    probeAfter: { kind: 'restrict', tag: tagNumber(1) },
  });

  it('leaves the probe key a sample and nothing else', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);

    const { stdout } = await exec(await aConnection(instance, probe), restrict);
    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'present', probe: 'restricted', probeWasListed: true });

    const restricted = await aConnection(instance, probe);
    await aConnection(instance, consumer);
    for (const command of ['whoami', 'cat README', restrict]) {
      const sample = await exec(restricted, command);
      expect(parseSample(sample.stdout)).toEqual({
        gpuPercent: expect.any(Number),
        cpuPercent: expect.any(Number),
        sshConnections: 2,
      });
      expect(sample.stdout.trim().split('\n')).toHaveLength(1);
    }
    await expect(shell(restricted, { hasTerminal: true })).rejects.toThrow();
    expect(await exec(await aConnection(instance, consumer), 'whoami')).toMatchObject({ stdout: 'root\n' });
  });

  it("removes the probe key and adds the consumer's when it was missing", async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider, { sshPublicKeys: [probe.publicKey] });
    await expect(aConnection(instance, consumer)).rejects.toMatchObject({ level: 'client-authentication' });

    const remove = handOffCommand({ consumerKey: bare(consumer), probeKey: bare(probe), probeAfter: { kind: 'remove' } });
    const { stdout } = await exec(await aConnection(instance, probe), remove);

    expect(parseHandOffAnswer(stdout)).toEqual({ consumer: 'added', probe: 'removed', probeWasListed: true });
    await expect(aConnection(instance, probe)).rejects.toMatchObject({ level: 'client-authentication' });
    expect((await exec(await aConnection(instance, consumer), 'cat .ssh/authorized_keys')).stdout).toBe(`${bare(consumer)}\n`);
  });

  it('samples the load', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    await exec(await aConnection(instance, probe), restrict);
    await exec(await aConnection(instance, consumer), 'gpu-burn 600 &');

    const { stdout } = await exec(await aConnection(instance, probe), 'anything');

    expect(parseSample(stdout)?.gpuPercent).toBeGreaterThan(90);
  });
});

describe('a restart of the simulated market', () => {
  it('brings instances back on their ports with their host keys and authorized keys', async () => {
    const { provider, folder, close } = await aMarket();
    const before = await aRunningInstance(provider);
    const remove = handOffCommand({ consumerKey: bare(consumer), probeKey: bare(probe), probeAfter: { kind: 'remove' } });
    await exec(await aConnection(before, probe), remove);
    await close();
    await expect(aConnection(before)).rejects.toMatchObject({ code: 'ECONNREFUSED' });

    const { provider: restarted } = await aMarket({}, { folder });

    const after = await restarted.getInstance(before.id, options);
    expect(after).toMatchObject({ state: 'running', ssh: before.ssh, tag: before.tag, createdAt: before.createdAt });
    expect(await exec(await aConnection(before, consumer), 'echo back')).toMatchObject({ stdout: 'back\n' });
    await expect(aConnection(before, probe)).rejects.toMatchObject({ level: 'client-authentication' });
    const { offers } = await restarted.listOffers({}, options);
    expect(offers).toHaveLength(119);
  });

  it('lets boots and destroys go on while nobody watches', async () => {
    const clock = new FakeClock();
    const slow = { SIMULATED_BOOT_SECONDS: '60', SIMULATED_DESTROY_SECONDS: '60' };
    const { provider, folder, close } = await aMarket(slow, { clock });
    const [first, second] = (await provider.listOffers({}, options)).offers;
    const booting = await provider.createInstance(await aRequest(provider, first && { offer: first }), options);
    const going = await provider.createInstance(
      await aRequest(provider, second && { offer: second, tag: tagNumber(2) }),
      options,
    );
    await provider.destroyInstance(going.id, options);
    await close();

    await clock.advance(MINUTE_MS);
    const { provider: restarted } = await aMarket(slow, { folder, clock });

    expect(await restarted.getInstance(going.id, options)).toBeUndefined();
    const [name = ''] = readdirSync(folder);
    expect(readFileSync(join(folder, name), 'utf8')).not.toContain(going.id);
    await untilState(restarted, booting.id, 'running');
  });

  it('fails an instance whose port was taken meanwhile, and never moves it to another', async () => {
    const { provider, folder, close } = await aMarket();
    const instance = await aRunningInstance(provider);
    await close();
    const squatter = createServer().listen(portOf(instance), '127.0.0.1');
    await once(squatter, 'listening');
    cleanUps.push(() => new Promise((resolve) => squatter.close(resolve)));

    const { provider: restarted } = await aMarket({}, { folder });

    expect(await restarted.getInstance(instance.id, options)).toMatchObject({
      state: 'failed',
      reason: `its SSH server cannot come back on port ${portOf(instance)} of 127.0.0.1: another program has taken it`,
    });
  });

  it('fails an instance that finds no free port, and serves the others', async () => {
    const { provider, folder, close } = await aMarket();
    const port = portOf(await aRunningInstance(provider));
    await close();

    const { provider: narrow } = await aMarket({ SIMULATED_PORTS: `${port}-${port}` }, { folder });
    const second = await narrow.createInstance(await aRequest(narrow), options);

    expect(await untilState(narrow, second.id, 'failed')).toMatchObject({
      reason: `no port of SIMULATED_PORTS=${port}-${port} is free for its SSH server`,
    });
    expect(await narrow.listInstances(options)).toHaveLength(2);
  });

  it('overlooks a line that a kill cut in half, and keeps the file small and private', async () => {
    const { provider, folder, close } = await aMarket();
    const kept = await aRunningInstance(provider);
    const gone = await provider.createInstance(await aRequest(provider, { tag: tagNumber(2) }), options);
    await provider.destroyInstance(gone.id, options);
    await untilGone(provider, gone.id);
    await close();
    const [name = ''] = readdirSync(folder);
    appendFileSync(join(folder, name), '{"op":"create","record":{"id":"sim-');

    const { provider: restarted, log } = await aMarket({}, { folder });

    expect((await restarted.listInstances(options)).map(({ id }) => id)).toEqual([kept.id]);
    expect(log.messages('warn')).toContain('line of the simulated market left out: it cannot be read');
    expect(readFileSync(join(folder, name), 'utf8').trim().split('\n')).toHaveLength(2);
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  it('never gives an id twice', async () => {
    const { provider, folder, close } = await aMarket();
    const first = await provider.createInstance(await aRequest(provider), options);
    await provider.destroyInstance(first.id, options);
    await untilGone(provider, first.id);
    await close();

    const { provider: restarted } = await aMarket({}, { folder });
    const second = await restarted.createInstance(await aRequest(restarted), options);

    expect(second.id).not.toBe(first.id);
    expect(second.id).toMatch(/^sim-2-/);
  });

  it('loses nothing that was answered when the process is killed', { timeout: 60_000 }, async () => {
    const folder = aFolder();
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', join(import.meta.dirname, 'fixtures/market-process.ts'), folder, bare(consumer)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exited = once(child, 'exit');
    cleanUps.push(() => child.kill('SIGKILL'));
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const before = JSON.parse(line.toString()) as { id: string; ssh: unknown };

    child.kill('SIGKILL');
    await exited;
    const { provider } = await aMarket({}, { folder });

    const after = await untilState(provider, instanceId(before.id), 'running');
    expect(after.ssh).toEqual(before.ssh);
    expect(await exec(await aConnection(after), 'hostname')).toMatchObject({ code: 0 });
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

describePart('sshd', 'the stock ssh client', () => {
  it('logs in, runs a command and sees the banner', async () => {
    const { provider } = await aMarket();
    const instance = await aRunningInstance(provider);
    const folder = aFolder();
    const file = (name: string, content: string) => {
      writeFileSync(join(folder, name), content, { mode: 0o600 });
      return join(folder, name);
    };
    const settings = [
      ['Port', String(portOf(instance))],
      ['IdentityFile', file('key', consumer.privateKey)],
      ['IdentitiesOnly', 'yes'],
      ['StrictHostKeyChecking', 'yes'],
      ['UserKnownHostsFile', file('known_hosts', `[127.0.0.1]:${portOf(instance)} ${instance.ssh.hostKey}\n`)],
    ];
    const args = ['-F', '/dev/null', ...settings.flatMap(([name, value]) => ['-o', `${name}=${value}`]), 'root@127.0.0.1'];

    const once_ = await promisify(execFile)('ssh', [...args, 'nvidia-smi', '-L']);
    const typed = promisify(execFile)('ssh', ['-tt', ...args]);
    typed.child.stdin?.write('hostname\rexit\r');

    expect(once_.stdout).toContain('GPU 0: NVIDIA');
    expect(once_.stderr).toContain('This machine is simulated by Berth');
    expect((await typed).stdout).toContain(tagNumber(1));
  });
});
