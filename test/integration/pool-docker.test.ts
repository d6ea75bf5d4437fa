import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Environment, poolSettings } from '../../providers/pool/environment.ts';
import { createPoolProvider } from '../../providers/pool/provider.ts';
import { systemClock } from '../../src/core/clock.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { handOffCommand, parseHandOffAnswer, parseSample } from '../../src/provider/key-hand-off.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { OwnershipTag } from '../../src/provider/ownership-tag.ts';
import type { CreateRequest, Provider } from '../../src/provider/provider.ts';
import { createMachinePool } from '../../src/pool/machine-pool.ts';
import { createLocalRunnerLink } from '../../src/runner-protocol/runner-link.ts';
import { openFilesLimit } from '../../src/runner/open-files.ts';
import { createRunner } from '../../src/runner/runner.ts';
import { makeBrokenImage, makeTestImage, startDockerEngine, type TestEngine } from '../support/docker-engine.ts';
import { recordingLog } from '../support/log.ts';
import { describePart } from '../support/parts.ts';
import { FAR_OFF } from '../support/provider-calls.ts';

const run = promisify(execFile);
const options = () => ({ signal: AbortSignal.timeout(60_000) });
let counter = 0;
const nextTag = () => `berth-pooltest-01arz3ndektsv4rrffq69g5f${String((counter += 1)).padStart(2, '0')}-1` as OwnershipTag; // of the form of a tag

describePart(['docker', 'sshd'], 'the pool on a real Docker engine', () => {
  let engine: TestEngine;
  let folder: string;
  let keys: { privateFile: string; publicLine: string };
  let provider: Provider;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-pool-'));
    engine = await startDockerEngine();
    await makeTestImage(engine.dockerHost);
    const privateFile = join(folder, 'key');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a "quoted" $(comment) `x`', '-f', privateFile]);
    keys = { privateFile, publicLine: (await readFile(`${privateFile}.pub`, 'utf8')).trim() };
  });

  afterAll(async () => {
    await engine?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(() => {
    provider = aProvider({});
  });

  afterEach(async () => {
    const ids = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (ids.length > 0) await docker('rm', '-f', '-v', ...ids);
  });

  async function docker(...args: string[]): Promise<string> {
    return (await run('docker', ['-H', engine.dockerHost, ...args])).stdout.trim();
  }

  /** A whole stack, as after a start of the broker. */
  function aProvider(variables: Record<string, string>, dataFolder = 'data'): Provider {
    const settings = poolSettings(Environment.parse({ DOCKER_HOST: engine.dockerHost, POOL_MAX_SESSIONS: '2', ...variables }));
    const log = recordingLog();
    const clock = systemClock;
    const handler = createRunner({ dockerHost: engine.dockerHost, clock, log, config: { ...settings, sampleEveryMs: 1_000 } });
    const config = { ...settings, dataFolder: join(folder, dataFolder) };
    const pool = createMachinePool({ link: createLocalRunnerLink(handler), clock, log, config });
    return createPoolProvider({ pool, clock });
  }

  async function firstOffer(from = provider): Promise<Offer> {
    const [offer] = (await from.listOffers({}, options())).offers;
    if (offer === undefined) throw new Error('no offer');
    return offer;
  }

  async function aRequest(overrides: Partial<CreateRequest> = {}): Promise<CreateRequest> {
    return {
      tag: nextTag(),
      offer: overrides.offer ?? (await firstOffer()),
      sshPublicKeys: [keys.publicLine],
      diskGb: 10,
      environment: {},
      maxPriceMicrosPerHour: 1_000_000,
      notAfter: FAR_OFF,
      ...overrides,
    };
  }

  /** Waits for the level, with a bound. */
  async function until(id: string, state: Instance['state'], from = provider): Promise<Instance> {
    let last: Instance | undefined;
    for (let tries = 0; tries < 150; tries += 1) {
      last = await from.getInstance(instanceId(id), options());
      if (last?.state === state) return last;
      await pause(100);
    }
    throw new Error(`never ${state}: ${JSON.stringify(last)}`);
  }

  async function aRunning(overrides: Partial<CreateRequest> = {}) {
    const created = await provider.createInstance(await aRequest(overrides), options());
    const running = await until(created.id, 'running');
    if (running.state !== 'running' || running.ssh.routes === 'dial') throw new Error('no route');
    const [route] = running.ssh.routes;
    if (route === undefined || running.ssh.hostKey === undefined) throw new Error('no route or host key');
    await banner(route);
    return { instance: running, route, hostKey: running.ssh.hostKey };
  }

  /** The engine's own proxy accepts before sshd does; only a banner says that it listens. */
  async function banner({ host, port }: { host: string; port: number }): Promise<void> {
    for (let tries = 0; tries < 100; tries += 1) {
      const socket = connect({ host, port });
      try {
        const [first] = (await once(socket, 'data', { signal: AbortSignal.timeout(2_000) })) as [Buffer];
        if (first.toString().startsWith('SSH-2.0-')) return;
      } catch {
        await pause(50); // not yet
      } finally {
        socket.destroy();
      }
    }
    throw new Error('no banner');
  }

  /** The stock client, which trusts the host key that the provider vouches for and no other. */
  async function ssh(
    to: { route: { host: string; port: number }; hostKey: string },
    command: string[],
    flags: string[] = [],
    identity = keys.privateFile,
  ) {
    const knownHosts = join(folder, 'known_hosts');
    await writeFile(knownHosts, `session ${to.hostKey}\n`);
    const fixed = ['-F', 'none', '-i', identity, '-p', String(to.route.port)];
    const settings = {
      UserKnownHostsFile: knownHosts,
      GlobalKnownHostsFile: '/dev/null',
      HostKeyAlias: 'session',
      StrictHostKeyChecking: 'yes',
    };
    const more = {
      IdentitiesOnly: 'yes',
      IdentityAgent: 'none',
      BatchMode: 'yes',
      ConnectTimeout: '10',
      ConnectionAttempts: '5',
    };
    const set = Object.entries({ ...settings, ...more }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    return (await run('ssh', [...fixed, ...set, ...flags, `root@${to.route.host}`, ...command])).stdout
      .replaceAll('\r', '')
      .trim();
  }

  it('rents a share, lets the stock client in with and without a terminal, and ends it for good', async () => {
    const session = await aRunning({ environment: { GREETING: 'a "b" $(c)', BERTH_TAG: 'ignored' } });

    expect(await ssh(session, ['id', '-un'])).toBe('root');
    expect(await ssh(session, ['tty'], ['-tt'])).toMatch(/^\/dev\/pts\/\d+$/);
    expect(await ssh(session, ['cat', '/root/.ssh/authorized_keys'])).toBe(keys.publicLine);
    expect(await ssh(session, ['stat -c %a /root/.ssh /root/.ssh/authorized_keys | xargs'])).toBe('700 600');
    expect(await ssh(session, ['printf "%s|%s" "$GREETING" "$BERTH_TAG"'])).toBe(`a "b" $(c)|${session.instance.tag}`);
    expect(await ssh(session, ['hostname'])).toBe(session.instance.tag);

    const listed = await provider.listInstances(options());
    expect(listed.map(({ id, tag, state }) => ({ id, tag, state }))).toEqual([
      { id: session.instance.id, tag: session.instance.tag, state: 'running' },
    ]);

    expect(await provider.destroyInstance(session.instance.id, options())).toBe('gone');
    expect(await provider.getInstance(session.instance.id, options())).toBeUndefined();
    expect(await provider.listInstances(options())).toEqual([]);
    expect(await provider.destroyInstance(session.instance.id, options())).toBe('gone');
  });

  it('gives what was sold and not more: cores, memory, processes, privileges', async () => {
    const offer = await firstOffer();
    const session = await aRunning({ offer });

    const inside = (command: string) => ssh(session, [command]);
    expect(await inside('nproc')).toBe(String(offer.cpuCores));
    const memory = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max';
    expect(await inside(memory)).toBe(String(offer.memoryMib * 1024 * 1024));
    expect(await inside('cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max')).toBe('4096');
    expect(await inside('ulimit -n')).toBe(String(await openFilesLimit()));
    expect(await inside('sed -n "s/^NoNewPrivs:\\t//p" /proc/self/status')).toBe('1');
    // AUDIT_WRITE 29, CHOWN 0, KILL 5, SETGID 6, SETUID 7, SYS_CHROOT 18
    const mask = [0, 5, 6, 7, 18, 29].reduce((sum, bit) => sum + 2 ** bit, 0);
    expect(Number.parseInt(await inside('sed -n "s/^CapBnd:\\t//p" /proc/self/status'), 16)).toBe(mask);
    expect(await inside('printf "#!/bin/sh\\necho ran\\n" >/tmp/x && chmod +x /tmp/x && /tmp/x')).toBe('ran');
    expect(await inside('grep " /tmp " /proc/mounts')).toMatch(/nosuid,nodev/);
    expect(await inside('cat /proc/1/comm')).not.toBe('sshd');
  });

  it('can do what the hand-off and the idle sampler ask of an image', async () => {
    const probeFile = join(folder, `probe-${counter}`);
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', probeFile]);
    const probeLine = (await readFile(`${probeFile}.pub`, 'utf8')).trim();
    const session = await aRunning({ sshPublicKeys: [keys.publicLine, probeLine] });
    const plain = (line: string) => line.split(' ').slice(0, 2).join(' ');
    const probeAfter = { kind: 'restrict', tag: session.instance.tag ?? '' } as const;

    const answer = await ssh(session, [
      handOffCommand({ consumerKey: plain(keys.publicLine), probeKey: plain(probeLine), probeAfter }),
    ]);
    const sample = await ssh(session, ['id'], [], probeFile);

    expect(parseHandOffAnswer(answer)).toEqual({ consumer: 'present', probe: 'restricted', probeWasListed: true });
    expect(parseSample(sample)).toEqual({ cpuPercent: expect.any(Number), sshConnections: 0 });
    expect(await ssh(session, ['id', '-un'])).toBe('root');
  });

  it('carries files both ways by sftp and scp', async () => {
    const session = await aRunning();
    await writeFile(join(folder, 'blob'), 'x'.repeat(300_000));
    const known = join(folder, 'known_hosts');
    await writeFile(known, `session ${session.hostKey}\n`);
    const set = [
      '-F',
      'none',
      '-i',
      keys.privateFile,
      '-o',
      `UserKnownHostsFile=${known}`,
      '-o',
      'HostKeyAlias=session',
      '-o',
      'BatchMode=yes',
    ];
    const port = ['-P', String(session.route.port)];

    await run('scp', [...set, ...port, join(folder, 'blob'), `root@${session.route.host}:blob`]);
    await writeFile(join(folder, 'batch'), `get blob ${join(folder, 'back')}\n`);
    await run('sftp', [...set, ...port, '-b', join(folder, 'batch'), `root@${session.route.host}`]);

    expect(await readFile(join(folder, 'back'), 'utf8')).toBe('x'.repeat(300_000));
  });

  it('runs the start script as root in the background, whatever characters it is made of', async () => {
    const onStart = `#!/bin/bash\nprintf '%s' 'it'"'"'s $(here) "now"' >/root/made\nid -un\nexit 3\n`;
    const session = await aRunning({ onStart });

    expect(await ssh(session, ['for i in $(seq 50); do [ -s /root/made ] && break; sleep 0.1; done; cat /root/made'])).toBe(
      `it's $(here) "now"`,
    );
    expect(await ssh(session, ['cat /var/log/berth-on-start.log'])).toBe('root');
  });

  it('REL-K8: keeps the host away from a session', async () => {
    const session = await aRunning();
    const name = session.instance.tag ?? '';
    const [made] = JSON.parse(await docker('inspect', name)) as { HostConfig: Record<string, unknown> }[];

    expect([made?.HostConfig['Devices'] ?? [], made?.HostConfig['Mounts'] ?? []]).toEqual([[], []]);
    expect(made?.HostConfig).toMatchObject({
      Privileged: false,
      CapDrop: ['ALL'],
      Binds: null,
      PidMode: '',
      UTSMode: '',
    });
    expect(made?.HostConfig).toMatchObject({ NetworkMode: 'bridge', Init: true, SecurityOpt: ['no-new-privileges'] });
    await expect(ssh(session, ['mount -t tmpfs none /mnt || mknod /dev/null2 c 1 3'])).rejects.toThrow();
  });

  it('offers a slot under a new id after it was claimed, after a restart too', async () => {
    const { offers } = await provider.listOffers({}, options());
    expect(offers).toHaveLength(2);
    const [first, second] = offers;
    const created = await provider.createInstance(await aRequest({ offer: first! }), options()); // there are two

    const during = await aProvider({}).listOffers({}, options());
    expect(during.offers.map((offer) => offer.id)).toEqual([second?.id]);

    await provider.destroyInstance(created.id, options());
    const after = (await aProvider({}).listOffers({}, options())).offers.map((offer) => offer.id);
    expect(after).toHaveLength(2);
    expect(after).toContain(second?.id);
    expect(after).not.toContain(first?.id);
  });

  it('answers capacity to an offer that was taken meanwhile', async () => {
    const request = await aRequest();
    await provider.createInstance(request, options());

    const late = provider.createInstance(await aRequest({ offer: request.offer }), options());

    await expect(late).rejects.toMatchObject({ kind: 'capacity' });
  });

  it('gives one share to one of two brokers that ask at the same moment, and nothing of the other stays', async () => {
    const rival = aProvider({}, 'data of another broker');
    const [mine, theirs] = [await firstOffer(), await firstOffer(rival)];
    const [one, other] = [await aRequest({ offer: mine }), await aRequest({ offer: theirs })];

    const outcomes = await Promise.allSettled([
      provider.createInstance(one, options()),
      rival.createInstance(other, options()),
    ]);

    const lost = outcomes.filter((outcome) => outcome.status === 'rejected').map((outcome) => outcome.reason as unknown);
    expect(lost).toEqual([expect.objectContaining({ kind: 'capacity' })]);
    expect(await provider.listInstances(options())).toHaveLength(1);
  });

  it('REL-J17: the same tag again is the same instance, and a stranger of that name is refused', async () => {
    const request = await aRequest();
    const first = await provider.createInstance(request, options());
    const again = await aProvider({}, 'data after a loss').createInstance(request, options());
    expect(again.id).toBe(first.id);
    await provider.destroyInstance(first.id, options());

    const offer = await firstOffer();
    const tag = nextTag();
    await docker('create', '--name', tag, '--label', `berth.tag=other`, 'berth-ssh');
    await expect(provider.createInstance(await aRequest({ tag, offer }), options())).rejects.toMatchObject({
      kind: 'rejected',
      message: expect.stringContaining('is no session'),
    });
  });

  it('REL-J1: finds its sessions again after a restart of the broker, with the same address and host key', async () => {
    const session = await aRunning();

    const found = await aProvider({}).getInstance(session.instance.id, options());

    expect(found).toMatchObject({ state: 'running', ssh: { hostKey: session.hostKey, routes: [session.route] } });
  });

  it('REL-J18: leaves containers alone that are no session', async () => {
    await docker('run', '-d', '--name', 'somebody', 'berth-ssh', 'sleep', '1000');
    const id = await docker('inspect', '--format', '{{.Id}}', 'somebody');
    const session = await aRunning();
    const theirs = instanceId(`${session.instance.id.split('-')[0]}-${id}`);

    expect((await provider.listInstances(options())).map((instance) => instance.id)).toEqual([session.instance.id]);
    expect(await provider.getInstance(theirs, options())).toBeUndefined();
    await expect(provider.destroyInstance(theirs, options())).rejects.toMatchObject({ kind: 'rejected' });
    expect(await docker('inspect', '--format', '{{.State.Running}}', 'somebody')).toBe('true');
  });

  it('REL-J20: tells a session that ended by itself, with its exit code and last words', async () => {
    await makeBrokenImage(engine.dockerHost, {
      name: 'berth-ends',
      base: 'berth-ssh',
      command: ['/bin/sh', '-c', 'echo first; printf "no \\033[31mlicence\\033[0m\\n" >&2; exit 7'],
    });
    const created = await provider.createInstance(await aRequest({ image: 'berth-ends' }), options());

    const ended = await until(created.id, 'failed');

    expect(ended).toMatchObject({ reason: 'container ended with exit code 7: no [31mlicence [0m' });
    expect((await provider.listOffers({}, options())).offers).toHaveLength(2);
  });

  it('tells a stopped session from a running one, and reads its new port after it was started by hand', async () => {
    const session = await aRunning();
    const name = session.instance.tag ?? '';
    await docker('stop', '-t', '5', name);
    expect(await until(session.instance.id, 'failed')).toMatchObject({ reason: expect.stringContaining('exit code') });

    await docker('start', name);

    const back = await until(session.instance.id, 'running');
    if (back.state !== 'running' || back.ssh.routes === 'dial') throw new Error('no route');
    expect(back.ssh.hostKey).toBe(session.hostKey);
    await banner(back.ssh.routes[0]!); // it is running
    expect(await ssh({ route: back.ssh.routes[0]!, hostKey: session.hostKey }, ['echo', 'again'])).toBe('again'); // it is running
  });

  it('measures the use of the cores that were rented', async () => {
    const session = await aRunning();
    await ssh(session, ['(while :; do :; done) >/dev/null 2>&1 </dev/null & exit 0']);

    // the machine of the test has other work too, so no exact share
    let percent: number | undefined;
    for (let tries = 0; tries < 60 && (percent ?? 0) < 5; tries += 1) {
      percent = (await provider.getInstance(session.instance.id, options()))?.utilisation?.cpuPercent;
      await pause(250);
    }

    expect(percent).toBeGreaterThanOrEqual(5);
    expect(percent).toBeLessThanOrEqual(100);
  });

  it('refuses an image that is not there, one without an SSH server and a variable that reaches the loader, by name', async () => {
    await makeBrokenImage(engine.dockerHost, {
      name: 'berth-bare',
      base: 'berth-ssh',
      command: ['sleep', '9'],
      without: 'usr/sbin/sshd',
    });
    const refusal = async (overrides: Partial<CreateRequest>) =>
      provider.createInstance(await aRequest(overrides), options()).catch((error: unknown) => error);

    expect(await refusal({ image: 'nobody/has-this:1' })).toMatchObject({
      kind: 'rejected',
      message: expect.stringContaining('docker pull'),
    });
    expect(await refusal({ image: 'berth-bare' })).toMatchObject({
      kind: 'rejected',
      message: expect.stringContaining('no SSH server'),
    });
    expect(await refusal({ environment: { LD_PRELOAD: '/x.so' } })).toMatchObject({
      kind: 'rejected',
      message: expect.stringContaining('LD_PRELOAD'),
    });
    expect(await docker('ps', '-aq')).toBe('');
  });

  it.each([
    ['POOL_IMAGE', { POOL_IMAGE: 'not-made' }, /image not-made is not on this machine.*npm run image/],
    ['POOL_MAX_SESSIONS', { POOL_MAX_SESSIONS: '1000' }, /not enough memory.*lower POOL_MAX_SESSIONS/],
    ['POOL_HOST', { POOL_HOST: 'no-such-name.invalid' }, /POOL_HOST is "no-such-name.invalid".*address of this machine/],
  ])('says before any session what is wrong with %s and how to mend it', async (_, variables, words) => {
    const wrong = aProvider(variables);

    await expect(wrong.check(options())).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringMatching(words) });
    await expect(wrong.listOffers({}, options())).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringMatching(words),
    });
  });

  it('takes back a container that cannot be published, and says so', async () => {
    const elsewhere = aProvider({ POOL_HOST: '203.0.113.7' });

    const failure = await elsewhere
      .createInstance(await aRequest({ offer: await firstOffer(elsewhere) }), options())
      .catch((error: unknown) => error);

    expect(failure).toMatchObject({ kind: 'rejected', message: expect.stringContaining('POOL_HOST') });
    expect(await docker('ps', '-aq')).toBe('');
  });

  it('REL-J3: an engine that is away is unavailable, never an empty machine; back again, the session is still known', async () => {
    const created = await provider.createInstance(await aRequest(), options());
    await engine.pause();

    await expect(provider.listInstances(options())).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(provider.getInstance(created.id, options())).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(provider.destroyInstance(created.id, options())).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(provider.check(options())).rejects.toMatchObject({ message: expect.stringMatching(/Docker/) });

    await engine.resume();
    expect(await until(created.id, 'failed')).toMatchObject({ tag: created.tag });
    expect(await provider.destroyInstance(created.id, options())).toBe('gone');
  });

  it('an id of another engine is unavailable, not gone', async () => {
    const stranger = instanceId(`0123456789ab-${'0'.repeat(64)}`);

    await expect(provider.getInstance(stranger, options())).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('DOCKER_HOST'),
    });
  });
});
