import type { Registry } from 'prom-client';
import type { EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { Log } from '../core/log.ts';
import type { LabelGuard } from './label-values.ts';
import { addLeakGauges, type LeakSources } from './leak-gauges.ts';
import { createGaugeMaker } from './scraped-gauge.ts';

/** The statuses whose sessions count as active: those that have an end before them. */
const ACTIVE_STATUSES = ['pending', 'provisioning', 'running', 'stopping'] as const;

/**
 * What gauges show is asked for when somebody scrapes, and kept by nobody in between: a number that is counted up and down drifts,
 * one that is read cannot. A gauge exists only once its source is there.
 */
export interface MetricSources extends LeakSources {
  /** Sessions by provider and status; ended ones may be among them and are left out. */
  activeSessions?(): Promise<readonly { readonly provider: string; readonly status: string; readonly count: number }[]>;
  /** Sessions whose end was asked for and whose provider has not said gone; the age of the oldest wish, 0 when there is none. */
  unconfirmedDestroys?(): Promise<{ readonly count: number; readonly oldestAgeMs: number }>;
  /** The offers of each provider as the book has them now. */
  offers?(): readonly { readonly provider: string; readonly count: number; readonly observedAt: EpochMs }[];
  /** Connections that are relayed now, by provider. */
  tunnelConnections?(): readonly { readonly provider: string; readonly count: number }[];
  /** Whether expiry waits because the wall clock jumped. */
  isClockFrozen?(): boolean;
  /** Whether the database is held to be older than reality. */
  isInRecovery?(): Promise<boolean>;
}

interface CollectDeps {
  readonly registry: Registry;
  readonly providers: readonly string[];
  readonly providerLabel: LabelGuard;
  readonly log: Pick<Log, 'warn'>;
}

/** Makes the gauges of those sources that are given. A source that fails leaves its gauge out of that scrape, and the rest as they are. */
export function addGauges(sources: MetricSources, { registry, providers, providerLabel, log }: CollectDeps): void {
  const gauge = createGaugeMaker({ registry, log });
  const { activeSessions, unconfirmedDestroys, offers, tunnelConnections, isClockFrozen, isInRecovery } = sources;
  addLeakGauges(sources, { gauge, providers, providerLabel });

  if (activeSessions) {
    const isActive = (status: string) => (ACTIVE_STATUSES as readonly string[]).includes(status); // widened, so that any text may be asked for
    gauge(
      {
        name: 'gpu_sessions_active',
        help: 'Sessions that have not ended, by provider and status.',
        labelNames: ['provider', 'status'],
      },
      async (active) => {
        const rows = await activeSessions.call(sources);
        for (const provider of providers) for (const status of ACTIVE_STATUSES) active.set({ provider, status }, 0);
        for (const { provider, status, count } of rows) {
          if (isActive(status)) active.inc({ provider: providerLabel(provider), status }, count);
        }
      },
    );
  }
  if (unconfirmedDestroys) {
    gauge(
      {
        name: 'gpu_sessions_destroy_unconfirmed',
        help: 'Sessions that shall end and whose provider has not yet said that the instance is gone.',
        labelNames: [],
      },
      async (unconfirmed) => unconfirmed.set((await unconfirmedDestroys.call(sources)).count),
    );
    gauge(
      {
        name: 'gpu_destroy_oldest_unconfirmed_age_seconds',
        help: 'How long the oldest session that shall end has waited for its provider to say gone; 0 when there is none.',
        labelNames: [],
      },
      async (age) => age.set((await unconfirmedDestroys.call(sources)).oldestAgeMs / SECOND_MS),
    );
  }
  if (offers) {
    gauge({ name: 'gpu_offers', help: 'Offers in the book, by provider.', labelNames: ['provider'] }, (book) => {
      for (const { provider, count } of offers.call(sources)) book.inc({ provider: providerLabel(provider) }, count);
    });
    gauge(
      {
        name: 'gpu_offers_observed_timestamp_seconds',
        help: 'When the provider was last asked for the offers in the book, Unix time.',
        labelNames: ['provider'],
      },
      (observed) => {
        for (const { provider, observedAt } of offers.call(sources)) {
          observed.set({ provider: providerLabel(provider) }, observedAt / SECOND_MS);
        }
      },
    );
  }
  if (tunnelConnections) {
    gauge(
      {
        name: 'gpu_tunnel_connections',
        help: 'Connections that are relayed now to instances that cannot be dialled directly.',
        labelNames: ['provider'],
      },
      (open) => {
        for (const { provider, count } of tunnelConnections.call(sources))
          open.inc({ provider: providerLabel(provider) }, count);
      },
    );
  }
  if (isClockFrozen) {
    gauge(
      {
        name: 'gpu_clock_frozen',
        help: '1 while nothing expires because the wall clock jumped, else 0.',
        labelNames: [],
      },
      (frozen) => frozen.set(isClockFrozen.call(sources) ? 1 : 0),
    );
  }
  if (isInRecovery) {
    gauge(
      {
        name: 'berth_recovery_mode',
        help: '1 while the database is held to be older than what providers have, so that unknown instances are kept for a person, else 0.',
        labelNames: [],
      },
      async (recovering) => recovering.set((await isInRecovery.call(sources)) ? 1 : 0),
    );
  }
}
