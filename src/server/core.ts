import { randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { dataFolder } from '../config/data-folder.ts';
import type { ConfiguredProvider } from '../config/provider-blocks.ts';
import { loadSecretKey } from '../config/secret-key.ts';
import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { createEnvelope } from '../core/envelope.ts';
import { createIds } from '../core/ids.ts';
import { describeError } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import { createSteadyClock } from '../core/steady-clock.ts';
import { whenAborted } from '../core/when-aborted.ts';
import { createDriver, type ControllerStatus } from '../controllers/driver.ts';
import { takeIn } from '../controllers/offer-refresh.ts';
import { createCostRepository } from '../costs/cost-repository.ts';
import { createLedger } from '../costs/ledger.ts';
import { createAuditRepository } from '../db/audit-repository.ts';
import { createControllerRepository } from '../db/controller-repository.ts';
import { createInstallationRepository } from '../db/installation-repository.ts';
import { createLeaseRepository } from '../db/lease-repository.ts';
import { openStore } from '../db/open-store.ts';
import type { StoreError } from '../db/store-error.ts';
import type { Logger } from '../observability/logger.ts';
import { createMetrics } from '../observability/metrics.ts';
import type { OfferSerialiser } from '../offers/offer-view.ts';
import { createOfferBook } from '../offers/offer-book.ts';
import { createOfferRepository } from '../offers/offer-repository.ts';
import { createRecentWishes } from '../offers/recent-wishes.ts';
import type { ProviderId } from '../provider/ids.ts';
import { createRecoveryMode } from '../sessions/recovery-mode.ts';
import { createSessionChanges } from '../sessions/session-changes.ts';
import { createSessionRepository } from '../sessions/session-repository.ts';
import { FAILURE_REASONS, STOP_REASONS } from '../sessions/session-state.ts';
import { createSessionWriter } from '../sessions/session-writer.ts';
import { createSightingRepository } from '../sessions/sighting-repository.ts';
import { SSH_FAILURE_KINDS } from '../ssh/ssh-failure.ts';
import { REFUSALS } from '../tunnel/room.ts';
import { CONNECTION_ENDS } from '../tunnel/tunnel-connection.ts';
import { checkSecretKey, KEY_CANARY, settleDeploymentId } from './identity.ts';
import { refuseEmptiedDatabase } from './emptied-database.ts';
import { leakSources } from './leak-sources.ts';
import { concernedBy, createLifeCycle } from './life-cycle.ts';
import { createLocalPool } from './local-pool.ts';
import { recordChange } from './metrics-recorder.ts';
import { createOfferDesk } from './offer-desk.ts';
import { refuseAbandonedSessions } from './open-sessions.ts';
import { providerAccount } from './provider-account.ts';
import { createProviderSet } from './provider-set.ts';
import { startEntry } from './start-entry.ts';
import { StartRefused } from './start-refused.ts';
import { createTunnels } from './tunnels.ts';

export interface CoreDeps {
  readonly serialise: OfferSerialiser;
  readonly config: Config;
  readonly configured: readonly ConfiguredProvider[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly version: string;
  /** The disk failed under the database: the process has to end at once. */
  readonly onFatal: (error: StoreError) => void;
}

const STALE_REFRESHES = 3;
/** How often a controller's state is written although nothing went wrong. */
const RECORD_EVERY_MS = 30 * SECOND_MS;

/** Everything of the broker but its face to the world: database, providers, life cycle. Throws StartRefused when the broker must not start like this. */
export async function createCore({
  serialise,
  config,
  configured,
  clock: machineClock,
  random,
  log,
  version,
  onFatal,
}: CoreDeps) {
  const folder = dataFolder(config);
  refuseEmptiedDatabase(config);
  const store = await openStore({
    url: config.database.url,
    path: config.database.path,
    clock: machineClock,
    random,
    log,
    withBallast: true,
    onFatal,
  });
  const undo: (() => Promise<void>)[] = [() => store.close()];
  try {
    // after the database: where that is refused, nothing is left beside it
    const installation = createInstallationRepository(store);
    const secretKey = await loadSecretKey(config, { mayCreate: (await installation.read(KEY_CANARY)) === undefined });
    if (!secretKey.ok) throw new StartRefused(secretKey.fault);
    if (secretKey.isNew) log.info({ path: secretKey.path }, 'key-encryption key made: keep it with every backup');
    const envelope = createEnvelope(secretKey.key);
    await checkSecretKey(installation, envelope, secretKey.path);
    const deploymentId = await settleDeploymentId(installation, { configured: config.lifecycle.deploymentId, random });
    const clock = createSteadyClock({
      clock: machineClock,
      ...(store.clockWitness ? { witness: store.clockWitness } : {}),
      settleMs: config.lifecycle.clockSettleMs,
      onFreeze: (jumpMs) =>
        log.error(
          { jumpMs },
          "the machine's clock jumped: it is not believed until it is confirmed; expiry goes by elapsed time",
        ),
      onThaw: (adoptedMs) => log.warn({ adoptedMs }, "the machine's clock is believed again"),
    });
    const ids = createIds({ clock, random });
    const audit = createAuditRepository(store);
    const recovery = createRecoveryMode({ installation, audit, clock });
    if (config.lifecycle.recoveryMode === 'on') await recovery.begin('operator', 'LIFECYCLE_RECOVERY_MODE=on');

    const providerIds = configured.map(({ id }) => id);
    const metrics = createMetrics({
      version,
      clock,
      log,
      labels: {
        providers: providerIds,
        endReasons: [...STOP_REASONS, ...FAILURE_REASONS],
        sshErrorTypes: [...SSH_FAILURE_KINDS, 'gpu_not_ready'],
        failureTypes: FAILURE_REASONS,
        tunnelRefusals: REFUSALS,
        tunnelEnds: CONNECTION_ENDS,
        controllers: CONTROLLER_NAMES,
      },
    });
    const machinePool = createLocalPool({ configured, dataFolder: folder, clock, log });
    const providers = await createProviderSet({
      configured,
      machinePool,
      dataFolder: folder,
      clock,
      random,
      log,
      metrics,
      callTimeoutMs: config.sessions.providerCallTimeoutMs,
    });
    undo.push(async () => {
      for (const provider of providers.values()) await provider.close?.();
    });

    const sessions = createSessionRepository(store);
    await refuseAbandonedSessions(sessions, providers);
    const sightings = createSightingRepository(store);
    const offers = createOfferRepository(store);
    const costs = createCostRepository(store);
    const controllerRows = createControllerRepository(store);
    const ledger = createLedger({ costs, clock });
    const changes = createSessionChanges({ log });
    const capabilitiesOf = (id: string) => [...providers.values()].find((provider) => provider.id === id)?.capabilities;

    const accounts = new Map<string, string>(configured.map((module) => [module.id, providerAccount(module, secretKey.key)]));
    const wishes = createRecentWishes({ clock });
    const processName = randomBytes(6).toString('hex');
    const book = createOfferBook({
      providers: [...providers.values()].map(({ id, capabilities }) => ({
        id,
        simulated: capabilities.simulated,
        staleAfterMs: STALE_REFRESHES * Math.max(capabilities.offerRefreshMs, config.inventory.refreshMs ?? 0),
      })),
      serialise,
      clock,
      epoch: processName,
      onAsked: (query) => {
        if (wishes.note(query)) driver.activate('offers.refresh');
      },
    });
    const simulatedProviders = [...providers.values()].filter(({ capabilities }) => capabilities.simulated).map(({ id }) => id);
    const ownProviders = new Set([...providers.values()].filter(({ id }) => id === 'pool').map(({ id }) => id));
    const desk = createOfferDesk({
      book,
      offers,
      store,
      ownProviders,
      simulatedProviders,
      abilitiesOf: (id) => providers.get(id)?.capabilities,
      log,
    });

    const writer = createSessionWriter({
      sessions,
      clock,
      changes,
      log,
      rules: {
        absenceOf: (provider) => capabilitiesOf(provider)?.absence ?? CLOUD_ABSENCE,
        billingOf: (provider) => capabilitiesOf(provider)?.billing ?? { starting: 'full', paused: 'full' },
        bootTimeoutMs: config.ssh.verifyTimeoutMs,
        driverTimeoutMs: config.ssh.gpuDriverTimeoutMs,
      },
    });
    const tunnels = await createTunnels({
      settings: config.tunnel,
      store,
      providers,
      writer,
      changes,
      clock,
      random,
      log,
      metrics,
    });
    undo.push(() => tunnels.stop());
    const lifeCycle = createLifeCycle({
      config,
      store,
      sessions,
      sightings,
      audit,
      writer,
      changes,
      offers,
      desk,
      book,
      wishes,
      leases: createLeaseRepository(store),
      holder: processName,
      accountOf: (id) => accounts.get(id) ?? '',
      costs,
      providers,
      envelope,
      clock,
      ids,
      log,
      metrics,
      recovery,
      deploymentId,
      tunnelPorts: tunnels.controller,
      activate: (name) => driver.activate(name),
    });
    await lifeCycle.loadOffers();
    await takeIn({ offers, book, clock });
    const recordedAt = new Map<string, number>();
    const driver = createDriver({
      controllers: lifeCycle.controllers,
      clock,
      random,
      log,
      onPass: async (status) => {
        metrics.controllerRan({
          controller: status.name,
          result: status.consecutiveFailures === 0 ? 'success' : 'error',
          seconds: (status.lastDurationMs ?? 0) / SECOND_MS,
        });
        const isDue = clock.monotonicMs() - (recordedAt.get(status.name) ?? Number.NEGATIVE_INFINITY) >= RECORD_EVERY_MS;
        if (!isDue) return;
        recordedAt.set(status.name, clock.monotonicMs());
        await controllerRows.record(rowOf(status, clock.now()));
      },
    });
    changes.onAny((change) => {
      recordChange(metrics, change);
      for (const offerId of change.releasedOffers) desk.claimsChanged(offerId);
      const took = change.events.some(({ kind }) => kind === 'instance.created');
      if ((took || change.releasedOffers.length > 0) && lifeCycle.refreshSoon(change.session.provider))
        driver.activate('offers.refresh');
      if (change.failures.length > 0) driver.activate('offers.refresh');
      for (const name of concernedBy(change)) driver.activate(name);
    });
    metrics.collectFrom({
      activeSessions: () => sessions.countLive(),
      unconfirmedDestroys: async () => {
        const { count, oldestAt } = await sessions.unconfirmedDestroys();
        return { count, oldestAgeMs: oldestAt === undefined ? 0 : Math.max(0, clock.now() - oldestAt) };
      },
      offers: () =>
        book
          .providers()
          .flatMap(({ id, offers: count, observedAt }) =>
            observedAt === undefined ? [] : [{ provider: id, count, observedAt }],
          ),
      tunnelConnections: () => tunnels.connections(),
      isClockFrozen: () => clock.frozen,
      isInRecovery: async () => (await recovery.read()).isOn,
      ...leakSources({ sessions, sightings, accountSpend: lifeCycle.accountSpend, clock }),
    });

    for (const { id, simulated } of book.providers())
      log[simulated ? 'warn' : 'info'](
        { provider: id },
        simulated ? 'provider is on: its market is SIMULATED; nothing that it offers is real' : 'provider is on',
      );
    await audit.append(clock.now(), [startEntry({ config, configured, version, deploymentId, dialect: store.dialect })]);
    log.info({ deploymentId, dialect: store.dialect, version }, 'berth is starting');

    let hasSwept = false;
    return {
      store,
      audit,
      installation,
      recovery,
      offers,
      deploymentId,
      clock,
      ids,
      metrics,
      providers,
      sessions,
      ledger,
      changes,
      book,
      desk,
      writer,
      envelope,
      driver,

      /** Whether what a former life left behind has been looked for. */
      hasSwept: () => hasSwept,
      verdictOf: (provider: ProviderId) => lifeCycle.verdictOf(provider),

      /** Sweeps and lists the offers once, then begins to reconcile: what a former life left behind is found before anything new is made. */
      async start(signal: AbortSignal): Promise<void> {
        const first = [
          'provider.check',
          'offers.refresh',
          'tunnel.ports', // running sessions have their ports back before anybody else is waited for
          ...(config.lifecycle.startupSweepEnabled ? ['instance.orphans'] : []),
        ];
        const sweepSignal = clock.timeoutSignal(config.lifecycle.startupSweepTimeoutMs, signal);
        await Promise.all(
          lifeCycle.controllers
            .filter(({ name }) => first.includes(name))
            .map(async ({ name, reconcile, idle }) => {
              try {
                await reconcile({ signal: sweepSignal });
                if (name === 'offers.refresh' && idle) await unlessAborted(idle(), sweepSignal);
              } catch (error) {
                log.warn({ controller: name, error: describeError(error) }, 'the first pass failed; the periodic one goes on');
              }
            }),
        );
        hasSwept = true;
        if (!signal.aborted) driver.start();
      },

      /** Lets the calls under way finish, up to the shutdown time-out; then everything is closed. Sessions go on. */
      async stop(reason: Error): Promise<void> {
        const inTime = new AbortController();
        clock.sleep(config.lifecycle.shutdownTimeoutMs, inTime.signal).then(
          () => lifeCycle.abort(reason),
          () => undefined, // done in time: nothing to cut short
        );
        lifeCycle.abandonWaits(reason);
        await driver.stop();
        await lifeCycle.release();
        inTime.abort();
        await desk.idle();
        for (const step of undo.toReversed()) await step();
      },
    };
  } catch (error) {
    for (const step of undo.toReversed()) await step();
    throw error;
  }
}

async function unlessAborted(done: Promise<void>, signal: AbortSignal): Promise<void> {
  let release = () => {};
  const aborted = new Promise<void>((resolve) => (release = whenAborted(signal, resolve)));
  await Promise.race([done, aborted]);
  release();
}

/** Providers that are not there to be asked: absence is then never decided anyway. */
const CLOUD_ABSENCE = {
  observations: 3,
  spacingMs: 60 * SECOND_MS,
  windowMs: 900 * SECOND_MS,
  kinds: ['get', 'list'],
} as const;

const CONTROLLER_NAMES = [
  'provider.check',
  'offers.refresh',
  'session.provisioning',
  'session.verification',
  'session.termination',
  'session.expiry',
  'session.hard-maximum',
  'session.idleness',
  'session.ghosts',
  'instance.orphans',
  'session.cost-metering',
  'cost.reconciliation',
  'account.spend',
  'session.retention',
  'audit.seal',
  'tunnel.ports',
  'clock.steadiness',
];

function rowOf(status: ControllerStatus, now: number) {
  return {
    name: status.name,
    lastStartedAt: status.lastStartedAt ?? now,
    lastDurationMs: status.lastDurationMs ?? 0,
    lastSuccessAt: status.lastSuccessAt ?? null,
    consecutiveFailures: status.consecutiveFailures,
    lastError: status.lastError ?? null,
    report: { ...status.lastReport },
  };
}
