import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFakeDocker, type FakeDocker } from '../../test/support/fake-docker-socket.ts';
import { recordingLog } from '../../test/support/log.ts';
import { systemClock } from '../core/clock.ts';
import type { StartOrder } from '../runner-protocol/messages.ts';
import { createLocalRunnerLink, type RunnerLink } from '../runner-protocol/runner-link.ts';
import { createRunner } from './runner.ts';

const TAG = 'berth-abcd-01arz3ndektsv4rrffq69g5fav-1';
const noGpus = async () => undefined;
const options = { signal: new AbortController().signal };

function anOrder(overrides: Partial<StartOrder> = {}): StartOrder {
  return {
    tag: TAG,
    image: 'berth-ssh',
    units: ['cpu:0'],
    gpuUuids: [],
    cpuIds: [0, 1],
    memoryMib: 1_024,
    sshPublicKeys: ['ssh-ed25519 AAAA one', 'ssh-ed25519 BBBB $(two)'],
    environment: { TOKEN: 's3cret' },
    ...overrides,
  };
}

function aLink(dockerHost: string, callTimeoutMs = 5_000): RunnerLink {
  const config = { publishHost: '127.0.0.1', pidsLimit: 4_096, packageCapabilities: false, callTimeoutMs };
  return createLocalRunnerLink(createRunner({ dockerHost, clock: systemClock, log: recordingLog(), config, run: noGpus }));
}

describe('the runner', () => {
  let docker: FakeDocker;
  let link: RunnerLink;
  const start = (order = anOrder()) => link.call({ kind: 'start', order }, options);

  beforeEach(async () => {
    docker = await startFakeDocker();
    link = aLink(docker.dockerHost);
  });
  afterEach(() => docker.close());

  it('makes a container named by the tag, checks it, puts the keys in and starts it', async () => {
    const { container } = await start();

    expect(container).toMatchObject({ tag: TAG, state: 'running', units: ['cpu:0'], cpuIds: [0, 1], memoryMib: 1_024 });
    expect(container.ssh).toMatchObject({
      host: '127.0.0.1',
      port: 49_153,
      user: 'root',
      hostKey: expect.stringMatching(/^ssh-ed25519 \S+$/),
    });
    const [made] = docker.containers.values();
    expect(made?.name).toBe(TAG);
    expect(made?.archive?.toString()).toContain('ssh-ed25519 AAAA one\nssh-ed25519 BBBB $(two)\n');
    expect(made?.body.Env).toEqual(['TOKEN=s3cret', `BERTH_TAG=${TAG}`]);
  });

  it('DEPS-P9: lets no variable into a URL, where proxies and logs keep it', async () => {
    await start();

    expect(docker.requests.filter((line) => /s3cret|TOKEN|AAAA/.test(line))).toEqual([]);
    expect(docker.requests).toContain(`POST /containers/create?name=${TAG}`);
  });

  it('orders GPUs by their ids and nothing else', async () => {
    await start(anOrder({ units: ['gpu:GPU-1', 'gpu:GPU-2'], gpuUuids: ['GPU-1', 'GPU-2'] }));

    const [made] = docker.containers.values();
    expect(made?.body.HostConfig?.['DeviceRequests']).toEqual([
      { Driver: 'nvidia', DeviceIDs: ['GPU-1', 'GPU-2'], Capabilities: [['gpu', 'compute', 'utility']] },
    ]);
  });

  it('REL-K8: destroys a container that the engine made otherwise than ordered, and says in which points', async () => {
    docker.alter = (hostConfig) => ({ ...hostConfig, Privileged: true, Binds: ['/:/host'] });

    await expect(start()).rejects.toMatchObject({ kind: 'refused', message: expect.stringContaining('Privileged, Binds') });

    expect(docker.containers.size).toBe(0);
    expect(docker.requests.some((line) => line.endsWith('/start'))).toBe(false);
  });

  it.each([
    ['cut-after', 'unknown'],
    ['cut', 'unknown'],
    ['hang', 'unknown'],
  ] as const)('a create whose answer is lost (%s) is %s', async (fault, kind) => {
    link = aLink(docker.dockerHost, 300);
    docker.fault = (method, path) => (path === '/containers/create' && method === 'POST' ? fault : undefined);

    await expect(start()).rejects.toMatchObject({ kind });
  });

  it('the same order after a lost answer finds what was made, and makes no second', async () => {
    docker.fault = (_, path) => (path === '/containers/create' ? 'cut-after' : undefined);
    await expect(start()).rejects.toMatchObject({ kind: 'unknown' });
    docker.fault = () => undefined;

    const { container } = await start();

    expect(container.state).toBe('running');
    expect(docker.requests.filter((line) => line.includes('/create'))).toHaveLength(1);
    expect(docker.containers.size).toBe(1);
  });

  it('a start cut off by the caller is unknown', async () => {
    const controller = new AbortController();
    docker.fault = (_, path) => {
      if (!path.endsWith('/start')) return undefined;
      controller.abort();
      return 'hang';
    };

    const failure = link.call({ kind: 'start', order: anOrder() }, { signal: controller.signal });

    await expect(failure).rejects.toMatchObject({ kind: 'unknown' });
    expect(docker.containers.size).toBe(1);
  });

  it.each([
    ['could not select device driver "nvidia" with capabilities: [[gpu]]', 'refused', /NVIDIA Container Toolkit/],
    ['write /var/lib/docker/x: no space left on device', 'full', /disk of the machine is full/],
    ['driver failed programming external connectivity: address already in use', 'unreachable', /port/],
    ['something \u001b[31mnew', 'refused', /something \[31mnew/],
  ])('an engine that answers "%s" to the start: %s, and nothing stays', async (message, kind, words) => {
    docker.fault = (_, path) => (path.endsWith('/start') ? { status: 500, message } : undefined);

    await expect(start()).rejects.toMatchObject({ kind, message: expect.stringMatching(words) });

    expect(docker.containers.size).toBe(0);
  });

  it('a failed start that cannot be taken back is unknown', async () => {
    docker.fault = (method, path) => {
      if (path.endsWith('/start')) return { status: 500, message: 'no' };
      return method === 'DELETE' ? { status: 500, message: 'busy' } : undefined;
    };

    await expect(start()).rejects.toMatchObject({ kind: 'unknown' });
  });

  it('is full when another session holds a part of the share', async () => {
    await start(anOrder({ units: ['gpu:GPU-1', 'gpu:GPU-2'] }));

    const second = start(anOrder({ tag: TAG.replace(/1$/, '2'), units: ['gpu:GPU-2'] }));

    await expect(second).rejects.toMatchObject({ kind: 'full', message: expect.stringContaining('gpu:GPU-2') });
    expect(docker.containers.size).toBe(1);
  });

  it('REL-K10: refuses a variable that reaches the loader or the GPU hooks before anything is made', async () => {
    await expect(start(anOrder({ environment: { NVIDIA_VISIBLE_DEVICES: 'all' } }))).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('NVIDIA_VISIBLE_DEVICES'),
    });
    expect(docker.requests).toEqual([]);
  });

  it.each([
    ['nobody/else:1', /not on the machine.*docker pull/],
    ['foreign', /no SSH server/],
  ])('refuses image %s with the fix', async (image, words) => {
    docker.images.set('foreign', { Id: 'sha256:2', Config: { Labels: {} } });

    await expect(start(anOrder({ image }))).rejects.toMatchObject({ kind: 'refused', message: expect.stringMatching(words) });

    expect(docker.containers.size).toBe(0);
  });

  it('REL-J4: an engine that errs is unreachable, never an empty list', async () => {
    await start();
    docker.fault = (_, path) => (path.endsWith('/json') ? { status: 500, message: 'boom' } : undefined);

    await expect(link.call({ kind: 'list', utilisation: 'include' }, options)).rejects.toMatchObject({ kind: 'unreachable' });
  });

  it('an answer that cannot be read is unreachable, and a container that vanished meanwhile is left out', async () => {
    const { container } = await start();
    const [made] = docker.containers.values();
    docker.fault = (_, path) => {
      if (path === `/containers/${made?.Id}/json`) docker.containers.clear();
      return undefined;
    };

    expect(await link.call({ kind: 'list', utilisation: 'include' }, options)).toEqual({ containers: [] });
    expect(await link.call({ kind: 'get', instanceId: container.instanceId }, options)).toEqual({});
  });

  it('tells each state of a container apart', async () => {
    const { container } = await start();
    const [made] = docker.containers.values();
    const stateWhen = async (status: string) => {
      if (made !== undefined) made.status = status;
      return (await link.call({ kind: 'get', instanceId: container.instanceId }, options)).container;
    };

    expect((await stateWhen('created'))?.state).toBe('created');
    expect((await stateWhen('paused'))?.state).toBe('paused');
    expect((await stateWhen('removing'))?.state).toBe('stopping');
    expect((await stateWhen('a word of tomorrow'))?.state).toBe('starting');
    expect(await stateWhen('exited')).toMatchObject({
      state: 'failed',
      failure: 'container ended with exit code 1: oops',
      units: [],
      memoryMib: 0,
    });
  });

  it('stops what is a session and refuses what is none', async () => {
    const { container } = await start();
    const [made] = docker.containers.values();
    const stop = () => link.call({ kind: 'stop', instanceId: container.instanceId }, options);

    if (made !== undefined) made.body.Labels = {};
    await expect(stop()).rejects.toMatchObject({ kind: 'refused' });
    if (made !== undefined) made.body.Labels = { 'berth.tag': TAG };
    await stop();
    await stop();

    expect(docker.containers.size).toBe(0);
    await expect(link.call({ kind: 'stop', instanceId: `${'0'.repeat(12)}-${made?.Id}` }, options)).rejects.toMatchObject({
      kind: 'unreachable',
      message: expect.stringContaining('set DOCKER_HOST back'),
    });
  });

  it('answers a message of another version with a refusal', async () => {
    const config = { publishHost: '127.0.0.1', pidsLimit: 4_096, packageCapabilities: false };
    const handler = createRunner({
      dockerHost: docker.dockerHost,
      clock: systemClock,
      log: recordingLog(),
      config,
      run: noGpus,
    });

    expect(await handler({ version: 2, request: { kind: 'list', utilisation: 'include' } }, options)).toMatchObject({
      outcome: 'failed',
      kind: 'refused',
    });
  });
});

describe('the runner without an engine', () => {
  it.each([
    ['unix:///nowhere/docker.sock', /no Docker engine at \/nowhere\/docker.sock: install and start Docker/],
    ['tcp://127.0.0.1:1', /nothing answers at the Docker socket 127.0.0.1:1/],
    ['ssh://somewhere', /DOCKER_HOST is "ssh:\/\/somewhere": use unix/],
  ])('%s: says what is wrong and how to mend it', async (dockerHost, words) => {
    const link = aLink(dockerHost);

    expect(
      (
        await link
          .call({ kind: 'preflight', image: 'berth-ssh' }, options)
          .catch((error: Error) => ({ problem: error.message }))
      ).problem,
    ).toMatch(words);
    await expect(link.call({ kind: 'list', utilisation: 'include' }, options)).rejects.toMatchObject({ kind: 'unreachable' });
    await expect(link.call({ kind: 'start', order: anOrder() }, options)).rejects.toMatchObject({ kind: 'unreachable' });
  });
});
