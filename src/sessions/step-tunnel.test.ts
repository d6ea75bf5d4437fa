import { describe, expect, it } from 'vitest';
import { SECOND_MS } from '../core/duration.ts';
import type { Fact } from './fact.ts';
import { PROOF, SSH, anInstance, runningStory, storyAt, type Story } from './fixtures/session-records.ts';

// An instance that only its provider can dial gets a port of the broker, and runs only once it has one.

const DIAL = { user: 'root', routes: 'dial' } as const;
const { host: _host, port: _port, ...DIALLED } = PROOF;
const proven: Fact = { kind: 'proven', ordinal: 1, proof: DIALLED };
const seen = (ssh: typeof DIAL | typeof SSH): Fact => ({
  kind: 'seen',
  ordinal: 1,
  by: 'get',
  instance: anInstance('running', { ssh }),
});
const opened = (port: number, replaces: number | null = null): Fact => ({
  kind: 'tunnel_opened',
  ordinal: 1,
  host: 'broker.example',
  port,
  replaces,
});
const awaited: Fact = { kind: 'tunnel_awaited', ordinal: 1, message: 'no port is free' };

function dialledStory(): Story {
  return storyAt('live').tell(seen(DIAL)).wait(SECOND_MS);
}

describe('a session whose instance can only be dialled', () => {
  it('is not running before it has an address, however often it was proven', () => {
    const story = dialledStory().tell(proven, proven);

    expect(story.session).toMatchObject({ status: 'provisioning', sshHost: null, sshPort: null });
    expect(story.attempt().runningAt).toBeNull();
  });

  it('runs under the address of the tunnel', () => {
    const story = dialledStory().tell(opened(22_001)).wait(SECOND_MS).tell(proven);

    expect(story.session).toMatchObject({ status: 'running', sshHost: 'broker.example', sshPort: 22_001, sshUser: 'root' });
    expect(story.events).toContain('session.tunnel_opened');
    expect(story.transitions.at(-1)?.events).toEqual([
      { kind: 'session.running', data: expect.objectContaining({ ssh_host: 'broker.example', ssh_port: 22_001 }) },
    ]);
  });

  it('keeps the port that it was given first when two brokers give it one', () => {
    const story = dialledStory().tell(opened(22_001), opened(22_002));

    expect(story.session.sshPort).toBe(22_001);
  });

  it('is told by an event when its port has to change while it runs', () => {
    const story = dialledStory().tell(opened(22_001), proven, opened(22_002, 22_001));

    expect(story.session).toMatchObject({ status: 'running', sshPort: 22_002 });
    expect(story.transitions.at(-1)?.events).toEqual([
      { kind: 'session.address_changed', data: { ssh_host: 'broker.example', ssh_port: 22_002 } },
    ]);
  });

  it('says once that it waits for a port, and no more once it has one', () => {
    const story = dialledStory().tell(awaited, awaited);
    expect(story.session).toMatchObject({ status: 'provisioning', error: 'no port is free' });
    expect(story.events.filter((kind) => kind === 'session.tunnel_awaited')).toHaveLength(1);

    story.tell(opened(22_001), awaited);

    expect(story.session.error).toBeNull();
  });

  it('gives its address up with the attempt', () => {
    const story = storyAt('live', { maxAttempts: 2, request: { ...storyAt('live').session.request, autoRetry: true } })
      .tell(seen(DIAL), opened(22_001))
      .tell({ kind: 'attempt_failed', ordinal: 1, reason: 'ssh_verify_timeout', message: 'no login' });

    expect(story.session).toMatchObject({ phase: 'retrying', sshHost: null, sshPort: null });
    expect(story.tell(opened(22_002)).session.sshPort).toBeNull();
  });
});

describe('a session whose instance could be reached directly', () => {
  it('gets no port of the broker', () => {
    const story = runningStory().tell(opened(22_001), opened(22_001, PROOF.port));

    expect(story.session).toMatchObject({ sshHost: PROOF.host, sshPort: PROOF.port });
  });

  it('loses its old address when it can only be dialled any more, and gets it back when it can be reached again', () => {
    const story = runningStory().tell(seen(DIAL));
    expect(story.session).toMatchObject({ status: 'running', sshHost: null, sshPort: null });

    story.tell(opened(22_001));
    expect(story.session).toMatchObject({ sshHost: 'broker.example', sshPort: 22_001 });

    story.tell(seen(SSH));
    expect(story.session).toMatchObject({ sshHost: PROOF.host, sshPort: PROOF.port });
  });
});
