import { expect, it } from 'vitest';
import { SECOND_MS } from '../core/duration.ts';
import { PRICE, SESSION_ID, START, aMarketOffer, tagOf } from './fixtures/session-records.ts';
import { intentOf } from './intent.ts';

const parts = {
  sessionId: SESSION_ID,
  ordinal: 2,
  tag: tagOf(2),
  priceMicrosPerHour: PRICE,
  capMicrosPerHour: PRICE + 1,
  probe: { publicKey: 'ssh-ed25519 AAAAprobe', secretId: 'sec_probe' },
  at: START,
  fenceMs: 30 * SECOND_MS,
  callTimeoutMs: 60 * SECOND_MS,
} as const;

it('RULE-R1: an intent says what is asked for and until when, and nothing of what has not happened', () => {
  const offer = aMarketOffer();

  expect(intentOf({ ...parts, offer })).toEqual({
    sessionId: SESSION_ID,
    ordinal: 2,
    tag: tagOf(2),
    state: 'intent',
    provider: 'cloud',
    offerId: 'cloud-a',
    machineId: 'machine-a',
    offer,
    priceMicrosPerHour: PRICE,
    capMicrosPerHour: PRICE + 1,
    instanceId: null,
    instanceState: null,
    instanceMadeAt: null,
    ssh: {},
    hostKey: null,
    probePublicKey: 'ssh-ed25519 AAAAprobe',
    probeSecretId: 'sec_probe',
    intentAt: START,
    createDeadlineAt: START + 30 * SECOND_MS,
    acceptedAt: null,
    runningAt: null,
    firstSeenAt: null,
    lastSeenAt: null,
    absences: [],
    destroyRequestedAt: null,
    destroyTries: 0,
    destroyAnsweredAt: null,
    goneAcceptedAt: null,
    goneVerifiedAt: null,
    tombstoneUntil: null,
    outcome: null,
    error: null,
    dueAt: START + 90 * SECOND_MS,
    billingSequence: 0,
    billingRate: null,
    billingSince: null,
  });
});

it('an offer of a machine that has no name is one of no machine', () => {
  const { machineId: _, ...unnamed } = aMarketOffer();

  expect(intentOf({ ...parts, offer: unnamed }).machineId).toBeNull();
});
