import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { describePart } from '../../test/support/parts.ts';
import { recordingLog } from '../../test/support/log.ts';
import { providerId } from '../provider/ids.ts';
import { cappedAt } from './label-values.ts';
import { createMetrics } from './metrics.ts';
import type { Metrics } from './metrics.ts';

const LABELS = {
  providers: ['simulated', 'pool'],
  endReasons: ['user_requested', 'expired'],
  sshErrorTypes: ['timeout'],
  failureTypes: ['stale_inventory'],
  tunnelRefusals: ['too_many'],
  tunnelEnds: ['finished'],
  controllers: ['session.expiry'],
};

function someMetrics(withProcessMetrics = false) {
  const log = recordingLog();
  return {
    log,
    metrics: createMetrics({
      version: '1.2.3',
      clock: { now: () => 1_767_225_600_000 },
      log,
      labels: LABELS,
      withProcessMetrics,
    }),
  };
}

/** The samples of one metric, as `{labels} value`. */
async function samples(metrics: Metrics, name: string): Promise<string[]> {
  const lines = (await metrics.scrape()).split('\n');
  return lines
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .map((line) => line.slice(name.length).trim());
}

describe('createMetrics', () => {
  it('tells how many connections are relayed, what passed through them, and what became of them', async () => {
    const { metrics } = someMetrics();
    metrics.collectFrom({ tunnelConnections: () => [{ provider: 'pool', count: 3 }] });
    metrics.tunnelBytes({ provider: 'pool', direction: 'to_consumer', bytes: 40 });
    metrics.tunnelBytes({ provider: 'pool', direction: 'to_consumer', bytes: 2 });
    metrics.tunnelRefused({ provider: 'pool', reason: 'something new' });
    metrics.tunnelEnded({ provider: 'pool', reason: 'finished' });

    expect(await samples(metrics, 'gpu_tunnel_connections')).toEqual(['{provider="pool"} 3']);
    expect(await samples(metrics, 'gpu_tunnel_bytes_total')).toEqual(['{provider="pool",direction="to_consumer"} 42']);
    expect(await samples(metrics, 'gpu_tunnel_refused_total')).toEqual(['{provider="pool",reason="other"} 1']);
    expect(await samples(metrics, 'gpu_tunnel_ended_total')).toEqual(['{provider="pool",reason="finished"} 1']);
  });

  it('PEER-11.2.23, PEER-10.64: reads gauges when scraped, so that they cannot drift, and knows only sessions that have an end before them', async () => {
    const { metrics } = someMetrics();
    let rows = [
      { provider: 'pool', status: 'running', count: 3 },
      { provider: 'pool', status: 'stopped', count: 50 },
      { provider: 'forgotten', status: 'stopping', count: 1 },
      { provider: 'lost', status: 'stopping', count: 1 },
    ];
    metrics.collectFrom({ activeSessions: async () => rows });

    const before = await samples(metrics, 'gpu_sessions_active');
    rows = [];
    const after = await samples(metrics, 'gpu_sessions_active');

    expect(before.filter((line) => !line.endsWith(' 0'))).toEqual([
      '{provider="pool",status="running"} 3',
      '{provider="other",status="stopping"} 2',
    ]);
    expect(before.join()).not.toContain('stopped');
    expect(after).toHaveLength(8);
    expect(after.every((line) => line.endsWith(' 0'))).toBe(true);
  });

  it('PEER-11.2.23: has no series of what it does not watch', async () => {
    const { metrics } = someMetrics();

    const page = await metrics.scrape();

    for (const absent of [
      'gpu_sessions_active',
      'gpu_offers',
      'gpu_clock_frozen',
      'circuit_breaker',
      'budget',
      'api_verify',
      'disk_available',
    ]) {
      expect(page).not.toContain(absent);
    }
  });

  it('leaves out a gauge whose source fails, and only that', async () => {
    const { metrics, log } = someMetrics();
    metrics.collectFrom({
      activeSessions: () => Promise.reject(new Error('locked')),
      unconfirmedDestroys: () => Promise.reject(new Error('locked')),
      isClockFrozen: () => true,
    });

    expect(await samples(metrics, 'gpu_sessions_active')).toEqual([]);
    expect(await samples(metrics, 'gpu_sessions_destroy_unconfirmed')).toEqual([]);
    expect(await samples(metrics, 'gpu_clock_frozen')).toEqual(['1']);
    expect(log.messages('warn')).toContain('metric could not be read');
  });

  it('shows the gauges of its sources', async () => {
    const { metrics } = someMetrics();
    metrics.collectFrom({
      unconfirmedDestroys: async () => ({ count: 2, oldestAgeMs: 90_500 }),
      offers: () => [{ provider: 'pool', count: 7, observedAt: 1_767_225_600_500 }],
      isClockFrozen: () => false,
    });

    expect(await samples(metrics, 'gpu_sessions_destroy_unconfirmed')).toEqual(['2']);
    expect(await samples(metrics, 'gpu_destroy_oldest_unconfirmed_age_seconds')).toEqual(['90.5']);
    expect(await samples(metrics, 'gpu_offers')).toEqual(['{provider="pool"} 7']);
    expect(await samples(metrics, 'gpu_offers_observed_timestamp_seconds')).toEqual(['{provider="pool"} 1767225600.5']);
    expect(await samples(metrics, 'gpu_clock_frozen')).toEqual(['0']);
  });

  it('PEER-11.2.23: counts a session that ends once, and calls a strange reason other', async () => {
    const { metrics } = someMetrics();

    metrics.sessionDestroyed({ provider: 'pool', reason: 'expired' });
    metrics.sessionDestroyed({ provider: 'pool', reason: 'ses_0123' });

    expect(await samples(metrics, 'gpu_sessions_destroyed_total')).toEqual([
      '{provider="simulated",reason="user_requested"} 0',
      '{provider="simulated",reason="expired"} 0',
      '{provider="pool",reason="user_requested"} 0',
      '{provider="pool",reason="expired"} 1',
      '{provider="pool",reason="other"} 1',
    ]);
  });

  it('counts orphans and ghosts, and both together', async () => {
    const { metrics } = someMetrics();

    metrics.orphanDetected();
    metrics.ghostDetected();
    metrics.ghostDetected();

    expect(await samples(metrics, 'gpu_orphans_detected_total')).toEqual(['1']);
    expect(await samples(metrics, 'gpu_ghosts_detected_total')).toEqual(['2']);
    expect(await samples(metrics, 'gpu_reconciliation_mismatches_total')).toEqual(['3']);
  });

  it('tells what lists were worth, whether the last one is suspect, and when one could last be believed', async () => {
    const { metrics } = someMetrics();

    metrics.instancesListed({ provider: 'pool', result: 'complete' });
    metrics.instancesListed({ provider: 'pool', result: 'suspect' });
    metrics.instancesListed({ provider: 'pool', result: 'failed' });
    metrics.instancesListed({ provider: 'simulated', result: 'failed' });

    expect((await samples(metrics, 'gpu_instance_lists_total')).filter((line) => !line.endsWith(' 0'))).toEqual([
      '{provider="simulated",result="failed"} 1',
      '{provider="pool",result="complete"} 1',
      '{provider="pool",result="suspect"} 1',
      '{provider="pool",result="failed"} 1',
    ]);
    expect(await samples(metrics, 'gpu_instance_list_suspect')).toEqual(['{provider="pool"} 1']);
    expect(await samples(metrics, 'gpu_instances_listed_timestamp_seconds')).toEqual(['{provider="pool"} 1767225600']);
    metrics.instancesListed({ provider: 'pool', result: 'complete' });
    expect(await samples(metrics, 'gpu_instance_list_suspect')).toEqual(['{provider="pool"} 0']);
  });

  it('shows what may leak in dollars an hour, and zero where nothing does', async () => {
    const { metrics } = someMetrics();
    metrics.collectFrom({
      unconfirmedInstances: async () => [
        { provider: 'pool', state: 'destroying', count: 2, microsPerHour: 1_250_000, oldestAgeMs: 90_500 },
      ],
      orphansAlive: async () => [{ provider: 'pool', count: 3, oldestAgeMs: 60_000 }],
      tombstones: async () => 41,
    });

    expect(await samples(metrics, 'gpu_instances_unconfirmed')).toEqual([
      '{provider="simulated",state="destroying"} 0',
      '{provider="simulated",state="unknown"} 0',
      '{provider="pool",state="destroying"} 2',
      '{provider="pool",state="unknown"} 0',
    ]);
    expect(await samples(metrics, 'gpu_instances_unconfirmed_usd_per_hour')).toContain(
      '{provider="pool",state="destroying"} 1.25',
    );
    expect(await samples(metrics, 'gpu_instances_unconfirmed_oldest_age_seconds')).toContain(
      '{provider="pool",state="destroying"} 90.5',
    );
    expect(await samples(metrics, 'gpu_orphans_alive')).toEqual(['{provider="simulated"} 0', '{provider="pool"} 3']);
    expect(await samples(metrics, 'gpu_orphans_oldest_age_seconds')).toEqual([
      '{provider="simulated"} 0',
      '{provider="pool"} 60',
    ]);
    expect(await samples(metrics, 'gpu_tombstones_watched')).toEqual(['41']);
  });

  it('REL-B16: says of an account what was compared, and names no rate where nothing could be', async () => {
    const { metrics } = someMetrics();
    metrics.collectFrom({
      accountSpend: () => [
        { provider: 'pool', state: 'possible_leak', microsPerHour: { expected: 340_000, observed: 680_000 } },
        { provider: 'simulated', state: 'cannot_tell' },
      ],
    });

    expect(await samples(metrics, 'gpu_account_spend_expected_usd_per_hour')).toEqual(['{provider="pool"} 0.34']);
    expect(await samples(metrics, 'gpu_account_spend_observed_usd_per_hour')).toEqual(['{provider="pool"} 0.68']);
    expect((await samples(metrics, 'gpu_account_spend_state')).filter((line) => !line.endsWith(' 0'))).toEqual([
      '{provider="pool",state="possible_leak"} 1',
      '{provider="simulated",state="cannot_tell"} 1',
    ]);
    expect(await samples(metrics, 'gpu_account_possible_leak')).toEqual(['{provider="pool"} 1', '{provider="simulated"} 0']);
  });

  it('counts calls to providers by outcome, and errors beside them', async () => {
    const { metrics } = someMetrics();
    const call = { provider: providerId('pool'), operation: 'ListOffers', seconds: 0.3 } as const;

    metrics.call({ ...call, status: 'success' });
    metrics.call({ ...call, status: 'error' });

    expect(await samples(metrics, 'gpu_provider_api_calls_total')).toEqual([
      '{provider="pool",operation="ListOffers",status="success"} 1',
      '{provider="pool",operation="ListOffers",status="error"} 1',
    ]);
    expect(await samples(metrics, 'gpu_provider_api_errors_total')).toEqual(['{provider="pool",operation="ListOffers"} 1']);
    expect(await samples(metrics, 'gpu_provider_api_response_time_seconds_count')).toEqual([
      '{provider="pool",operation="ListOffers"} 2',
    ]);
  });

  it('counts requests by the pattern of their route', async () => {
    const { metrics } = someMetrics();

    metrics.observeRequest({ method: 'GET', route: '/api/v1/sessions/:id', status: 200, seconds: 0.01 });
    metrics.observeRequest({ method: 'BREW', route: undefined, status: 404, seconds: 0.01 });

    expect(await samples(metrics, 'http_requests_total')).toEqual([
      '{method="GET",path="/api/v1/sessions/:id",status="200"} 1',
      '{method="other",path="unmatched",status="404"} 1',
    ]);
  });

  it('adds up cost in dollars', async () => {
    const { metrics } = someMetrics();

    metrics.costAccrued({ provider: 'pool', micros: 250_000 });
    metrics.costAccrued({ provider: 'pool', micros: 500_000 });

    expect(await samples(metrics, 'gpu_cost_accrued_usd')).toEqual(['{provider="simulated"} 0', '{provider="pool"} 0.75']);
  });

  it('keeps the time of the last pass that succeeded', async () => {
    const { metrics } = someMetrics();

    metrics.controllerRan({ controller: 'session.expiry', result: 'success', seconds: 0.1 });
    metrics.controllerRan({ controller: 'session.expiry', result: 'error', seconds: 0.1 });

    expect(await samples(metrics, 'gpu_controller_last_success_timestamp_seconds')).toEqual([
      '{controller="session.expiry"} 1767225600',
    ]);
    expect(await samples(metrics, 'gpu_controller_runs_total')).toHaveLength(2);
  });

  it('tells which version runs', async () => {
    expect(await samples(someMetrics().metrics, 'berth_build_info')).toEqual([`{version="1.2.3",node="${process.version}"} 1`]);
  });
});

describe('cappedAt', () => {
  it('takes the first names and calls the rest other', () => {
    const label = cappedAt(2);

    expect(['a', 'b', 'c', 'a', 'x'.repeat(65)].map(label)).toEqual(['a', 'b', 'other', 'a', 'other']);
  });
});

describePart('prometheus', 'promtool', () => {
  it('finds no fault but in what the library exports and in the two names that are kept', async () => {
    const { metrics } = someMetrics(true);
    sayEverything(metrics);

    const { stdout, stderr, status } = spawnSync('promtool', ['check', 'metrics'], {
      input: await metrics.scrape(),
      encoding: 'utf8',
    });

    const complaints = `${stdout}${stderr}`.split('\n').filter((line) => line !== '' && !line.startsWith('nodejs_'));
    expect(
      complaints.filter(
        (line) =>
          !/^(gpu_ssh_verify_errors_by_type|gpu_cost_accrued_usd) counter metrics should have "_total" suffix$/.test(line),
      ),
    ).toEqual([]);
    // 3: there were complaints. Anything else would mean that it did not read the page.
    expect(status).toBe(3);
    expect(execFileSync('promtool', ['--version'], { encoding: 'utf8' })).toContain('promtool');
  });
});

function sayEverything(metrics: Metrics): void {
  const provider = 'pool';
  metrics.collectFrom({
    activeSessions: async () => [{ provider, status: 'running', count: 1 }],
    unconfirmedDestroys: async () => ({ count: 1, oldestAgeMs: 1 }),
    unconfirmedInstances: async () => [{ provider, state: 'unknown', count: 1, microsPerHour: 1, oldestAgeMs: 1 }],
    orphansAlive: async () => [{ provider, count: 1, oldestAgeMs: 1 }],
    tombstones: async () => 1,
    accountSpend: () => [{ provider, state: 'matches', microsPerHour: { expected: 1, observed: 1 } }],
    offers: () => [{ provider, count: 1, observedAt: 1 }],
    tunnelConnections: () => [{ provider, count: 1 }],
    isClockFrozen: () => false,
  });
  metrics.observeRequest({ method: 'GET', route: '/health', status: 200, seconds: 0.1 });
  metrics.sessionCreated({ provider });
  metrics.sessionDestroyed({ provider, reason: 'expired' });
  metrics.sessionProvisioned({ provider, seconds: 3 });
  metrics.hardMaxEnforced();
  metrics.orphanDetected();
  metrics.orphanDestroyed({ provider });
  metrics.instanceReappeared({ provider });
  metrics.instancesListed({ provider, result: 'complete' });
  metrics.ghostDetected();
  metrics.destroyFailed();
  metrics.sshVerified({ provider, seconds: 2, attempts: 3 });
  metrics.sshVerifyFailed();
  metrics.sshProbeFailed({ provider, errorType: 'timeout' });
  metrics.call({ provider: providerId(provider), operation: 'ListOffers', status: 'error', seconds: 1 });
  metrics.retryAttempted({ provider, scope: 'any', reason: 'stale_inventory' });
  metrics.retrySucceeded({ provider, scope: 'any' });
  metrics.retryExhausted({ provider, scope: 'any' });
  metrics.offerFailed({ provider, gpuType: 'RTX 4090', failureType: 'stale_inventory' });
  metrics.costAccrued({ provider, micros: 1 });
  metrics.chargeReconciled({ provider, result: 'differs' });
  metrics.tunnelBytes({ provider, direction: 'to_instance', bytes: 1 });
  metrics.tunnelRefused({ provider, reason: 'too_many' });
  metrics.tunnelEnded({ provider, reason: 'finished' });
  metrics.controllerRan({ controller: 'session.expiry', result: 'success', seconds: 0.1 });
}
