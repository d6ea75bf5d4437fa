import type { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import { afterEach, describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { instanceId, type InstanceId } from '../../src/provider/ids.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { makeHakuWorld, type HakuWorld, type HakuWorldOptions } from './hakuriver-world.ts';
import { answer, created, createLimitMs, createRequest, destroyed, got, listed, refusal, settled, someOffer } from './steps.ts';

// What happens at a cluster of HakuRiver over time, told by the emulated one: what its rows say, and what really runs.

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const TIMEOUT_MS = 30_000;
const worlds: HakuWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function aWorld(options: Partial<HakuWorldOptions> = {}): Promise<HakuWorld> {
  const world = await makeHakuWorld({ seed: 3, ...options });
  worlds.push(world);
  return world;
}

const consumer = generateSshKeyPair('consumer');
const probe = generateSshKeyPair('probe');
const keys = [consumer.publicKey, probe.publicKey];
/** As the broker does, with a pause between its kills. */
async function untilGone(world: HakuWorld, id: InstanceId): Promise<void> {
  for (let waitedMs = 0; (await destroyed(world, id)) !== 'gone'; waitedMs += 5 * SECOND_MS) {
    if (waitedMs > world.limits.goneMs) throw new Error(`${id} should be gone`);
    await world.advance(5 * SECOND_MS);
  }
}
const living = (world: HakuWorld, tag: string) => world.emulator.livingWithTag(tag);
const stateOf = async (world: HakuWorld, id: InstanceId) => (await got(world, id))?.state;

async function dialled(world: HakuWorld, id: InstanceId): Promise<Duplex> {
  const { dialSsh } = world.provider;
  if (!dialSsh) throw new Error('the adapter dials');
  return answer(world, dialSsh.call(world.provider, id, uncancelled));
}

/** What `whoami` says over a tunnel, or that the key was refused. */
async function login(stream: Duplex, privateKey: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    client
      .on('ready', () =>
        client.exec('whoami', (error, channel) => {
          if (error) return reject(error);
          channel.on('data', (chunk: Buffer) => {
            resolve(chunk.toString().trim());
            client.end();
          });
        }),
      )
      .on('error', () => {
        resolve('refused');
        stream.destroy();
      })
      .connect({ sock: stream, username: 'root', privateKey });
  });
}

describe.each(['P', 'K'] as const)('dialect %s: a session at HakuRiver', (dialect) => {
  it('is entered through tunnels by both keys, once sshd is up, and by no other', { timeout: TIMEOUT_MS }, async () => {
    const world = await aWorld({ dialect, knobs: { sshdDelayMs: 22_000 } });
    const { instance } = await created(world, { sshPublicKeys: keys });
    expect(await stateOf(world, instance.id)).toBe('running'); // which is not ready

    const first = await dialled(world, instance.id); // dials again until sshd speaks

    expect(await login(first, consumer.privateKey)).toBe('root');
    expect(await login(await dialled(world, instance.id), probe.privateKey)).toBe('root');
    expect(await login(await dialled(world, instance.id), generateSshKeyPair().privateKey)).toBe('refused');
  });

  it('is refused a tunnel when it has ended, with a reason', async () => {
    const world = await aWorld({ dialect });
    const { instance } = await created(world);
    await untilGone(world, instance.id);

    const thrown = await refusal(world, Promise.resolve(world.provider.dialSsh?.(instance.id, uncancelled)));

    expect(thrown).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('not active') });
  });

  it('HAKU-9.27: is gone only when nothing of it runs, although the kill is answered at once', async () => {
    const world = await aWorld({ dialect });
    const { instance, request } = await created(world);

    expect(await destroyed(world, instance.id)).toBe('destroying');
    expect(living(world, request.tag)).toEqual([instance.id]);
    await untilGone(world, instance.id);

    expect(living(world, request.tag)).toEqual([]);
  });

  it.each(['never-starts', 'broken-tarball'] as const)(
    'HAKU-9.5, HAKU-9.8: fails at once when the machine cannot start it (%s), and leaves nothing',
    async (outcome) => {
      const world = await aWorld({ dialect });
      world.emulator.injectFault({ kind: 'outcome', outcome, path: '^(/submit|/api/vps/create)$' });
      const request = createRequest(world, await someOffer(world));

      const outcomeOf = await settled(world, world.provider.createInstance(request, uncancelled), {
        limitMs: createLimitMs(world),
      });

      if ('value' in outcomeOf) {
        expect(outcomeOf.value).toMatchObject({ state: 'failed', tag: request.tag });
        await untilGone(world, outcomeOf.value.id);
      } else expect(outcomeOf.thrown).toMatchObject({ kind: 'capacity' });
      await listed(world); // from the first look on a closed row counts down
      await world.advance(MINUTE_MS);
      expect((await listed(world)).filter(({ tag }) => tag === request.tag)).toEqual([]);
      expect(living(world, request.tag)).toEqual([]);
    },
  );

  it('HAKU-9.28: is not killed while its machine starts it after a lost answer, and leaves no orphan', async () => {
    const world = await aWorld({ dialect, withFaults: true, knobs: { runMs: 20 * SECOND_MS } });
    const request = createRequest(world, await someOffer(world));
    const abort = new AbortController();
    const creating = refusal(world, world.provider.createInstance(request, { signal: abort.signal }));
    await world.advance(SECOND_MS);
    abort.abort();
    expect(await creating).toMatchObject({ kind: 'ambiguous' });
    const [row] = (await listed(world)).filter(({ tag }) => tag === request.tag);
    if (row === undefined) throw new Error('what was made is not found by its tag');
    expect(row.state).toBe('starting');

    expect(await destroyed(world, row.id)).toBe('destroying');
    expect(world.emulator.requests().filter(({ path }) => /kill|stop/.test(path))).toEqual([]);
    await untilGone(world, row.id);
    await world.advance(MINUTE_MS);

    expect(living(world, request.tag)).toEqual([]);
  });

  it('HAKU-9.28: is ended by its machine when somebody killed it before it had started', async () => {
    const world = await aWorld({ dialect });
    const request = createRequest(world, await someOffer(world));
    const creating = settled(world, world.provider.createInstance(request, uncancelled), { limitMs: createLimitMs(world) });
    await world.advance(200);
    const [row] = (await listed(world)).filter(({ tag }) => tag === request.tag);
    if (row === undefined) throw new Error('the row is not there yet');
    const path = dialect === 'K' ? `/api/vps/stop/${row.id}` : `/kill/${row.id}`;
    await answer(world, fetch(`${world.emulator.url}${path}`, { method: 'POST' }));
    await creating;
    await world.advance(5 * SECOND_MS);
    expect(living(world, request.tag)).toEqual([row.id]); // the orphan of the contract

    await untilGone(world, row.id);

    expect(living(world, request.tag)).toEqual([]);
  });

  it('HAKU-9.25: is given up by the Host after a gap, and ended by its machine once that can be asked', async () => {
    const world = await aWorld({ dialect });
    const { instance, offer, request } = await created(world);
    await world.advance(5 * SECOND_MS);
    await world.emulator.killRunner(offer.machineId ?? '');
    await world.advance(MINUTE_MS);

    expect(await stateOf(world, instance.id)).toBe(dialect === 'K' ? 'starting' : 'failed');
    expect(await destroyed(world, instance.id)).toBe('destroying');
    await world.advance(5 * MINUTE_MS);
    expect(await destroyed(world, instance.id)).toBe('destroying');
    expect(living(world, request.tag)).toEqual([instance.id]);
    expect(world.log.messages('warn')).toContain(
      'container that its host has given up cannot be ended from here; remove it on its machine',
    );

    await world.emulator.returnRunner(offer.machineId ?? '');
    await world.advance(MINUTE_MS);
    await untilGone(world, instance.id);

    expect(living(world, request.tag)).toEqual([]);
  });

  it('HAKU-9.33: is not entered by the port of another one that has taken its own', async () => {
    const world = await aWorld({ dialect });
    const { instance, request } = await created(world);
    const other = await created(world);
    await world.advance(5 * SECOND_MS);
    world.emulator.stopContainer(instance.id);
    await world.emulator.takePort(instance.id, other.instance.id);

    expect(await stateOf(world, instance.id)).toBe('running'); // as the Host tells; the host key tells otherwise
    await untilGone(world, instance.id);

    expect(living(world, request.tag)).toEqual([]);
    expect(living(world, other.request.tag)).toEqual([other.instance.id]);
  });

  it('is refused for good as what it is, and nothing is made', async () => {
    const world = await aWorld({ dialect, withFaults: true });
    const offer = await someOffer(world);
    for (const fault of ['capacity', 'rate_limited', 'auth'] as const) {
      const request = createRequest(world, offer);
      world.controls.fault?.('CreateInstance', fault);
      const thrown = await refusal(world, world.provider.createInstance(request, uncancelled), createLimitMs(world));
      world.controls.heal?.();

      expect(thrown).toMatchObject({ kind: fault });
      expect((await listed(world)).filter(({ tag }) => tag === request.tag)).toEqual([]);
    }
  });
});

it('HAKU-9.1: a VPS whose start outlasts the Host’s patience runs without a port, fails, and is ended', async () => {
  const world = await aWorld({ dialect: 'P', knobs: { slowShare: 1 } });
  const { instance, request } = await created(world);
  expect(instance.state).toBe('starting');

  await world.advance(10 * SECOND_MS);
  expect(await stateOf(world, instance.id)).toBe('starting');
  await world.advance(30 * SECOND_MS);
  expect(await stateOf(world, instance.id)).toBe('failed');
  await untilGone(world, instance.id);

  expect(living(world, request.tag)).toEqual([]);
});

it('the seed’s Host waits for a slow machine, and so do we', async () => {
  const world = await aWorld({ dialect: 'S', knobs: { slowShare: 1, slowMs: 4 * MINUTE_MS } });

  const { instance } = await created(world);

  expect(instance).toMatchObject({ state: 'running', ssh: { routes: 'dial' } });
});

it('HakuRiver 0.4.0 gives no tag back: nothing is offered nor made, and the check says why', async () => {
  const world = await aWorld({ dialect: 'H' });

  expect((await answer(world, world.provider.listOffers({}, uncancelled))).offers).toEqual([]);
  expect(await refusal(world, world.provider.check(uncancelled))).toMatchObject({
    kind: 'rejected',
    message: expect.stringContaining('neither the keys nor the name'),
  });
});

it('a KohakuRiver with users is told the token, and one that is not good enough is auth', async () => {
  const world = await aWorld({ dialect: 'K', auth: true });
  await answer(world, world.provider.check(uncancelled));
  const { instance } = await created(world);
  await untilGone(world, instance.id);
  const without = await aWorld({ dialect: 'K', auth: true, environment: { HAKURIVER_TOKEN: '' } });

  expect(await refusal(without, without.provider.check(uncancelled))).toMatchObject({ kind: 'auth' });
});

it('two at once get GPUs of their own', async () => {
  const world = await aWorld({ dialect: 'P' });
  const { offers } = await answer(world, world.provider.listOffers({}, uncancelled));
  const offer = offers.find(({ gpuCount, units }) => gpuCount === 1 && units >= 2);
  if (offer === undefined) throw new Error('no machine has two GPUs');
  const create = (overrides: Partial<CreateRequest> = {}) => created(world, { offer, ...overrides });

  await Promise.all([create(), create()]);

  const given = world.emulator.ledger().flatMap(({ gpus }) => gpus);
  expect(given.toSorted((a, b) => a - b)).toEqual([0, 1]);
  expect(
    (await answer(world, world.provider.listOffers({}, uncancelled))).offers.filter(
      (each) => each.machineId === offer.machineId && each.gpuCount > 0,
    ),
  ).toHaveLength(0);
});

it('a broker that starts again knows its VPS by their keys alone', async () => {
  const world = await aWorld({ dialect: 'P' });
  const { instance, request } = await created(world);
  const stranger = await world.emulator.plant({ tag: 'somebody' });
  const again = await world.restarted();

  const seen = await answer(world, again.listInstances(uncancelled));

  expect(new Map(seen.map(({ id, tag }) => [id, tag]))).toEqual(
    new Map([
      [instance.id, request.tag],
      [instanceId(stranger), undefined],
    ]),
  );
});
