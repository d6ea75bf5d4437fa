import { setMaxListeners } from 'node:events';
import type { PortRange } from '../../src/config/port-range.ts';
import { createAccountSpendController, type AccountSpendController } from '../../src/controllers/account-spend.ts';
import { createCostMeteringController } from '../../src/controllers/cost-metering.ts';
import type { Controller, Report } from '../../src/controllers/controller.ts';
import { createDriver, type Driver } from '../../src/controllers/driver.ts';
import { createExpiryController, createHardMaximumController } from '../../src/controllers/expiry.ts';
import { createGhostsController } from '../../src/controllers/ghosts.ts';
import { createIdlenessController } from '../../src/controllers/idleness.ts';
import { createObserver, type Observer } from '../../src/controllers/observer.ts';
import { createOfferRefreshController } from '../../src/controllers/offer-refresh.ts';
import { createOrphansController } from '../../src/controllers/orphans.ts';
import { createProvisioningController } from '../../src/controllers/provisioning.ts';
import { createRetentionController } from '../../src/controllers/retention.ts';
import { createTaskPool, type TaskPool } from '../../src/controllers/task-pool.ts';
import { createTerminationController } from '../../src/controllers/termination.ts';
import { createVerificationController } from '../../src/controllers/verification.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Clock } from '../../src/core/clock.ts';
import type { Envelope } from '../../src/core/envelope.ts';
import type { Ids } from '../../src/core/ids.ts';
import { seededRandom } from '../../src/core/random.ts';
import { createSteadyClock, type ClockWitness, type SteadyClock } from '../../src/core/steady-clock.ts';
import type { Log } from '../../src/core/log.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { createCostRepository, type CostRepository } from '../../src/costs/cost-repository.ts';
import { createAuditRepository } from '../../src/db/audit-repository.ts';
import { createInstallationRepository } from '../../src/db/installation-repository.ts';
import { createLeaseRepository, type LeaseRepository } from '../../src/db/lease-repository.ts';
import type { Store } from '../../src/db/store.ts';
import type { Metrics } from '../../src/observability/metrics.ts';
import { createOfferBook, type OfferBook } from '../../src/offers/offer-book.ts';
import { createRecentWishes, type RecentWishes } from '../../src/offers/recent-wishes.ts';
import { createOfferRepository, type OfferRepository } from '../../src/offers/offer-repository.ts';
import { createTemplateCatalogue } from '../../src/offers/template-catalogue.ts';
import { decorate } from '../../src/provider/decorators/decorate.ts';
import type { ProviderId } from '../../src/provider/ids.ts';
import type { DeploymentId } from '../../src/provider/ownership-tag.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { createOfferDesk } from '../../src/server/offer-desk.ts';
import { concernedBy } from '../../src/server/life-cycle.ts';
import { createExtendSession } from '../../src/sessions/commands/extend-session.ts';
import { createRequestSession } from '../../src/sessions/commands/request-session.ts';
import { createStopSession } from '../../src/sessions/commands/stop-session.ts';
import { createRecoveryMode, type RecoveryMode } from '../../src/sessions/recovery-mode.ts';
import { createSessionChanges, type SessionChanges } from '../../src/sessions/session-changes.ts';
import { createSessionRepository, type SessionRepository } from '../../src/sessions/session-repository.ts';
import { createSessionWaiter } from '../../src/sessions/session-waiter.ts';
import { createSessionWriter, type SessionWriter } from '../../src/sessions/session-writer.ts';
import { createSightingRepository, type SightingRepository } from '../../src/sessions/sighting-repository.ts';
import type { Sampler } from '../../src/ssh/sampler.ts';
import type { SshVerifier } from '../../src/ssh/verifier.ts';
import { createTunnelPortRepository } from '../../src/tunnel/tunnel-port-repository.ts';
import { createTunnelPortsController } from '../../src/tunnel/tunnel-ports.ts';
import { createLife, mortalClock, mortalProvider, mortalStore, type Life } from './mortal.ts';
import { createPaperTunnels, type PaperTunnels } from './paper-tunnels.ts';

/** What differs from one test's world to the next; times in milliseconds. */
export interface WorldSettings {
  readonly bootTimeoutMs: number;
  readonly driverTimeoutMs: number;
  readonly createFenceMs: number;
  readonly createConcurrency: number;
  readonly callTimeoutMs: number;
  /** Of provisioning, verification and termination. */
  readonly periodMs: number;
  /** Of expiry, hard maximum and metering. */
  readonly checkIntervalMs: number;
  /** Of ghosts and orphans. */
  readonly reconciliationIntervalMs: number;
  readonly orphanGraceMs: number;
  readonly hardMaxMs: number;
  readonly keyReplayMs: number;
  readonly sessionRetentionMs: number;
  readonly sampleIntervalMs: number;
  readonly slowestKnockMs: number;
  readonly offerBackOffMs: number;
  readonly clockSettleMs: number;
  /** How often the clocks are compared. */
  readonly clockTickMs: number;
  /** Replicas on one SQLite file, which the product forbids: leases then decide, as they do on PostgreSQL. */
  readonly sharedSqlite: boolean;
  readonly tunnelPorts: PortRange;
  /** Whether changes wake controllers; without it periods alone move everything (RULE-R5). */
  readonly activations: boolean;
}

export const WORLD_SETTINGS: WorldSettings = {
  bootTimeoutMs: 10 * MINUTE_MS,
  driverTimeoutMs: 5 * MINUTE_MS,
  createFenceMs: 30 * SECOND_MS,
  createConcurrency: 32,
  callTimeoutMs: 30 * SECOND_MS,
  periodMs: 5 * SECOND_MS,
  checkIntervalMs: MINUTE_MS,
  reconciliationIntervalMs: 5 * MINUTE_MS,
  orphanGraceMs: 15 * MINUTE_MS,
  hardMaxMs: 12 * HOUR_MS,
  keyReplayMs: 15 * MINUTE_MS,
  sessionRetentionMs: 90 * DAY_MS,
  sampleIntervalMs: 30 * SECOND_MS,
  slowestKnockMs: 15 * SECOND_MS,
  offerBackOffMs: 5 * MINUTE_MS,
  clockSettleMs: 10 * MINUTE_MS,
  clockTickMs: 2 * SECOND_MS,
  sharedSqlite: false,
  tunnelPorts: { first: 22_000, last: 22_099 },
  activations: true,
};

export interface ReplicaDeps {
  readonly store: Store;
  readonly clock: Clock;
  /** The database's clock, where the machine's own may jump. */
  readonly witness?: ClockWitness;
  readonly ids: Ids;
  readonly envelope: Envelope;
  readonly log: Log;
  readonly deploymentId: DeploymentId;
  /** Bare providers. */
  readonly providers: readonly Provider[];
  readonly ssh: { readonly verifier: Pick<SshVerifier, 'prove'>; readonly sampler: Sampler };
  /** Whether knocks are real network traffic, which has to be waited for. */
  readonly realSsh: boolean;
  readonly settings: WorldSettings;
  readonly seed: number;
  /** Handed in by who wants to end it from its first moment on. */
  readonly life?: Life;
  /** Parts of the product in another make, for those who show what a rule is good for. */
  readonly remade?: {
    readonly sessions?: (made: SessionRepository) => SessionRepository;
    readonly observer?: (made: Observer, parts: { readonly sessions: SessionRepository }) => Observer;
    readonly writer?: (made: SessionWriter) => SessionWriter;
    readonly decorate?: typeof decorate;
  };
  /** Told what is counted, beside `counts`. */
  readonly metrics?: Pick<Metrics, 'orphanDetected' | 'orphanDestroyed' | 'instancesListed'>;
}

/** One broker process of a test's world: the product's own parts over the world's database and providers. */
export interface Replica {
  readonly life: Life;
  readonly sessions: SessionRepository;
  readonly sightings: SightingRepository;
  readonly costs: CostRepository;
  readonly offers: OfferRepository;
  readonly book: OfferBook;
  readonly changes: SessionChanges;
  readonly writer: SessionWriter;
  readonly observer: Observer;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly clock: SteadyClock;
  readonly driver: Driver;
  readonly pools: readonly TaskPool[];
  readonly tunnels: PaperTunnels;
  readonly accountSpend: AccountSpendController;
  readonly controllers: readonly Controller[];
  readonly commands: {
    readonly request: ReturnType<typeof createRequestSession>;
    readonly stop: ReturnType<typeof createStopSession>;
    readonly extend: ReturnType<typeof createExtendSession>;
  };
  readonly waiter: ReturnType<typeof createSessionWaiter>;
  /** What metrics would have counted. */
  readonly counts: { orphans: number; destroysFailed: number; knocksFailed: number; proofs: number; costMicros: MicroUsd };
  controller(name: string): Controller;
  reconcile(name: string): Promise<Report>;
  readonly recovery: RecoveryMode;
  readonly leases: LeaseRepository;
  readonly wishes: RecentWishes;
  /** What a clean end gives back to other replicas. */
  release(): Promise<void>;
}

export async function createReplica(deps: ReplicaDeps): Promise<Replica> {
  const { ids, envelope, log, deploymentId, settings, remade = {} } = deps;
  const life = deps.life ?? createLife();
  const store = mortalStore(deps.store, life);
  const random = seededRandom(deps.seed);
  // without a witness unless the test has one: a real database's clock knows nothing of a test's time
  const clock = createSteadyClock({
    clock: mortalClock(deps.clock, life),
    settleMs: settings.clockSettleMs,
    ...(deps.witness ? { witness: deps.witness } : {}),
  });
  const counts = { orphans: 0, destroysFailed: 0, knocksFailed: 0, proofs: 0, costMicros: 0 };
  const providers = new Map(
    deps.providers.map((bare) => {
      const decorated = (remade.decorate ?? decorate)(mortalProvider(bare, life), {
        clock,
        random,
        log,
        metrics: { call: () => {} },
        retries: { retries: 0, firstDelayMs: 1, longestDelayMs: 1 }, // a read that fails is seen to fail
      });
      return [bare.id, decorated] as const;
    }),
  );

  const stored = createSessionRepository(store);
  const sessions = remade.sessions?.(stored) ?? stored;
  const sightings = createSightingRepository(store);
  const costs = createCostRepository(store);
  const offers = createOfferRepository(store);
  const wishes = createRecentWishes({ clock });
  const book = createOfferBook({
    providers: [...providers.values()].map(({ id, capabilities }) => ({
      id,
      simulated: capabilities.simulated,
      staleAfterMs: 3 * capabilities.offerRefreshMs,
    })),
    serialise: { offer: (view) => JSON.stringify(view), provider: (status) => JSON.stringify(status) },
    clock,
    epoch: 'test',
    onAsked: (query) => {
      if (wishes.note(query) && settings.activations) driver.activate('offers.refresh');
    },
  });
  const desk = createOfferDesk({
    abilitiesOf: (id) => providers.get(id)?.capabilities,
    book,
    offers,
    store,
    ownProviders: new Set(),
    simulatedProviders: [...providers.keys()],
    log,
  });
  const changes = createSessionChanges();
  const capabilitiesOf = (id: ProviderId) => {
    const provider = providers.get(id);
    if (!provider) throw new RangeError(`no provider is named ${id}`);
    return provider.capabilities;
  };
  const written = createSessionWriter({
    sessions,
    clock,
    changes,
    log,
    rules: {
      absenceOf: (id) => capabilitiesOf(id).absence,
      billingOf: (id) => capabilitiesOf(id).billing,
      bootTimeoutMs: settings.bootTimeoutMs,
      driverTimeoutMs: settings.driverTimeoutMs,
    },
  });
  const writer = remade.writer?.(written) ?? written;
  const { callTimeoutMs, periodMs } = settings;
  const observed = createObserver({
    providers,
    sessions,
    observations: sightings,
    clock,
    log,
    deploymentId,
    metrics: { instancesListed: (list) => deps.metrics?.instancesListed(list) },
    callTimeoutMs,
  });
  const observer = remade.observer?.(observed, { sessions }) ?? observed;
  const verifier: Pick<SshVerifier, 'prove'> = {
    prove: (request, options) => life[deps.realSsh ? 'during' : 'whileAlive'](() => deps.ssh.verifier.prove(request, options)),
  };

  const tunnels = createPaperTunnels();
  const pools: TaskPool[] = [];
  const poolOf = (concurrency: number, wakes?: string) => {
    const onSettled = wakes === undefined || !settings.activations ? {} : { onSettled: () => driver.activate(wakes) };
    const pool = createTaskPool({ concurrency, log, clock, ...onSettled });
    pools.push(pool);
    return pool;
  };
  const audit = createAuditRepository(store);
  const recovery = createRecoveryMode({ installation: createInstallationRepository(store), audit, clock });
  const shared = {
    swept: new Set<ProviderId>(),
    audit,
    recovery,
    sessions,
    sightings,
    costs,
    writer,
    changes,
    providers,
    observer,
    envelope,
    clock,
    ids,
    log,
    store,
    offers,
  };
  const metrics = {
    orphanDetected: () => {
      counts.orphans += 1;
      deps.metrics?.orphanDetected();
    },
    orphanDestroyed: (orphan: { provider: ProviderId }) => deps.metrics?.orphanDestroyed(orphan),
    destroyFailed: () => void (counts.destroysFailed += 1),
    sshAttemptFailed: () => void (counts.knocksFailed += 1),
    sshProven: () => void (counts.proofs += 1),
    costAccrued: (_provider: ProviderId, micros: MicroUsd) => void (counts.costMicros += micros),
  };
  const leases = createLeaseRepository(store);
  const isExclusive = store.dialect === 'sqlite' && !settings.sharedSqlite;
  const offerRefresh = createOfferRefreshController({
    ...shared,
    book,
    wishes,
    leases,
    accountOf: () => 'account',
    pool: poolOf(1, 'offers.refresh'),
    settings: {
      callTimeoutMs,
      backOffMs: settings.offerBackOffMs,
      holder: `replica-${deps.seed}`,
      exclusive: isExclusive,
    },
  });
  const accountSpend = createAccountSpendController({
    ...shared,
    deploymentId,
    settings: { periodMs: 5 * MINUTE_MS, callTimeoutMs },
  });
  const controllers: Controller[] = [
    offerRefresh,
    createProvisioningController({
      ...shared,
      offers: desk,
      deploymentId,
      pool: poolOf(settings.createConcurrency, 'session.provisioning'),
      settings: {
        periodMs,
        createFenceMs: settings.createFenceMs,
        exclusive: isExclusive,
        priceTolerancePercent: 5,
      },
    }),
    createVerificationController({
      ...shared,
      verifier,
      metrics,
      pool: poolOf(100_000),
      settings: { periodMs, slowestIntervalMs: settings.slowestKnockMs, callTimeoutMs, proofBudgetMs: 60 * SECOND_MS },
    }),
    createTerminationController({
      ...shared,
      metrics,
      pool: poolOf(settings.createConcurrency, 'session.termination'),
      settings: { periodMs, callTimeoutMs },
    }),
    createExpiryController({ ...shared, settings: { periodMs: settings.checkIntervalMs } }),
    createHardMaximumController({ ...shared, settings: { periodMs: settings.checkIntervalMs } }),
    createIdlenessController({
      ...shared,
      sampler: deps.ssh.sampler,
      pool: poolOf(8),
      settings: { sampleIntervalMs: settings.sampleIntervalMs, gpuPercent: 5, cpuPercent: 5, callTimeoutMs },
    }),
    createGhostsController({ ...shared, settings: { periodMs: settings.reconciliationIntervalMs, callTimeoutMs } }),
    createOrphansController({
      ...shared,
      deploymentId,
      metrics,
      settings: { periodMs: settings.reconciliationIntervalMs, graceMs: settings.orphanGraceMs, callTimeoutMs },
    }),
    createCostMeteringController({ ...shared, metrics, settings: { periodMs: settings.checkIntervalMs } }),
    accountSpend,
    createRetentionController({
      ...shared,
      settings: { periodMs: MINUTE_MS, sessionRetentionMs: settings.sessionRetentionMs },
    }),
    createTunnelPortsController({
      ...shared,
      random,
      server: tunnels,
      ports: createTunnelPortRepository(store),
      settings: {
        range: settings.tunnelPorts,
        publicHost: 'broker.example',
        exclusive: isExclusive,
      },
    }),
    {
      name: 'clock.steadiness',
      periodMs: settings.clockTickMs,
      async reconcile() {
        await clock.tick();
        return { examined: 1, changed: 0, failed: 0 };
      },
    },
  ];
  const driver = createDriver({ controllers, clock, random, log });
  if (settings.activations)
    changes.onAny((change) => {
      for (const name of concernedBy(change)) driver.activate(name);
    });
  await offerRefresh.load();

  const controller = (name: string) => {
    const found = controllers.find((each) => each.name === name);
    if (!found) throw new RangeError(`no controller is named ${name}`);
    return found;
  };
  return {
    life,
    sessions,
    sightings,
    costs,
    offers,
    book,
    changes,
    writer,
    observer,
    providers,
    clock,
    driver,
    pools,
    tunnels,
    accountSpend,
    controllers,
    counts,
    commands: {
      request: createRequestSession({
        sessions,
        offers: desk,
        templates: createTemplateCatalogue({ providers: [...providers.values()], clock, timeoutMs: MINUTE_MS }),
        envelope,
        changes,
        clock,
        ids,
        settings: { hardMaxMs: settings.hardMaxMs, keyReplayMs: settings.keyReplayMs, idempotencyMs: 7 * DAY_MS },
      }),
      stop: createStopSession({ writer }),
      extend: createExtendSession({ sessions, writer }),
    },
    waiter: createSessionWaiter({ sessions, changes, clock }),
    controller,
    recovery,
    leases,
    wishes,
    release: () => offerRefresh.release(),
    reconcile: (name) => controller(name).reconcile({ signal: NEVER }),
  };
}

const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER); // as the driver's, which every call listens to
