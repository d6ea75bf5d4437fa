import { describe, expect, it } from 'vitest';
import type { Session } from '../db/tables.ts';
import type { Metrics } from '../observability/metrics.ts';
import { recordChange } from './metrics-recorder.ts';

/** Every call of a metric, as text. */
function recordingMetrics(): { metrics: Metrics; calls: string[] } {
  const calls: string[] = [];
  const metrics = new Proxy(
    {},
    {
      get: (_, name) => (fact?: unknown) =>
        void calls.push(fact === undefined ? String(name) : `${String(name)} ${JSON.stringify(fact)}`),
    },
  );
  return { metrics: metrics as Metrics, calls }; // holds: every member that the recorder calls is a function of one fact
}

function aSession(changes: Partial<Session>): Session {
  const session = {
    provider: 'vastai',
    request: { offerId: 'vastai-1', retryScope: 'same_gpu' },
    reason: null,
    attemptCount: 1,
    createdAt: 1_000,
    runningAt: null,
    updatedAt: 1_000,
  };
  return { ...session, ...changes } as unknown as Session; // the recorder reads no more than this
}

const change = (session: Session, ...kinds: (string | [string, Record<string, unknown>])[]) => ({
  session,
  events: kinds.map((kind) => (typeof kind === 'string' ? { kind, data: {} } : { kind: kind[0], data: kind[1] })),
  failures: [],
  releasedOffers: [],
});

describe('recordChange', () => {
  it.each([
    [aSession({}), 'instance.created', ['sessionCreated {"provider":"vastai"}']],
    [
      aSession({ attemptCount: 2 }),
      'instance.created',
      ['sessionCreated {"provider":"vastai"}', 'retrySucceeded {"provider":"vastai","scope":"same_gpu"}'],
    ],
    [aSession({ runningAt: 5_000 }), 'session.running', ['sessionProvisioned {"provider":"vastai","seconds":4}']],
    [aSession({ reason: 'idle' }), 'session.stopped', ['sessionDestroyed {"provider":"vastai","reason":"idle"}']],
    [aSession({ reason: 'hard_max' }), 'session.stopping', ['hardMaxEnforced']],
    [aSession({ reason: 'expired' }), 'session.stopping', []],
    [aSession({}), 'instance.vanished', ['ghostDetected']],
    [
      aSession({}),
      ['instance.reappeared', { provider: 'tensordock' }], // the attempt's: the session has gone on elsewhere
      ['orphanDetected', 'instanceReappeared {"provider":"tensordock"}'],
    ],
    [aSession({}), 'instance.destroy_failed', []], // each call is counted where it is made
    [aSession({}), ['attempt.failed', { reason: 'ssh_verify_timeout' }], ['sshVerifyFailed']],
    [aSession({}), ['attempt.failed', { reason: 'wrong_host' }], ['sshVerifyFailed']],
    [aSession({}), ['attempt.failed', { reason: 'ssh_address_refused' }], ['sshVerifyFailed']],
    [aSession({}), ['attempt.failed', { reason: 'instance_stopped' }], []],
    [
      aSession({ reason: 'ssh_verify_timeout', attemptCount: 3 }),
      'session.failed',
      [
        'sessionDestroyed {"provider":"vastai","reason":"ssh_verify_timeout"}',
        'retryExhausted {"provider":"vastai","scope":"same_gpu"}',
      ],
    ],
    [
      aSession({ reason: 'user_requested', attemptCount: 3 }),
      'session.stopped',
      ['sessionDestroyed {"provider":"vastai","reason":"user_requested"}'],
    ],
    [aSession({}), 'session.requested', []],
  ] satisfies [Session, string | [string, Record<string, unknown>], string[]][])('counts %# %s', (session, kind, expected) => {
    const { metrics, calls } = recordingMetrics();

    recordChange(metrics, change(session, kind));

    expect(calls).toEqual(expected);
  });

  it('PEER-11.2.23: counts an end once, by its first reason, whatever else happened in the same write', () => {
    const { metrics, calls } = recordingMetrics();
    const session = aSession({ reason: 'expired' });

    recordChange(
      metrics,
      change(session, 'session.stopping', 'instance.gone_accepted', 'session.stopped', 'session.gone_verified'),
    );

    expect(calls).toEqual(['sessionDestroyed {"provider":"vastai","reason":"expired"}']);
  });

  it('counts a session that ran out of attempts, and each offer that failed it', () => {
    const { metrics, calls } = recordingMetrics();
    const session = aSession({ reason: 'no_capacity', attemptCount: 3 });
    const failure = { provider: 'vastai', gpuType: 'RTX 4090', kind: 'stale_inventory' };

    recordChange(metrics, { ...change(session, 'session.failed'), failures: [failure as never] }); // the recorder reads these three

    expect(calls).toEqual([
      'sessionDestroyed {"provider":"vastai","reason":"no_capacity"}',
      'retryExhausted {"provider":"vastai","scope":"same_gpu"}',
      'offerFailed {"provider":"vastai","gpuType":"RTX 4090","failureType":"stale_inventory"}',
    ]);
  });
});
