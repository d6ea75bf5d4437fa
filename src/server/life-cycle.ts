import type { Config } from '../config/config.ts';
import type { Envelope } from '../core/envelope.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { Ids } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { SteadyClock } from '../core/steady-clock.ts';
import { createAuditSealController } from '../controllers/audit-seal.ts';
import type { Controller } from '../controllers/controller.ts';
import { createAccountSpendController, type AccountSpendController } from '../controllers/account-spend.ts';
import { createChargeReconciliationController } from '../controllers/charge-reconciliation.ts';
import { createCostMeteringController } from '../controllers/cost-metering.ts';
import { createExpiryController, createHardMaximumController } from '../controllers/expiry.ts';
import { createGhostsController } from '../controllers/ghosts.ts';
import { createIdlenessController } from '../controllers/idleness.ts';
import { createObserver } from '../controllers/observer.ts';
import { createOfferRefreshController } from '../controllers/offer-refresh.ts';
import { createOrphansController } from '../controllers/orphans.ts';
import { createProvisioningController } from '../controllers/provisioning.ts';
import { createProviderCheckController, type Verdict } from '../controllers/provider-check.ts';
import { createRetentionController } from '../controllers/retention.ts';
import { createTaskPool, type TaskPool } from '../controllers/task-pool.ts';
import { createTerminationController } from '../controllers/termination.ts';
import { createVerificationController } from '../controllers/verification.ts';
import type { CostRepository } from '../costs/cost-repository.ts';
import type { AuditRepository } from '../db/audit-repository.ts';
import type { LeaseRepository } from '../db/lease-repository.ts';
import type { Store } from '../db/store.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { OfferRepository } from '../offers/offer-repository.ts';
import type { RecentWishes } from '../offers/recent-wishes.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';
import type { Provider } from '../provider/provider.ts';
import type { OfferDesk } from '../sessions/offer-desk.ts';
import type { RecoveryMode } from '../sessions/recovery-mode.ts';
import type { SessionChange, SessionChanges } from '../sessions/session-changes.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';
import { createHandshakeGate } from '../ssh/handshake-gate.ts';
import { createSampler } from '../ssh/sampler.ts';
import { createSshVerifier } from '../ssh/verifier.ts';

export interface LifeCycleDeps {
  readonly config: Config;
  readonly store: Store;
  readonly sessions: SessionRepository;
  readonly sightings: SightingRepository;
  readonly audit: AuditRepository;
  readonly writer: SessionWriter;
  readonly changes: SessionChanges;
  readonly offers: OfferRepository;
  readonly desk: OfferDesk;
  readonly book: OfferBook;
  readonly wishes: RecentWishes;
  readonly leases: LeaseRepository;
  /** Names this process among the replicas. */
  readonly holder: string;
  readonly accountOf: (provider: ProviderId) => string;
  readonly costs: CostRepository;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly envelope: Envelope;
  readonly clock: SteadyClock;
  readonly ids: Ids;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly recovery: RecoveryMode;
  readonly deploymentId: DeploymentId;
  readonly tunnelPorts: Controller;
  /** Asks the driver for a pass; the driver is made of what this function makes. */
  readonly activate: (controller: string) => void;
}

export interface LifeCycle {
  readonly controllers: readonly Controller[];
  /** The provider's offers have just changed; true when a pass of their controller is called for. */
  refreshSoon(provider: ProviderId): boolean;
  /** Shows the offers that are stored, with their age; before anything else. */
  loadOffers(): Promise<void>;
  /** Gives back what this process holds alone among the replicas, once it does nothing any more. */
  release(): Promise<void>;
  /** What the provider's own check said last. */
  verdictOf(provider: ProviderId): Verdict | undefined;
  readonly accountSpend: Pick<AccountSpendController, 'spend'>;
  /** Ends the tasks that only look and wait; calls that change something are left to finish. */
  abandonWaits(reason: Error): void;
  /** Cuts short whatever the controllers have under way. */
  abort(reason: Error): void;
}

/** For this long after its intent a create call may be sent. */
const CREATE_FENCE_MS = 30 * SECOND_MS;
const PRICE_TOLERANCE_PERCENT = 5;
const PROOF_BUDGET_MS = 60 * SECOND_MS;
const MANY = 100_000;
const CHECK_EVERY_MS = 5 * MINUTE_MS;
/** So that the quarter of an hour that is compared has three parts. */
const COMPARE_SPEND_EVERY_MS = 5 * MINUTE_MS;
/** The most that LIFECYCLE_CHECK_INTERVAL can be. */
const LONGEST_CHECK_INTERVAL_MS = 10 * MINUTE_MS;

/** Every controller, with what it needs. */
export function createLifeCycle(deps: LifeCycleDeps): LifeCycle {
  const { config, metrics, activate, log, clock } = deps;
  const { lifecycle, sessions: limits } = config;
  // the decorators hold each provider to its own time; a controller that gave up sooner would cut a slow one short
  const ownTimesMs = [...deps.providers.values()].map(({ capabilities }) => capabilities.callTimeoutMs ?? 0);
  const callTimeoutMs = Math.max(limits.providerCallTimeoutMs, ...ownTimesMs);
  const observer = createObserver({ ...deps, observations: deps.sightings, callTimeoutMs: 4 * callTimeoutMs });
  const swept = new Set<ProviderId>();
  const gate = createHandshakeGate(config.ssh.concurrency);
  const waits: TaskPool[] = [];
  const pools: TaskPool[] = [];
  const poolOf = (concurrency: number, controller?: string) => {
    const pool = createTaskPool({
      concurrency,
      log,
      clock,
      ...(controller === undefined ? {} : { onSettled: () => activate(controller) }),
    });
    (controller === undefined ? waits : pools).push(pool);
    return pool;
  };

  // a listing only looks: it need not be waited for at the end
  const listings = createTaskPool({ concurrency: 1, log, clock, onSettled: () => activate('offers.refresh') });
  waits.push(listings);
  const offerRefresh = createOfferRefreshController({
    ...deps,
    pool: listings,
    settings: {
      holder: deps.holder,
      exclusive: deps.store.dialect === 'sqlite',
      callTimeoutMs,
      backOffMs: config.inventory.backoffMs,
      ...(config.inventory.refreshMs === undefined ? {} : { refreshMs: config.inventory.refreshMs }),
    },
  });
  const providerCheck = createProviderCheckController({ ...deps, settings: { periodMs: CHECK_EVERY_MS, callTimeoutMs } });
  const accountSpend = createAccountSpendController({
    ...deps,
    observer,
    settings: { periodMs: COMPARE_SPEND_EVERY_MS, callTimeoutMs },
  });
  const controllers: Controller[] = [
    providerCheck,
    offerRefresh,
    createProvisioningController({
      ...deps,
      offers: deps.desk,
      observer,
      swept,
      pool: poolOf(limits.createConcurrency, 'session.provisioning'),
      settings: {
        periodMs: Math.min(lifecycle.checkIntervalMs, 5 * SECOND_MS),
        createFenceMs: CREATE_FENCE_MS,
        exclusive: deps.store.dialect === 'sqlite',
        priceTolerancePercent: PRICE_TOLERANCE_PERCENT,
      },
    }),
    createVerificationController({
      ...deps,
      verifier: createSshVerifier({ clock, log, gate }),
      pool: poolOf(MANY),
      metrics: {
        sshAttemptFailed: (provider, errorType) => metrics.sshProbeFailed({ provider, errorType }),
        sshProven: (provider, figures) => metrics.sshVerified({ provider, ...figures }),
      },
      settings: {
        periodMs: Math.min(lifecycle.checkIntervalMs, 5 * SECOND_MS),
        slowestIntervalMs: config.ssh.checkIntervalMs,
        callTimeoutMs,
        proofBudgetMs: PROOF_BUDGET_MS,
      },
    }),
    createTerminationController({
      ...deps,
      observer,
      pool: poolOf(limits.createConcurrency, 'session.termination'),
      settings: { periodMs: Math.min(lifecycle.checkIntervalMs, 5 * SECOND_MS), callTimeoutMs },
    }),
    createExpiryController({ ...deps, settings: { periodMs: lifecycle.checkIntervalMs } }),
    createHardMaximumController({ ...deps, settings: { periodMs: lifecycle.checkIntervalMs } }),
    createIdlenessController({
      ...deps,
      sampler: createSampler({ clock, gate }),
      pool: poolOf(config.ssh.concurrency),
      settings: { ...config.idle, callTimeoutMs },
    }),
    createGhostsController({ ...deps, observer, settings: { periodMs: lifecycle.reconciliationIntervalMs, callTimeoutMs } }),
    createOrphansController({
      ...deps,
      observer,
      swept,
      settings: { periodMs: lifecycle.reconciliationIntervalMs, graceMs: lifecycle.orphanGraceMs, callTimeoutMs },
    }),
    createCostMeteringController({
      ...deps,
      metrics: { costAccrued: (provider, micros) => metrics.costAccrued({ provider, micros }) },
      settings: { periodMs: lifecycle.checkIntervalMs },
    }),
    createChargeReconciliationController({
      ...deps,
      metrics: { chargeReconciled: (provider, result) => metrics.chargeReconciled({ provider, result }) },
      settings: { periodMs: HOUR_MS, callTimeoutMs: 4 * callTimeoutMs },
    }),
    accountSpend,
    createRetentionController({ ...deps, settings: { periodMs: MINUTE_MS, sessionRetentionMs: config.retention.sessionMs } }),
    createAuditSealController({
      ...deps,
      settings: {
        periodMs: MINUTE_MS,
        retentionMs: config.retention.auditMs,
        holder: deps.holder,
        exclusive: deps.store.dialect === 'sqlite',
      },
    }),
    deps.tunnelPorts,
    {
      name: 'clock.steadiness',
      periodMs: 2 * SECOND_MS,
      async reconcile() {
        await clock.tick();
        return {
          examined: 1,
          changed: 0,
          failed: 0,
          details: { frozen: String(clock.frozen), disagreement_ms: clock.disagreementMs },
        };
      },
    },
  ];
  return {
    controllers,
    refreshSoon: (provider) => offerRefresh.refreshSoon(provider),
    loadOffers: () => offerRefresh.load(),
    release: () => offerRefresh.release(),
    verdictOf: (provider) => providerCheck.verdictOf(provider),
    accountSpend,
    abandonWaits: (reason) => {
      for (const pool of waits) pool.stop(reason);
    },
    abort: (reason) => {
      for (const pool of [...waits, ...pools]) pool.stop(reason);
    },
  };
}

/** Which controllers have something to do after a change: a hint, their periods do the rest. */
export function concernedBy({ session, events }: SessionChange): string[] {
  const names = new Set<string>();
  if (session.phase === 'queued' || session.phase === 'retrying' || session.phase === 'resolving')
    names.add('session.provisioning');
  if (session.phase === 'booting') names.add('session.verification');
  const mayNeedPort = session.phase === 'booting' || session.phase === 'connecting' || session.phase === 'retrying';
  if (mayNeedPort && session.sshPort === null) names.add('tunnel.ports');
  for (const { kind } of events) {
    if (
      kind === 'session.stopping' ||
      kind === 'attempt.failed' ||
      kind === 'instance.reappeared' ||
      kind === 'instance.gone_accepted' ||
      kind === 'instance.created'
    )
      names.add('session.termination');
    if (kind === 'session.requested' && session.expiresAt - session.createdAt <= LONGEST_CHECK_INTERVAL_MS)
      names.add('session.expiry'); // its end may come before the next look
    if (kind === 'session.running' && session.offer.interruptible) names.add('session.ghosts'); // from now on it is looked at often
    if (kind === 'attempt.unknown') names.add('session.provisioning');
    if (kind === 'session.stopped' || kind === 'session.failed') names.add('session.cost-metering');
    if (kind === 'instance.gone_accepted' && session.desired === 'run') names.add('session.provisioning');
  }
  return [...names];
}
