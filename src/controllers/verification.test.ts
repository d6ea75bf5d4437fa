import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { recordingLog } from '../../test/support/log.ts';
import {
  gpuMismatch,
  handOffWithoutAnswer,
  HOST_KEY,
  notYet,
  proves,
  silence,
  wrongHost,
} from '../../test/support/scripted-ssh.ts';
import { withSshServer } from '../../test/support/ssh-server.ts';
import { CONSUMER_KEY, describeWorld } from '../../test/support/world.ts';
import { systemClock } from '../core/clock.ts';
import { MINUTE_MS } from '../core/duration.ts';
import { generateSshKeyPair } from '../core/openssh-key-pair.ts';
import { ProviderError } from '../provider/provider-error.ts';
import { instanceId, offerId } from '../provider/ids.ts';
import { createSampler } from '../ssh/sampler.ts';
import { createSshVerifier } from '../ssh/verifier.ts';

describeWorld('verification', (make) => {
  it('goes from booting through connecting and driver to running, and hands out the pinned host key', async () => {
    const world = await make();
    world.ssh.script(notYet(), notYet('auth_failed'), notYet('gpu_not_ready'), notYet('gpu_not_ready'), proves);
    const { id } = await world.order();
    const phases: string[] = [];
    world.replica.changes.on(id, ({ session }) => void (phases.at(-1) === session.phase || phases.push(session.phase)));

    const { session, attempts } = await world.runUntil(id, 'running');

    expect(phases.filter((phase) => phase !== 'queued')).toEqual(['creating', 'booting', 'connecting', 'driver', 'running']);
    expect(session).toMatchObject({ sshHost: '127.0.0.1', sshPort: 20_001, sshUser: 'root', sshHostKey: HOST_KEY });
    expect(attempts[0]?.hostKey).toBe(HOST_KEY);
    expect(world.replica.counts).toMatchObject({ knocksFailed: 4, proofs: 1 });
  });

  it('asks for the offer’s GPUs and brings both keys', async () => {
    const world = await make();
    const { id } = await world.order();
    await world.runUntil(id, 'running');

    const { probePublicKey } = await world.attempt(id);
    expect(world.ssh.knocks[0]).toMatchObject({
      consumerPublicKey: CONSUMER_KEY,
      gpu: { count: 1, type: 'RTX 4090', vramMib: 24_564 },
      probeAfter: { kind: 'remove' },
      probe: { publicKey: probePublicKey },
    });
  });

  it('waits out a slow boot, slower and slower, up to its deadline', async () => {
    const world = await make({ providers: [{ settings: { bootMs: 9 * MINUTE_MS } }] });
    const { id } = await world.order();

    await world.runUntil(id, 'running', 10 * MINUTE_MS);

    expect(world.account().calls('GetInstanceStatus')).toBeLessThan(120);
  });

  it('REL-A16: a boot that is stuck fails at the deadline, and the instance is destroyed, not merely given up', async () => {
    const world = await make({ providers: [{ settings: { bootMs: Number.POSITIVE_INFINITY } }] });
    const { id } = await world.order();

    const { session } = await world.runUntil(id, 'failed', 11 * MINUTE_MS);

    expect(session).toMatchObject({ reason: 'ssh_verify_timeout' });
    expect(session.error).toContain('SSH verification timeout');
    expect((session.stopRequestedAt ?? 0) - session.createdAt).toBeLessThan(10 * MINUTE_MS + 2_000);
    expect(world.account().living()).toEqual([]);
  });

  it('PEER-11.2.12: a time-out that the request asked for is the time-out, above ten minutes as well', async () => {
    const world = await make({ providers: [{ settings: { bootMs: 20 * MINUTE_MS } }] });
    const { id } = await world.order({ request: { sshTimeoutMinutes: 25 } });

    await world.runUntil(id, 'running', 22 * MINUTE_MS);
  });

  it('connecting shares the deadline of booting, the driver has one of its own', async () => {
    const world = await make();
    world.ssh.script(notYet('auth_failed'));
    const first = await world.order();
    const { session: ended } = await world.runUntil(first.id, 'failed', 11 * MINUTE_MS);
    expect(ended).toMatchObject({ reason: 'ssh_verify_timeout' });
    expect(ended.error).toContain('no SSH login succeeded');

    world.ssh.script(notYet('gpu_not_ready'));
    const second = await world.order({ request: { offerId: offerId('memory-stock-t4') } });
    const { session } = await world.runUntil(second.id, 'failed', 6 * MINUTE_MS);
    expect(session).toMatchObject({ reason: 'gpu_driver_timeout' });
    expect(session.error).toContain('within 5 minutes');
  });

  it('PEER-11.2.13: a peer that accepts and stays silent does not outlive the wish to end', async () => {
    const world = await make();
    world.ssh.script(silence);
    const { id } = await world.order();
    await world.run({ withinMs: 10_000 });
    expect(world.ssh.knocks).toHaveLength(1);

    await world.stop(id);
    await world.runUntil(id, 'stopped', 5_000);
    await world.run({ withinMs: MINUTE_MS });

    expect(world.ssh.knocks).toHaveLength(1);
    expect(world.log.messages('error')).toEqual([]);
  });

  it.each([
    ['another host', wrongHost, 'wrong_host'],
    ['other GPUs', gpuMismatch, 'gpu_mismatch'],
  ] as const)('%s ends the attempt at once, for good', async (_name, scene, reason) => {
    const world = await make();
    world.ssh.script(scene);
    const { id } = await world.order();

    const { session } = await world.runUntil(id, 'failed', 30_000);

    expect(session.reason).toBe(reason);
    expect(world.account().living()).toEqual([]);
  });

  it('with retries, a bad machine is destroyed and the next offer of its kind is tried, never the same machine', async () => {
    const offers = [
      anOffer({ providerOfferId: 'ask-1', machineId: 'm-1' }),
      anOffer({ providerOfferId: 'ask-2', machineId: 'm-1', priceMicrosPerHour: 341_000 }),
      anOffer({ providerOfferId: 'ask-3', machineId: 'm-3', priceMicrosPerHour: 342_000 }),
    ];
    const world = await make({ providers: [{ offers }] });
    world.ssh.script(gpuMismatch, proves);
    const { id } = await world.order({ request: { autoRetry: true } });

    const { session, attempts } = await world.runUntil(id, 'running');

    expect(attempts.map(({ offerId: tried, outcome }) => [tried, outcome])).toEqual([
      ['memory-ask-1', 'gpu_mismatch'],
      ['memory-ask-3', null],
    ]);
    expect(session.sshPublicKey).toBe(CONSUMER_KEY); // PEER-11.2.6: the consumer's key stays the consumer's
    await world.run({ withinMs: 30_000 });
    expect(world.account().living()).toHaveLength(1);
    expect([...(await world.replica.offers.takenUnits())]).toEqual([['memory-ask-3', 1]]);
    expect(session.id).toBe(id);
    expect(await world.replica.offers.failuresSince(0)).toMatchObject([
      { kind: 'gpu_mismatch', machineId: 'm-1', offerId: 'memory-ask-1', sessionId: id },
    ]);
  });

  it('a crash between the hand-off and its answer: the next life knows the host and that the probe key may be gone', async () => {
    const world = await make();
    world.ssh.script(handOffWithoutAnswer);
    const { id } = await world.order();
    await world.run({ until: () => world.ssh.knocks.length === 1, withinMs: 10_000 });
    await world.settle();
    expect(await world.attempt(id)).toMatchObject({ state: 'live', hostKey: HOST_KEY, runningAt: null });

    world.ssh.script(proves);
    await world.crash();
    await world.runUntil(id, 'running');

    expect(world.ssh.knocks.at(-1)).toMatchObject({ pinnedHostKey: HOST_KEY, handOffBegun: true });
    expect(world.account().calls('CreateInstance')).toBe(1);
  });

  it('PEER-11.2.15: a time-out by an old record ends no session that another replica has proven', async () => {
    const world = await make();
    world.ssh.script(notYet('auth_failed'));
    const { id } = await world.order();
    await world.run({ withinMs: 10_000 });
    for (const call of ['GetInstanceStatus', 'ListAllInstances'] as const)
      world.account().failAlways(call, { do: 'fail', kind: 'unavailable' }); // nothing tells the first one of the change
    const other = await world.join();
    const proof = { user: 'root', hostKey: HOST_KEY, host: '127.0.0.1', port: 20_001, details: {} };
    await other.writer.apply(id, { kind: 'proven', ordinal: 1, proof });

    await world.run({ withinMs: 20 * MINUTE_MS });

    expect((await world.record(id)).session.status).toBe('running');
  });

  it('the driver’s stop alone ends it, and nothing is left waiting', async () => {
    const world = await make();
    world.ssh.script(silence);
    await world.order();
    await world.run({ withinMs: 10_000 });

    await world.replica.driver.stop();

    expect(world.replica.pools.reduce((sum, pool) => sum + pool.inFlight, 0)).toBe(0);
  });

  it('attaches the consumer’s key at once, the probe key only when logins are refused, and takes the probe key back', async () => {
    const world = await make({ providers: [{ capabilities: { sshKeysAtCreate: 'none' } }] });
    const asked: (readonly string[])[] = [];
    const removed: (readonly string[])[] = [];
    const { provider } = world.markets.get('memory')!;
    Object.assign(provider, {
      ensureSshKeys: (_id: unknown, keys: readonly string[]) => {
        asked.push(keys);
        const kind = 'unavailable';
        if (asked.length === 1)
          return Promise.reject(
            new ProviderError({ kind, provider: provider.id, operation: 'AttachSSHKey', message: 'later' }),
          );
        return Promise.resolve();
      },
      removeSshKeys: (_id: unknown, keys: readonly string[]) => Promise.resolve(void removed.push(keys)),
    });
    await world.crash(); // a process that sees the ability
    world.ssh.script(...Array.from({ length: 8 }, () => notYet('auth_failed')), proves);
    const { id } = await world.order({ request: { offerId: offerId('memory-stock-t4') } });

    await world.runUntil(id, 'running');

    const { probePublicKey } = await world.attempt(id);
    expect(asked).toEqual([[CONSUMER_KEY], [CONSUMER_KEY, probePublicKey]]);
    expect(removed).toEqual([[probePublicKey]]);
  });
});

describe('verification over real SSH', () => {
  describeWorld('', (make) => {
    it('proves a real server, hands the keys over and pins its host key', async () => {
      const consumer = generateSshKeyPair();
      await withSshServer({}, async (server) => {
        const log = recordingLog();
        const world = await make({
          providers: [{ offers: [anOffer({ gpuType: 'CPU', gpuCount: 0, vramMib: 0 })] }],
          ssh: {
            verifier: createSshVerifier({ clock: systemClock, log }),
            sampler: createSampler({ clock: systemClock }),
          },
        });
        const { id } = await world.order({ sshPublicKey: consumer.publicKey });
        await world.begin('session.provisioning');
        world.account().instance(instanceId('i-1')).ssh = { user: 'root', routes: [{ host: '127.0.0.1', port: server.port }] };
        const { probePublicKey } = await world.attempt(id);
        server.authorizedKeys.push(probePublicKey);

        const { session } = await world.runUntil(id, 'running');

        expect(session).toMatchObject({ sshPort: server.port, sshHostKey: server.hostKey.publicKey });
        expect(server.authorizedKeys.some((line) => line.includes(consumer.publicKey))).toBe(true);
        expect(server.authorizedKeys.some((line) => line.includes(probePublicKey))).toBe(false);
      });
    });
  });
});
