import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { Log } from '../core/log.ts';
import { toUsd } from '../core/money.ts';
import type { MicroUsd } from '../core/money.ts';
import type { ProviderMetrics } from '../provider/decorators/instrumented.ts';
import { cappedAt, closedTo } from './label-values.ts';
import { addGauges } from './metric-sources.ts';
import type { MetricSources } from './metric-sources.ts';

/**
 * What the broker counts. Each method is one fact, said once by the code that knows it; the names and labels that come out are promises.
 * Values of labels outside their lists become `other`. Provider names, reasons and types come as texts, since their lists live in other rooms.
 */
export interface Metrics extends ProviderMetrics {
  /** A response has been sent. `route` is the pattern (`/api/v1/sessions/:id`), undefined where none matched. */
  observeRequest(request: { method: string; route: string | undefined; status: number; seconds: number }): void;

  /** A provider accepted a create. */
  sessionCreated(session: { provider: string }): void;
  /** A session reached its end status; `reason` is the first one that was given for it. */
  sessionDestroyed(session: { provider: string; reason: string }): void;
  /** A session runs; `seconds` from the request to there. */
  sessionProvisioned(session: { provider: string; seconds: number }): void;
  /** A session was told to stop for the hard maximum. */
  hardMaxEnforced(): void;
  orphanDetected(): void;
  /** An orphan is gone after it was asked to be destroyed. */
  orphanDestroyed(orphan: { provider: string }): void;
  /** An instance was seen again after it was gone; said beside `orphanDetected`. */
  instanceReappeared(instance: { provider: string }): void;
  /** A provider was asked for all its instances; `suspect`: the list lacked one that is held to be alive. */
  instancesListed(list: { provider: string; result: ListResult }): void;
  ghostDetected(): void;
  /** A destroy that the provider refused or did not answer; it is repeated. */
  destroyFailed(): void;

  /** SSH was proven; `attempts` probes, `seconds` since the address was known. */
  sshVerified(proof: { provider: string; seconds: number; attempts: number }): void;
  /** SSH was given up for one attempt of a session. */
  sshVerifyFailed(): void;
  /** One probe did not get in. */
  sshProbeFailed(probe: { provider: string; errorType: string }): void;

  /** A further attempt of a session was decided on; `provider` is the one that failed it. */
  retryAttempted(retry: { provider: string; scope: string; reason: string }): void;
  /** A further attempt was accepted by its provider. */
  retrySucceeded(retry: { provider: string; scope: string }): void;
  /** A session ended because it had no attempt or no offer left. */
  retryExhausted(retry: { provider: string; scope: string }): void;
  offerFailed(failure: { provider: string; gpuType: string; failureType: string }): void;

  /** Cost that has been added to a session's bill, each micro-dollar once. */
  costAccrued(cost: { provider: string; micros: MicroUsd }): void;
  /** What an ended instance has cost by our meter was held against what its provider has billed. */
  chargeReconciled(verdict: { provider: string; result: (typeof CHARGE_RESULTS)[number] }): void;

  /** A piece of a relayed connection passed by. */
  tunnelBytes(passed: { provider: string; direction: 'to_instance' | 'to_consumer'; bytes: number }): void;
  /** A connection to a session's port was not taken. */
  tunnelRefused(refused: { provider: string; reason: string }): void;
  /** A connection that was taken is over. */
  tunnelEnded(ended: { provider: string; reason: string }): void;

  controllerRan(run: { controller: string; result: 'success' | 'error'; seconds: number }): void;

  /** Adds the gauges of these sources; each source once. */
  collectFrom(sources: MetricSources): void;
  /** The whole page in the text format of Prometheus, and its content type. */
  scrape(): Promise<string>;
  readonly contentType: string;
  /** What there is to scrape, for the reference. */
  describe(): readonly MetricDescription[];
}

const LIST_RESULTS = ['complete', 'suspect', 'failed'] as const;
const CHARGE_RESULTS = ['matches', 'differs', 'missing'] as const;
export type ListResult = (typeof LIST_RESULTS)[number];

export interface MetricDescription {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  /** Upper bounds; empty but for histograms. */
  readonly buckets: readonly number[];
}

/** The closed lists that labels take their values from. */
export interface MetricLabels {
  readonly providers: readonly string[];
  /** Why a session ended. */
  readonly endReasons: readonly string[];
  readonly sshErrorTypes: readonly string[];
  readonly failureTypes: readonly string[];
  /** Why a relayed connection was not taken, and why one was over. */
  readonly tunnelRefusals: readonly string[];
  readonly tunnelEnds: readonly string[];
  readonly controllers: readonly string[];
}

interface MetricsDeps {
  readonly version: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Pick<Log, 'warn'>;
  readonly labels: MetricLabels;
  /** Whether the process's own metrics (CPU, memory, event loop) stand there too. */
  readonly withProcessMetrics?: boolean;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const RETRY_SCOPES = ['same_offer', 'same_gpu', 'same_vram', 'any'];
const GPU_TYPES_AT_MOST = 200;

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300];
const CALL_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BOOT_SECONDS = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const PASS_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300];

export function createMetrics({ version, clock, log, labels, withProcessMetrics = true }: MetricsDeps): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (withProcessMetrics) collectDefaultMetrics({ register: registry });
  const counter = <Label extends string>(name: string, labelNames: readonly Label[], help: string) =>
    new Counter({ name, help, labelNames, registers });
  const histogram = <Label extends string>(name: string, labelNames: readonly Label[], buckets: number[], help: string) =>
    new Histogram({ name, help, labelNames, buckets, registers });

  const providerLabel = closedTo(labels.providers);
  const reasonLabel = closedTo(labels.endReasons);
  const errorTypeLabel = closedTo(labels.sshErrorTypes);
  const failureTypeLabel = closedTo(labels.failureTypes);
  const tunnelRefusalLabel = closedTo(labels.tunnelRefusals);
  const tunnelEndLabel = closedTo(labels.tunnelEnds);
  const controllerLabel = closedTo(labels.controllers);
  const methodLabel = closedTo(METHODS);
  const scopeLabel = closedTo(RETRY_SCOPES);
  const gpuTypeLabel = cappedAt(GPU_TYPES_AT_MOST);

  new Gauge({
    name: 'berth_build_info',
    help: 'Always 1; the labels tell which Berth and which Node.js run.',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version, node: process.version }, 1);

  const requests = counter('http_requests_total', ['method', 'path', 'status'], 'HTTP responses sent.');
  const requestSeconds = histogram(
    'http_request_duration_seconds',
    ['method', 'path', 'status'],
    REQUEST_SECONDS,
    'From the head of a request to the end of its response.',
  );

  const created = counter('gpu_sessions_created_total', ['provider'], 'Creates that a provider accepted.');
  const destroyed = counter(
    'gpu_sessions_destroyed_total',
    ['provider', 'reason'],
    'Sessions that reached their end, once each, by the reason of the end.',
  );
  const provisioningSeconds = histogram(
    'gpu_provisioning_duration_seconds',
    ['provider'],
    BOOT_SECONDS,
    'From the request for a session to its running.',
  );
  const hardMax = counter(
    'gpu_hard_max_enforced_total',
    [],
    'Sessions stopped because they reached the longest life, once each.',
  );
  const orphans = counter(
    'gpu_orphans_detected_total',
    [],
    'Instances found that bear our tag and belong to no open session, once each.',
  );
  const orphansDestroyed = counter(
    'gpu_orphans_destroyed_total',
    ['provider'],
    'Orphans that are gone after they were asked to be destroyed. Instances that reappeared are not among them.',
  );
  const reappeared = counter(
    'gpu_instances_reappeared_total',
    ['provider'],
    'Instances seen again after they were gone, each time once; they count as orphans, too, and are destroyed again.',
  );
  const lists = counter(
    'gpu_instance_lists_total',
    ['provider', 'result'],
    'Lists of all instances, by what they were worth: complete, suspect (one that is held to be alive was lacking) or failed.',
  );
  const listSuspect = new Gauge({
    name: 'gpu_instance_list_suspect',
    help: '1 while the last list that a provider gave is suspect and proves no absence, else 0.',
    labelNames: ['provider'],
    registers,
  });
  const listedAt = new Gauge({
    name: 'gpu_instances_listed_timestamp_seconds',
    help: 'When the provider last gave a list of its instances that is complete and not suspect, Unix time.',
    labelNames: ['provider'],
    registers,
  });
  const ghosts = counter(
    'gpu_ghosts_detected_total',
    [],
    'Sessions found whose instance the provider no longer knows, once each.',
  );
  const mismatches = counter('gpu_reconciliation_mismatches_total', [], 'Orphans and ghosts together.');
  const destroyFailures = counter(
    'gpu_destroy_failures_total',
    [],
    'Destroy calls that a provider refused or did not answer; each is repeated until the instance is gone.',
  );

  const sshSeconds = histogram(
    'gpu_ssh_verify_duration_seconds',
    ['provider'],
    BOOT_SECONDS,
    'From a known SSH address to the proof that SSH works.',
  );
  const sshAttempts = histogram(
    'gpu_ssh_verify_attempts',
    ['provider'],
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 50, 100],
    'Probes that it took until SSH worked.',
  );
  const sshFailures = counter('gpu_ssh_verify_failures_total', [], 'Attempts of sessions given up because SSH never worked.');
  const sshErrors = counter(
    'gpu_ssh_verify_errors_by_type',
    ['provider', 'error_type'],
    'Probes that failed, by what went wrong. A counter, its name kept for existing dashboards.',
  );

  const callSeconds = histogram(
    'gpu_provider_api_response_time_seconds',
    ['provider', 'operation'],
    CALL_SECONDS,
    'How long providers took to answer.',
  );
  const calls = counter(
    'gpu_provider_api_calls_total',
    ['provider', 'operation', 'status'],
    'Calls to providers, by their outcome: success or error.',
  );
  const callErrors = counter('gpu_provider_api_errors_total', ['provider', 'operation'], 'Calls to providers that failed.');

  const retryAttempts = counter(
    'gpu_session_retry_attempts_total',
    ['provider', 'scope', 'reason'],
    'Further attempts of sessions, by where the next offer is looked for and why the last one failed.',
  );
  const retrySuccesses = counter(
    'gpu_session_retry_successes_total',
    ['provider', 'scope'],
    'Further attempts that their provider accepted.',
  );
  const retriesExhausted = counter(
    'gpu_session_retry_exhausted_total',
    ['provider', 'scope'],
    'Sessions that ended because no attempt or no offer was left.',
  );
  const offerFailures = counter(
    'gpu_offer_failures_total',
    ['provider', 'gpu_type', 'failure_type'],
    'Failures that are remembered against an offer or its machine.',
  );

  const cost = counter(
    'gpu_cost_accrued_usd',
    ['provider'],
    'Cost added to bills, US dollars. A counter, its name kept for existing dashboards.',
  );
  const reconciled = counter(
    'gpu_cost_reconciliations_total',
    ['provider', 'result'],
    'Ended instances whose cost was held against the bill of their provider: matches, differs or missing.',
  );

  const tunnelBytes = counter(
    'gpu_tunnel_bytes_total',
    ['provider', 'direction'],
    'Bytes relayed between consumers and instances that cannot be dialled directly.',
  );
  const tunnelRefused = counter(
    'gpu_tunnel_refused_total',
    ['provider', 'reason'],
    'Connections to ports of sessions that were not taken, by what there was too much of.',
  );
  const tunnelEnded = counter(
    'gpu_tunnel_ended_total',
    ['provider', 'reason'],
    'Relayed connections that are over, by what ended them.',
  );

  const runs = counter('gpu_controller_runs_total', ['controller', 'result'], 'Passes of controllers, by their outcome.');
  const runSeconds = histogram('gpu_controller_duration_seconds', ['controller'], PASS_SECONDS, 'How long one pass took.');
  const lastSuccess = new Gauge({
    name: 'gpu_controller_last_success_timestamp_seconds',
    help: 'When the controller last finished a pass without an error, Unix time.',
    labelNames: ['controller'],
    registers,
  });

  // A rate sees nothing of a series that is born by its first rise: those that every installation has begin at 0.
  for (const provider of labels.providers) {
    created.inc({ provider }, 0);
    cost.inc({ provider }, 0);
    orphansDestroyed.inc({ provider }, 0);
    reappeared.inc({ provider }, 0);
    for (const result of LIST_RESULTS) lists.inc({ provider, result }, 0);
    for (const result of CHARGE_RESULTS) reconciled.inc({ provider, result }, 0);
    provisioningSeconds.zero({ provider });
    sshSeconds.zero({ provider });
    sshAttempts.zero({ provider });
    for (const reason of labels.endReasons) destroyed.inc({ provider, reason }, 0);
  }

  return {
    observeRequest: ({ method, route, status, seconds }) => {
      const about = { method: methodLabel(method), path: route ?? 'unmatched', status: String(status) };
      requests.inc(about);
      requestSeconds.observe(about, seconds);
    },

    sessionCreated: ({ provider }) => created.inc({ provider: providerLabel(provider) }),
    sessionDestroyed: ({ provider, reason }) =>
      destroyed.inc({ provider: providerLabel(provider), reason: reasonLabel(reason) }),
    sessionProvisioned: ({ provider, seconds }) => provisioningSeconds.observe({ provider: providerLabel(provider) }, seconds),
    hardMaxEnforced: () => hardMax.inc(),
    orphanDetected: () => {
      orphans.inc();
      mismatches.inc();
    },
    orphanDestroyed: ({ provider }) => orphansDestroyed.inc({ provider: providerLabel(provider) }),
    instanceReappeared: ({ provider }) => reappeared.inc({ provider: providerLabel(provider) }),
    instancesListed: ({ provider, result }) => {
      const about = { provider: providerLabel(provider) };
      lists.inc({ ...about, result });
      if (result === 'failed') return;
      listSuspect.set(about, result === 'suspect' ? 1 : 0);
      if (result === 'complete') listedAt.set(about, clock.now() / SECOND_MS);
    },
    ghostDetected: () => {
      ghosts.inc();
      mismatches.inc();
    },
    destroyFailed: () => destroyFailures.inc(),

    sshVerified: ({ provider, seconds, attempts }) => {
      sshSeconds.observe({ provider: providerLabel(provider) }, seconds);
      sshAttempts.observe({ provider: providerLabel(provider) }, attempts);
    },
    sshVerifyFailed: () => sshFailures.inc(),
    sshProbeFailed: ({ provider, errorType }) =>
      sshErrors.inc({ provider: providerLabel(provider), error_type: errorTypeLabel(errorType) }),

    call: ({ provider, operation, status, seconds }) => {
      const about = { provider: providerLabel(provider), operation };
      callSeconds.observe(about, seconds);
      calls.inc({ ...about, status });
      if (status === 'error') callErrors.inc(about);
    },

    retryAttempted: ({ provider, scope, reason }) =>
      retryAttempts.inc({ provider: providerLabel(provider), scope: scopeLabel(scope), reason: failureTypeLabel(reason) }),
    retrySucceeded: ({ provider, scope }) =>
      retrySuccesses.inc({ provider: providerLabel(provider), scope: scopeLabel(scope) }),
    retryExhausted: ({ provider, scope }) =>
      retriesExhausted.inc({ provider: providerLabel(provider), scope: scopeLabel(scope) }),
    offerFailed: ({ provider, gpuType, failureType }) =>
      offerFailures.inc({
        provider: providerLabel(provider),
        gpu_type: gpuTypeLabel(gpuType),
        failure_type: failureTypeLabel(failureType),
      }),

    costAccrued: ({ provider, micros }) => cost.inc({ provider: providerLabel(provider) }, toUsd(micros)),
    chargeReconciled: ({ provider, result }) => reconciled.inc({ provider: providerLabel(provider), result }),
    tunnelBytes: ({ provider, direction, bytes }) => tunnelBytes.inc({ provider: providerLabel(provider), direction }, bytes),
    tunnelRefused: ({ provider, reason }) =>
      tunnelRefused.inc({ provider: providerLabel(provider), reason: tunnelRefusalLabel(reason) }),
    tunnelEnded: ({ provider, reason }) =>
      tunnelEnded.inc({ provider: providerLabel(provider), reason: tunnelEndLabel(reason) }),
    controllerRan: ({ controller, result, seconds }) => {
      const about = { controller: controllerLabel(controller) };
      runs.inc({ ...about, result });
      runSeconds.observe(about, seconds);
      if (result === 'success') lastSuccess.set(about, clock.now() / SECOND_MS);
    },

    collectFrom: (sources) => addGauges(sources, { registry, providers: labels.providers, providerLabel, log }),
    scrape: () => registry.metrics(),
    contentType: registry.contentType,
    describe: () => registry.getMetricsAsArray().map(describeMetric),
  };
}

function describeMetric(metric: object): MetricDescription {
  // Every class of the library has these fields, although its types keep them to themselves.
  const { name, help, type, labelNames, upperBounds } = metric as unknown as {
    name: string;
    help: string;
    type: MetricDescription['type'];
    labelNames: readonly string[];
    upperBounds?: readonly number[];
  };
  return { name, help, type, labels: labelNames.filter((label) => label !== 'le'), buckets: upperBounds ?? [] };
}
