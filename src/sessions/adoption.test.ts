import { describe, expect, it } from 'vitest';
import { countedIds } from '../../test/support/counted-ids.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { createIds } from '../core/ids.ts';
import { seededRandom } from '../core/random.ts';
import { providerId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { ownershipTag, type DeploymentId } from '../provider/ownership-tag.ts';
import { ADOPTED_WARNING, adoptInstance } from './adoption.ts';
import { PRICE, RULES, SSH, START, anInstance } from './fixtures/session-records.ts';

const deployment = 'test' as DeploymentId; // four letters: a deployment id by its rule
/** Asked for at START; its instance is found a day later. */
const sessionId = createIds({ clock: new FakeClock(START), random: seededRandom(1) }).session();
const NOW = START + DAY_MS;

interface Wish {
  readonly ordinal?: number;
  readonly keepMs?: number;
  readonly now?: number;
}

function adopt(instance: Instance, { ordinal = 1, keepMs = HOUR_MS, now = NOW }: Wish = {}) {
  const tag = ownershipTag({ deployment, sessionId, ordinal });
  return adoptInstance({
    deployment,
    sessionId,
    ordinal,
    tag,
    provider: providerId('cloud'),
    instance: { ...instance, tag: instance.tag === 'none' ? 'none' : tag },
    consumerId: 'alice',
    now,
    keepMs,
    hardMaxMs: 12 * HOUR_MS,
    ids: countedIds(),
    rules: RULES,
  });
}

const OFFER = {
  id: 'cloud-adopted-instance-1',
  provider: 'cloud',
  providerOfferId: 'adopted-instance-1',
  gpuType: 'unknown',
  gpuCount: 0,
  vramMib: 0,
  cpuCores: 0,
  memoryMib: 0,
  diskGb: 0,
  minDiskGb: 0,
  maxDiskGb: 0,
  priceMicrosPerHour: PRICE,
  diskMicrosPerGbHour: 0,
  location: 'unknown',
  reliability: 0,
  confidence: 0,
  interruptible: false,
  units: 1,
};

describe('an instance whose rows were lost', () => {
  it('is a running session of the consumer, until its expiry, by the address that it tells', () => {
    const hostKey = 'ssh-ed25519 AAAAvouched';
    const { session } = adopt(anInstance('running', { priceMicrosPerHour: PRICE, ssh: { ...SSH, hostKey } }));

    expect(session).toEqual({
      id: sessionId,
      consumerId: 'alice',
      name: null,
      status: 'running',
      desired: 'run',
      reason: null,
      error: null,
      phase: 'running',
      phaseEnteredAt: NOW,
      phaseDeadlineAt: null,
      dueAt: NOW,
      version: 2,
      workloadType: 'ssh',
      request: {
        offerId: OFFER.id,
        environment: {},
        autoRetry: false,
        maxRetries: 0,
        retryScope: 'same_gpu',
        storagePolicy: 'destroy',
        launchMode: 'ssh',
      },
      metadata: {},
      warnings: [ADOPTED_WARNING],
      provider: 'cloud',
      offerId: OFFER.id,
      offer: OFFER,
      gpuType: 'unknown',
      gpuCount: 0,
      vramMib: 0,
      diskGb: 0,
      priceMicrosPerHour: PRICE,
      sshHost: '203.0.113.7',
      sshPort: 22_022,
      sshUser: 'root',
      sshHostKey: hostKey,
      sshPublicKey: '',
      keySecretId: null,
      reservationMinutes: 60,
      idleThresholdMinutes: 0,
      idleSince: null,
      idleSampledAt: null,
      idleWarnedAt: null,
      maxAttempts: 1,
      attemptCount: 1,
      createdAt: NOW,
      updatedAt: NOW,
      expiresAt: NOW + HOUR_MS,
      hardDeadlineAt: NOW + 12 * HOUR_MS,
      runningAt: NOW,
      stopRequestedAt: null,
      destroyAcceptedAt: null,
      destroyVerifiedAt: null,
      stoppedAt: null,
      settledCostMicros: null,
    });
    expect(ADOPTED_WARNING).toContain('SSH was not proven');
  });

  it('has an attempt that lives and ran, with its tag, whatever it costs, and a probe key that is not kept', () => {
    const { attempts } = adopt(anInstance('running', { priceMicrosPerHour: PRICE }));

    expect(attempts).toMatchObject([
      {
        sessionId,
        ordinal: 1,
        tag: ownershipTag({ deployment, sessionId, ordinal: 1 }),
        state: 'live',
        instanceId: 'instance-1',
        offer: OFFER,
        priceMicrosPerHour: PRICE,
        capMicrosPerHour: Number.MAX_SAFE_INTEGER,
        probePublicKey: '',
        probeSecretId: 'sec_00000000000000000000000001',
        intentAt: START,
        createDeadlineAt: START,
        runningAt: NOW,
        firstSeenAt: NOW,
        lastSeenAt: NOW,
      },
    ]);
  });

  it('is billed since its session was asked for, or since the provider says that it was made', () => {
    const billedSince = (instance: Instance, now = NOW) => adopt(instance, { now }).segments[0]?.fromAt;

    expect(billedSince(anInstance('running'))).toBe(START);
    expect(billedSince({ ...anInstance('running'), createdAt: START + MINUTE_MS })).toBe(START + MINUTE_MS);
    expect(billedSince(anInstance('running'), START - HOUR_MS)).toBe(START - HOUR_MS); // our clock is behind the one that made the id
  });

  it('tells how it came to be, in its events and in the audit log', () => {
    const { events, audit } = adopt(anInstance('running'));

    const told = { sessionId, at: NOW };
    expect(events).toEqual([
      { ...told, version: 1, kind: 'session.adopted', data: { instance_id: 'instance-1' } },
      {
        ...told,
        version: 2,
        kind: 'instance.created',
        data: { attempt: 1, instance_id: 'instance-1', provider: 'cloud' },
      },
    ]);
    expect(audit.map(({ actor, kind }) => `${actor} ${kind}`)).toEqual([
      'operator session.adopted',
      'provider instance.seen',
      'provider instance.created',
    ]);
    expect(audit[1]?.data).toMatchObject({ by: 'list', instance_state: 'running' });
    expect(audit[0]?.data).toMatchObject({ consumer_id: 'alice', instance_id: 'instance-1', ran: true });
  });

  it('costs nothing that is known where the provider tells no price', () => {
    expect(adopt(anInstance('running')).session.priceMicrosPerHour).toBe(0);
  });

  it('has no address yet where it tells none, or where only its provider can dial it', () => {
    const nothing = { status: 'running', sshHost: null, sshPort: null, sshHostKey: null };

    expect(adopt(anInstance('starting')).session).toMatchObject({ ...nothing, sshUser: null });
    expect(adopt(anInstance('running', { ssh: { user: 'u', routes: [] } })).session).toMatchObject({
      ...nothing,
      sshUser: 'u',
    });
    expect(adopt(anInstance('running', { ssh: { user: 'u', routes: 'dial' } })).session).toMatchObject({
      ...nothing,
      sshUser: 'u',
    });
  });

  it('is kept no longer than the hard maximum, and its minutes are rounded up', () => {
    expect(adopt(anInstance('running'), { keepMs: DAY_MS }).session).toMatchObject({
      expiresAt: NOW + 12 * HOUR_MS,
      hardDeadlineAt: NOW + 12 * HOUR_MS,
      reservationMinutes: 12 * 60,
    });
    expect(adopt(anInstance('running'), { keepMs: MINUTE_MS + 1 }).session.reservationMinutes).toBe(2);
  });

  it.each(['failed', 'paused'] as const)('is at once one to be destroyed when it has %s', (state) => {
    const { session, attempts } = adopt(anInstance(state));

    expect(session).toMatchObject({ status: 'stopping', desired: 'gone', phase: 'destroying', runningAt: null });
    expect(attempts).toMatchObject([{ state: 'destroying', runningAt: null }]);
  });

  it('closes the attempts before it, which stay watched', () => {
    const { session, attempts, events } = adopt(anInstance('running', { ordinal: 3 }), { ordinal: 3 });

    expect(session).toMatchObject({ attemptCount: 3, maxAttempts: 3, version: events.length });
    const closed = {
      state: 'gone',
      outcome: 'create_lost',
      goneAcceptedAt: NOW,
      goneVerifiedAt: null,
      tombstoneUntil: NOW + 90 * DAY_MS,
      instanceId: null,
    };
    expect(attempts).toMatchObject([
      { ...closed, ordinal: 1, tag: ownershipTag({ deployment, sessionId, ordinal: 1 }) },
      { ...closed, ordinal: 2, tag: ownershipTag({ deployment, sessionId, ordinal: 2 }) },
      { state: 'live', ordinal: 3, instanceId: 'instance-3', tag: ownershipTag({ deployment, sessionId, ordinal: 3 }) },
    ]);
    expect(new Set(attempts.map(({ probeSecretId }) => probeSecretId)).size).toBe(3);
  });

  it('is not adopted under another tag than its own', () => {
    expect(() => adopt(anInstance('running', { tag: 'none' }))).toThrow('instance instance-1 is not that of attempt 1');
  });

  it('is not adopted where its rows would break a rule', () => {
    expect(() => adopt(anInstance('running'), { keepMs: Number.NaN })).toThrow(
      'adopting instance-1 would break: the expiry lies before the hard maximum',
    );
  });
});
