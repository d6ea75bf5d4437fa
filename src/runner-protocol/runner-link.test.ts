import { describe, expect, it } from 'vitest';
import { PROTOCOL_VERSION, RequestEnvelope, StartOrder } from './messages.ts';
import { createLocalRunnerLink, RunnerFailure } from './runner-link.ts';

const signal = new AbortController().signal;
const order = {
  tag: 'berth-abcd-01arz3ndektsv4rrffq69g5fav-1',
  image: 'berth-ssh',
  units: ['cpu:0'],
  gpuUuids: [],
  cpuIds: [0],
  memoryMib: 512,
  sshPublicKeys: ['ssh-ed25519 AAAA a "quoted" $(comment)'],
  environment: { A: 'b' },
};

describe('a local runner link', () => {
  it('hands over what the schema allows and returns the body of the answer', async () => {
    let seen: unknown;
    const link = createLocalRunnerLink(async (message) => {
      seen = message;
      return { version: PROTOCOL_VERSION, outcome: 'done', body: { problem: 'no engine' } };
    });

    const reply = await link.call({ kind: 'preflight', image: 'berth-ssh' }, { signal });

    expect(reply).toEqual({ problem: 'no engine' });
    expect(RequestEnvelope.parse(seen).request).toEqual({ kind: 'preflight', image: 'berth-ssh' });
  });

  it('throws the failure that the runner reports', async () => {
    const link = createLocalRunnerLink(async () => ({
      version: PROTOCOL_VERSION,
      outcome: 'failed',
      kind: 'full',
      message: 'taken',
    }));

    const failure = await link.call({ kind: 'start', order }, { signal }).catch((error: unknown) => error);

    expect(failure).toMatchObject({ name: 'RunnerFailure', kind: 'full', message: 'taken' });
  });

  it.each([
    ['garbage', 'nonsense'],
    ['another version', { version: 99, outcome: 'done', body: {} }],
    ['a body of another kind', { version: PROTOCOL_VERSION, outcome: 'done', body: { containers: [] } }],
  ])('takes %s in answer to a start as unknown, and to a list as unreachable', async (_, answer) => {
    const link = createLocalRunnerLink(async () => answer);
    const bad = typeof answer === 'object' && 'version' in answer && answer.version === PROTOCOL_VERSION;

    await expect(link.call({ kind: 'start', order }, { signal })).rejects.toMatchObject({ kind: 'unknown' });
    if (!bad)
      await expect(link.call({ kind: 'list', utilisation: 'include' }, { signal })).rejects.toMatchObject({
        kind: 'unreachable',
      });
  });

  it('takes a handler that throws in the middle of a start as unknown', async () => {
    const link = createLocalRunnerLink(async () => {
      throw new Error('socket hang up');
    });

    await expect(link.call({ kind: 'start', order }, { signal })).rejects.toMatchObject({ kind: 'unknown' });
  });

  it('sends nothing when it is cancelled before', async () => {
    let calls = 0;
    const link = createLocalRunnerLink(async () => {
      calls += 1;
    });

    await expect(link.call({ kind: 'start', order }, { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(RunnerFailure);

    expect(calls).toBe(0);
  });

  it('refuses an order that breaks the schema, naming the field, before anything is sent', async () => {
    const link = createLocalRunnerLink(async () => undefined);

    const failure = link.call({ kind: 'start', order: { ...order, sshPublicKeys: ['two\nlines'] } }, { signal });

    await expect(failure).rejects.toMatchObject({ kind: 'refused', message: expect.stringContaining('sshPublicKeys') });
  });
});

describe('REL-K8: what a start order can say', () => {
  it.each(['privileged', 'mounts', 'devices', 'capabilities', 'networkMode', 'command'])('has no word for %s', (field) => {
    expect(StartOrder.safeParse({ ...order, [field]: true }).success).toBe(false);
  });
});
