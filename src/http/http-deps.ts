import type { Clock, EpochMs } from '../core/clock.ts';
import type { Ids } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { Principal } from '../consumers/api-keys.ts';
import type { ControllerStatus } from '../controllers/driver.ts';
import type { Ledger } from '../costs/ledger.ts';
import type { SessionId } from '../core/ids.ts';
import type { AuditRepository } from '../db/audit-repository.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { OfferRepository } from '../offers/offer-repository.ts';
import type { TemplateCatalogue } from '../offers/template-catalogue.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { RequestedSession } from '../sessions/commands/request-session.ts';
import type { SessionOrder } from '../sessions/commands/session-order.ts';
import type { RecoveryCause } from '../sessions/recovery-mode.ts';
import type { SessionChanges } from '../sessions/session-changes.ts';
import type { SessionRecord } from '../sessions/session-record.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { StopReason } from '../sessions/session-state.ts';
import type { SessionWaiter } from '../sessions/session-waiter.ts';

export interface HttpSettings {
  readonly version: string;
  /** How long a client may take to send its request. */
  readonly requestTimeoutMs: number;
  readonly maxBodyBytes: number;
  /** Requests a minute of one key, or of one address without keys; 0 for no limit. */
  readonly rateLimitPerMinute: number;
  readonly docsEnabled: boolean;
  readonly hardMaxMs: number;
  readonly minReservationMinutes: number;
  readonly defaultReservationHours: number;
  readonly maxAttempts: number;
  /** How far above the floor to bid for a session that names no bid. */
  readonly bidMarginPercent: number;
  /** The providers that are on. */
  readonly providers: readonly { readonly id: ProviderId; readonly simulated: boolean }[];
}

export interface HealthReport {
  readonly databaseWritable: boolean;
  readonly providers: readonly ProviderHealth[];
  readonly deploymentId: string;
  readonly version: string;
  /** Every offer is simulated, since no real provider is on. */
  readonly simulated: boolean;
  /** The wall clock jumped: nothing expires until two sources agree. */
  readonly clockFrozen: boolean;
  /** The database is held to be older than reality, since when and why; absent while it is not. */
  readonly recovery?: { readonly since: EpochMs; readonly cause: RecoveryCause; readonly reason: string };
  /** Providers that are spoken to at an address of the configuration instead of their own. */
  readonly baseUrlOverridden: readonly ProviderId[];
}

export interface ProviderHealth {
  readonly id: ProviderId;
  readonly simulated: boolean;
  /** `starting` until its first answer. */
  readonly state: 'starting' | 'ok' | 'failing';
  /** Its instances have been listed once since the start, or it was at least tried. */
  readonly listAttempted: boolean;
  readonly error?: string;
}

/** Everything that the API needs of the house. */
export interface HttpDeps {
  readonly settings: HttpSettings;
  readonly access: Access;
  readonly book: Pick<OfferBook, 'page' | 'etag' | 'item' | 'find'>;
  readonly failures: Pick<OfferRepository, 'failuresSince'>;
  readonly templates: TemplateCatalogue;
  readonly ledger: Ledger;
  readonly sessions: Pick<SessionRepository, 'find' | 'list' | 'listEvents'>;
  readonly audit: Pick<AuditRepository, 'list'>;
  readonly requestSession: (order: SessionOrder) => Promise<RequestedSession>;
  readonly stopSession: (id: SessionId, reason: StopReason) => Promise<SessionRecord | undefined>;
  readonly extendSession: (id: SessionId, addedMinutes: number) => Promise<SessionRecord | undefined>;
  readonly waiter: SessionWaiter;
  readonly changes: Pick<SessionChanges, 'on'>;
  readonly controllers: () => readonly ControllerStatus[];
  readonly health: () => Promise<HealthReport>;
  /** The whole page in the text format of Prometheus. */
  readonly metricsText: () => Promise<string>;
  readonly observeRequest: Metrics['observeRequest'];
  readonly log: Log;
  readonly clock: Clock;
  readonly ids: Pick<Ids, 'request'>;
  /** Aborted when the broker shuts down: waits and streams end with the state so far. */
  readonly shutdown: AbortSignal;
}

export interface Access {
  /** Whether a key is asked for. */
  readonly keysOn: boolean;
  /** No keys, on a loopback address, and not said to be deliberate: requests under other names than this machine's own are refused. */
  readonly localOnly: boolean;
  /** Whose key it is; undefined for a key that nobody has. */
  readonly authenticate: (presented: string) => Principal | undefined;
}
